/* See decrypt.h. */
#include "exporter/verify/decrypt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/formats/names.h"

enum { KEY_LEN = 32, KEYS_MAX = 64 };

struct decrypt {
    EVP_PKEY *private_key; /* owned */
    char *output;          /* owned, or NULL */
    uint64_t lot;
    unsigned count;
    struct {
        uint32_t ordinal;
        uint8_t key[KEY_LEN];
    } keys[KEYS_MAX];      /* of this lot; wiped */
};

struct decrypt *decrypt_open(const char *key, const char *output, struct err *e)
{
    struct decrypt *d = mem_zalloc(1, sizeof(*d));
    FILE *f = fopen(key, "re");
    bool ok = true;

    if (f == NULL)
        ok = err_set_errno(e, ERR_INPUT, "%s", key);
    else if ((d->private_key = PEM_read_PrivateKey(f, NULL, NULL, NULL)) == NULL)
        ok = err_set_openssl(e, ERR_INPUT, "%s: not a private key in PEM form", key);
    if (f != NULL)
        (void)fclose(f);
    if (ok && output != NULL && mkdir(output, 0700) != 0 && errno != EEXIST)
        ok = err_set_errno(e, ERR_INPUT, "%s", output);
    d->output = output == NULL ? NULL : mem_strdup(output);
    if (ok)
        return d;
    decrypt_free(d);
    return NULL;
}

void decrypt_begin_lot(struct decrypt *d, uint64_t lot)
{
    OPENSSL_cleanse(d->keys, sizeof(d->keys));
    d->count = 0;
    d->lot = lot;
}

void decrypt_free(struct decrypt *d)
{
    if (d == NULL)
        return;
    decrypt_begin_lot(d, 0);
    EVP_PKEY_free(d->private_key);
    free(d->output);
    free(d);
}

static CMS_ContentInfo *decrypt_parse(struct slice cms)
{
    const uint8_t *at = cms.at;
    CMS_ContentInfo *parsed = cms.len > INT32_MAX ? NULL : d2i_CMS_ContentInfo(NULL, &at, (long)cms.len);

    if (parsed != NULL && (at != cms.at + cms.len ||
                           OBJ_obj2nid(CMS_get0_type(parsed)) != NID_id_smime_ct_authEnvelopedData)) {
        CMS_ContentInfo_free(parsed);
        parsed = NULL;
    }
    return parsed;
}

bool decrypt_key(struct decrypt *d, uint32_t ordinal, struct slice bytes, struct err *e)
{
    CMS_ContentInfo *cms = decrypt_parse(bytes);
    BIO *out = BIO_new(BIO_s_secmem());
    char *key;
    bool ok = false;

    if (cms == NULL || out == NULL || d->count == KEYS_MAX)
        (void)err_set(e, ERR_INPUT, "key %06" PRIu64 "-%" PRIu32 " is not CMS AuthEnvelopedData, or one too many", d->lot,
                      ordinal);
    else if (CMS_decrypt_set1_pkey(cms, d->private_key, NULL) != 1 || CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) != 1 ||
             BIO_get_mem_data(out, &key) != KEY_LEN)
        (void)err_set(e, ERR_DENIED, "the private key does not open key %06" PRIu64 "-%" PRIu32, d->lot, ordinal);
    else
        ok = true;
    if (ok) {
        d->keys[d->count].ordinal = ordinal;
        memcpy(d->keys[d->count++].key, key, KEY_LEN);
    }
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return ok;
}

bool decrypt_has_key(const struct decrypt *d)
{
    return d->count > 0;
}

/* RFC 5652 6.2.3: the event names the lot's key in its KEKRecipientInfo. */
static bool decrypt_set_key(struct decrypt *d, CMS_ContentInfo *cms)
{
    STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);
    CMS_RecipientInfo *ri = sk_CMS_RecipientInfo_num(infos) == 1 ? sk_CMS_RecipientInfo_value(infos, 0) : NULL;

    if (ri == NULL || CMS_RecipientInfo_type(ri) != CMS_RECIPINFO_KEK)
        return false;
    for (unsigned i = 0; i < d->count; i++) {
        char id[NAMES_MAX];
        size_t len = names_write_key_id(id, d->lot, d->keys[i].ordinal);

        if (CMS_RecipientInfo_kekri_id_cmp(ri, (const unsigned char *)id, len) == 0)
            return CMS_decrypt_set1_key(cms, d->keys[i].key, KEY_LEN, (const unsigned char *)id, len) == 1;
    }
    return false;
}

/* The event under a temporary name, then under its own: never half an event. */
static bool decrypt_keep(const struct decrypt *d, uint64_t serial, const char *text, size_t len, struct err *e)
{
    char *folder = mem_printf("%s/%06" PRIu64, d->output, d->lot);
    char *name = mem_printf("%s/%012" PRIu64 ".xml", folder, serial), *temporary = mem_printf("%s.part", name);
    int fd = -1;
    size_t done = 0;
    bool ok = mkdir(folder, 0700) == 0 || errno == EEXIST;

    if (ok)
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok = fd >= 0;
    while (ok && done < len) {
        ssize_t put = write(fd, text + done, len - done);

        ok = put > 0 || (put < 0 && errno == EINTR);
        done += put > 0 ? (size_t)put : 0;
    }
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && rename(temporary, name) == 0;
    if (!ok)
        (void)err_set_errno(e, ERR_RETRY, "%s", name);
    if (!ok && fd >= 0)
        (void)unlink(temporary);
    free(folder);
    free(name);
    free(temporary);
    return ok;
}

bool decrypt_event(struct decrypt *d, uint64_t serial, struct slice bytes, struct err *e)
{
    CMS_ContentInfo *cms = decrypt_parse(bytes);
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len = 0;
    bool ok;

    if (cms == NULL || out == NULL)
        ok = err_set(e, ERR_INPUT, "event %" PRIu64 " is not CMS AuthEnvelopedData", serial);
    else if (!decrypt_set_key(d, cms))
        ok = err_set(e, ERR_INPUT, "event %" PRIu64 " is encrypted under a key that is not here or could not be opened", serial);
    else if (CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) != 1)
        ok = err_set(e, ERR_INPUT, "event %" PRIu64 ": its authentication tag does not hold", serial);
    else {
        len = BIO_get_mem_data(out, &text);
        ok = d->output == NULL || decrypt_keep(d, serial, text, (size_t)len, e);
    }
    if (out != NULL && BIO_get_mem_data(out, &text) > 0)
        OPENSSL_cleanse(text, (size_t)BIO_get_mem_data(out, &text));
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return ok;
}
