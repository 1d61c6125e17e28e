/*
 * Rules of one deposit: headers and digest here, XML in event_xml.c. Hostile bytes are judged here, in the role that
 * holds neither key nor database.
 */
#include "ingest/ledger/event_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/ledger/digest.h"

bool event_refuse(struct event_verdict *v, const char *fmt, ...)
{
    va_list ap;

    if (v->reason[0] == '\0') {
        va_start(ap, fmt);
        vsnprintf(v->reason, sizeof(v->reason), fmt, ap);
        va_end(ap);
    }
    v->valid = false;
    return false;
}

/* Length of the UTF-8 character at `at` (RFC 3629 section 4: shortest form, no surrogates, at most U+10FFFF), or 0. */
static size_t character(const uint8_t *at, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;

    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    len = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] == 0xe0)
        low = 0xa0;
    if (at[0] == 0xed)
        high = 0x9f;
    if (at[0] == 0xf0)
        low = 0x90;
    if (at[0] == 0xf4)
        high = 0x8f;
    if (left < len || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t event_utf8_length(struct slice s)
{
    size_t i = 0;

    while (i < s.len) {
        uint64_t eight;
        size_t len;

        if (s.len - i >= sizeof(eight)) {
            memcpy(&eight, s.at + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        len = character(s.at + i, s.len - i);
        if (len == 0)
            return i;
        i += len;
    }
    return i;
}

static bool check_client_id(struct slice id, struct event_verdict *v)
{
    if (id.len == 0)
        return event_refuse(v, "client-id-missing: the ClientId header is required");
    if (id.len > EVENT_CLIENT_ID_MAX)
        return event_refuse(v, "client-id-invalid: over %d bytes", (int)EVENT_CLIENT_ID_MAX);
    if (event_utf8_length(id) != id.len)
        return event_refuse(v, "client-id-invalid: not UTF-8");
    for (size_t i = 0; i < id.len; i++)
        if (id.at[i] < 0x20 || id.at[i] == 0x7f)
            return event_refuse(v, "client-id-invalid: control character");
    return true;
}

static bool check_digest(struct event_checker *c, const struct pack_deposit *d, struct event_verdict *v, struct err *e)
{
    enum digest_algorithm algorithm = digest_parse_algorithm(d->digest_algo);
    uint8_t digest[DIGEST_SIZE_MAX];
    size_t len;

    if (d->digest.len == 0) {
        event_refuse(v, "digest-missing: the Digest header is required");
        return true;
    }
    if (algorithm == DIGEST_NONE) {
        event_refuse(v, d->digest_algo.len == 0
                            ? "digest-algorithm: the DigestAlgo header is required"
                            : "digest-algorithm: DigestAlgo is none of SHA-1, SHA-256, SHA-384, SHA-512");
        return true;
    }
    if (!digest_compute(c->digester, algorithm, &d->body, 1, digest, &len, e))
        return false;
    if (d->digest.len != 2 * len)
        event_refuse(v, "digest-mismatch: Digest has %zu characters, %zu are expected", d->digest.len, 2 * len);
    else if (!digest_matches(digest, len, d->digest))
        event_refuse(v, "digest-mismatch: the body's digest is not the one announced");
    return true;
}

static bool surrounded(struct slice body, size_t offset, struct slice before, struct slice after)
{
    size_t end = offset + EVENT_PLACEHOLDER_SIZE;

    return offset >= before.len && body.len - end >= after.len &&
           memcmp(body.at + offset - before.len, before.at, before.len) == 0 &&
           memcmp(body.at + end, after.at, after.len) == 0;
}

bool event_placeholder_is_at(struct slice body, size_t offset)
{
    if (body.len < EVENT_PLACEHOLDER_SIZE || offset > body.len - EVENT_PLACEHOLDER_SIZE ||
        memcmp(body.at + offset, EVENT_PLACEHOLDER, EVENT_PLACEHOLDER_SIZE) != 0)
        return false;
    return surrounded(body, offset, SLICE_LITERAL("<IDEvt>"), SLICE_LITERAL("</IDEvt>")) ||
           surrounded(body, offset, SLICE_LITERAL("<d>"), SLICE_LITERAL("</d>"));
}

bool event_check(struct event_checker *c, const struct pack_deposit *d, struct event_verdict *v, struct err *e)
{
    *v = (struct event_verdict){.valid = true};
    if (!check_client_id(d->client_id, v))
        return true;
    if (!check_digest(c, d, v, e))
        return false;
    if (v->valid && !event_xml_check(c, d->body, v, e))
        return false;
    if (!v->valid) {
        v->placeholder = 0;
        if (!lot_type_is_valid(slice_text(v->type)))
            v->type[0] = '\0';
    }
    return true;
}

struct event_checker *event_checker_new(const struct event_limits *limits, struct err *e)
{
    struct event_checker *c = mem_zalloc(1, sizeof(*c));

    c->limits = *limits;
    if (c->limits.depth > EVENT_DEPTH_MAX)
        c->limits.depth = EVENT_DEPTH_MAX;
    c->digester = digest_new(e);
    if (c->digester != NULL && event_xml_open(c, e))
        return c;
    event_checker_free(c);
    return NULL;
}

void event_checker_free(struct event_checker *c)
{
    if (c == NULL)
        return;
    event_checker_use_schemas(c, &(struct event_schemas){0});
    digest_free(c->digester);
    event_xml_close(c);
    free(c);
}
