/* OCSP without a network: what is asked, and what of an answer is believed. Each way a response can lie is tried. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/identity/ocsp.h"
#include "tests/unit/revocation.h"

enum { REUSE = 5 * MINUTE_MS };

static struct issued ca, sibling, leaf, neighbour, responder;
static int64_t now;
static uint8_t nonce[OCSP_NONCE_SIZE];

static const struct extension_wanted for_ocsp = {NID_ext_key_usage, "OCSPSigning"};

static struct issued responder_by(const struct issued *by)
{
    const struct certificate_wanted w = {.cn = "responder", .serial = 20, .extensions = {for_ocsp}};

    return revocation_certificate(certificates_ec("P-256"), &w, by);
}

static int set_up(void **state)
{
    const struct certificate_wanted ten = {.cn = "ten", .serial = 10}, eleven = {.cn = "eleven", .serial = 11};

    (void)state;
    now = revocation_now();
    memset(nonce, 0xa5, sizeof nonce);
    ca = revocation_authority("Operator", certificates_rsa(2048));
    sibling = revocation_authority("Operator", certificates_rsa(2048)); /* another authority of that name */
    leaf = revocation_certificate(certificates_ec("P-256"), &ten, &ca);
    neighbour = revocation_certificate(certificates_ec("P-256"), &eleven, &ca);
    responder = responder_by(&ca);
    return 0;
}

static int tear_down(void **state)
{
    struct issued *all[] = {&ca, &sibling, &leaf, &neighbour, &responder};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certificates_free(all[i]);
    return 0;
}

/* How a response is made and judged; zeroed: good, by the issuer, one hour, no nonce. */
struct trial {
    const struct issued *by;      /* NULL: the issuer */
    STACK_OF(X509) *chain;        /* carried with the signer; owned */
    struct answer_wanted answer;
    X509 *about, *about_issuer;   /* NULL: the leaf, its issuer */
    const EVP_MD *digest;
    unsigned long flags;
    const uint8_t *nonce_back;    /* NULL: none */
    size_t nonce_len;             /* 0: OCSP_NONCE_SIZE */
    bool asked;                   /* with our nonce */
    enum ocsp_nonce rule;
    int64_t max_stale;
};

static OCSP_BASICRESP *begin(const struct trial *t)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    uint8_t copy[64];

    revocation_answer_add(basic, t->about != NULL ? t->about : leaf.certificate, t->about_issuer != NULL ? t->about_issuer : ca.certificate, &t->answer);
    if (t->nonce_back != NULL) {
        size_t len = t->nonce_len != 0 ? t->nonce_len : OCSP_NONCE_SIZE;

        memcpy(copy, t->nonce_back, len);
        assert_int_equal(OCSP_basic_add1_nonce(basic, copy, (int)len), 1);
    }
    return basic;
}

static struct buf finish(OCSP_BASICRESP *basic, const struct trial *t)
{
    struct buf out = revocation_response(basic, t->by != NULL ? t->by : &ca, t->chain, t->digest != NULL ? t->digest : EVP_sha256(), t->flags);

    sk_X509_free(t->chain);
    return out;
}

static bool judge(struct slice response, const struct trial *t, struct revocation_finding *f, struct err *e)
{
    bool ok = ocsp_judge(response, leaf.certificate, ca.certificate, t->asked ? nonce : NULL, t->rule, now, t->max_stale, REUSE, f, e);

    assert_int_equal(e->code, ok ? ERR_NONE : ERR_INPUT);
    return ok;
}

static struct revocation_finding taken_bytes(struct buf response, const struct trial *t)
{
    struct revocation_finding f;
    struct err e = {0};

    if (!judge(buf_slice(&response), t, &f, &e))
        fail_msg("%s", e.text);
    buf_free(&response);
    return f;
}

static struct revocation_finding taken(const struct trial *t)
{
    return taken_bytes(finish(begin(t), t), t);
}

static void refused_bytes(struct buf response, const struct trial *t, const char *why)
{
    struct revocation_finding f;
    struct err e = {0};

    assert_false(judge(buf_slice(&response), t, &f, &e));
    if (strstr(e.text, why) == NULL)
        fail_msg("\"%s\" is not: %s", e.text, why);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_true(f.until == 0);
    buf_free(&response);
}

static void refused(const struct trial *t, const char *why)
{
    refused_bytes(finish(begin(t), t), t, why);
}

static void the_issuer_answers(void **state)
{
    struct trial t = {.answer.next_update = now + HOUR_MS};
    struct revocation_finding f = taken(&t);

    (void)state;
    assert_int_equal(f.answer, REVOCATION_GOOD);
    assert_string_equal(f.text, "serial 0A: good (OCSP, CN=Operator)");
    assert_true(f.until == now + HOUR_MS && f.revoked_at == 0);
    t.max_stale = HOUR_MS;
    assert_true(taken(&t).until == now + 2 * HOUR_MS);
    t.answer = (struct answer_wanted){.status = V_OCSP_CERTSTATUS_REVOKED, .reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE, .revoked_at = 1767225600000};
    f = taken(&t);
    assert_int_equal(f.answer, REVOCATION_REVOKED);
    assert_string_equal(f.text, "serial 0A: revoked 2026-01-01T00:00:00Z, keyCompromise (OCSP, CN=Operator)");
    assert_true(f.revoked_at == 1767225600000 && f.until == now + REUSE);
    t.answer.reason = OCSP_REVOKED_STATUS_CERTIFICATEHOLD;
    assert_int_equal(taken(&t).answer, REVOCATION_REVOKED);
    t.answer.reason = OCSP_REVOKED_STATUS_NOSTATUS;
    assert_non_null(strstr(taken(&t).text, "no reason given"));
    t.answer = (struct answer_wanted){.status = V_OCSP_CERTSTATUS_UNKNOWN};
    f = taken(&t);
    assert_int_equal(f.answer, REVOCATION_UNKNOWN);
    assert_non_null(strstr(f.text, "unknown to its responder"));
}

static void a_responder_of_the_issuer_answers(void **state)
{
    struct trial t = {.by = &responder};

    (void)state;
    assert_string_equal(taken(&t).text, "serial 0A: good (OCSP, CN=responder)");
    t.flags = OCSP_RESPID_KEY;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.by = NULL;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.by = &responder;
    t.chain = revocation_stack(neighbour.certificate, sibling.certificate, ca.certificate, NULL);
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.chain = NULL;
    t.flags = OCSP_NOCERTS; /* then nobody knows its key */
    refused(&t, "signed by none that it names");
}

/* Of everybody else the signature is right, and worth nothing. */
static void signed_by(struct issued who, const char *why)
{
    struct trial t = {.by = &who};

    refused(&t, why);
    t.flags = OCSP_RESPID_KEY;
    refused(&t, why);
    certificates_free(&who);
}

static struct issued responder_with(struct certificate_wanted w)
{
    w.cn = "responder";
    w.serial = 21;
    return revocation_certificate(certificates_ec("P-256"), &w, &ca);
}

static void nobody_else_answers(void **state)
{
    struct issued stranger = revocation_authority("Stranger", certificates_ec("P-256")), under, renamed;
    const struct certificate_wanted sub = {.cn = "under", .serial = 22, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}, for_ocsp}};

    (void)state;
    signed_by(responder_by(&sibling), "not signed by the issuer itself");
    signed_by(responder_by(&stranger), "not signed by the issuer itself");
    signed_by(responder_by(NULL), "not signed by the issuer itself");
    /* A path to the issuer is not enough: it must have signed itself. */
    under = revocation_certificate(certificates_ec("P-256"), &sub, &ca);
    signed_by(responder_by(&under), "not signed by the issuer itself");
    /* Nor is the issuer's key under another name. */
    EVP_PKEY_up_ref(ca.key);
    renamed = revocation_authority("Renamed", ca.key);
    signed_by(responder_by(&renamed), "not signed by the issuer itself");
    signed_by(responder_with((struct certificate_wanted){0}), "no id-kp-OCSPSigning");
    signed_by(responder_with((struct certificate_wanted){.extensions = {{NID_ext_key_usage, "clientAuth,serverAuth"}}}), "no id-kp-OCSPSigning");
    signed_by(responder_with((struct certificate_wanted){.extensions = {{NID_ext_key_usage, "anyExtendedKeyUsage"}}}), "no id-kp-OCSPSigning");
    signed_by(responder_with((struct certificate_wanted){.extensions = {for_ocsp, {NID_key_usage, "critical,keyEncipherment"}}}), "no id-kp-OCSPSigning");
    signed_by(responder_with((struct certificate_wanted){.until = now - HOUR_MS, .extensions = {for_ocsp}}), "not in date");
    signed_by(responder_with((struct certificate_wanted){.from = now + HOUR_MS, .extensions = {for_ocsp}}), "not in date");
    signed_by(responder_with((struct certificate_wanted){.digest = EVP_sha1(), .extensions = {for_ocsp}}), "not signed by the issuer itself");
    certificates_free(&stranger);
    certificates_free(&under);
    certificates_free(&renamed);
}

static void a_broken_or_weak_responder_does_not_answer(void **state)
{
    struct certificate_wanted w = {.cn = "weak", .serial = 23, .extensions = {for_ocsp}};
    struct issued weak = revocation_certificate(certificates_rsa(1024), &w, &ca), odd = responder_by(&ca);
    X509_EXTENSION *unknown = revocation_unknown(true);

    (void)state;
    signed_by(weak, "key is weak");
    assert_int_equal(X509_add_ext(odd.certificate, unknown, -1), 1);
    assert_true(X509_sign(odd.certificate, ca.key, EVP_sha256()) > 0);
    X509_EXTENSION_free(unknown);
    signed_by(odd, "unknown critical extension");
}

static void the_certificate_itself_does_not_answer(void **state)
{
    struct certificate_wanted w = {.cn = "ten", .serial = 10, .extensions = {for_ocsp}};
    struct issued own = revocation_certificate(certificates_ec("P-256"), &w, &ca);
    struct trial t = {.by = &leaf};
    struct revocation_finding f;
    struct err e = {0};
    struct buf response;

    (void)state;
    refused(&t, "about itself");
    /* Not even when it is a responder's. */
    t.by = &own;
    response = finish(begin(&t), &t);
    assert_false(ocsp_judge(buf_slice(&response), own.certificate, ca.certificate, NULL, OCSP_NONCE_OFF, now, 0, REUSE, &f, &e));
    assert_non_null(strstr(e.text, "about itself"));
    buf_free(&response);
    certificates_free(&own);
}

/* A certificate that says it is the issuer, with another key. */
static void a_namesake_of_the_issuer_does_not_answer(void **state)
{
    struct trial t = {.by = &sibling};

    (void)state;
    refused(&t, "not signed by the issuer itself");
    t.flags = OCSP_NOCERTS;
    refused(&t, "signed by none that it names");
    /* It even carries the true issuer. */
    t.chain = revocation_stack(ca.certificate, NULL);
    t.flags = 0;
    refused(&t, "not signed by the issuer itself");
}

/* The response carries a true responder's certificate, and bears its name; another signed it. */
static void a_namesake_of_the_responder_does_not_answer(void **state)
{
    struct issued impostor = responder_by(NULL);
    struct trial t = {.by = &impostor, .chain = revocation_stack(responder.certificate, NULL), .flags = OCSP_NOCERTS};

    (void)state;
    refused(&t, "signed by none that it names");
    certificates_free(&impostor);
}

/* The right key, and a response that says it is somebody else's. */
static void who_signed_is_who_is_named(void **state)
{
    const struct certificate_wanted w = {.cn = "somebody else", .serial = 24};
    struct issued issuer, delegate;
    struct trial t = {.by = &issuer, .flags = OCSP_NOCERTS};

    (void)state;
    EVP_PKEY_up_ref(ca.key);
    issuer = revocation_certificate(ca.key, &w, NULL);
    refused(&t, "signed by none that it names");
    EVP_PKEY_up_ref(responder.key);
    delegate = revocation_certificate(responder.key, &w, NULL);
    t.by = &delegate;
    t.chain = revocation_stack(responder.certificate, NULL);
    refused(&t, "signed by none that it names");
    certificates_free(&issuer);
    certificates_free(&delegate);
}

static void no_changed_response_is_taken_and_no_part_of_one(void **state)
{
    struct trial t = {.by = &responder, .answer = {.status = V_OCSP_CERTSTATUS_REVOKED, .revoked_at = now - HOUR_MS}};
    struct buf whole = finish(begin(&t), &t);
    struct revocation_finding f;

    (void)state;
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *part = malloc(len + (len == 0)); /* of exactly this size: a read behind it is seen */
        struct err e = {0};

        memcpy(part, whole.data, len);
        assert_false(judge(slice_of(part, len), &t, &f, &e));
        free(part);
    }
    for (size_t i = 0; i < whole.len; i++) {
        struct err e = {0};

        /* Never another answer: bytes outside of the signatures (of an algorithm's parameters, say) may change. */
        whole.data[i] ^= (uint8_t)(1 << i % 8);
        if (judge(buf_slice(&whole), &t, &f, &e))
            assert_int_equal(f.answer, REVOCATION_REVOKED);
        whole.data[i] ^= (uint8_t)(1 << i % 8);
    }
    revocation_append(&whole, SLICE_LITERAL("\0"));
    refused_bytes(whole, &t, "not an OCSP response");
}

static struct buf bytes_of(const void *at, size_t len)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    revocation_append(&out, slice_of(at, len));
    return out;
}

static struct buf status_only(int status)
{
    OCSP_RESPONSE *response = OCSP_response_create(status, NULL);
    uint8_t *der = NULL;
    int len = i2d_OCSP_RESPONSE(response, &der);
    struct buf out = bytes_of(der, (size_t)len);

    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    return out;
}

static void responses_without_an_answer_are_refused(void **state)
{
    static const uint8_t other_type[] = {0x30, 0x0f, 0x0a, 1, 0, 0xa0, 0x0a, 0x30, 8, 6, 3, 0x2a, 3, 4, 4, 1, 0};
    struct trial t = {0};
    struct buf large;

    (void)state;
    refused_bytes(status_only(OCSP_RESPONSE_STATUS_TRYLATER), &t, "trylater");
    refused_bytes(status_only(OCSP_RESPONSE_STATUS_UNAUTHORIZED), &t, "unauthorized");
    refused_bytes(status_only(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST), &t, "malformedrequest");
    refused_bytes(status_only(OCSP_RESPONSE_STATUS_INTERNALERROR), &t, "internalerror");
    refused_bytes(status_only(OCSP_RESPONSE_STATUS_SUCCESSFUL), &t, "no basic response");
    refused_bytes(bytes_of(other_type, sizeof other_type), &t, "no basic response");
    refused_bytes(bytes_of("", 0), &t, "not an OCSP response");
    refused_bytes(bytes_of("<html>", 6), &t, "not an OCSP response");
    large = finish(begin(&t), &t);
    while (large.len <= OCSP_RESPONSE_MAX)
        revocation_append(&large, SLICE_LITERAL("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    refused_bytes(large, &t, "at most 65536 bytes");
}

static void weak_signatures_are_refused(void **state)
{
    struct trial t = {.digest = EVP_sha1()};

    (void)state;
    refused(&t, "weak");
    t.digest = EVP_md5();
    refused(&t, "weak");
    t.digest = EVP_sha224();
    refused(&t, "weak");
    t.digest = EVP_sha384();
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
}

static void answers_about_others_are_refused(void **state)
{
    struct trial t = {.about = neighbour.certificate};
    OCSP_BASICRESP *both;

    (void)state;
    refused(&t, "not about this certificate");
    t.about = leaf.certificate;
    t.about_issuer = sibling.certificate; /* its serial number, under another key */
    refused(&t, "not about this certificate");
    t = (struct trial){.answer.id_digest = EVP_md5()};
    refused(&t, "not about this certificate");
    t.answer.id_digest = EVP_sha256();
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    /* Among answers about others ours is found. */
    t = (struct trial){.about = neighbour.certificate};
    both = begin(&t);
    revocation_answer_add(both, leaf.certificate, ca.certificate,
                          &(struct answer_wanted){.status = V_OCSP_CERTSTATUS_REVOKED, .reason = OCSP_REVOKED_STATUS_NOSTATUS, .revoked_at = now});
    assert_int_equal(taken_bytes(finish(both, &t), &t).answer, REVOCATION_REVOKED);
    /* Two about ours: which one counts? */
    t.about = NULL;
    both = begin(&t);
    revocation_answer_add(both, leaf.certificate, ca.certificate, &(struct answer_wanted){.id_digest = EVP_sha256()});
    refused_bytes(finish(both, &t), &t, "two answers");
}

static void answers_that_do_not_hold_now_are_refused(void **state)
{
    struct trial t = {.answer.this_update = now + 6 * MINUTE_MS};

    (void)state;
    refused(&t, "in the future");
    t.answer.this_update = now + 4 * MINUTE_MS;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.answer.this_update = now - 2 * HOUR_MS;
    t.answer.next_update = now - HOUR_MS;
    refused(&t, "expired");
    t.max_stale = HOUR_MS - 1;
    refused(&t, "expired");
    t.max_stale = HOUR_MS;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.answer.next_update = now - 3 * HOUR_MS;
    t.max_stale = 24 * HOUR_MS;
    refused(&t, "not in order");
    /* Without nextUpdate, and without a nonce, an old answer would be good for ever. */
    t.answer.next_update = 0;
    t.max_stale = 0;
    refused(&t, "not recent");
    t.answer.this_update = now - REUSE - 4 * MINUTE_MS;
    assert_true(taken(&t).until == now + REUSE);
}

static void production_in_the_future_is_refused(void **state)
{
    struct trial t = {0};
    struct buf response = finish(begin(&t), &t);
    struct revocation_finding f;
    struct err e = {0};

    (void)state;
    /* For somebody whose clock is a day behind, although the answer itself is old enough. */
    buf_free(&response);
    t.answer = (struct answer_wanted){.this_update = now - 48 * HOUR_MS, .next_update = now + HOUR_MS};
    response = finish(begin(&t), &t);
    assert_false(ocsp_judge(buf_slice(&response), leaf.certificate, ca.certificate, NULL, OCSP_NONCE_OFF, now - 24 * HOUR_MS, 0, REUSE, &f, &e));
    assert_non_null(strstr(e.text, "in the future"));
    buf_free(&response);
}

static void the_nonce_is_ours_when_it_must_be(void **state)
{
    uint8_t old[OCSP_NONCE_SIZE];
    struct trial t = {.asked = true, .rule = OCSP_NONCE_REQUIRED, .nonce_back = nonce};

    (void)state;
    memset(old, 0x5a, sizeof old);
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.nonce_back = NULL;
    refused(&t, "does not repeat our nonce");
    t.nonce_back = old; /* an answer to an earlier question, played again */
    refused(&t, "another nonce");
    t.nonce_back = nonce;
    t.nonce_len = OCSP_NONCE_SIZE - 1; /* the beginning of ours */
    refused(&t, "another nonce");
    t.nonce_len = 0;
    t.asked = false; /* nobody can repeat what was not asked */
    refused(&t, "another nonce");
    t = (struct trial){.asked = true, .rule = OCSP_NONCE_OPTIONAL, .nonce_back = nonce};
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.nonce_back = NULL;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
    t.nonce_back = old;
    refused(&t, "another nonce");
    t.rule = OCSP_NONCE_OFF;
    t.asked = false;
    assert_int_equal(taken(&t).answer, REVOCATION_GOOD);
}

static void two_nonces_are_refused(void **state)
{
    struct trial t = {.asked = true, .rule = OCSP_NONCE_REQUIRED, .nonce_back = nonce};
    OCSP_BASICRESP *basic = begin(&t);
    X509_EXTENSION *again = X509_EXTENSION_dup(OCSP_BASICRESP_get_ext(basic, 0));

    (void)state;
    assert_int_equal(OCSP_BASICRESP_add_ext(basic, again, -1), 1);
    X509_EXTENSION_free(again);
    refused_bytes(finish(basic, &t), &t, "another nonce");
}

static void critical_extensions_that_are_unknown_are_refused(void **state)
{
    struct trial t = {0};

    (void)state;
    for (int where = 0; where < 2; where++)
        for (int critical = 0; critical < 2; critical++) {
            OCSP_BASICRESP *basic = begin(&t);
            X509_EXTENSION *unknown = revocation_unknown(critical);

            if (where == 0)
                OCSP_BASICRESP_add_ext(basic, unknown, -1);
            else
                OCSP_SINGLERESP_add_ext(OCSP_resp_get0(basic, 0), unknown, -1);
            X509_EXTENSION_free(unknown);
            if (critical)
                refused_bytes(finish(basic, &t), &t, where == 0 ? "critical extension in the OCSP response" : "critical extension in the OCSP answer");
            else
                assert_int_equal(taken_bytes(finish(basic, &t), &t).answer, REVOCATION_GOOD);
        }
}

static void a_response_carries_few_certificates(void **state)
{
    struct trial t = {.by = &responder, .chain = sk_X509_new_null()};

    (void)state;
    for (int i = 0; i < 11; i++)
        sk_X509_push(t.chain, neighbour.certificate);
    refused(&t, "more than 10 certificates");
}

static void requests_are_what_responders_read(void **state)
{
    for (int with = 0; with < 2; with++) {
        struct buf out;
        struct err e = {0};
        const uint8_t *at;
        OCSP_REQUEST *request;
        OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf.certificate, ca.certificate);

        (void)state;
        buf_init(&out, 4096);
        assert_true(ocsp_request(leaf.certificate, ca.certificate, with ? nonce : NULL, &out, &e));
        at = out.data;
        request = d2i_OCSP_REQUEST(NULL, &at, (long)out.len);
        assert_true(request != NULL && at == out.data + out.len);
        assert_int_equal(OCSP_request_onereq_count(request), 1);
        assert_int_equal(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0)), id), 0);
        assert_int_equal(OCSP_REQUEST_get_ext_count(request), with);
        if (with) {
            const ASN1_OCTET_STRING *data = X509_EXTENSION_get_data(OCSP_REQUEST_get_ext(request, 0));

            assert_int_equal(ASN1_STRING_length(data), 2 + OCSP_NONCE_SIZE);
            assert_memory_equal(ASN1_STRING_get0_data(data) + 2, nonce, sizeof nonce);
        }
        OCSP_CERTID_free(id);
        OCSP_REQUEST_free(request);
        buf_free(&out);
        buf_init(&out, 10); /* and a buffer's limit holds */
        assert_false(ocsp_request(leaf.certificate, ca.certificate, NULL, &out, &e));
        buf_free(&out);
    }
}

/* The URL that a certificate with this authorityInfoAccess gives; "": none. */
static const char *url_of(const char *access)
{
    static char url[OCSP_URL_MAX];
    const struct certificate_wanted w = {.cn = "x", .serial = 30, .extensions = {{NID_info_access, access}}};
    struct issued one = revocation_certificate(certificates_ec("P-256"), &w, &ca);

    if (!ocsp_url(one.certificate, url))
        url[0] = '\0';
    certificates_free(&one);
    return url;
}

static void the_responder_is_where_the_certificate_says(void **state)
{
    char access[2000], url[OCSP_URL_MAX];

    (void)state;
    assert_string_equal(url_of("OCSP;URI:http://ocsp.test/"), "http://ocsp.test/");
    assert_string_equal(url_of("OCSP;URI:HTTPS://ocsp.test/a"), "HTTPS://ocsp.test/a");
    assert_string_equal(url_of("caIssuers;URI:http://ca.test/,OCSP;URI:ldap://ocsp.test/,OCSP;DNS:ocsp.test,OCSP;URI:http://second.test"), "http://second.test");
    assert_string_equal(url_of("OCSP;URI:http://"), "");
    assert_string_equal(url_of("OCSP;URI:https://"), "");
    assert_string_equal(url_of("OCSP;URI:file:///etc/passwd"), "");
    assert_string_equal(url_of("OCSP;URI:http://ocsp.test/a b"), "");
    assert_string_equal(url_of("caIssuers;URI:http://ca.test/"), "");
    snprintf(access, sizeof access, "OCSP;URI:http://ocsp.test/%0*d", OCSP_URL_MAX - 1 - 17, 0);
    assert_int_equal(strlen(url_of(access)), OCSP_URL_MAX - 1);
    snprintf(access, sizeof access, "OCSP;URI:http://ocsp.test/%0*d", OCSP_URL_MAX - 17, 0);
    assert_string_equal(url_of(access), "");
    assert_false(ocsp_url(leaf.certificate, url));
}

static void rules_for_nonces_have_names(void **state)
{
    enum ocsp_nonce rule = OCSP_NONCE_REQUIRED;

    (void)state;
    assert_true(ocsp_nonce_parse("off", &rule) && rule == OCSP_NONCE_OFF);
    assert_true(ocsp_nonce_parse("optional", &rule) && rule == OCSP_NONCE_OPTIONAL);
    assert_true(ocsp_nonce_parse("required", &rule) && rule == OCSP_NONCE_REQUIRED);
    assert_false(ocsp_nonce_parse("", &rule));
    assert_false(ocsp_nonce_parse("Off", &rule));
}

/* Whose own revocation is to be asked: a delegate's, not the issuer's, and not his who is marked (RFC 6960 4.2.2.2.1). */
static void test_delegate(void **state)
{
    const struct certificate_wanted w = {.cn = "short-lived", .serial = 21, .extensions = {for_ocsp, {NID_id_pkix_OCSP_noCheck, "NULL"}}};
    struct issued marked = revocation_certificate(certificates_ec("P-256"), &w, &ca);
    const struct issued *by[] = {&ca, &responder, &marked, &neighbour};
    const X509 *expected[] = {NULL, responder.certificate, NULL, NULL};

    (void)state;
    for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
        struct trial t = {.by = by[i]};
        struct buf response = finish(begin(&t), &t);
        X509 *signer = ocsp_delegate(buf_slice(&response), leaf.certificate, ca.certificate, now);

        assert_int_equal(signer == NULL, expected[i] == NULL);
        assert_true(signer == NULL || X509_cmp(signer, expected[i]) == 0);
        X509_free(signer);
        buf_free(&response);
    }
    assert_null(ocsp_delegate(SLICE_LITERAL("nothing"), leaf.certificate, ca.certificate, now));
    certificates_free(&marked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delegate),
        cmocka_unit_test(the_issuer_answers),
        cmocka_unit_test(a_responder_of_the_issuer_answers),
        cmocka_unit_test(nobody_else_answers),
        cmocka_unit_test(a_broken_or_weak_responder_does_not_answer),
        cmocka_unit_test(the_certificate_itself_does_not_answer),
        cmocka_unit_test(a_namesake_of_the_issuer_does_not_answer),
        cmocka_unit_test(a_namesake_of_the_responder_does_not_answer),
        cmocka_unit_test(who_signed_is_who_is_named),
        cmocka_unit_test(no_changed_response_is_taken_and_no_part_of_one),
        cmocka_unit_test(responses_without_an_answer_are_refused),
        cmocka_unit_test(weak_signatures_are_refused),
        cmocka_unit_test(answers_about_others_are_refused),
        cmocka_unit_test(answers_that_do_not_hold_now_are_refused),
        cmocka_unit_test(production_in_the_future_is_refused),
        cmocka_unit_test(the_nonce_is_ours_when_it_must_be),
        cmocka_unit_test(two_nonces_are_refused),
        cmocka_unit_test(critical_extensions_that_are_unknown_are_refused),
        cmocka_unit_test(a_response_carries_few_certificates),
        cmocka_unit_test(requests_are_what_responders_read),
        cmocka_unit_test(the_responder_is_where_the_certificate_says),
        cmocka_unit_test(rules_for_nonces_have_names),
    };

    return cmocka_run_group_tests_name("ocsp", tests, set_up, tear_down);
}
