/*
 * Fuzz target: OCSP responses of strangers, and of an issuer that signs whatever it is given. The first byte chooses: a response as it came; ResponseData that are
 * signed first; a basic response that is put into its envelope. Bits 4 and 5 choose the rule for nonces.
 */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>

#include "common/identity/ocsp.h"
#include "tests/fuzz/issuer.h"

static const uint8_t nonce[OCSP_NONCE_SIZE] = "a nonce that everybody knows: 32";

static void judge(struct slice response, enum ocsp_nonce rule)
{
    const struct issuer *who = issuer_get();
    const int64_t now = (int64_t)ISSUER_NOW_S * 1000;
    struct revocation_finding f;
    struct err e = {0};

    if (ocsp_judge(response, who->leaf, who->certificate, rule == OCSP_NONCE_OFF ? NULL : nonce, rule, now, 3600000, 300000, &f, &e)) {
        if (e.code != ERR_NONE || f.text[0] == '\0' || f.until + 1000 < now || (f.answer != REVOCATION_REVOKED && f.revoked_at != 0))
            abort();
    } else if (e.code != ERR_INPUT || f.answer != REVOCATION_UNKNOWN || f.until != 0) {
        abort();
    }
}

/* successful, id-pkix-ocsp-basic (RFC 6960 4.2.1) around a BasicOCSPResponse. */
static void judge_basic(struct slice basic, enum ocsp_nonce rule)
{
    static const uint8_t successful[] = {0x0a, 1, 0}, type[] = {6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1};
    struct buf bytes, explicit, inside, out;
    struct err e = {0};

    buf_init(&bytes, 1 << 20);
    buf_init(&explicit, 1 << 20);
    buf_init(&inside, 1 << 20);
    buf_init(&out, 1 << 20);
    (void)!buf_add(&bytes, type, sizeof type, &e);
    issuer_put(&bytes, 0x04, basic);
    issuer_put(&explicit, 0x30, buf_slice(&bytes));
    (void)!buf_add(&inside, successful, sizeof successful, &e);
    issuer_put(&inside, 0xa0, buf_slice(&explicit));
    issuer_put(&out, 0x30, buf_slice(&inside));
    judge(buf_slice(&out), rule);
    buf_free(&bytes);
    buf_free(&explicit);
    buf_free(&inside);
    buf_free(&out);
}

/* Signed as they are encoded again, which is what is verified. */
static void judge_signed(struct slice data, enum ocsp_nonce rule)
{
    const uint8_t *at = data.at;
    OCSP_RESPDATA *read = d2i_OCSP_RESPDATA(NULL, &at, (long)data.len);
    uint8_t *der = NULL;
    int len = read == NULL ? 0 : i2d_OCSP_RESPDATA(read, &der);

    ERR_clear_error();
    if (len > 0) {
        struct buf basic = issuer_sign(slice_of(der, (size_t)len));

        judge_basic(buf_slice(&basic), rule);
        buf_free(&basic);
    }
    OPENSSL_free(der);
    OCSP_RESPDATA_free(read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;
    enum ocsp_nonce rule;

    if (size == 0)
        return 0;
    in = slice_of(data + 1, size - 1);
    rule = (enum ocsp_nonce)((data[0] >> 4) % 3);
    switch (data[0] % 3) {
    case 0: judge(in, rule); break;
    case 1: judge_signed(in, rule); break;
    default: judge_basic(in, rule); break;
    }
    return 0;
}
