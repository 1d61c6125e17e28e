/* What the tests of CRLs share: authorities, certificates, lists of theirs, and what must become of those. Failures end the test. */
#ifndef COFFRE_TESTS_LISTS_H
#define COFFRE_TESTS_LISTS_H

#include "common/identity/crl.h"
#include "tests/unit/revocation.h"

enum { LISTS_MOST = 64 << 20 };

/* Leaf 10 is revoked in most lists, leaf 11 (`clean`) never; `middle` is an authority under `ca`. */
struct lists {
    struct issued ca, again, namesake, other, leaf, clean, middle; /* `again`: the same name, configured too; `namesake`: not configured */
    STACK_OF(X509) *authorities;
    int64_t now; /* ms */
};
extern struct lists lists;

int lists_set_up(void **state);
int lists_tear_down(void **state);

/* A list that revokes 10, from an hour ago to tomorrow; to be changed and signed. */
X509_CRL *lists_plain(const struct issued *by);
struct buf lists_plain_bytes(void);
/* An empty list of these dates (ms; `to` 0: none); lists_plain() with this issuingDistributionPoint; any bytes. */
struct buf lists_dated(int64_t from, int64_t to);
struct buf lists_scoped(const char *scope);
struct buf lists_text(const char *bytes);

/* These free `bytes`. The second must succeed, the third fail for this reason with nothing changed. */
bool lists_take(struct crl_set *s, const char *source, struct buf bytes, struct err *e);
void lists_taken(struct crl_set *s, const char *source, struct buf bytes);
void lists_refused(struct crl_set *s, struct buf bytes, const char *why);
void lists_refused_alone(struct buf bytes, const char *why);

struct revocation_finding lists_check(const struct crl_set *s, const struct issued *of);
enum revocation_answer lists_answer(const struct crl_set *s, const struct issued *of);
/* What this one list says; unknown must be for its scope. */
enum revocation_answer lists_in_scope(struct buf list, const struct issued *of);

#endif
