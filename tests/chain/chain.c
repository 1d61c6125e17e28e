/* See chain.h. */
#include "tests/chain/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/formats/digest.h"
#include "common/formats/merkle.h"
#include "common/formats/sums.h"

enum { CHAIN_FILE_MAX = 256 << 20 };

void chain_write(const char *folder, const char *name, struct slice bytes)
{
    char *path = mem_printf("%s/%s", folder, name);
    FILE *f;

    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        pki_must(mkdir(path, 0755) == 0 || errno == EEXIST, path);
        *at = '/';
    }
    f = fopen(path, "wb");
    pki_must(f != NULL && fwrite(bytes.at == NULL ? (const void *)"" : bytes.at, 1, bytes.len, f) == bytes.len &&
                 fclose(f) == 0,
             path);
    free(path);
}

void chain_read(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    uint8_t part[65536];
    size_t got;

    pki_must(f != NULL, path);
    while ((got = fread(part, 1, sizeof(part), f)) > 0)
        pki_must(buf_add(out, part, got, NULL), path);
    pki_must(fclose(f) == 0, path);
}

static void chain_keep(const struct chain *c, const char *name, struct slice bytes)
{
    if (c->folder != NULL)
        chain_write(c->folder, name, bytes);
}

static void chain_keep_pem(const struct chain *c, const char *name, X509 *cert)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text;
    long len;

    pki_must(PEM_write_bio_X509(out, cert) == 1, "PEM");
    len = BIO_get_mem_data(out, &text);
    chain_keep(c, name, slice_of(text, (size_t)len));
    BIO_free(out);
}

static void chain_digest(X509 *cert, uint8_t out[32])
{
    unsigned len;

    pki_must(X509_digest(cert, EVP_sha256(), out, &len) == 1, "digest");
}

static void chain_genesis(struct chain *c)
{
    struct genesis g = {"4512", 1, c->now_ms, {0}, {0}, {0}};
    struct buf xml;

    buf_init(&xml, GENESIS_XML_MAX);
    chain_digest(c->seal.cert, g.seal);
    chain_digest(c->tsa.cert, g.tsa);
    pki_must(RAND_bytes(g.random, 32) == 1 && genesis_write(&g, &xml, NULL) &&
                 digest_sha256(buf_slice(&xml), c->link.signatures, NULL),
             "genesis");
    chain_keep(c, "certs/genesis.xml", buf_slice(&xml));
    buf_free(&xml);
}

void chain_init(struct chain *c, const char *folder, int64_t start_ms)
{
    const int64_t day = 86400000;

    memset(c, 0, sizeof(*c));
    c->folder = folder == NULL ? NULL : mem_strdup(folder);
    c->now_ms = start_ms;
    c->next_serial = 1;
    buf_init(&c->signatures, CONTAINER_SIGNATURES_MAX);
    buf_init(&c->container, CHAIN_FILE_MAX);
    buf_init(&c->sums, CHAIN_FILE_MAX);
    c->ca = pki_issue(NULL, "Test regulator CA", PKI_CA, start_ms - day, 3650);
    c->seal = pki_issue(&c->ca, "Test seal 4512/1", PKI_SEAL, start_ms - day, 365);
    c->tsa = pki_issue(&c->ca, "Test TSA 4512/1", PKI_TSA, start_ms - day, 365);
    c->regulator = pki_issue(&c->ca, "Test regulator", PKI_ENCRYPTION, start_ms - day, 365);
    chain_keep(c, NAMES_README_TXT, SLICE_LITERAL("A synthetic extraction for tests.\n"));
    chain_keep_pem(c, "certs/ca.pem", c->ca.cert);
    chain_keep_pem(c, "certs/seal.pem", c->seal.cert);
    chain_keep_pem(c, "certs/tsa.pem", c->tsa.cert);
    chain_genesis(c);
}

void chain_free(struct chain *c)
{
    free(c->folder);
    pki_free(&c->ca);
    pki_free(&c->seal);
    pki_free(&c->tsa);
    pki_free(&c->regulator);
    buf_free(&c->signatures);
    buf_free(&c->container);
    buf_free(&c->sums);
    lot_free(&c->lot);
}

void chain_event(uint64_t serial, size_t size, struct buf *out)
{
    pki_must(buf_printf(out, NULL, "<PASPMISE><IDOper>4512</IDOper><IDCoffre>1</IDCoffre><IDEvt>%" PRIu64
                        "</IDEvt><Mise>%" PRIu64 "</Mise><Texte>", serial, serial % 97) , "event");
    while (out->len + 24 < size)
        pki_must(buf_printf(out, NULL, "%" PRIu64 " ", serial), "event");
    pki_must(buf_printf(out, NULL, "</Texte></PASPMISE>\n"), "event");
}

/* Stores one file of the lot, with its line in SHA256SUMS and its leaf. */
static void chain_add_file(struct chain *c, const char *name, struct slice body, struct merkle *tree)
{
    char line[SUMS_LINE_MAX];
    uint8_t digest[32];
    size_t len;

    pki_must(digest_sha256(body, digest, NULL), "digest");
    len = sums_write_line(line, digest, name);
    merkle_add(tree, slice_of(line, len));
    pki_must(buf_add(&c->sums, line, len, NULL), "SHA256SUMS");
    chain_keep(c, name, body);
}

static void chain_add_events(struct chain *c, unsigned events, size_t size, struct merkle *tree)
{
    char name[NAMES_MAX], key_id[NAMES_MAX];
    struct buf text, body;
    uint8_t key[32];

    buf_init(&text, CHAIN_FILE_MAX);
    buf_init(&body, CHAIN_FILE_MAX);
    pki_must(RAND_bytes(key, sizeof(key)) == 1, "key");
    pki_seal_key(&c->regulator, key, &body);
    (void)names_write_key(name, c->lot.number, 1);
    (void)names_write_key_id(key_id, c->lot.number, 1);
    chain_add_file(c, name, buf_slice(&body), tree);
    for (unsigned i = 0; i < events; i++, c->next_serial++) {
        buf_reset(&text);
        buf_reset(&body);
        chain_event(c->next_serial, size, &text);
        pki_seal_event(key, key_id, buf_slice(&text), &body);
        (void)names_write_event(name, c->lot.number, c->next_serial);
        chain_add_file(c, name, buf_slice(&body), tree);
        pki_must(lot_add_type(&c->lot, SLICE_LITERAL("PASPMISE"), 1, NULL), "type");
    }
    buf_free(&text);
    buf_free(&body);
}

static void chain_header(struct chain *c, unsigned events)
{
    lot_free(&c->lot);
    memset(&c->lot, 0, sizeof(c->lot));
    memcpy(c->lot.operator_id, "4512", 5);
    c->lot.vault = 1;
    c->lot.number = c->link.number + 1;
    c->lot.first = c->next_serial;
    c->lot.last = c->next_serial + events - 1;
    c->lot.count = events;
    c->lot.opened_ms = c->now_ms;
    c->now_ms += 60000;
    c->lot.closed_ms = c->now_ms;
    c->lot.reason = events == 0 ? LOT_IDLE : LOT_AGE;
    c->lot.previous_lot = c->link.number;
    if (c->lot.number == 1)
        memcpy(c->lot.genesis, c->link.signatures, 32);
    memcpy(c->lot.previous_signatures, c->lot.number == 1 ? c->lot.previous_signatures : c->link.signatures, 32);
    memcpy(c->lot.previous_value, c->link.value, 32);
    c->lot.recipient_count = 1;
    chain_digest(c->regulator.cert, c->lot.recipients[0]);
}

void chain_sign(const struct pki_identity *seal, const struct pki_identity *tsa, const struct xades_files *files,
                int64_t at_ms, struct buf *out)
{
    struct xades_digests digests = {.has_previous = files->previous.at != NULL};
    struct buf der, value, token;
    struct slice cert;
    struct xades_draft *draft;
    uint8_t imprint[32];
    struct err e = {0};

    buf_init(&der, 8192);
    buf_init(&value, XADES_SIGNATURE_MAX);
    buf_init(&token, TIMESTAMP_TOKEN_MAX);
    pki_must(digest_sha256(files->lot, digests.lot, &e) && digest_sha256(files->sums, digests.sums, &e) &&
                 digest_sha256(files->previous, digests.previous, &e), "digests");
    pki_der(seal, &der);
    cert = buf_slice(&der);
    draft = xades_begin(&digests, &cert, 1, at_ms, XADES_RSA_SHA256, &e);
    pki_must(draft != NULL, e.text);
    pki_sign(seal, false, xades_signed_info(draft), &value);
    pki_must(xades_set_value(draft, buf_slice(&value), &e) && xades_imprint(draft, imprint, &e), e.text);
    pki_stamp(tsa, imprint, at_ms + 250, false, &token);
    pki_must(xades_finish(draft, buf_slice(&token), out, &e), e.text);
    xades_free(draft);
    buf_free(&der);
    buf_free(&value);
    buf_free(&token);
}

/* What the next lot will say of this one. */
static void chain_link(struct chain *c)
{
    struct xades x;
    struct err e = {0};

    pki_must(xades_read(buf_slice(&c->signatures), &x, &e) && digest_sha256(buf_slice(&x.value), c->link.value, &e) &&
                 digest_sha256(buf_slice(&c->signatures), c->link.signatures, &e), e.text);
    c->link.number = c->lot.number;
    c->link.last = c->lot.last;
    c->link.closed_ms = c->lot.closed_ms;
    xades_clear(&x);
}

void chain_add_lot(struct chain *c, unsigned events, size_t size)
{
    struct merkle tree;
    struct buf xml, previous;
    struct container parts;
    struct xades_files files;
    char name[NAMES_MAX];
    struct err e = {0};

    merkle_init(&tree);
    buf_init(&xml, LOT_XML_MAX);
    previous = c->signatures;
    buf_init(&c->signatures, CONTAINER_SIGNATURES_MAX);
    buf_reset(&c->sums);
    buf_reset(&c->container);
    chain_header(c, events);
    if (events > 0)
        chain_add_events(c, events, size, &tree);
    pki_must(merkle_root(&tree, c->lot.root, &e) && lot_check(&c->lot, &e) &&
                 lot_check_follows(&c->lot, &c->link, &e) && lot_write(&c->lot, &xml, &e), e.text);
    files = (struct xades_files){buf_slice(&xml), buf_slice(&c->sums), buf_slice(&previous)};
    if (c->lot.number == 1)
        files.previous = slice_of(NULL, 0);
    chain_sign(&c->seal, &c->tsa, &files, c->now_ms, &c->signatures);
    parts = (struct container){buf_slice(&c->signatures), files.lot, files.sums, files.previous};
    pki_must(container_write(&parts, &c->container, &e) && c->container.len == container_length(&parts), e.text);
    (void)names_write_lot(name, c->lot.number);
    chain_keep(c, name, buf_slice(&c->container));
    chain_link(c);
    merkle_free(&tree);
    buf_free(&xml);
    buf_free(&previous);
}
