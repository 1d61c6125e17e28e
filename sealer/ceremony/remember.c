/* coffre-ceremony remember: what the seal signed last, believed from the store after its signature was verified. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "common/formats/container.h"
#include "common/formats/digest.h"
#include "common/formats/lot.h"
#include "common/system/database.h"
#include "sealer/ceremony/ceremony.h"
#include "sealer/memory.h"

static void name_vault(struct memory *m, const struct settings *s)
{
    snprintf(m->operator_id, sizeof m->operator_id, "%.4s", s->vault.operator_id);
    m->vault = (uint32_t)s->vault.number;
}

static bool genesis_memory(struct memory *m, const struct settings *s, struct slice genesis, struct err *e)
{
    struct genesis g;

    name_vault(m, s);
    if (!genesis_read(genesis, &g, e) || !digest_sha256(genesis, m->genesis, e))
        return false;
    m->signed_ms = g.date_ms;
    return (strcmp(g.operator_id, m->operator_id) == 0 && g.vault == m->vault) || err_set(e, ERR_INPUT, "genesis.xml is of another vault");
}

static bool store_locked(const struct memory *m, const char *path, struct err *e)
{
    int lock = memory_lock(path, e);
    bool ok = lock >= 0 && memory_store(m, path, e);

    if (lock >= 0)
        close(lock);
    return ok;
}

static bool make_folder(const char *path, struct err *e)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST || err_set_errno(e, ERR_FATAL, "%s", path);
}

bool ceremony_remember_genesis(const struct settings *s, struct slice genesis, struct err *e)
{
    char *path = mem_strdup(s->sealer.memory);
    struct memory m;
    bool ok;

    memory_init(&m);
    /* The daemons create the first too, but they come later. */
    ok = make_folder(s->state_dir, e) && make_folder(dirname(path), e) && genesis_memory(&m, s, genesis, e) && store_locked(&m, s->sealer.memory, e);
    memory_free(&m);
    free(path);
    return ok;
}

/* ---- from the last sealed lot -------------------------------------------------------------- */

/* As verifiers judge it: another certificate of that name is the same vault, renewed. `subject`: as in struct xades_verdict. */
static bool same_name(const char *path, const char *subject, struct err *e)
{
    char own[sizeof ((struct xades_verdict *)0)->subject] = "";
    BIO *in = BIO_new_file(path, "r"), *out = BIO_new(BIO_s_mem());
    X509 *x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    bool read = x != NULL && out != NULL && X509_NAME_print_ex(out, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0 && BIO_read(out, own, sizeof own - 1) > 0;

    X509_free(x);
    BIO_free(in);
    BIO_free(out);
    if (!read)
        return err_set_openssl(e, ERR_INPUT, "%s", path);
    return strcmp(own, subject) == 0 || err_set(e, ERR_DOUBT, "the last lot was sealed by %s, not by %s as in %s", subject, own, path);
}

static bool verify_container(const struct settings *s, struct slice container, struct lot *l, struct xades_verdict *v, struct err *e)
{
    struct container c;
    struct xades_files files;
    struct trust *t;
    struct buf pem;
    bool ok;

    if (!container_read(container, &c, NULL, e) || !ceremony_read_file(s->regulator.ca, &pem, e))
        return false;
    t = trust_new(buf_slice(&pem), e);
    buf_free(&pem);
    files = (struct xades_files){c.lot, c.sums, c.previous};
    ok = t != NULL && xades_init(e) && xades_verify(c.signatures, &files, t, v, e) &&
         same_name(s->sealer.seal_certificate, v->subject, e) && lot_read(c.lot, l, e);
    trust_free(t);
    return ok;
}

static bool lot_memory(struct memory *m, const struct settings *s, struct slice container, uint64_t number, struct err *e)
{
    struct lot l;
    struct xades_verdict v;

    if (!verify_container(s, container, &l, &v, e))
        return false;
    m->number = l.number;
    m->last = l.last;
    m->closed_ms = l.closed_ms;
    m->signed_ms = v.signing_ms;
    memcpy(m->value, v.value_digest, sizeof m->value);
    lot_free(&l);
    return (m->number == number && strcmp(l.operator_id, m->operator_id) == 0 && l.vault == m->vault) ||
           err_set(e, ERR_DOUBT, "the container in lot %llu's row is of another lot", (unsigned long long)number);
}

/* What the store says was signed last. */
static bool read_store(const struct settings *s, struct memory *m, struct err *e)
{
    const struct database_options o = {.settings = s, .extra = s->sealer.postgresql, .user = "coffre_sealer"};
    struct database *db = database_open(&o, e);
    PGresult *r = NULL;
    bool ok = false;

    if (db == NULL)
        return false;
    r = database_query(db, "SELECT v.genesis, l.lot, l.container FROM vault v LEFT JOIN "
                           "(SELECT lot, container FROM lot WHERE container IS NOT NULL ORDER BY lot DESC LIMIT 1) l ON true", NULL, 0, e);
    if (r != NULL && PQntuples(r) == 1 && !database_is_null(r, 0, 0))
        ok = genesis_memory(m, s, database_get_slice(r, 0, 0), e) &&
             (database_is_null(r, 0, 1) || lot_memory(m, s, database_get_slice(r, 0, 2), (uint64_t)database_get_i64(r, 0, 1), e));
    else if (r != NULL)
        err_set(e, ERR_INPUT, "this vault has no genesis yet");
    PQclear(r);
    database_close(db);
    return ok;
}

/* An existing memory may only be replaced when it cannot be read, or is behind. */
static int judge_existing(const struct settings *s, const struct memory *fresh)
{
    struct memory old;
    struct err e = {0};
    int status = CEREMONY_DONE;
    bool missing = false;

    memory_init(&old);
    if (memory_load(&old, s->sealer.memory, &missing, &e)) {
        if (old.number > fresh->number)
            status = ceremony_say(CEREMONY_REFUSED, "%s remembers lot %llu, the store ends at lot %llu: it was the store that went back",
                                  s->sealer.memory, (unsigned long long)old.number, (unsigned long long)fresh->number);
        else if (old.number == fresh->number)
            status = ceremony_say(CEREMONY_REFUSED, "%s remembers lot %llu already", s->sealer.memory, (unsigned long long)old.number);
    } else if (!missing) {
        printf("the file there cannot be used: %s\n", e.text);
    }
    memory_free(&old);
    return status;
}

int ceremony_remember(const struct ceremony *c)
{
    const struct settings *s = c->settings;
    struct memory m;
    struct err e = {0};
    int status;

    memory_init(&m);
    if (!read_store(s, &m, &e))
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    else if ((status = judge_existing(s, &m)) == CEREMONY_DONE)
        status = ceremony_confirm(c, "From now on the last lot signed is lot %llu, its last event %llu. Only go on when it is known to be "
                                     "the last one published.", (unsigned long long)m.number, (unsigned long long)m.last);
    if (status == CEREMONY_DONE && !store_locked(&m, s->sealer.memory, &e))
        status = ceremony_say(CEREMONY_FAILED, "%s", e.text);
    memory_free(&m);
    return status;
}
