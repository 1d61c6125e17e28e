/* CRLs for tests, taken and refused: see lists.h. */
#include "tests/unit/unit.h"

#include <string.h>

#include "tests/unit/lists.h"

struct lists lists;

/* Leaf 10 is revoked in most lists, leaf 11 never. */
int lists_set_up(void **state)
{
    const struct certificate_wanted ten = {.cn = "ten", .serial = 10}, eleven = {.cn = "eleven", .serial = 11},
                                    authority = {.cn = "Middle", .serial = 12, .extensions = {{NID_basic_constraints, "critical,CA:TRUE"}}};

    (void)state;
    lists.now = revocation_now();
    lists.ca = revocation_authority("Operator", certificates_ec("P-256"));
    lists.again = revocation_authority("Operator", certificates_ec("P-256")); /* the same, given another key */
    lists.namesake = revocation_authority("Operator", certificates_ec("P-256")); /* not configured */
    lists.other = revocation_authority("Regulator", certificates_rsa(2048));
    lists.leaf = revocation_certificate(certificates_ec("P-256"), &ten, &lists.ca);
    lists.clean = revocation_certificate(certificates_ec("P-256"), &eleven, &lists.ca);
    lists.middle = revocation_certificate(certificates_ec("P-256"), &authority, &lists.ca);
    lists.authorities = revocation_stack(lists.other.certificate, lists.again.certificate, lists.ca.certificate, NULL);
    return 0;
}

int lists_tear_down(void **state)
{
    struct issued *all[] = {&lists.ca, &lists.again, &lists.namesake, &lists.other, &lists.leaf, &lists.clean, &lists.middle};

    (void)state;
    sk_X509_free(lists.authorities);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certificates_free(all[i]);
    return 0;
}

/* A list that revokes 10, from an hour ago to tomorrow; to be changed and signed. */
X509_CRL *lists_plain(const struct issued *by)
{
    X509_CRL *crl = revocation_crl(by, lists.now - HOUR_MS, lists.now + 24 * HOUR_MS);

    revocation_add(crl, 10, CRL_REASON_KEY_COMPROMISE);
    return crl;
}

struct buf lists_plain_bytes(void)
{
    return revocation_signed(lists_plain(&lists.ca), &lists.ca, EVP_sha256());
}

struct buf lists_dated(int64_t from, int64_t to)
{
    return revocation_signed(revocation_crl(&lists.ca, from, to), &lists.ca, EVP_sha256());
}

struct buf lists_text(const char *bytes)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    revocation_append(&out, slice_text(bytes));
    return out;
}

bool lists_take(struct crl_set *s, const char *source, struct buf bytes, struct err *e)
{
    bool ok = crl_set_take(s, source, buf_slice(&bytes), LISTS_MOST, lists.authorities, lists.now, 0, e);

    buf_free(&bytes);
    assert_int_equal(ok ? ERR_NONE : ERR_INPUT, e->code);
    return ok;
}

void lists_taken(struct crl_set *s, const char *source, struct buf bytes)
{
    struct err e = {0};

    if (!lists_take(s, source, bytes, &e))
        fail_msg("%s", e.text);
}

/* Refused for this reason, with nothing changed. */
void lists_refused(struct crl_set *s, struct buf bytes, const char *why)
{
    uint64_t generation = crl_set_generation(s);
    size_t count = crl_set_count(s);
    struct err e = {0};

    assert_false(lists_take(s, "crl/new", bytes, &e));
    if (strstr(e.text, why) == NULL || strncmp(e.text, "crl/new: ", 9) != 0)
        fail_msg("\"%s\" is not: %s", e.text, why);
    assert_int_equal(crl_set_generation(s), generation);
    assert_int_equal(crl_set_count(s), count);
}

void lists_refused_alone(struct buf bytes, const char *why)
{
    struct crl_set *s = crl_set_new();

    lists_refused(s, bytes, why);
    crl_set_free(s);
}

struct revocation_finding lists_check(const struct crl_set *s, const struct issued *of)
{
    return crl_set_check(s, of->certificate, lists.ca.certificate, lists.now, 0);
}

enum revocation_answer lists_answer(const struct crl_set *s, const struct issued *of)
{
    return lists_check(s, of).answer;
}

static X509_CRL *scoped(const char *scope)
{
    X509_CRL *crl = lists_plain(&lists.ca);

    revocation_extend(crl, NID_issuing_distribution_point, scope, &lists.ca);
    return crl;
}

struct buf lists_scoped(const char *scope)
{
    return revocation_signed(scoped(scope), &lists.ca, EVP_sha256());
}

enum revocation_answer lists_in_scope(struct buf list, const struct issued *of)
{
    struct crl_set *s = crl_set_new();
    enum revocation_answer found;

    lists_taken(s, "a", list);
    found = lists_answer(s, of);
    if (found == REVOCATION_UNKNOWN)
        assert_non_null(strstr(lists_check(s, of).text, "5.2.5"));
    crl_set_free(s);
    return found;
}
