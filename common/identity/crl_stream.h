/*
 * Lists of one issuer, key and scope, of which the newest is in force (RFC 5280 5.2.3, 5.2.5), and how a set's are found: what a list changes is found out among those of its own stream, however
 * many others there are. Pure.
 */
#ifndef COFFRE_IDENTITY_CRL_STREAM_H
#define COFFRE_IDENTITY_CRL_STREAM_H

#include "common/identity/crl_list.h"
#include "common/values/map.h"

struct crl_stream {
    struct crl_list *first;  /* borrowed, by crl_list.next: those that are there. Mostly the newest of them, so that the others are soon known to be older */
    struct crl_list *left;   /* borrowed: the newest that was taken away, while none is in force; NULL: none */
    struct crl_stream *next; /* another with the same mark */
    uint64_t mark;
    bool is_changed;
    struct crl_stream *next_changed;
};

/* Zeroed: none. */
struct crl_streams {
    struct map by_mark; /* marks come from what configured authorities have signed */
    struct crl_stream *changed;
};

/* The stream of a list that may be in none yet; NULL: there is no other of it. */
struct crl_stream *crl_streams_find(const struct crl_streams *s, const struct crl_list *l);
/* Puts a list into its stream, `l->stream`, and takes it out. The stream has changed then. */
void crl_streams_add(struct crl_streams *s, struct crl_list *l);
void crl_streams_remove(struct crl_streams *s, struct crl_list *l);
/* It has changed in another way. */
void crl_streams_touch(struct crl_streams *s, struct crl_stream *stream);
/* One that has changed, and from now on has not; NULL: none. It is crl_streams_end()ed when it has been looked at: that frees it when nothing is left of it. */
struct crl_stream *crl_streams_changed(struct crl_streams *s);
void crl_streams_end(struct crl_streams *s, struct crl_stream *stream);
/* Frees all of them, not the lists. */
void crl_streams_free(struct crl_streams *s);

/* Whether a newer one of its stream is there, or was. */
bool crl_stream_has_newer(const struct crl_list *l);

#endif
