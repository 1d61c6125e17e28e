/* RFC 3161 tokens: see token.h. */
#include "sealer/token.h"

#include <openssl/rand.h>
#include <openssl/ts.h>

enum { SERIAL_LEN = 16, PRECISION_DIGITS = 3, ACCURACY_S = 1 };

/* A positive random number: unique without a counter to keep (RFC 3161 2.4.2: up to 160 bits). */
static ASN1_INTEGER *random_serial(TS_RESP_CTX *ctx, void *data)
{
    uint8_t bytes[SERIAL_LEN];
    BIGNUM *n;
    ASN1_INTEGER *serial;

    (void)data;
    if (RAND_bytes(bytes, sizeof bytes) != 1) {
        TS_RESP_CTX_set_status_info(ctx, TS_STATUS_REJECTION, "no random numbers");
        return NULL;
    }
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    n = BN_bin2bn(bytes, sizeof bytes, NULL);
    serial = n == NULL ? NULL : BN_to_ASN1_INTEGER(n, NULL);
    BN_free(n);
    return serial;
}

/* The instant that was judged, not another look at the clock. */
static int judged_time(TS_RESP_CTX *ctx, void *data, long *sec, long *usec)
{
    const int64_t *now_us = data;

    (void)ctx;
    *sec = (long)(*now_us / 1000000);
    *usec = (long)(*now_us % 1000000);
    return 1;
}

static bool make_request(const uint8_t imprint[32], BIO *out, struct err *e)
{
    TS_REQ *request = TS_REQ_new();
    TS_MSG_IMPRINT *what = TS_MSG_IMPRINT_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    uint8_t copy[32];
    bool ok = request != NULL && what != NULL && algorithm != NULL;

    memcpy(copy, imprint, sizeof copy);
    ok = ok && X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1 &&
         TS_MSG_IMPRINT_set_algo(what, algorithm) == 1 && TS_MSG_IMPRINT_set_msg(what, copy, sizeof copy) == 1 &&
         TS_REQ_set_version(request, 1) == 1 && TS_REQ_set_msg_imprint(request, what) == 1 &&
         TS_REQ_set_cert_req(request, 1) == 1 && i2d_TS_REQ_bio(out, request) == 1;
    if (!ok)
        err_set_openssl(e, ERR_FATAL, "time-stamp request");
    X509_ALGOR_free(algorithm);
    TS_MSG_IMPRINT_free(what);
    TS_REQ_free(request);
    return ok;
}

static bool add_intermediates(TS_RESP_CTX *ctx, const struct token_maker *maker)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    bool ok = others != NULL;

    for (size_t i = 1; i < maker->chain_count && ok; i++) {
        struct slice der = buf_slice(&maker->chain[i]);
        const uint8_t *at = der.at;
        X509 *c = d2i_X509(NULL, &at, (long)der.len);

        ok = c != NULL && sk_X509_push(others, c) > 0;
        if (!ok)
            X509_free(c);
    }
    ok = ok && TS_RESP_CTX_set_certs(ctx, others) == 1; /* takes copies */
    sk_X509_pop_free(others, X509_free);
    return ok;
}

static TS_RESP_CTX *prepare(const struct token_maker *maker, int64_t *now_us, struct err *e)
{
    TS_RESP_CTX *ctx = TS_RESP_CTX_new();
    ASN1_OBJECT *policy = OBJ_txt2obj(maker->policy, 1);

    if (ctx != NULL && policy != NULL && TS_RESP_CTX_set_signer_cert(ctx, maker->certificate) == 1 &&
        TS_RESP_CTX_set_signer_key(ctx, maker->key) == 1 && TS_RESP_CTX_set_signer_digest(ctx, EVP_sha256()) == 1 &&
        TS_RESP_CTX_set_ess_cert_id_digest(ctx, EVP_sha256()) == 1 && TS_RESP_CTX_set_def_policy(ctx, policy) == 1 &&
        TS_RESP_CTX_add_md(ctx, EVP_sha256()) == 1 && TS_RESP_CTX_set_accuracy(ctx, ACCURACY_S, 0, 0) == 1 &&
        TS_RESP_CTX_set_clock_precision_digits(ctx, PRECISION_DIGITS) == 1 &&
        (maker->chain_count < 2 || add_intermediates(ctx, maker))) {
        TS_RESP_CTX_set_serial_cb(ctx, random_serial, NULL);
        TS_RESP_CTX_set_time_cb(ctx, judged_time, now_us);
        ASN1_OBJECT_free(policy);
        return ctx;
    }
    err_set_openssl(e, ERR_FATAL, "time-stamp: certificate or policy");
    ASN1_OBJECT_free(policy);
    TS_RESP_CTX_free(ctx);
    return NULL;
}

static bool take_token(TS_RESP *response, struct buf *out, struct err *e)
{
    TS_STATUS_INFO *status = response == NULL ? NULL : TS_RESP_get_status_info(response);
    uint8_t *der = NULL;
    int len;
    bool ok;

    if (status == NULL || ASN1_INTEGER_get(TS_STATUS_INFO_get0_status(status)) != TS_STATUS_GRANTED)
        return err_set_openssl(e, ERR_RETRY, "time-stamp refused");
    len = i2d_PKCS7(TS_RESP_get_token(response), &der);
    ok = len > 0 ? buf_add(out, der, (size_t)len, e) : err_set_openssl(e, ERR_RETRY, "time-stamp token");
    OPENSSL_free(der);
    return ok;
}

bool token_make(const struct token_maker *maker, const uint8_t imprint[32], int64_t now_us, struct buf *out, struct err *e)
{
    TS_RESP_CTX *ctx = prepare(maker, &now_us, e);
    BIO *request = BIO_new(BIO_s_mem());
    TS_RESP *response = NULL;
    bool ok = ctx != NULL && request != NULL && make_request(imprint, request, e);

    if (ok) {
        response = TS_RESP_create_response(ctx, request);
        ok = take_token(response, out, e);
    }
    TS_RESP_free(response);
    BIO_free(request);
    TS_RESP_CTX_free(ctx);
    return ok;
}

bool token_check_policy(const char *policy, struct err *e)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(policy, 1);

    if (oid == NULL)
        return err_set_openssl(e, ERR_INPUT, "sealer.tsa_policy: \"%.60s\" is no OID", policy);
    ASN1_OBJECT_free(oid);
    return true;
}
