/* Seals: made without a private key, verified twice; every way of bending one is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <libxml/c14n.h>
#include <libxml/parser.h>
#include <openssl/pem.h>

#include "common/formats/digest.h"
#include "tests/chain/chain.h"

enum { START_DAY = 86400000 };
static const int64_t start_ms = 1700000000000; /* certificates of then are over by now */

static struct chain chain;
static struct trust *anchors;
static struct container parts;   /* lot 2 */
static struct buf kept;          /* its container */
static struct buf other;         /* signatures0.xml of lot 1 */

static struct trust *trust_of(const struct pki_identity *id)
{
    BIO *out = BIO_new(BIO_s_mem());
    struct trust *t;
    char *text;
    long len;

    assert_int_equal(PEM_write_bio_X509(out, id->cert), 1);
    len = BIO_get_mem_data(out, &text);
    t = trust_new(slice_of(text, (size_t)len), NULL);
    assert_non_null(t);
    BIO_free(out);
    return t;
}

static int set_up(void **state)
{
    (void)state;
    assert_true(xades_init(NULL));
    chain_init(&chain, NULL, start_ms);
    chain_add_lot(&chain, 3, 200);
    buf_init(&other, CONTAINER_SIGNATURES_MAX);
    assert_true(buf_add_slice(&other, buf_slice(&chain.signatures), NULL));
    chain_add_lot(&chain, 2, 200);
    buf_init(&kept, 1 << 24);
    assert_true(buf_add_slice(&kept, buf_slice(&chain.container), NULL));
    assert_true(container_read(buf_slice(&kept), &parts, NULL, NULL));
    anchors = trust_of(&chain.ca);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    trust_free(anchors);
    buf_free(&kept);
    buf_free(&other);
    chain_free(&chain);
    xades_shutdown();
    return 0;
}

static struct xades_files files_of(const struct container *c)
{
    return (struct xades_files){c->lot, c->sums, c->previous};
}

static enum xades_fault fault_of(struct slice xml, struct xades_files files, struct trust *t)
{
    struct xades_verdict v;
    struct err e = {0};
    bool ok = xades_verify(xml, &files, t, &v, &e);

    assert_int_equal(ok, v.fault == XADES_FAULT_NONE);
    if (!ok)
        assert_true(e.text[0] != '\0');
    return v.fault;
}

static void a_seal_holds_after_its_certificates_are_over(void **state)
{
    struct xades_files files = files_of(&parts);
    struct xades_verdict v;
    struct err e = {0};

    (void)state;
    if (!xades_verify(parts.signatures, &files, anchors, &v, &e))
        fail_msg("%s", e.text);
    assert_int_equal(v.fault, XADES_FAULT_NONE);
    assert_true(v.stamped_ms == v.signing_ms + 250);
    assert_string_equal(v.subject, "CN=Test seal 4512/1");
}

/* Second implementation: libxml2's exclusive canonicalisation gives the very bytes that stand in the file. */
static void assert_canonical(xmlDoc *doc, xmlNode *node, struct slice wanted)
{
    xmlChar *out = NULL;
    xmlDoc *part = xmlNewDoc(BAD_CAST "1.0");
    int len;

    xmlDocSetRootElement(part, xmlDocCopyNode(node, part, 1));
    xmlReconciliateNs(part, xmlDocGetRootElement(part));
    len = xmlC14NDocDumpMemory(part, NULL, XML_C14N_EXCLUSIVE_1_0, NULL, 0, &out);
    assert_true(len >= 0 && slice_equal(slice_of(out, (size_t)len), wanted));
    xmlFree(out);
    xmlFreeDoc(part);
    (void)doc;
}

static xmlNode *find(xmlNode *node, const char *name)
{
    for (; node != NULL; node = node->next) {
        xmlNode *inside;

        if (node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0)
            return node;
        inside = find(node->children, name);
        if (inside != NULL)
            return inside;
    }
    return NULL;
}

static void signed_parts_stand_in_canonical_form(void **state)
{
    struct xades x;
    xmlDoc *doc = xmlReadMemory((const char *)parts.signatures.at, (int)parts.signatures.len, NULL, NULL, XML_PARSE_NONET);

    (void)state;
    assert_non_null(doc);
    assert_true(xades_read(parts.signatures, &x, NULL));
    assert_canonical(doc, find(xmlDocGetRootElement(doc), "SignedInfo"), x.signed_info);
    assert_canonical(doc, find(xmlDocGetRootElement(doc), "SignatureValue"), x.value_element);
    assert_canonical(doc, find(xmlDocGetRootElement(doc), "SignedProperties"), x.signed_properties);
    xades_clear(&x);
    xmlFreeDoc(doc);
}

static void changed_files_are_named(void **state)
{
    struct xades_files files;

    (void)state;
    files = files_of(&parts);
    files.lot.len--;
    assert_int_equal(fault_of(parts.signatures, files, anchors), XADES_FAULT_LOT);
    files = files_of(&parts);
    files.sums.len--;
    assert_int_equal(fault_of(parts.signatures, files, anchors), XADES_FAULT_SUMS);
    files = files_of(&parts);
    files.previous.len--;
    assert_int_equal(fault_of(parts.signatures, files, anchors), XADES_FAULT_PREVIOUS);
    files.previous = slice_of(NULL, 0);
    assert_int_equal(fault_of(parts.signatures, files, anchors), XADES_FAULT_PREVIOUS);
    assert_int_equal(fault_of(buf_slice(&other), files_of(&parts), anchors), XADES_FAULT_LOT);
}

/* One bit of every byte: nothing passes, whatever it is part of. */
static void every_byte_counts(void **state)
{
    uint8_t *bent = mem_alloc(parts.signatures.len);
    struct xades_files files = files_of(&parts);

    (void)state;
    memcpy(bent, parts.signatures.at, parts.signatures.len);
    for (size_t i = 0; i < parts.signatures.len; i++) {
        struct xades_verdict v;

        bent[i] ^= (uint8_t)(1 << i % 8);
        if (xades_verify(slice_of(bent, parts.signatures.len), &files, anchors, &v, NULL))
            fail_msg("byte %zu of %zu can be changed", i, parts.signatures.len);
        bent[i] ^= (uint8_t)(1 << i % 8);
    }
    free(bent);
}

/* The same files sealed again with these identities: what a forger does. */
static enum xades_fault reseal(const struct pki_identity *seal, const struct pki_identity *tsa, struct trust *t)
{
    struct xades_files files = files_of(&parts);
    struct buf out;
    enum xades_fault fault;

    buf_init(&out, CONTAINER_SIGNATURES_MAX);
    chain_sign(seal, tsa, &files, start_ms + 1000, &out);
    fault = fault_of(buf_slice(&out), files, t);
    buf_free(&out);
    return fault;
}

static void certificates_must_be_meant_for_it(void **state)
{
    struct pki_identity foreign = pki_issue(NULL, "Foreign CA", PKI_CA, start_ms - START_DAY, 365);
    struct pki_identity seal = pki_issue(&foreign, "Test seal 4512/1", PKI_SEAL, start_ms - START_DAY, 365);
    struct pki_identity tsa = pki_issue(&foreign, "Test TSA 4512/1", PKI_TSA, start_ms - START_DAY, 365);
    struct pki_identity client = pki_issue(&chain.ca, "Reader", PKI_CLIENT, start_ms - START_DAY, 365);
    struct pki_identity late = pki_issue(&chain.ca, "Test seal 4512/1", PKI_SEAL, start_ms + START_DAY, 365);
    struct pki_identity over = pki_issue(&chain.ca, "Test seal 4512/1", PKI_SEAL, start_ms - 9LL * START_DAY, 8);

    (void)state;
    assert_int_equal(reseal(&chain.seal, &chain.tsa, anchors), XADES_FAULT_NONE);
    assert_int_equal(reseal(&seal, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&client, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&chain.tsa, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&chain.ca, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&late, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&over, &chain.tsa, anchors), XADES_FAULT_CERTIFICATE);
    assert_int_equal(reseal(&chain.seal, &tsa, anchors), XADES_FAULT_TIMESTAMP_CERTIFICATE);
    pki_free(&foreign);
    pki_free(&seal);
    pki_free(&tsa);
    pki_free(&client);
    pki_free(&late);
    pki_free(&over);
}

/* A finished document with this token over lot 2's files. */
static enum xades_fault with_token(struct slice token)
{
    struct xades_files files = files_of(&parts);
    struct xades_digests digests = {.has_previous = true};
    struct xades_draft *draft;
    struct buf der, value, out;
    struct slice cert;
    enum xades_fault fault;

    buf_init(&der, 8192);
    buf_init(&value, XADES_SIGNATURE_MAX);
    buf_init(&out, CONTAINER_SIGNATURES_MAX);
    assert_true(digest_sha256(files.lot, digests.lot, NULL) && digest_sha256(files.sums, digests.sums, NULL) &&
                digest_sha256(files.previous, digests.previous, NULL));
    pki_der(&chain.seal, &der);
    cert = buf_slice(&der);
    draft = xades_begin(&digests, &cert, 1, start_ms, XADES_RSA_SHA256, NULL);
    assert_non_null(draft);
    pki_sign(&chain.seal, false, xades_signed_info(draft), &value);
    assert_true(xades_set_value(draft, buf_slice(&value), NULL));
    if (token.len == 0) { /* made here: with the old attribute */
        uint8_t imprint[32];
        struct buf made;

        buf_init(&made, TIMESTAMP_TOKEN_MAX);
        assert_true(xades_imprint(draft, imprint, NULL));
        pki_stamp(&chain.tsa, imprint, token.at == NULL ? start_ms : start_ms + 2LL * START_DAY, token.at == NULL, &made);
        assert_true(xades_finish(draft, buf_slice(&made), &out, NULL));
        buf_free(&made);
    } else {
        assert_true(xades_finish(draft, token, &out, NULL));
    }
    fault = fault_of(buf_slice(&out), files, anchors);
    xades_free(draft);
    buf_free(&der);
    buf_free(&value);
    buf_free(&out);
    return fault;
}

static void time_stamps_must_belong(void **state)
{
    struct xades x;

    (void)state;
    assert_true(xades_read(buf_slice(&other), &x, NULL));
    assert_int_equal(with_token(buf_slice(&x.token)), XADES_FAULT_TIMESTAMP_IMPRINT); /* transplanted */
    assert_int_equal(with_token(SLICE_LITERAL("not a token")), XADES_FAULT_TIMESTAMP_FORM);
    assert_int_equal(with_token(slice_of(NULL, 0)), XADES_FAULT_TIMESTAMP_FORM);      /* ESSCertID with SHA-1 */
    assert_int_equal(with_token(slice_of("", 0)), XADES_FAULT_TIME);                  /* two days later */
    xades_clear(&x);
}

static void nothing_wrong_is_time_stamped(void **state)
{
    struct xades_digests digests = {.has_previous = false};
    struct buf der, value;
    struct slice cert;
    struct xades_draft *draft;
    uint8_t imprint[32];

    (void)state;
    buf_init(&der, 8192);
    buf_init(&value, XADES_SIGNATURE_MAX);
    pki_der(&chain.seal, &der);
    cert = buf_slice(&der);
    draft = xades_begin(&digests, &cert, 1, start_ms, XADES_RSA_SHA256, NULL);
    assert_non_null(draft);
    assert_false(xades_imprint(draft, imprint, NULL));
    pki_sign(&chain.tsa, false, xades_signed_info(draft), &value); /* another key */
    assert_false(xades_set_value(draft, buf_slice(&value), NULL));
    assert_false(xades_imprint(draft, imprint, NULL));
    assert_null(xades_begin(&digests, &cert, 0, start_ms, XADES_RSA_SHA256, NULL));
    xades_free(draft);
    buf_free(&der);
    buf_free(&value);
}

static void pss_has_its_place(void **state)
{
    struct xades_digests digests = {.has_previous = false};
    struct xades_files files = {parts.lot, parts.sums, {NULL, 0}};
    struct buf der, value, token, out;
    struct slice cert;
    struct xades_draft *draft;
    uint8_t imprint[32];

    (void)state;
    buf_init(&der, 8192);
    buf_init(&value, XADES_SIGNATURE_MAX);
    buf_init(&token, TIMESTAMP_TOKEN_MAX);
    buf_init(&out, CONTAINER_SIGNATURES_MAX);
    assert_true(digest_sha256(files.lot, digests.lot, NULL) && digest_sha256(files.sums, digests.sums, NULL));
    pki_der(&chain.seal, &der);
    cert = buf_slice(&der);
    draft = xades_begin(&digests, &cert, 1, start_ms, XADES_RSA_PSS_SHA256, NULL);
    pki_sign(&chain.seal, true, xades_signed_info(draft), &value);
    assert_true(xades_set_value(draft, buf_slice(&value), NULL) && xades_imprint(draft, imprint, NULL));
    pki_stamp(&chain.tsa, imprint, start_ms, false, &token);
    assert_true(xades_finish(draft, buf_slice(&token), &out, NULL));
    assert_int_equal(fault_of(buf_slice(&out), files, anchors), XADES_FAULT_NONE);
    xades_free(draft);
    buf_free(&der);
    buf_free(&value);
    buf_free(&token);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_holds_after_its_certificates_are_over),
        cmocka_unit_test(signed_parts_stand_in_canonical_form),
        cmocka_unit_test(changed_files_are_named),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(certificates_must_be_meant_for_it),
        cmocka_unit_test(time_stamps_must_belong),
        cmocka_unit_test(nothing_wrong_is_time_stamped),
        cmocka_unit_test(pss_has_its_place),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
