/* coffre-ceremony genesis: the store (store.c) and the birth certificate. Continues where it was interrupted. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "common/formats/digest.h"
#include "common/formats/hex.h"
#include "common/formats/lot.h"
#include "common/system/durable.h"
#include "sealer/ceremony/ceremony.h"
#include "sealer/memory.h"

enum { TEXT_MAX = 4 << 20 };

/* ---- birth certificate --------------------------------------------------------------------- */

static bool digest_certificate(const char *path, uint8_t digest[32], struct err *e)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    unsigned len = 32;
    bool ok = x != NULL && X509_digest(x, EVP_sha256(), digest, &len) == 1;

    X509_free(x);
    BIO_free(in);
    return ok || err_set_openssl(e, ERR_INPUT, "%s", path);
}

static bool make_genesis(const struct settings *s, struct buf *xml, struct err *e)
{
    struct genesis g = {.vault = (uint32_t)s->vault.number};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    g.date_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    snprintf(g.operator_id, sizeof g.operator_id, "%.4s", s->vault.operator_id);
    if (RAND_bytes(g.random, sizeof g.random) != 1)
        return err_set_openssl(e, ERR_FATAL, "random numbers");
    return digest_certificate(s->sealer.seal_certificate, g.seal, e) && digest_certificate(s->sealer.tsa_certificate, g.tsa, e) &&
           genesis_write(&g, xml, e);
}

static bool gather_certificates(const struct settings *s, struct buf *pem, struct err *e)
{
    const char *const files[] = {s->regulator.ca, s->sealer.seal_certificate, s->sealer.tsa_certificate};
    bool ok = true;

    for (unsigned i = 0; i < 3 && ok; i++) {
        struct buf one;

        ok = ceremony_read_file(files[i], &one, e);
        if (ok) {
            ok = buf_add_slice(pem, buf_slice(&one), e) && buf_printf(pem, e, "\n");
            buf_free(&one);
        }
    }
    return ok;
}

static bool write_genesis(const struct settings *s, PGconn *db, struct buf *xml, struct err *e)
{
    struct buf pem;
    bool ok;

    buf_init(&pem, TEXT_MAX);
    ok = make_genesis(s, xml, e) && gather_certificates(s, &pem, e);
    if (ok) {
        struct slice x = buf_slice(xml), p = buf_slice(&pem);
        const char *const values[] = {(const char *)x.at, (const char *)p.at};
        const int lengths[] = {(int)x.len, (int)p.len}, formats[] = {1, 1};
        PGresult *r = PQexecParams(db, "UPDATE vault SET genesis = $1, certificates = $2 WHERE genesis IS NULL", 2, NULL, values,
                                   lengths, formats, 0);

        ok = (PQresultStatus(r) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(r), "1") == 0) ||
             err_set(e, ERR_FATAL, "PostgreSQL: genesis not written: %s", PQerrorMessage(db));
        PQclear(r);
    }
    buf_free(&pem);
    return ok;
}

/* The row of this vault: its genesis.xml (empty when none yet) and whether a lot is sealed. */
static bool read_vault(const struct settings *s, PGconn *db, struct buf *xml, bool *sealed, struct err *e)
{
    PGresult *r = PQexecParams(db, "SELECT genesis, EXISTS (SELECT FROM lot WHERE container IS NOT NULL), operator, number::text FROM vault",
                               0, NULL, NULL, NULL, NULL, 1);
    bool ok = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1;
    char number[16];

    snprintf(number, sizeof number, "%llu", (unsigned long long)s->vault.number);
    if (!ok)
        err_set(e, ERR_FATAL, "PostgreSQL: the vault's row cannot be read: %s", PQerrorMessage(db));
    else if (strcmp(PQgetvalue(r, 0, 2), s->vault.operator_id) != 0 || strcmp(PQgetvalue(r, 0, 3), number) != 0)
        ok = err_set(e, ERR_INPUT, "this database is of vault %s-%s", PQgetvalue(r, 0, 2), PQgetvalue(r, 0, 3));
    else
        ok = buf_add(xml, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0), e);
    *sealed = ok && *PQgetvalue(r, 0, 1) != 0;
    PQclear(r);
    return ok;
}

/* ---- the act ------------------------------------------------------------------------------- */

static bool memory_exists(const struct settings *s)
{
    struct memory m;
    bool missing = false, loaded;

    memory_init(&m);
    loaded = memory_load(&m, s->sealer.memory, &missing, NULL);
    memory_free(&m);
    return loaded || !missing;
}

/* For the minutes of the ceremony: what coffre-verify --genesis is given, years later. */
static void print_minutes(struct slice xml)
{
    uint8_t digest[32];
    char text[65];

    if (!digest_sha256(xml, digest, NULL))
        return;
    hex_write(text, slice_of(digest, sizeof digest));
    printf("SHA-256 of genesis.xml, to be written in the minutes: %s\n", text);
}

static int finish(const struct ceremony *c, PGconn *db, struct buf *xml, bool sealed)
{
    const struct settings *s = c->settings;
    bool memory = memory_exists(s), born = xml->len > 0;
    struct err e = {0};

    if (memory && born)
        return ceremony_say(CEREMONY_REFUSED, "this vault has its genesis already");
    if (memory)
        return ceremony_say(CEREMONY_REFUSED, "%s exists, of a vault that this database does not know: nothing was written", s->sealer.memory);
    if (sealed)
        return ceremony_say(CEREMONY_REFUSED, "lots are sealed and %s is missing: see coffre-ceremony remember", s->sealer.memory);
    if (!born && !write_genesis(s, db, xml, &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    if (!ceremony_remember_genesis(s, buf_slice(xml), &e))
        return ceremony_say(CEREMONY_FAILED, "%s", e.text);
    printf("genesis of vault %s-%llu written; the seal's memory is %s\n", s->vault.operator_id, (unsigned long long)s->vault.number,
           s->sealer.memory);
    print_minutes(buf_slice(xml));
    return CEREMONY_DONE;
}

int ceremony_genesis(const struct ceremony *c)
{
    char *name = ceremony_database_name(c);
    struct err e = {0};
    struct buf xml;
    bool sealed = false;
    PGconn *db;
    int status = ceremony_confirm(c, "Database %s becomes vault %s-%llu: its number can never change.", name,
                                  c->settings->vault.operator_id, (unsigned long long)c->settings->vault.number);

    if (status != CEREMONY_DONE) {
        free(name);
        return status;
    }
    buf_init(&xml, GENESIS_XML_MAX);
    db = ceremony_store_open(c, name, &e);
    if (db == NULL || !ceremony_store_load(c, db, &e) || !read_vault(c->settings, db, &xml, &sealed, &e))
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    else
        status = finish(c, db, &xml, sealed);
    PQfinish(db);
    buf_free(&xml);
    free(name);
    return status;
}
