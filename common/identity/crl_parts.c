/* The bytes of a CRL: see crl_parts.h. */
#include "common/identity/crl_parts.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

/* thisUpdate, nextUpdate, revocationDate. False: `rest` has no time next; *digits 0: one that is not as RFC 5280 4.1.2.5 wants it. */
static bool take_time(struct slice *rest, uint64_t *digits)
{
    enum pkix_tag tag = pkix_is(*rest, PKIX_UTC_TIME) ? PKIX_UTC_TIME : PKIX_GENERAL_TIME;
    struct slice content;

    if (!pkix_take(rest, tag, &content, NULL))
        return false;
    *digits = pkix_time_digits(tag, content);
    return true;
}

static bool take_version(struct slice *rest, bool *v2)
{
    struct slice version;

    *v2 = pkix_is(*rest, PKIX_INTEGER);
    return !*v2 || (pkix_take(rest, PKIX_INTEGER, &version, NULL) && version.len == 1 && version.at[0] == 1);
}

static bool take_extensions(struct slice *rest, struct slice *extensions)
{
    struct slice explicit, content;

    return pkix_take(rest, PKIX_CONTEXT_0, &explicit, NULL) && pkix_take(&explicit, PKIX_SEQUENCE, &content, extensions) && explicit.len == 0;
}

/* What is signed (5.1.2). */
static bool split_tbs(struct slice rest, struct crl_parts *p, struct slice *algorithm, struct err *e)
{
    struct slice content;

    if (!take_version(&rest, &p->v2))
        return err_set(e, ERR_INPUT, "not a CRL: its version is neither 1 nor 2 (RFC 5280 5.1.2.1)");
    if (!pkix_take(&rest, PKIX_SEQUENCE, &content, algorithm) || !pkix_take(&rest, PKIX_SEQUENCE, &content, &p->issuer))
        return err_set(e, ERR_INPUT, "not a CRL: no algorithm and issuer (RFC 5280 5.1.2)");
    if (!take_time(&rest, &p->this_update) || p->this_update == 0)
        return err_set(e, ERR_INPUT, "no readable thisUpdate (RFC 5280 5.1.2.4)");
    if (take_time(&rest, &p->next_update) && p->next_update == 0)
        return err_set(e, ERR_INPUT, "nextUpdate cannot be read (RFC 5280 5.1.2.5)");
    if (pkix_is(rest, PKIX_SEQUENCE) && !pkix_take(&rest, PKIX_SEQUENCE, &p->revoked, NULL))
        return err_set(e, ERR_INPUT, "not a CRL: revokedCertificates is cut off (RFC 5280 5.1.2.6)");
    if (rest.len != 0 && (!p->v2 || !take_extensions(&rest, &p->extensions) || rest.len != 0))
        return err_set(e, ERR_INPUT, "not a CRL: after its entries there is something else than extensions of a version 2 (RFC 5280 5.1.2.7)");
    if (p->issuer.len > CRL_HEAD_MAX || p->extensions.len > CRL_HEAD_MAX)
        return err_set(e, ERR_INPUT, "issuer or extensions of over %d bytes", CRL_HEAD_MAX);
    return true;
}

bool crl_parts_split(struct slice der, struct crl_parts *p, struct err *e)
{
    struct slice list, tbs, content, inner;

    *p = (struct crl_parts){0};
    if (!pkix_take(&der, PKIX_SEQUENCE, &list, NULL) || der.len != 0)
        return err_set(e, ERR_INPUT, "not a CRL: no DER, cut off, or more bytes behind it");
    if (!pkix_take(&list, PKIX_SEQUENCE, &tbs, &p->tbs) || !pkix_take(&list, PKIX_SEQUENCE, &content, &p->algorithm) ||
        !pkix_take(&list, PKIX_BITS, &content, &p->signature) || list.len != 0)
        return err_set(e, ERR_INPUT, "not a CRL: not a list, an algorithm and a signature (RFC 5280 5.1.1)");
    if (!split_tbs(tbs, p, &inner, e))
        return false;
    return slice_equal(inner, p->algorithm) || err_set(e, ERR_INPUT, "two signature algorithms that differ (RFC 5280 5.1.1.2)");
}

/* reasonCode (5.3.1). */
static bool read_reason(struct slice value, uint8_t *reason)
{
    struct slice content;

    if (!pkix_take(&value, PKIX_ENUMERATED, &content, NULL) || value.len != 0 || !pkix_integer_valid(content))
        return false;
    *reason = content.len == 1 && content.at[0] <= CRL_REASON_AA_COMPROMISE ? content.at[0] : CRL_REASON_OTHER;
    return true;
}

/* One extension of an entry (5.3): its OID, whether it is critical, its value. */
static bool take_extension(struct slice *rest, struct slice *oid, bool *critical, struct slice *value)
{
    struct slice extension, boolean = {0};

    if (!pkix_take(rest, PKIX_SEQUENCE, &extension, NULL) || !pkix_take(&extension, PKIX_OBJECT, oid, NULL))
        return false;
    if (pkix_is(extension, PKIX_BOOLEAN) && (!pkix_take(&extension, PKIX_BOOLEAN, &boolean, NULL) || boolean.len != 1))
        return false;
    *critical = boolean.len == 1 && boolean.at[0] != 0;
    return pkix_take(&extension, PKIX_OCTETS, value, NULL) && extension.len == 0;
}

static bool read_entry_extensions(struct slice list, struct crl_revoked *entry, size_t number, struct err *e)
{
    struct slice oid, value;
    bool critical, reasoned = false;

    while (list.len != 0) {
        if (!take_extension(&list, &oid, &critical, &value))
            return err_set(e, ERR_INPUT, "entry %zu: broken extensions (RFC 5280 5.3)", number);
        if (slice_is(oid, "\x55\x1d\x15")) {
            if (reasoned || !read_reason(value, &entry->reason))
                return err_set(e, ERR_INPUT, "entry %zu: broken reason code (RFC 5280 5.3.1)", number);
            reasoned = true;
        } else if (slice_is(oid, "\x55\x1d\x1d")) {
            return err_set(e, ERR_INPUT, "entry %zu: a certificate of another issuer (RFC 5280 5.3.3); indirect lists are not taken", number);
        } else if (critical && !slice_is(oid, "\x55\x1d\x18") && !slice_is(oid, "\x55\x1d\x17")) {
            return err_set(e, ERR_INPUT, "entry %zu: unknown critical extension (RFC 5280 5.3)", number);
        } /* invalidityDate (5.3.2) and hold instructions do not matter here */
    }
    return true;
}

/* One entry (5.1.2.6) off `rest`; `serial` is where it points. */
static bool take_entry(struct slice *rest, bool v2, struct crl_revoked *entry, struct slice *serial, size_t number, struct err *e)
{
    struct slice content, extensions = {0};

    if (!pkix_take(rest, PKIX_SEQUENCE, &content, NULL) || !pkix_take(&content, PKIX_INTEGER, serial, NULL) || !take_time(&content, &entry->date) ||
        !pkix_integer_valid(*serial) || serial->len > CRL_SERIAL_MAX)
        return err_set(e, ERR_INPUT, "entry %zu: not a serial number and a date (RFC 5280 5.1.2.6)", number);
    if (content.len != 0 && (!v2 || !pkix_take(&content, PKIX_SEQUENCE, &extensions, NULL) || content.len != 0))
        return err_set(e, ERR_INPUT, "entry %zu: after its date there is something else than extensions of a version 2 (RFC 5280 5.1.2.6)", number);
    return read_entry_extensions(extensions, entry, number, e);
}

static int compare(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return memcmp(a.at, b.at, a.len);
}

static struct slice serial_of(const uint8_t *serials, const struct crl_revoked *entry)
{
    return slice_of(serials + entry->serial, entry->serial_len);
}

static int by_serial(const void *a, const void *b, void *serials)
{
    return compare(serial_of(serials, a), serial_of(serials, b));
}

/* Many authorities write their lists in order already. */
static void sort(struct crl_entries *n)
{
    for (size_t i = 1; i < n->count; i++)
        if (by_serial(&n->at[i - 1], &n->at[i], n->serials) > 0) {
            qsort_r(n->at, n->count, sizeof *n->at, by_serial, n->serials); /* merges: n log n whatever the order */
            return;
        }
}

/* How many elements there are; those that are broken are seen when they are read. */
static size_t count_entries(struct slice rest)
{
    struct slice content;
    size_t count = 0;

    while (pkix_take(&rest, PKIX_SEQUENCE, &content, NULL))
        count++;
    return count;
}

bool crl_entries_read(const struct crl_parts *p, struct crl_entries *n, struct err *e)
{
    struct slice rest = p->revoked, serial;
    size_t used = 0, most = count_entries(rest);

    *n = (struct crl_entries){0};
    if (rest.len > CRL_ENTRIES_PLACE_MAX)
        return err_set(e, ERR_INPUT, "entries of over %d bytes", CRL_ENTRIES_PLACE_MAX);
    n->at = mem_zalloc(most, sizeof *n->at);
    n->serials = mem_alloc(rest.len);
    while (rest.len != 0) {
        if (n->count == most)
            return err_set(e, ERR_INPUT, "entry %zu: cut off (RFC 5280 5.1.2.6)", most + 1);
        if (!take_entry(&rest, p->v2, &n->at[n->count], &serial, n->count + 1, e))
            return false;
        memcpy(n->serials + used, serial.at, serial.len); /* they are parts of what `rest` was: there is room */
        n->at[n->count].serial = (uint32_t)used;
        n->at[n->count++].serial_len = (uint16_t)serial.len;
        used += serial.len;
    }
    n->serials = mem_realloc(n->serials, used);
    sort(n);
    return true;
}

void crl_entries_free(struct crl_entries *n)
{
    free(n->at);
    free(n->serials);
    *n = (struct crl_entries){0};
}

size_t crl_entries_find(const struct crl_entries *n, struct slice serial, size_t *at)
{
    size_t from = 0, to = n->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (compare(serial_of(n->serials, &n->at[middle]), serial) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    *at = from;
    while (to < n->count && compare(serial_of(n->serials, &n->at[to]), serial) == 0)
        to++;
    return to - from;
}
