/*
 * CRLs: from files and folders, looked at about every second, and from URLs, fetched on a schedule. What is refused leaves what was there before in force; what was fetched is kept in
 * <state_dir>/crl through restarts. Nothing is believed before crl_set_take() has verified it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/identity/identity_internal.h"
#include "common/identity/pkix.h"
#include "common/values/log.h"

enum {
    FILES_MAX = 1000,          /* in all folders */
    GONE_MS = 5000,            /* a file is dropped when it has been away for so long: copying over it takes a moment */
    LEAVING_MS = 30 * 1000,    /* a URL no longer configured: what is fetched instead must have come */
    AGAIN_MS = 60 * 1000,      /* a refused one is tried again after this: its reason may be a clock's or an authority's */
    FETCH_AT_ONCE = 4,
    FETCH_RETRY_MIN_MS = 2000, /* after a failure; doubles up to revocation.fetch_every */
    FETCH_TIMES = 6,           /* of revocation.timeout */
};

/* What tells a file from the one that was there before. */
struct stamp {
    ino_t inode;
    dev_t device;
    off_t size;
    struct timespec changed, modified;
};

struct file {
    struct file *next;
    char *path;      /* owned */
    struct stamp stamp;
    bool seen;       /* in this round */
    bool taken;      /* something of it is in force */
    bool refused;
    char *why;       /* owned; when refused: said once */
    int64_t missing; /* clock: since when; 0: it is there */
    int64_t tried;   /* clock */
};

struct url {
    struct identity_lists *owner;
    char *text, *kept; /* owned: URL; file */
    bool taken;
    uint32_t request;
    int64_t due;       /* clock: to be fetched */
    int64_t backoff;   /* ms; 0: the last one was taken */
    char trouble[ERR_TEXT_MAX];
};

/* A URL that is no longer configured, whose list is still in force. */
struct leaving {
    struct leaving *next;
    char *text;  /* owned */
    int64_t due; /* clock */
};

struct identity_lists {
    struct identity *owner;
    struct crl_set *set;
    struct file *files;
    size_t file_count;
    struct url urls[SETTINGS_LIST_MAX];
    unsigned url_count, fetching;
    struct leaving *leaving;
    uint64_t taken, refused, fetched, fetch_failed;
    bool folder_troubled, full;
};

/* ---- what became of a list ---- */

/* The first entry of a source, for records; NULL: none. */
static const struct crl_entry *entry_of(const struct identity_lists *l, const char *source, struct crl_entry *e)
{
    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        *e = crl_set_at(l->set, n);
        if (strcmp(e->source, source) == 0)
            return e;
    }
    return NULL;
}

static void record(struct identity_lists *l, const char *event, const char *source, const char *reason)
{
    struct crl_entry entry;
    bool known = entry_of(l, source, &entry) != NULL;
    const struct journal_field fields[] = {JOURNAL_TEXT("source", source), JOURNAL_TEXT("issuer", known ? entry.issuer : ""),
                                           JOURNAL_TEXT("number", known ? entry.number : ""), JOURNAL_TEXT("reason", reason)};

    journal_write(l->owner->journal, event, fields, sizeof fields / sizeof *fields);
}

static bool take(struct identity_lists *l, const char *source, struct slice bytes, struct err *e)
{
    const struct settings *s = l->owner->settings;
    uint64_t before = crl_set_generation(l->set);
    struct crl_entry entry;
    char reason[200], when[PKIX_TIME_TEXT];

    if (!crl_set_take(l->set, source, bytes, s->revocation.crl_bytes, l->owner->policies->issuers, identity_wall(),
                      (int64_t)s->revocation.max_stale, e))
        return false;
    if (crl_set_generation(l->set) == before)
        return true; /* the same again */
    l->owner->review = true;
    l->taken++;
    if (entry_of(l, source, &entry) == NULL)
        return true;
    snprintf(reason, sizeof reason, "%zu revoked, next update %s", entry.revoked, pkix_time_text(when, entry.next_update));
    log_info("crl-taken", "%s (%s): %s", source, entry.issuer, reason);
    record(l, "crl-taken", source, reason);
    return true;
}

static void refuse(struct identity_lists *l, const char *source, const char *reason)
{
    size_t len = strlen(source);

    /* Reasons may begin with the source. */
    if (strncmp(reason, source, len) == 0 && strncmp(reason + len, ": ", 2) == 0)
        reason += len + 2;
    l->refused++;
    log_warning("crl-refused", "%s: %s", source, reason);
    record(l, "crl-refused", source, reason);
}

static void drop(struct identity_lists *l, const char *source, const char *reason)
{
    log_warning("crl-dropped", "%s: %s", source, reason);
    record(l, "crl-dropped", source, reason);
    crl_set_drop(l->set, source);
    l->owner->review = true;
}

/* ---- files and folders ---- */

static struct stamp stamp_of(const struct stat *st)
{
    return (struct stamp){st->st_ino, st->st_dev, st->st_size, st->st_ctim, st->st_mtim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->device == b->device && a->size == b->size && same_time(a->changed, b->changed) &&
           same_time(a->modified, b->modified);
}

static struct file *find_file(struct identity_lists *l, const char *path)
{
    struct file *f = l->files;

    while (f != NULL && strcmp(f->path, path) != 0)
        f = f->next;
    return f;
}

/* Takes it anew; what it gave before stays when it is refused. */
static void read_list(struct identity_lists *l, struct file *f)
{
    struct err e = {0};
    struct buf bytes = {0};

    f->tried = identity_clock();
    f->refused = !policy_read_file(f->path, l->owner->settings->revocation.crl_bytes, &bytes, &e) || !take(l, f->path, buf_slice(&bytes), &e);
    buf_free(&bytes);
    if (f->refused && (f->why == NULL || strcmp(f->why, e.text) != 0))
        refuse(l, f->path, e.text);
    free(f->why);
    f->why = f->refused ? mem_strdup(e.text) : NULL;
    f->taken = f->taken || !f->refused;
}

static void look_at_file(struct identity_lists *l, const char *path, const struct stat *st)
{
    struct file *f = find_file(l, path);
    struct stamp stamp = stamp_of(st);

    if (f == NULL) {
        if (l->file_count == FILES_MAX) {
            if (!l->full)
                log_error("crl-refused", "%s and others: more than %d files", path, FILES_MAX);
            l->full = true;
            return;
        }
        f = mem_zalloc(1, sizeof *f);
        f->path = mem_strdup(path);
        f->next = l->files;
        l->files = f;
        l->file_count++;
    } else if (same_stamp(&f->stamp, &stamp) && !(f->refused && identity_clock() - f->tried > AGAIN_MS)) {
        f->seen = true;
        return;
    }
    if (!same_stamp(&f->stamp, &stamp)) {
        free(f->why);
        f->why = NULL;
    }
    f->seen = true;
    f->stamp = stamp;
    read_list(l, f);
}

/* Files whose names begin with a dot, and those still being written (ending in .new, .tmp or ~), are not looked at. */
static bool is_passed_over(const char *name)
{
    size_t len = strlen(name);

    return name[0] == '.' || (len > 0 && name[len - 1] == '~') || (len > 4 && (strcmp(name + len - 4, ".new") == 0 || strcmp(name + len - 4, ".tmp") == 0));
}

static void look_in_folder(struct identity_lists *l, const char *path, DIR *folder)
{
    struct dirent *d;

    while ((d = readdir(folder)) != NULL) {
        char *name;
        struct stat st;

        if (is_passed_over(d->d_name))
            continue;
        name = mem_printf("%s/%s", path, d->d_name);
        if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
            look_at_file(l, name, &st);
        free(name);
    }
}

/* A folder that cannot be read says nothing about its files: they stay. */
static void keep_files_of(struct identity_lists *l, const char *path)
{
    size_t len = strlen(path);

    for (struct file *f = l->files; f != NULL; f = f->next)
        if (strncmp(f->path, path, len) == 0 && f->path[len] == '/')
            f->seen = true;
}

static void look_at(struct identity_lists *l, const char *path)
{
    struct stat st;
    DIR *folder;

    if (stat(path, &st) != 0) {
        if (errno != ENOENT)
            log_warning("crl-unreadable", "%s: %s", path, strerror(errno));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        look_at_file(l, path, &st);
        return;
    }
    folder = opendir(path);
    if (folder == NULL) {
        if (!l->folder_troubled)
            log_error("crl-unreadable", "%s: %s", path, strerror(errno));
        l->folder_troubled = true;
        keep_files_of(l, path);
        return;
    }
    l->folder_troubled = false;
    look_in_folder(l, path, folder);
    closedir(folder);
}

/* Whether it is to be forgotten: away for a while. */
static bool is_gone(struct file *f)
{
    if (f->seen) {
        f->missing = 0;
        return false;
    }
    if (f->missing == 0)
        f->missing = identity_clock();
    return identity_clock() - f->missing >= GONE_MS;
}

static void sweep(struct identity_lists *l)
{
    struct file **at = &l->files;

    while (*at != NULL) {
        struct file *f = *at;

        if (!is_gone(f)) {
            at = &f->next;
            continue;
        }
        if (f->taken)
            drop(l, f->path, "the file is no longer there");
        *at = f->next;
        l->file_count--;
        l->full = false;
        free(f->path);
        free(f->why);
        free(f);
    }
}

static void scan(struct identity_lists *l)
{
    const struct settings_list *paths = &l->owner->settings->revocation.crls;

    for (struct file *f = l->files; f != NULL; f = f->next)
        f->seen = false;
    for (unsigned n = 0; n < paths->count; n++)
        look_at(l, paths->items[n]);
    sweep(l);
}

/* ---- URLs ---- */

static char *kept_name(const struct settings *s, const char *url)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[33];
    unsigned len = 0;

    if (EVP_Digest(url, strlen(url), digest, &len, EVP_sha256(), NULL) != 1)
        abort();
    for (unsigned n = 0; n < 16; n++)
        snprintf(text + 2 * n, 3, "%02x", digest[n]);
    return mem_printf("%s/crl/%s.crl", s->state_dir, text);
}

/* Whole or not at all; several daemons may keep the same list, each under a name of its own until it is whole. */
static bool keep(const struct identity_lists *l, const struct url *u, struct slice body, struct err *e)
{
    char *fresh = mem_printf("%s.%s.new", u->kept, role_daemon_name(l->owner->role));
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0;

    while (ok && body.len != 0) {
        ssize_t n = write(fd, body.at, body.len);

        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        body = slice_of(body.at + (ok ? n : 0), body.len - (ok ? (size_t)n : 0));
    }
    ok = ok && fdatasync(fd) == 0;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    ok = ok && rename(fresh, u->kept) == 0;
    if (!ok)
        err_set_errno(e, ERR_RETRY, "%s cannot be written", u->kept);
    free(fresh);
    return ok;
}

/* Three quarters of what is left of the list, or the schedule, whichever is sooner. */
static int64_t next_fetch(const struct identity_lists *l, const struct url *u)
{
    int64_t every = (int64_t)l->owner->settings->revocation.fetch_every, now = identity_wall(), wait = every;

    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);
        int64_t left = (entry.next_update - now) / 4 * 3;

        if (strcmp(entry.source, u->text) == 0 && left < wait)
            wait = left;
    }
    return wait < 1000 ? 1000 : wait;
}

static void fetch_failed(struct url *u, const char *why)
{
    struct identity_lists *l = u->owner;
    int64_t every = (int64_t)l->owner->settings->revocation.fetch_every;

    l->fetch_failed++;
    u->backoff = u->backoff == 0 ? FETCH_RETRY_MIN_MS : u->backoff * 2;
    if (u->backoff > every)
        u->backoff = every;
    u->due = identity_clock() + u->backoff;
    snprintf(u->trouble, sizeof u->trouble, "%.*s", (int)sizeof u->trouble - 1, why);
    refuse(l, u->text, why);
}

static void fetched(void *ctx, const struct identity_fetched *f)
{
    struct url *u = ctx;
    struct identity_lists *l = u->owner;
    uint64_t before = crl_set_generation(l->set);
    char reason[IDENTITY_REASON_MAX + 1];
    struct err e = {0};

    u->request = 0;
    l->fetching--;
    if (f->status != 200) {
        snprintf(reason, sizeof reason, "%.*s", SLICE_ARGS(f->reason));
        fetch_failed(u, reason);
        return;
    }
    l->fetched++;
    if (!take(l, u->text, f->body, &e)) {
        fetch_failed(u, e.text);
        return;
    }
    if ((crl_set_generation(l->set) != before || !u->taken) && !keep(l, u, f->body, &e))
        log_warning("crl-unwritten", "%s", e.text);
    u->taken = true;
    u->backoff = 0;
    u->trouble[0] = '\0';
    u->due = identity_clock() + next_fetch(l, u);
}

static void fetch(struct url *u)
{
    struct identity_lists *l = u->owner;
    const struct settings *s = l->owner->settings;
    struct identity_fetch f = {.url = slice_text(u->text), .most = s->revocation.crl_bytes, .timeout = s->revocation.timeout * FETCH_TIMES};

    u->request = identity_ask_begin(l->owner->ask, &f, fetched, u);
    if (u->request != 0)
        l->fetching++;
    else
        u->due = identity_clock() + 1000; /* `fetch` is not there yet */
}

static void fetch_due(struct identity_lists *l)
{
    for (unsigned n = 0; n < l->url_count && l->fetching < FETCH_AT_ONCE; n++)
        if (l->urls[n].request == 0 && identity_clock() >= l->urls[n].due)
            fetch(&l->urls[n]);
}

/* What was fetched before the last stop: as good as if it came now, if it still is. */
static void take_kept(struct identity_lists *l, struct url *u)
{
    struct buf bytes = {0};
    struct err e = {0};

    if (access(u->kept, F_OK) != 0)
        return;
    if (policy_read_file(u->kept, l->owner->settings->revocation.crl_bytes, &bytes, &e) && take(l, u->text, buf_slice(&bytes), &e))
        u->taken = true;
    else
        log_info("crl-kept", "the list of %s kept from before is of no use: %s", u->text, e.text);
    buf_free(&bytes);
}

static void end_url(struct identity_lists *l, struct url *u)
{
    if (u->request != 0) {
        identity_ask_forget(l->owner->ask, u->request);
        l->fetching--;
    }
    free(u->text);
    free(u->kept);
}

static bool is_wanted(const struct settings_list *urls, const char *text)
{
    for (unsigned n = 0; n < urls->count; n++)
        if (strcmp(urls->items[n], text) == 0)
            return true;
    return false;
}

static bool is_there(const struct identity_lists *l, const char *text)
{
    for (unsigned n = 0; n < l->url_count; n++)
        if (strcmp(l->urls[n].text, text) == 0)
            return true;
    return false;
}

static void let_leave(struct identity_lists *l, const char *text)
{
    struct leaving *one = mem_zalloc(1, sizeof *one);

    *one = (struct leaving){l->leaving, mem_strdup(text), identity_clock() + LEAVING_MS};
    l->leaving = one;
}

/* Unless it is configured again by now. */
static void drop_leaving(struct identity_lists *l, bool all)
{
    struct leaving **at = &l->leaving;

    while (*at != NULL) {
        struct leaving *one = *at;

        if (!all && identity_clock() < one->due) {
            at = &one->next;
            continue;
        }
        if (!all && !is_there(l, one->text))
            drop(l, one->text, "no longer configured");
        *at = one->next;
        free(one->text);
        free(one);
    }
}

/* Those no longer named are to leave, those newly named begin. */
static void configure_urls(struct identity_lists *l)
{
    const struct settings *s = l->owner->settings;
    const struct settings_list *urls = &s->revocation.fetch;
    bool same = urls->count == l->url_count;

    for (unsigned n = 0; n < l->url_count; n++)
        same = same && is_wanted(urls, l->urls[n].text);
    if (!same) {
        for (unsigned n = 0; n < l->url_count; n++) {
            if (!is_wanted(urls, l->urls[n].text) && l->urls[n].taken)
                let_leave(l, l->urls[n].text);
            end_url(l, &l->urls[n]);
        }
        l->url_count = 0;
        for (unsigned n = 0; n < urls->count; n++)
            if (!is_there(l, urls->items[n]))
                l->urls[l->url_count++] = (struct url){.owner = l, .text = mem_strdup(urls->items[n]), .kept = kept_name(s, urls->items[n])};
    }
    for (unsigned n = 0; n < l->url_count; n++) {
        if (!l->urls[n].taken)
            take_kept(l, &l->urls[n]);
        l->urls[n].due = 0;
    }
}

/* ---- */

/* Whom the authorities no longer vouch for must fall: all lists are verified again, from nothing. */
static void begin_again(struct identity_lists *l)
{
    crl_set_free(l->set);
    l->set = crl_set_new();
    for (struct file *f = l->files; f != NULL; f = f->next) {
        f->stamp = (struct stamp){0};
        f->taken = false;
    }
    for (unsigned n = 0; n < l->url_count; n++)
        l->urls[n].taken = false;
}

void identity_lists_configure(struct identity_lists *l, bool authorities)
{
    if (l->owner->duty->offered == 0)
        return;
    if (authorities)
        begin_again(l);
    scan(l);
    configure_urls(l);
    fetch_due(l);
}

void identity_lists_tick(struct identity_lists *l)
{
    if (l->owner->duty->offered == 0)
        return;
    scan(l);
    drop_leaving(l, false);
    fetch_due(l);
}

const struct crl_set *identity_lists_set(const struct identity_lists *l)
{
    return l->set;
}

bool identity_lists_revoke(const struct identity_lists *l, X509 *certificate, X509 *issuer, int64_t now, struct revocation_finding *f)
{
    *f = crl_set_check(l->set, certificate, issuer, now, INT64_MAX / 2);
    return f->answer == REVOCATION_REVOKED;
}

/* Whether a list of this authority is in force. */
static bool covered(const struct identity_lists *l, X509 *authority, int64_t now)
{
    char name[PKIX_NAME_TEXT];

    pkix_name_text(name, X509_get_subject_name(authority));
    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);

        if (strcmp(entry.issuer, name) == 0 && entry.next_update + (int64_t)l->owner->settings->revocation.max_stale > now)
            return true;
    }
    return false;
}

bool identity_lists_health(const struct identity_lists *l, char *note, size_t size)
{
    const struct identity *i = l->owner;
    int64_t now = identity_wall();

    for (unsigned p = ROSTER_DEPOSITOR; p <= ROSTER_FUNCTIONAL; p++) {
        const struct identity_policy *policy = &i->policies->of[p];

        if (!policy->offered || (policy->revocation != REVOCATION_BY_CRL && policy->revocation != REVOCATION_BY_BOTH))
            continue;
        for (int n = 0; n < sk_X509_num(policy->authorities); n++) {
            X509 *authority = sk_X509_value(policy->authorities, n);
            char name[PKIX_NAME_TEXT];

            if (covered(l, authority, now))
                continue;
            snprintf(note, size, "no list in force of %s", pkix_name_text(name, X509_get_subject_name(authority)));
            return false;
        }
    }
    for (unsigned n = 0; n < l->url_count; n++)
        if (l->urls[n].trouble[0] != '\0') {
            snprintf(note, size, "%zu lists in force; %.80s: %.120s", crl_set_count(l->set), l->urls[n].text, l->urls[n].trouble);
            return true;
        }
    snprintf(note, size, "%zu lists in force", crl_set_count(l->set));
    return true;
}

void identity_lists_metrics(const struct identity_lists *l, struct buf *out)
{
    int64_t oldest = 0, first = INT64_MAX, now = identity_wall();
    size_t revoked = 0;
    bool ok;

    for (size_t n = 0; n < crl_set_count(l->set); n++) {
        struct crl_entry entry = crl_set_at(l->set, n);

        revoked += entry.revoked;
        oldest = now - entry.this_update > oldest ? now - entry.this_update : oldest;
        first = entry.next_update < first ? entry.next_update : first;
    }
    ok = buf_printf(out, NULL,
                    "coffre_identity_crls %zu\ncoffre_identity_crl_entries %zu\ncoffre_identity_crls_taken_total %" PRIu64
                    "\ncoffre_identity_crls_refused_total %" PRIu64 "\ncoffre_identity_crl_fetches_total %" PRIu64
                    "\ncoffre_identity_crl_fetch_failures_total %" PRIu64 "\n",
                    crl_set_count(l->set), revoked, l->taken, l->refused, l->fetched, l->fetch_failed);
    if (ok && first != INT64_MAX)
        ok = buf_printf(out, NULL, "coffre_identity_crl_age_seconds %" PRId64 "\ncoffre_identity_crl_left_seconds %" PRId64 "\n", oldest / 1000,
                        (first - now) / 1000);
    if (!ok)
        log_debug("metrics-full", "metrics of CRLs do not fit");
}

struct identity_lists *identity_lists_new(struct identity *i)
{
    struct identity_lists *l = mem_zalloc(1, sizeof *l);

    l->owner = i;
    l->set = crl_set_new();
    return l;
}

void identity_lists_free(struct identity_lists *l)
{
    struct file *next;

    if (l == NULL)
        return;
    for (struct file *f = l->files; f != NULL; f = next) {
        next = f->next;
        free(f->path);
        free(f->why);
        free(f);
    }
    for (unsigned n = 0; n < l->url_count; n++)
        end_url(l, &l->urls[n]);
    drop_leaving(l, true);
    crl_set_free(l->set);
    free(l);
}
