/*
 * coffre-test-chain: makes and mends synthetic extractions, so that damage can be done to them by scripts.
 *   make DIR [LOTS] [EVENTS] [SIZE] [START_MS]  DIR/vault (extraction), DIR/pki (every key, with a foreign CA)
 *   zip TREE OUT [FIRST LAST]            packs a segment
 *   parts CONTAINER DIR                  lot.xml, SHA256SUMS, signatures0.xml, previous-signatures.xml
 *   container DIR OUT                    the reverse
 *   seal DIR PKI SEAL TSA AT_MS          writes DIR/signatures0.xml over DIR's files with PKI/SEAL and PKI/TSA
 *   root SUMS                            prints the Merkle root of a SHA256SUMS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/formats/hex.h"
#include "common/formats/merkle.h"
#include "common/formats/sums.h"
#include "tests/chain/chain.h"

enum { FILE_MAX = 256 << 20 };

static void make(const char *dir, unsigned lots, unsigned events, size_t size, int64_t start_ms)
{
    char *vault = mem_printf("%s/vault", dir), *pki = mem_printf("%s/pki", dir);
    struct pki_identity other;
    struct chain c;

    pki_must(mkdir(vault, 0755) == 0 && mkdir(pki, 0755) == 0, dir);
    chain_init(&c, vault, start_ms);
    pki_save(&c.ca, pki, "ca");
    pki_save(&c.seal, pki, "seal");
    pki_save(&c.tsa, pki, "tsa");
    pki_save(&c.regulator, pki, "regulator");
    other = pki_issue(&c.ca, "Test reader", PKI_CLIENT, start_ms - 86400000, 365); /* same CA, wrong usage */
    pki_save(&other, pki, "reader");
    pki_free(&other);
    other = pki_issue(&c.ca, "Test seal 9999/1", PKI_SEAL, start_ms - 86400000, 365); /* another operator's */
    pki_save(&other, pki, "seal-other");
    pki_free(&other);
    other = pki_issue(&c.ca, "Test regulator 2", PKI_ENCRYPTION, start_ms - 86400000, 365);
    pki_save(&other, pki, "regulator-other");
    pki_free(&other);
    other = pki_issue(&c.ca, "Test seal 4512/1", PKI_SEAL, start_ms - 20 * 86400000LL, 10); /* over before the first lot */
    pki_save(&other, pki, "seal-expired");
    pki_free(&other);
    other = pki_issue(&c.ca, "Test TSA 4512/1", PKI_TSA, start_ms - 86400000, 365); /* not the one of the genesis */
    pki_save(&other, pki, "tsa-other");
    pki_free(&other);
    other = pki_issue(NULL, "Foreign CA", PKI_CA, start_ms - 86400000, 365);
    pki_save(&other, pki, "foreign-ca");
    struct pki_identity forged = pki_issue(&other, "Test seal 4512/1", PKI_SEAL, start_ms - 86400000, 365);
    struct pki_identity clock = pki_issue(&other, "Test TSA 4512/1", PKI_TSA, start_ms - 86400000, 365);

    pki_save(&forged, pki, "foreign-seal");
    pki_save(&clock, pki, "foreign-tsa");
    pki_free(&forged);
    pki_free(&clock);
    pki_free(&other);
    for (unsigned i = 1; i <= lots; i++)
        chain_add_lot(&c, i == 4 ? 0 : events, size); /* lot 4 is empty */
    chain_free(&c);
    free(vault);
    free(pki);
}

static void load(const char *dir, const char *name, struct buf *out)
{
    char *path = mem_printf("%s/%s", dir, name);

    buf_init(out, FILE_MAX);
    if (access(path, F_OK) == 0)
        chain_read(path, out);
    free(path);
}

static void container(const char *dir, const char *out)
{
    struct buf lot, sums, signatures, previous, bytes;
    struct container parts;
    FILE *f = fopen(out, "wb");

    buf_init(&bytes, FILE_MAX);
    load(dir, CONTAINER_LOT, &lot);
    load(dir, CONTAINER_SUMS, &sums);
    load(dir, "signatures0.xml", &signatures);
    load(dir, CONTAINER_PREVIOUS, &previous);
    parts = (struct container){buf_slice(&signatures), buf_slice(&lot), buf_slice(&sums), buf_slice(&previous)};
    pki_must(f != NULL && container_write(&parts, &bytes, NULL) &&
                 fwrite(buf_slice(&bytes).at, 1, bytes.len, f) == bytes.len && fclose(f) == 0, out);
    buf_free(&lot);
    buf_free(&sums);
    buf_free(&signatures);
    buf_free(&previous);
    buf_free(&bytes);
}

static void split(const char *path, const char *dir)
{
    struct container parts;
    struct buf bytes;
    struct err e = {0};

    buf_init(&bytes, FILE_MAX);
    chain_read(path, &bytes);
    pki_must(container_read(buf_slice(&bytes), &parts, NULL, &e), e.text);
    chain_write(dir, CONTAINER_LOT, parts.lot);
    chain_write(dir, CONTAINER_SUMS, parts.sums);
    chain_write(dir, "signatures0.xml", parts.signatures);
    if (parts.previous.at != NULL)
        chain_write(dir, CONTAINER_PREVIOUS, parts.previous);
    buf_free(&bytes);
}

static void seal(const char *dir, const char *pki, const char *with, const char *clock, int64_t at_ms)
{
    struct pki_identity key = pki_load(pki, with), tsa = pki_load(pki, clock);
    struct buf lot, sums, previous, out;
    struct xades_files files;

    buf_init(&out, CONTAINER_SIGNATURES_MAX);
    load(dir, CONTAINER_LOT, &lot);
    load(dir, CONTAINER_SUMS, &sums);
    load(dir, CONTAINER_PREVIOUS, &previous);
    files = (struct xades_files){buf_slice(&lot), buf_slice(&sums), buf_slice(&previous)};
    chain_sign(&key, &tsa, &files, at_ms, &out);
    chain_write(dir, "signatures0.xml", buf_slice(&out));
    pki_free(&key);
    pki_free(&tsa);
    buf_free(&lot);
    buf_free(&sums);
    buf_free(&previous);
    buf_free(&out);
}

static void root(const char *path)
{
    struct buf text;
    struct merkle tree;
    struct sums_reader r;
    struct sums_line line;
    uint8_t digest[32];
    char hex[65];

    buf_init(&text, FILE_MAX);
    chain_read(path, &text);
    merkle_init(&tree);
    r = sums_read(buf_slice(&text));
    while (sums_next(&r, &line, NULL) == SUMS_LINE)
        merkle_add(&tree, line.whole);
    pki_must(r.rest.len == 0 && merkle_root(&tree, digest, NULL), path);
    hex_write(hex, slice_of(digest, 32));
    (void)puts(hex);
    merkle_free(&tree);
    buf_free(&text);
}

static long long argument(int argc, char **argv, int at, long long otherwise)
{
    return at < argc ? atoll(argv[at]) : otherwise;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "make") == 0 && argc >= 3)
        make(argv[2], (unsigned)argument(argc, argv, 3, 7), (unsigned)argument(argc, argv, 4, 5),
             (size_t)argument(argc, argv, 5, 600), argument(argc, argv, 6, 1767268800000)); /* 2026-01-01T12:00Z */
    else if (strcmp(what, "zip") == 0 && argc >= 4)
        chain_pack(argv[2], argv[3], (uint64_t)argument(argc, argv, 4, 0),
                   (uint64_t)argument(argc, argv, 5, 1000000000));
    else if (strcmp(what, "parts") == 0 && argc == 4)
        split(argv[2], argv[3]);
    else if (strcmp(what, "container") == 0 && argc == 4)
        container(argv[2], argv[3]);
    else if (strcmp(what, "seal") == 0 && argc == 7)
        seal(argv[2], argv[3], argv[4], argv[5], atoll(argv[6]));
    else if (strcmp(what, "root") == 0 && argc == 3)
        root(argv[2]);
    else
        return fputs("coffre-test-chain: make, zip, parts, container, seal or root\n", stderr), 2;
    return 0;
}
