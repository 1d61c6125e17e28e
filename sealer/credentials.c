/* Certificates of seal and stamp, read and checked: see credentials.h. */
#include "sealer/credentials.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "common/formats/digest.h"
#include "common/system/durable.h"
#include "common/values/wire.h"

enum { FILE_MAX = 1 << 20, DER_MAX = 64 * 1024, MARK_MAX = 4 * FILE_MAX, TRIAL_LEN = 32, SIGNATURE_MAX = 2048 };

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_file(const char *path, struct buf *out, struct err *e)
{
    buf_init(out, FILE_MAX);
    if (durable_read(path, out, NULL, e))
        return true;
    e->code = ERR_INPUT;
    return false;
}

static bool add_der(X509 *certificate, struct buf *out, struct err *e)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    bool ok;

    if (len <= 0)
        return err_set_openssl(e, ERR_INPUT, "certificate");
    buf_init(out, DER_MAX);
    ok = buf_add(out, der, (size_t)len, e);
    OPENSSL_free(der);
    return ok;
}

/* The first, and as DER all that are not self-signed: a root is the verifier's own affair. */
static bool read_chain(struct credentials *c, struct slice pem, struct err *e)
{
    BIO *in = BIO_new_mem_buf(pem.len == 0 ? (const uint8_t *)"" : pem.at, (int)pem.len);
    X509 *x;
    bool ok = in != NULL || err_set_openssl(e, ERR_FATAL, "%s", c->path);

    while (ok && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        bool root = c->certificate != NULL && X509_self_signed(x, 0) == 1;

        if (!root && c->chain_count == XADES_CERTIFICATES_MAX)
            ok = err_set(e, ERR_INPUT, "%s: more than %d certificates", c->path, XADES_CERTIFICATES_MAX);
        else if (!root)
            ok = add_der(x, &c->chain[c->chain_count++], e);
        if (c->certificate == NULL)
            c->certificate = x;
        else
            X509_free(x);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is an error to PEM_read_bio_X509 */
    return ok && (c->certificate != NULL || err_set(e, ERR_INPUT, "%s: no certificate", c->path));
}

static bool make_mark(const struct settings *s, struct slice seal, struct slice tsa, uint8_t mark[32], struct err *e)
{
    struct wire_writer w;
    struct buf b;
    bool ok;

    buf_init(&b, MARK_MAX);
    w = wire_write(&b);
    wire_put_text(&w, slice_text(s->sealer.seal_key));
    wire_put_text(&w, slice_text(s->sealer.algorithm));
    wire_put_bytes(&w, seal);
    wire_put_text(&w, slice_text(s->sealer.tsa_key));
    wire_put_text(&w, slice_text(s->sealer.tsa_policy));
    wire_put_bytes(&w, tsa);
    ok = wire_ok(&w, "certificates", e) && digest_sha256(buf_slice(&b), mark, e);
    buf_free(&b);
    return ok;
}

static bool read_trust(struct credentials *c, const char *path, struct err *e)
{
    struct buf pem;

    if (!read_file(path, &pem, e))
        return false;
    c->trust = trust_new(buf_slice(&pem), e);
    buf_free(&pem);
    return c->trust != NULL || err_prefix(e, "%s", path);
}

static bool load(struct credentials *c, const struct settings *s, struct err *e)
{
    struct buf seal, tsa = {0};
    bool ok = read_file(s->sealer.seal_certificate, &seal, e) && read_file(s->sealer.tsa_certificate, &tsa, e) &&
              read_chain(c, buf_slice(c->duty == CREDENTIALS_SEAL ? &seal : &tsa), e) && make_mark(s, buf_slice(&seal), buf_slice(&tsa), c->mark, e) &&
              read_trust(c, s->regulator.ca, e);

    buf_free(&seal);
    buf_free(&tsa);
    return ok;
}

struct credentials *credentials_load(enum credentials_duty duty, const struct settings *s, struct err *e)
{
    struct credentials *c = mem_zalloc(1, sizeof *c);
    struct err why = {0};
    bool seal = duty == CREDENTIALS_SEAL;

    c->duty = duty;
    c->path = mem_strdup(seal ? s->sealer.seal_certificate : s->sealer.tsa_certificate);
    c->label = mem_strdup(seal ? s->sealer.seal_key : s->sealer.tsa_key);
    c->policy = mem_strdup(s->sealer.tsa_policy);
    c->algorithm = strcmp(s->sealer.algorithm, "rsa-pss-sha256") == 0 ? XADES_RSA_PSS_SHA256 : XADES_RSA_SHA256;
    if (load(c, s, &why))
        return c;
    (void)err_set(e, why.code, "%s", why.text);
    credentials_free(c);
    return NULL;
}

void credentials_free(struct credentials *c)
{
    if (c == NULL)
        return;
    X509_free(c->certificate);
    for (size_t i = 0; i < c->chain_count; i++)
        buf_free(&c->chain[i]);
    trust_free(c->trust);
    free(c->path);
    free(c->label);
    free(c->policy);
    free(c);
}

/* ---- what the certificate may do --------------------------------------------------------------- */

static bool is_for_time_stamps_alone(X509 *x)
{
    int at = X509_get_ext_by_NID(x, NID_ext_key_usage, -1);

    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(x, at)) == 1 && X509_get_extended_key_usage(x) == XKU_TIMESTAMP &&
           X509_check_purpose(x, X509_PURPOSE_TIMESTAMP_SIGN, 0) == 1;
}

static bool check_stamp(X509 *x, STACK_OF(X509) *intermediates, struct trust *t, int64_t at_ms, struct err *e)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = is_for_time_stamps_alone(x) || err_set(e, ERR_INPUT, "a time-stamping certificate has a critical extended key usage of timeStamping, and "
                                                                   "nothing else (RFC 3161 2.3)");

    if (ok && (ctx == NULL || X509_STORE_CTX_init(ctx, trust_store_at(t, at_ms), x, intermediates) != 1 ||
               X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_TIMESTAMP_SIGN) != 1))
        ok = err_set_openssl(e, ERR_FATAL, "time-stamping certificate");
    else if (ok && X509_verify_cert(ctx) != 1)
        ok = err_set(e, ERR_INPUT, "time-stamping certificate: %s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

bool credentials_check_certificate(X509 *x, STACK_OF(X509) *intermediates, enum credentials_duty duty, struct trust *t, int64_t at_ms, struct err *e)
{
    return duty == CREDENTIALS_SEAL ? trust_check_seal(t, x, intermediates, at_ms, e) : check_stamp(x, intermediates, t, at_ms, e);
}

static STACK_OF(X509) *intermediates_of(const struct credentials *c)
{
    STACK_OF(X509) *list = sk_X509_new_null();

    for (size_t i = 1; list != NULL && i < c->chain_count; i++) {
        const uint8_t *at = buf_slice(&c->chain[i]).at;
        X509 *x = d2i_X509(NULL, &at, (long)c->chain[i].len);

        if (x != NULL && sk_X509_push(list, x) <= 0)
            X509_free(x);
    }
    return list;
}

bool credentials_check(const struct credentials *c, int64_t at_ms, struct err *e)
{
    STACK_OF(X509) *intermediates = intermediates_of(c);
    struct err why = {0};
    bool ok = credentials_check_certificate(c->certificate, intermediates, c->duty, c->trust, at_ms, &why);

    if (ok && !credentials_check_certificate(c->certificate, intermediates, c->duty, c->trust, at_ms + CREDENTIALS_MARGIN_MS, &why))
        ok = err_prefix(&why, "within %d minutes", CREDENTIALS_MARGIN_MS / 60000);
    sk_X509_pop_free(intermediates, X509_free);
    return ok || err_set(e, ERR_DOUBT, "%s: %s", c->path, why.text);
}

/* ---- its key ------------------------------------------------------------------------------------- */

static bool set_padding(const struct credentials *c, EVP_PKEY_CTX *params)
{
    return c->duty != CREDENTIALS_SEAL || c->algorithm != XADES_RSA_PSS_SHA256 ||
           (EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) == 1);
}

EVP_MD_CTX *credentials_sign_with(const struct credentials *c, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params = NULL;

    if (ctx != NULL && EVP_DigestSignInit(ctx, &params, EVP_sha256(), NULL, key) == 1 && set_padding(c, params))
        return ctx;
    EVP_MD_CTX_free(ctx);
    return NULL;
}

static bool verify_trial(const struct credentials *c, struct slice text, struct slice signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params = NULL;
    bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &params, EVP_sha256(), NULL, X509_get0_pubkey(c->certificate)) == 1 && set_padding(c, params) &&
              EVP_DigestVerify(ctx, signature.at, signature.len, text.at, text.len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

bool credentials_check_key(const struct credentials *c, EVP_PKEY *key, struct err *e)
{
    static const char title[] = "coffre: a trial of this key, which seals and stamps nothing\n";
    uint8_t text[sizeof title + TRIAL_LEN], signature[SIGNATURE_MAX];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx;
    bool ok;

    if (X509_check_private_key(c->certificate, key) != 1)
        return err_set_openssl(e, ERR_INPUT, "%s is not the certificate of key \"%s\"", c->path, c->label);
    /* Neither a SignedInfo nor a TSTInfo: random bytes behind words that begin neither. */
    memcpy(text, title, sizeof title);
    if (RAND_bytes(text + sizeof title, TRIAL_LEN) != 1)
        return err_set_openssl(e, ERR_RETRY, "trial signature");
    ctx = credentials_sign_with(c, key);
    ok = ctx != NULL && EVP_DigestSign(ctx, signature, &len, text, sizeof text) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return err_set_openssl(e, ERR_RETRY, "trial signature with key \"%s\"", c->label);
    return verify_trial(c, slice_of(text, sizeof text), slice_of(signature, len)) ||
           err_set_openssl(e, ERR_INPUT, "%s: what key \"%s\" signs does not verify with it", c->path, c->label);
}
