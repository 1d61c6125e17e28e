/* Gathers what is in a lot, and reads the files sealing needs: see sealing_internal.h and sealing.h. */
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/formats/container.h"
#include "common/formats/digest.h"
#include "common/formats/sums.h"
#include "common/system/durable.h"
#include "sealer/sealing_internal.h"

enum { SUMS_MAX = 64 << 20, BUNDLE_MAX = 4 << 20 };

void work_lot_init(struct work_lot *w)
{
    *w = (struct work_lot){0};
    buf_init(&w->sums, SUMS_MAX);
    buf_init(&w->previous, CONTAINER_SIGNATURES_MAX);
    buf_init(&w->lot_xml, LOT_XML_MAX);
    buf_init(&w->signatures, CONTAINER_SIGNATURES_MAX);
    merkle_init(&w->merkle);
}

void work_lot_free(struct work_lot *w)
{
    lot_free(&w->lot);
    buf_free(&w->sums);
    buf_free(&w->previous);
    buf_free(&w->lot_xml);
    buf_free(&w->signatures);
    buf_free(&w->container);
    merkle_free(&w->merkle);
    xades_free(w->draft);
}

/* ---- rows ---------------------------------------------------------------------------------- */

static bool add_line(struct work_lot *w, const uint8_t sha256[32], const char *name, struct err *e)
{
    char line[SUMS_LINE_MAX];
    struct slice s = slice_of(line, sums_write_line(line, sha256, name));

    merkle_add(&w->merkle, s);
    return buf_add_slice(&w->sums, s, e);
}

static bool take_key(void *ctx, uint32_t ordinal, const uint8_t sha256[32], struct err *e)
{
    struct work_lot *w = ctx;
    char name[NAMES_MAX];

    names_write_key(name, w->lot.number, ordinal);
    return add_line(w, sha256, name, e);
}

static bool take_event(void *ctx, uint64_t serial, uint64_t lot, const uint8_t sha256[32], struct slice type, struct err *e)
{
    struct work_lot *w = ctx;
    char name[NAMES_MAX];

    if (serial != w->next_serial)
        return err_set(e, ERR_DOUBT, "lot %llu: serial %llu is missing (the next one found is %llu)",
                       (unsigned long long)w->lot.number, (unsigned long long)w->next_serial, (unsigned long long)serial);
    if (lot != w->lot.number)
        return err_set(e, ERR_DOUBT, "lot %llu: serial %llu says that it is of lot %llu", (unsigned long long)w->lot.number,
                       (unsigned long long)serial, (unsigned long long)lot);
    w->next_serial++;
    names_write_event(name, w->lot.number, serial);
    if (!lot_add_type(&w->lot, type, 1, e)) {
        e->code = ERR_DOUBT;
        return err_prefix(e, "lot %llu, serial %llu", (unsigned long long)w->lot.number, (unsigned long long)serial);
    }
    return add_line(w, sha256, name, e);
}

static bool read_rows(struct sealing *s, struct work_lot *w, struct err *e)
{
    const struct store_reader reader = {take_key, take_event, w};

    w->next_serial = w->lot.first;
    if (!store_read_lot(&s->store, &w->lot, &reader, e))
        return false;
    if (w->next_serial != w->lot.last + 1)
        return err_set(e, ERR_DOUBT, "lot %llu: serials %llu to %llu are missing", (unsigned long long)w->lot.number,
                       (unsigned long long)w->next_serial, (unsigned long long)w->lot.last);
    return merkle_root(&w->merkle, w->lot.root, e);
}

/* ---- the link to the lot before ------------------------------------------------------------ */

static bool link_previous(struct sealing *s, struct work_lot *w, struct err *e)
{
    struct xades x;
    bool ok;

    w->lot.previous_lot = w->lot.number - 1;
    if (w->lot.number == 1)
        return store_read_genesis(&s->store, w->lot.genesis, e);
    if (!store_read_signatures(&s->store, w->lot.previous_lot, &w->previous, &w->previous_sealed_ms, e))
        return false;
    if (!xades_read(buf_slice(&w->previous), &x, e)) {
        e->code = ERR_DOUBT;
        return err_prefix(e, "signatures of lot %llu", (unsigned long long)w->lot.previous_lot);
    }
    ok = digest_sha256(buf_slice(&x.value), w->lot.previous_value, e) &&
         digest_sha256(buf_slice(&w->previous), w->lot.previous_signatures, e);
    xades_clear(&x);
    return ok;
}

bool work_lot_gather(struct sealing *s, struct work_lot *w, struct err *e)
{
    struct lot *l = &w->lot;

    memcpy(l->operator_id, s->settings->vault.operator_id, 4);
    l->operator_id[4] = '\0';
    l->vault = (uint32_t)s->settings->vault.number;
    l->recipient_count = s->recipient_count;
    memcpy(l->recipients, s->recipients, sizeof l->recipients);
    if (!read_rows(s, w, e) || !link_previous(s, w, e))
        return false;
    if (lot_check(l, e))
        return true;
    if (e->code == ERR_INPUT)
        e->code = ERR_DOUBT;
    return false;
}

/* ---- files --------------------------------------------------------------------------------- */

static bool digest_certificate(const char *path, uint8_t digest[32], struct err *e)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *c = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    unsigned len = 32;
    bool ok = c != NULL && X509_digest(c, EVP_sha256(), digest, &len) == 1;

    X509_free(c);
    BIO_free(in);
    return ok || err_set_openssl(e, ERR_INPUT, "regulator.recipients: %s", path);
}

static struct trust *load_trust(const char *path, struct err *e)
{
    struct trust *t = NULL;
    struct buf pem;

    buf_init(&pem, BUNDLE_MAX);
    if (durable_read(path, &pem, NULL, e))
        t = trust_new(buf_slice(&pem), e);
    buf_free(&pem);
    if (t == NULL) {
        e->code = ERR_INPUT;
        err_prefix(e, "regulator.ca: %s", path);
    }
    return t;
}

bool sealing_configure(struct sealing *s, const struct settings *settings, struct err *e)
{
    const struct settings_list *files = &settings->regulator.recipients;
    uint8_t recipients[LOT_RECIPIENTS_MAX][32];
    struct trust *t;

    if (files->count == 0 || files->count > LOT_RECIPIENTS_MAX)
        return err_set(e, ERR_INPUT, "regulator.recipients: %u certificates, 1 to %d are due", files->count, LOT_RECIPIENTS_MAX);
    for (unsigned i = 0; i < files->count; i++)
        if (!digest_certificate(files->items[i], recipients[i], e))
            return false;
    t = load_trust(settings->regulator.ca, e);
    if (t == NULL)
        return false;
    trust_free(s->trust);
    s->trust = t;
    s->recipient_count = files->count;
    memcpy(s->recipients, recipients, sizeof *recipients * files->count);
    return true;
}
