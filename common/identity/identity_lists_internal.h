/* What the parts of the CRLs' keeper share: identity_lists.c (all of it), identity_lists_taken.c (one source's), identity_lists_files.c, identity_lists_urls.c. */
#ifndef COFFRE_IDENTITY_LISTS_INTERNAL_H
#define COFFRE_IDENTITY_LISTS_INTERNAL_H

#include "common/identity/identity_internal.h"

struct lists_file;
struct lists_leaving;

/* A URL that is fetched on schedule. */
struct lists_url {
    struct identity_lists *owner;
    char *text;        /* owned */
    bool taken;
    bool kept;         /* what was taken last is on disk too */
    uint32_t request;
    int64_t due;       /* clock: to be fetched */
    int64_t backoff;   /* ms; 0: the last one was taken, and has not ended */
    char trouble[ERR_TEXT_MAX];
};

struct identity_lists {
    struct identity *owner;
    struct crl_set *set;
    struct lists_file *files;
    size_t file_count;
    struct lists_url urls[SETTINGS_LIST_MAX];
    unsigned url_count, fetching, next_url; /* next_url: whose turn it is */
    struct lists_leaving *leaving;
    uint64_t taken, refused, fetched, fetch_failed;
    bool full;
    bool troubled, was_troubled; /* something could not be read in this round, in the one before */
};

/* ---- identity_lists_taken.c: what becomes of a source's lists ---- */

/*
 * Takes what a source (file or URL) gives, records it, and keeps a copy in <state_dir>/crl when it is new or `*kept` is false; `*kept`: whether there is one now. False: it is refused, with
 * nothing recorded, and what the source gave before stays.
 */
MUST_CHECK bool lists_take(struct identity_lists *l, const char *source, struct slice bytes, bool *kept, struct err *e);
/* Takes the copy kept when this source was last taken, however long ago: what it revokes is known though its time is over, and nobody goes back behind it. False: there is none, or none of use. */
bool lists_take_kept(struct identity_lists *l, const char *source);
/* Records why it is not taken. */
void lists_refuse(struct identity_lists *l, const char *source, const char *reason);
/* Forgets what the source gave, its copy too; while it is `configured`, not how new it was: nobody goes back to an older list by taking a file away. */
void lists_drop(struct identity_lists *l, const char *source, bool configured, const char *reason);

/* ---- identity_lists_files.c ---- */
void lists_files_scan(struct identity_lists *l);
void lists_files_again(struct identity_lists *l); /* all of them are to be taken anew, from nothing */
void lists_files_free(struct identity_lists *l);

/* ---- identity_lists_urls.c ---- */
void lists_urls_configure(struct identity_lists *l);
void lists_urls_tick(struct identity_lists *l);
void lists_urls_again(struct identity_lists *l);
const struct lists_url *lists_urls_troubled(const struct identity_lists *l); /* one that could not be fetched the last time; NULL: none */
void lists_urls_free(struct identity_lists *l);

#endif
