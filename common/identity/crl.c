/* The CRLs in force: see crl.h. */
#include "common/identity/crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/identity/crl_scope.h"
#include "common/identity/crl_stream.h"

enum { LISTS_MAX = 1000 };

struct crl_set {
    struct crl_list **lists; /* owned; those in force first */
    size_t count, in_force;
    struct crl_list *left[LISTS_MAX]; /* owned, without entries: the newest that was there, of each issuer, key and scope of which none is in force; by when they left */
    size_t left_count;
    struct crl_streams streams; /* of all these */
    uint64_t generation;
};

/* What one source gives. */
struct batch {
    struct crl_list *lists[LISTS_MAX]; /* owned */
    size_t count;
};

struct crl_set *crl_set_new(void)
{
    return mem_zalloc(1, sizeof(struct crl_set));
}

void crl_set_free(struct crl_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        crl_list_free(s->lists[i]);
    for (size_t i = 0; i < s->left_count; i++)
        crl_list_free(s->left[i]);
    crl_streams_free(&s->streams);
    free(s->lists);
    free(s);
}

/* Whether this very list is there from this source. */
static bool is_held(const struct crl_stream *stream, const struct crl_list *l)
{
    const struct crl_list *held = stream == NULL ? NULL : stream->first;

    while (held != NULL && (strcmp(held->source, l->source) != 0 || memcmp(held->digest, l->digest, sizeof l->digest) != 0))
        held = held->next;
    return held != NULL;
}

/* Nobody goes back behind a list in force: what was revoked since would be good again; nor behind one that was taken away, by taking files away. What is held already is not going back. */
static bool check_order(const struct crl_set *s, const struct crl_list *l, struct err *e)
{
    const struct crl_stream *stream = crl_streams_find(&s->streams, l);
    const struct crl_list *other;

    if (stream == NULL || is_held(stream, l))
        return true;
    for (other = stream->first; other != NULL; other = other->next)
        if (!other->superseded && crl_list_older(l, other))
            return err_set(e, ERR_INPUT, "older than the list in force of %s, number %s from %s (RFC 5280 5.2.3)", l->issuer_text,
                           *other->number == '\0' ? "none" : other->number, other->source);
    other = stream->left;
    if (other != NULL && crl_list_older(l, other))
        return err_set(e, ERR_INPUT, "older than the list of %s that was taken away, number %s from %s (RFC 5280 5.2.3)", l->issuer_text,
                       *other->number == '\0' ? "none" : other->number, other->source);
    return true;
}

struct terms {
    const char *source;
    STACK_OF(X509) *authorities;
    int64_t now, max_stale;
};

static bool add_list(const struct crl_set *s, struct batch *b, struct slice der, const struct terms *t, struct err *e)
{
    struct crl_list *l;

    if (b->count == LISTS_MAX)
        return err_set(e, ERR_INPUT, "more than %d lists", LISTS_MAX);
    l = crl_list_new(t->source, der, t->authorities, t->now, t->max_stale, e);
    if (l == NULL)
        return err_prefix(e, "list %zu", b->count + 1);
    b->lists[b->count++] = l;
    return check_order(s, l, e) || err_prefix(e, "list %zu", b->count);
}

static bool add_block(const struct crl_set *s, struct batch *b, BIO *in, bool *end, const struct terms *t, struct err *e)
{
    char *name = NULL, *header = NULL;
    uint8_t *data = NULL;
    long len = 0;
    bool ok;

    *end = PEM_read_bio(in, &name, &header, &data, &len) != 1;
    if (*end)
        ok = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE || err_set(e, ERR_INPUT, "broken PEM after list %zu", b->count);
    else
        ok = strcmp(name, PEM_STRING_X509_CRL) != 0 || add_list(s, b, slice_of(data, (size_t)len), t, e);
    ERR_clear_error();
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    return ok;
}

static bool add_pem(const struct crl_set *s, struct batch *b, struct slice bytes, const struct terms *t, struct err *e)
{
    BIO *in = BIO_new_mem_buf(bytes.at, (int)bytes.len);
    bool end = in == NULL, ok = true; /* OpenSSL opens nothing on no bytes */

    while (ok && !end)
        ok = add_block(s, b, in, &end, t, e);
    BIO_free(in);
    return ok && (b->count != 0 || err_set(e, ERR_INPUT, "not a CRL, neither DER nor PEM"));
}

/* DER of this size has a long length; a text that begins with "0" does not look so. */
static bool is_der(struct slice bytes)
{
    return bytes.len >= 2 && bytes.at[0] == PKIX_SEQUENCE && bytes.at[1] >= 0x80;
}

static bool add_bytes(const struct crl_set *s, struct batch *b, struct slice bytes, size_t most, const struct terms *t, struct err *e)
{
    if (bytes.len > most || bytes.len > INT_MAX)
        return err_set(e, ERR_INPUT, "%zu bytes: over the limit of %zu", bytes.len, most);
    return is_der(bytes) ? add_list(s, b, bytes, t, e) : add_pem(s, b, bytes, t, e);
}

/* Forgets one that was taken away: the only one of its stream. */
static void forget_left(struct crl_set *s, struct crl_list *l)
{
    size_t at = 0;

    while (s->left[at] != l)
        at++;
    s->left_count--;
    memmove(&s->left[at], &s->left[at + 1], (s->left_count - at) * sizeof(struct crl_list *));
    l->stream->left = NULL;
    crl_list_free(l);
}

/* One that was taken away need not be remembered when another has taken its place. */
static void settle(struct crl_set *s, struct crl_stream *stream)
{
    bool in_force = false;

    for (struct crl_list *l = stream->first; l != NULL; l = l->next) {
        l->superseded = crl_stream_has_newer(l);
        in_force = in_force || !l->superseded;
    }
    if (in_force && stream->left != NULL)
        forget_left(s, stream->left);
    crl_streams_end(&s->streams, stream);
}

/* Puts those in force first: of each issuer and scope the newest. */
static void refresh(struct crl_set *s)
{
    struct crl_list **sorted = mem_alloc(s->count * sizeof *sorted);
    struct crl_stream *stream;
    size_t last = s->count;

    while ((stream = crl_streams_changed(&s->streams)) != NULL)
        settle(s, stream);
    s->in_force = 0;
    for (size_t i = 0; i < s->count; i++)
        sorted[s->lists[i]->superseded ? --last : s->in_force++] = s->lists[i];
    free(s->lists);
    s->lists = sorted;
    s->generation++;
}

/* What is taken away is remembered, without its entries: of each issuer, key and scope the newest; of too many those that left last. */
static void leave(struct crl_set *s, struct crl_list *l)
{
    struct crl_list *before = l->stream->left;

    crl_entries_free(&l->entries);
    if (before != NULL && crl_list_older(l, before)) {
        crl_list_free(l);
        return;
    }
    if (before == NULL && s->left_count == LISTS_MAX) {
        before = s->left[0];
        crl_streams_touch(&s->streams, before->stream);
    }
    if (before != NULL)
        forget_left(s, before);
    s->left[s->left_count++] = l;
    l->stream->left = l;
}

/* Takes away what the source gave, NULL: all of them; how many lists. */
static size_t remove_source(struct crl_set *s, const char *source, bool remembered)
{
    size_t kept = 0, before = s->count;

    for (size_t i = 0; i < before; i++) {
        struct crl_list *l = s->lists[i];

        if (source != NULL && strcmp(l->source, source) != 0) {
            s->lists[kept++] = l;
            continue;
        }
        crl_streams_remove(&s->streams, l);
        if (remembered)
            leave(s, l);
        else
            crl_list_free(l);
    }
    s->count = kept;
    return before - kept;
}

/* How many of the lists that are there this source gave. */
static size_t count_of(const struct crl_set *s, const char *source)
{
    size_t held = 0;

    for (size_t i = 0; i < s->count; i++)
        held += strcmp(s->lists[i]->source, source) == 0;
    return held;
}

/* The same lists as before: nothing changes, nobody need be asked again. */
static bool is_same(const struct crl_set *s, const struct batch *b, size_t before)
{
    for (size_t i = 0; i < b->count; i++)
        if (!is_held(crl_streams_find(&s->streams, b->lists[i]), b->lists[i]))
            return false;
    return before == b->count;
}

static void swap(struct crl_set *s, struct batch *b, const char *source)
{
    (void)remove_source(s, source, true);
    s->lists = mem_realloc(s->lists, (s->count + b->count) * sizeof *s->lists);
    for (size_t i = 0; i < b->count; i++) {
        crl_streams_add(&s->streams, b->lists[i]);
        s->lists[s->count++] = b->lists[i];
    }
    b->count = 0;
    refresh(s);
}

bool crl_set_take(struct crl_set *s, const char *source, struct slice bytes, size_t most, STACK_OF(X509) *authorities, int64_t now, int64_t max_stale,
                  struct err *e)
{
    struct terms t = {source, authorities, now, max_stale};
    struct batch *b = mem_zalloc(1, sizeof *b);
    bool ok = add_bytes(s, b, bytes, most, &t, e);
    size_t before = count_of(s, source);

    if (ok && s->count - before + b->count > LISTS_MAX)
        ok = err_set(e, ERR_INPUT, "more than %d lists in all", LISTS_MAX);
    if (ok && !is_same(s, b, before))
        swap(s, b, source);
    for (size_t i = 0; i < b->count; i++)
        crl_list_free(b->lists[i]);
    free(b);
    return ok || err_prefix(e, "%s", source);
}

void crl_set_drop(struct crl_set *s, const char *source)
{
    if (remove_source(s, source, false) != 0)
        refresh(s);
}

void crl_set_lose(struct crl_set *s, const char *source)
{
    if (remove_source(s, source, true) != 0)
        refresh(s);
}

/* One list, or none, of those that are the issuer's. */
struct search {
    const struct crl_set *set;
    X509 *certificate;
    EVP_PKEY *key;             /* the issuer's */
    struct slice serial;       /* contents of the INTEGER */
    char text[PKIX_SERIAL_TEXT];
    int64_t now, max_stale;
    const struct crl_list *ended, *elsewhere; /* why nothing was found: lists that ended, that speak of others */
};

/* The entry that revokes; NULL: the list has none, or only ones that were taken back (removeFromCRL, 5.3.1). */
static const struct crl_revoked *find_revoked(const struct crl_list *l, struct slice serial)
{
    size_t at, count = crl_entries_find(&l->entries, serial, &at);

    for (size_t i = at; i < at + count; i++)
        if (l->entries.at[i].reason != CRL_REASON_REMOVE_FROM_CRL)
            return &l->entries.at[i];
    return NULL;
}

static void say_revoked(struct revocation_finding *f, const struct search *q, const struct crl_list *l, const struct crl_revoked *entry)
{
    char date[PKIX_TIME_TEXT];

    if (!pkix_time_of(entry->date, &f->revoked_at))
        f->revoked_at = 0;
    f->answer = REVOCATION_REVOKED;
    f->this_update = l->this_update;
    f->until = l->next_update + q->max_stale;
    snprintf(f->text, sizeof f->text, "serial %s: revoked %s, %s (%s)", q->text, f->revoked_at == 0 ? "at an unknown date" : pkix_time_text(date, f->revoked_at),
             pkix_reason_text(entry->reason), l->source);
}

static void say_good(struct revocation_finding *f, const struct search *q, const struct crl_list *l)
{
    if (l->this_update > f->this_update)
        f->this_update = l->this_update;
    if (f->answer == REVOCATION_GOOD && f->until >= l->next_update + q->max_stale)
        return;
    f->answer = REVOCATION_GOOD;
    f->until = l->next_update + q->max_stale;
    snprintf(f->text, sizeof f->text, "serial %s: not on the list (%s)", q->text, l->source);
}

static void say_unknown(struct revocation_finding *f, const struct search *q)
{
    char date[PKIX_TIME_TEXT], name[PKIX_NAME_TEXT];

    if (q->ended != NULL)
        snprintf(f->text, sizeof f->text, "serial %s: the list of %.100s ended %s (%s)", q->text, q->ended->issuer_text,
                 pkix_time_text(date, q->ended->next_update), q->ended->source);
    else if (q->elsewhere != NULL)
        snprintf(f->text, sizeof f->text, "serial %s: the lists of %.100s are for other certificates, RFC 5280 5.2.5 (%s)", q->text,
                 q->elsewhere->issuer_text, q->elsewhere->source);
    else
        snprintf(f->text, sizeof f->text, "serial %s: no list of %s", q->text, pkix_name_text(name, X509_get_issuer_name(q->certificate)));
}

/* What one list says; true when that decides. */
static bool ask(struct search *q, const struct crl_list *l, struct revocation_finding *f)
{
    const struct crl_revoked *entry;

    if (X509_NAME_cmp(l->issuer, X509_get_issuer_name(q->certificate)) != 0 || EVP_PKEY_eq(l->key, q->key) != 1)
        return false;
    if (l->next_update + q->max_stale < q->now || l->this_update > q->now + PKIX_SKEW_MS) {
        q->ended = l;
        return false;
    }
    if (!crl_scope_covers(l->idp, q->certificate)) {
        q->elsewhere = l;
        return false;
    }
    entry = find_revoked(l, q->serial);
    if (entry != NULL)
        say_revoked(f, q, l, entry);
    else
        say_good(f, q, l);
    return entry != NULL;
}

struct revocation_finding crl_set_check(const struct crl_set *s, X509 *certificate, X509 *issuer, int64_t now, int64_t max_stale)
{
    struct revocation_finding f = {.answer = REVOCATION_UNKNOWN};
    struct search q = {.set = s, .certificate = certificate, .key = X509_get0_pubkey(issuer), .now = now, .max_stale = max_stale};
    uint8_t *der = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(certificate), &der);
    struct slice rest = slice_of(der, len > 0 ? (size_t)len : 0);
    bool decided = q.key == NULL || !pkix_take(&rest, PKIX_INTEGER, &q.serial, NULL);

    (void)pkix_serial_text(q.text, certificate);
    for (size_t i = 0; i < s->in_force && !decided; i++)
        decided = ask(&q, s->lists[i], &f);
    if (f.answer == REVOCATION_UNKNOWN)
        say_unknown(&f, &q);
    OPENSSL_free(der);
    ERR_clear_error();
    return f;
}

size_t crl_set_count(const struct crl_set *s)
{
    return s->in_force;
}

struct crl_entry crl_set_at(const struct crl_set *s, size_t i)
{
    const struct crl_list *l = s->lists[i];
    struct crl_entry entry = {.issuer = l->issuer_text, .source = l->source, .this_update = l->this_update, .next_update = l->next_update,
                              .revoked = l->entries.count};

    memcpy(entry.number, l->number, sizeof entry.number);
    return entry;
}

uint64_t crl_set_generation(const struct crl_set *s)
{
    return s->generation;
}
