/*
 * Message bodies between fronts, identity and fetch: see identity.h and PROTOCOL.md, "Identity". Pure. What is read may come from a sibling that a stranger
 * has taken over: every length, count and value is checked.
 */
#include "common/identity/identity.h"

enum { PROFILE_BITS = 1 << ROSTER_DEPOSITOR | 1 << ROSTER_READER | 1 << ROSTER_TECHNICAL | 1 << ROSTER_FUNCTIONAL, TYPE_MAX = 128, HEALTH_BODY_MAX = 1 + HEALTH_ITEMS_MAX * (5 + HEALTH_NAME_MAX + HEALTH_NOTE_MAX) };

/* ---- sending ---- */

/* A body made in place: begin with room for all of it, put, end. */
static bool begin(struct wire_writer *w, struct channel *c, size_t room, struct err *e)
{
    struct buf *b = channel_begin(c, room, e);

    if (b != NULL)
        *w = wire_write(b);
    return b != NULL;
}

/* Whatever is longer is for people to read: its end may miss. */
static struct slice cut(struct slice text, size_t most)
{
    return slice_of(text.at, text.len < most ? text.len : most);
}

bool identity_send_present(struct channel *c, const struct identity_present *p, struct err *e)
{
    struct wire_writer w;
    size_t room = 8 + 2 + p->address.len + 1, total = 0;

    if (p->count == 0 || p->count > IDENTITY_CHAIN_MAX)
        return err_set(e, ERR_INPUT, "%u certificates to present, 1 to %d", p->count, IDENTITY_CHAIN_MAX);
    if (p->address.len == 0 || p->address.len > IDENTITY_ADDRESS_MAX)
        return err_set(e, ERR_INPUT, "an address of %zu bytes", p->address.len);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->der[i].len == 0 || p->der[i].len > IDENTITY_CERTIFICATE_MAX)
            return err_set(e, ERR_INPUT, "a certificate of %zu bytes, at most %d", p->der[i].len, IDENTITY_CERTIFICATE_MAX);
        room += 4 + p->der[i].len;
        total += p->der[i].len;
    }
    if (total > IDENTITY_CHAIN_BYTES)
        return err_set(e, ERR_INPUT, "certificates of %zu bytes, at most %d", total, IDENTITY_CHAIN_BYTES);
    if (!begin(&w, c, room, e))
        return false;
    wire_put_u64(&w, p->connection);
    wire_put_text(&w, p->address);
    wire_put_u8(&w, (uint8_t)p->count);
    for (unsigned i = 0; i < p->count; i++)
        wire_put_bytes(&w, p->der[i]);
    channel_end(c, IDENTITY_PRESENT);
    return wire_ok(&w, "PRESENT", e);
}

bool identity_send_gone(struct channel *c, uint64_t connection, struct err *e)
{
    struct wire_writer w;

    if (!begin(&w, c, 8, e))
        return false;
    wire_put_u64(&w, connection);
    channel_end(c, IDENTITY_GONE);
    return wire_ok(&w, "GONE", e);
}

bool identity_send_verdict(struct channel *c, const struct identity_verdict *v, struct err *e)
{
    struct slice reason = cut(v->reason, IDENTITY_REASON_MAX);
    struct wire_writer w;

    if (((v->profiles | v->barred) & ~(unsigned)PROFILE_BITS) != 0 || (v->profiles & v->barred) != 0 || (unsigned)v->check >= IDENTITY_CHECKS ||
        (v->profiles != 0) != (v->check == IDENTITY_PASSED))
        return err_set(e, ERR_INPUT, "verdict: profiles %#x, barred %#x and check %u make no sense", v->profiles, v->barred, (unsigned)v->check);
    if (!begin(&w, c, 8 + 1 + 1 + 1 + 2 + reason.len, e))
        return false;
    wire_put_u64(&w, v->connection);
    wire_put_u8(&w, (uint8_t)v->profiles);
    wire_put_u8(&w, (uint8_t)v->check);
    wire_put_u8(&w, (uint8_t)v->barred);
    wire_put_text(&w, reason);
    channel_end(c, IDENTITY_VERDICT);
    return wire_ok(&w, "VERDICT", e);
}

bool identity_send_server(struct channel *c, const struct identity_server *s, struct err *e)
{
    struct wire_writer w;

    if (s->chain.len == 0 || s->chain.len > IDENTITY_PEM_MAX || s->anchors.len == 0 || s->anchors.len > IDENTITY_PEM_MAX)
        return err_set(e, ERR_INPUT, "server: a chain of %zu bytes and authorities of %zu, at most %d", s->chain.len, s->anchors.len, IDENTITY_PEM_MAX);
    if (s->depth > IDENTITY_DEPTH_MAX)
        return err_set(e, ERR_INPUT, "server: depth %u", s->depth);
    if (!begin(&w, c, 4 + s->chain.len + 4 + s->anchors.len + 4, e))
        return false;
    wire_put_bytes(&w, s->chain);
    wire_put_bytes(&w, s->anchors);
    wire_put_u32(&w, s->depth);
    channel_end(c, IDENTITY_SERVER);
    return wire_ok(&w, "SERVER", e);
}

bool identity_send_staple(struct channel *c, struct slice response, struct err *e)
{
    struct wire_writer w;

    if (response.len > OCSP_RESPONSE_MAX)
        return err_set(e, ERR_INPUT, "an OCSP response of %zu bytes, at most %d", response.len, OCSP_RESPONSE_MAX);
    if (!begin(&w, c, 4 + response.len, e))
        return false;
    wire_put_bytes(&w, response);
    channel_end(c, IDENTITY_STAPLE);
    return wire_ok(&w, "STAPLE", e);
}

bool identity_send_health(struct channel *c, const struct health *h, struct err *e)
{
    struct wire_writer w;

    if (!begin(&w, c, HEALTH_BODY_MAX, e))
        return false;
    health_put(&w, h);
    channel_end(c, IDENTITY_HEALTH);
    return wire_ok(&w, "HEALTH", e);
}

static bool override_fits(const struct identity_override *o)
{
    return o->profile >= ROSTER_DEPOSITOR && o->profile <= ROSTER_FUNCTIONAL && o->until > 0 && o->by.len <= IDENTITY_NOTE_MAX &&
           o->why.len <= IDENTITY_NOTE_MAX;
}

bool identity_send_overrides(struct channel *c, const struct identity_overrides *o, struct err *e)
{
    struct wire_writer w;
    size_t room = 1;

    if (o->count > IDENTITY_OVERRIDES_MAX)
        return err_set(e, ERR_INPUT, "%u overrides, at most %d", o->count, IDENTITY_OVERRIDES_MAX);
    for (unsigned i = 0; i < o->count; i++) {
        if (!override_fits(&o->at[i]))
            return err_set(e, ERR_INPUT, "override %u: profile, end or texts out of bounds", i);
        room += 1 + 8 + 2 + o->at[i].by.len + 2 + o->at[i].why.len;
    }
    if (!begin(&w, c, room, e))
        return false;
    wire_put_u8(&w, (uint8_t)o->count);
    for (unsigned i = 0; i < o->count; i++) {
        wire_put_u8(&w, (uint8_t)o->at[i].profile);
        wire_put_u64(&w, (uint64_t)o->at[i].until);
        wire_put_text(&w, o->at[i].by);
        wire_put_text(&w, o->at[i].why);
    }
    channel_end(c, IDENTITY_OVERRIDES);
    return wire_ok(&w, "OVERRIDES", e);
}

static bool begins_with(struct slice s, const char *text)
{
    size_t len = strlen(text);

    return s.len > len && memcmp(s.at, text, len) == 0;
}

bool identity_url_valid(struct slice url)
{
    if (url.len > IDENTITY_URL_MAX || !(begins_with(url, "http://") || begins_with(url, "https://")))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if (url.at[i] <= ' ' || url.at[i] > '~')
            return false;
    return true;
}

/* It becomes a header line (RFC 9110 5.5). */
static bool is_type(struct slice type)
{
    for (size_t i = 0; i < type.len; i++)
        if (type.at[i] < ' ' || type.at[i] > '~')
            return false;
    return type.len <= TYPE_MAX;
}

static bool fetch_fits(const struct identity_fetch *f, struct err *e)
{
    if (!identity_url_valid(f->url))
        return err_set(e, ERR_INPUT, "fetch: not a http: or https: URL of at most %d visible characters", IDENTITY_URL_MAX);
    if (!is_type(f->type) || (f->type.len == 0 && f->body.len != 0) || f->body.len > IDENTITY_BODY_MAX)
        return err_set(e, ERR_INPUT, "fetch: a content of %zu bytes with a type of %zu", f->body.len, f->type.len);
    if (f->most == 0 || f->most > IDENTITY_BODY_MAX || f->timeout == 0 || f->timeout > IDENTITY_TIMEOUT_MAX)
        return err_set(e, ERR_INPUT, "fetch: at most %llu bytes within %llu ms", (unsigned long long)f->most, (unsigned long long)f->timeout);
    return true;
}

bool identity_send_fetch(struct channel *c, const struct identity_fetch *f, struct err *e)
{
    struct wire_writer w;

    if (!fetch_fits(f, e) || !begin(&w, c, 4 + 2 + f->url.len + 2 + f->type.len + 4 + f->body.len + 8 + 8, e))
        return false;
    wire_put_u32(&w, f->request);
    wire_put_text(&w, f->url);
    wire_put_text(&w, f->type);
    wire_put_bytes(&w, f->body);
    wire_put_u64(&w, f->most);
    wire_put_u64(&w, f->timeout);
    channel_end(c, IDENTITY_FETCH);
    return wire_ok(&w, "FETCH", e);
}

static bool fetched_fits(const struct identity_fetched *f, struct err *e)
{
    if ((f->status != 0 && (f->status < 100 || f->status > 599)) || (f->status == 0 && f->body.len != 0) || f->body.len > IDENTITY_BODY_MAX)
        return err_set(e, ERR_INPUT, "fetched: status %u with %zu bytes", f->status, f->body.len);
    return true;
}

bool identity_send_fetched(struct channel *c, const struct identity_fetched *f, struct err *e)
{
    struct slice reason = cut(f->reason, IDENTITY_REASON_MAX);
    struct wire_writer w;

    if (!fetched_fits(f, e) || !begin(&w, c, 4 + 2 + 2 + reason.len + 4 + f->body.len, e))
        return false;
    wire_put_u32(&w, f->request);
    wire_put_u16(&w, f->status);
    wire_put_text(&w, reason);
    wire_put_bytes(&w, f->body);
    channel_end(c, IDENTITY_FETCHED);
    return wire_ok(&w, "FETCHED", e);
}

/* ---- reading ---- */

bool identity_read_present(struct slice body, struct identity_present *p, struct err *e)
{
    struct wire_reader r = wire_read(body);
    size_t total = 0;

    *p = (struct identity_present){.connection = wire_get_u64(&r)};
    p->address = wire_get_text(&r);
    p->count = wire_get_u8(&r);
    if (p->count > IDENTITY_CHAIN_MAX)
        return err_set(e, ERR_INPUT, "PRESENT: %u certificates, at most %d", p->count, IDENTITY_CHAIN_MAX);
    for (unsigned i = 0; i < p->count; i++) {
        p->der[i] = wire_get_bytes(&r);
        if (p->der[i].len > IDENTITY_CERTIFICATE_MAX)
            return err_set(e, ERR_INPUT, "PRESENT: a certificate of %zu bytes, at most %d", p->der[i].len, IDENTITY_CERTIFICATE_MAX);
        total += p->der[i].len;
    }
    if (!wire_end(&r, "PRESENT", e))
        return false;
    if (p->address.len == 0 || p->address.len > IDENTITY_ADDRESS_MAX)
        return err_set(e, ERR_INPUT, "PRESENT: an address of %zu bytes", p->address.len);
    for (unsigned i = 0; i < p->count; i++)
        if (p->der[i].len == 0)
            return err_set(e, ERR_INPUT, "PRESENT: an empty certificate");
    if (total > IDENTITY_CHAIN_BYTES)
        return err_set(e, ERR_INPUT, "PRESENT: certificates of %zu bytes, at most %d", total, IDENTITY_CHAIN_BYTES);
    return p->count != 0 || err_set(e, ERR_INPUT, "PRESENT: no certificate");
}

bool identity_read_gone(struct slice body, uint64_t *connection, struct err *e)
{
    struct wire_reader r = wire_read(body);

    *connection = wire_get_u64(&r);
    return wire_end(&r, "GONE", e);
}

bool identity_read_verdict(struct slice body, struct identity_verdict *v, struct err *e)
{
    struct wire_reader r = wire_read(body);
    unsigned check;

    *v = (struct identity_verdict){.connection = wire_get_u64(&r)};
    v->profiles = wire_get_u8(&r);
    check = wire_get_u8(&r);
    v->barred = wire_get_u8(&r);
    v->reason = wire_get_text(&r);
    if (!wire_end(&r, "VERDICT", e))
        return false;
    if (((v->profiles | v->barred) & ~(unsigned)PROFILE_BITS) != 0 || (v->profiles & v->barred) != 0 || check >= IDENTITY_CHECKS ||
        (v->profiles != 0) != (check == IDENTITY_PASSED) || v->reason.len > IDENTITY_REASON_MAX)
        return err_set(e, ERR_INPUT, "VERDICT: profiles %#x, barred %#x, check %u and %zu bytes of reason make no sense", v->profiles, v->barred, check,
                       v->reason.len);
    v->check = (enum identity_check)check;
    return true;
}

bool identity_read_server(struct slice body, struct identity_server *s, struct err *e)
{
    struct wire_reader r = wire_read(body);

    s->chain = wire_get_bytes(&r);
    s->anchors = wire_get_bytes(&r);
    s->depth = wire_get_u32(&r);
    if (!wire_end(&r, "SERVER", e))
        return false;
    if (s->chain.len == 0 || s->chain.len > IDENTITY_PEM_MAX || s->anchors.len == 0 || s->anchors.len > IDENTITY_PEM_MAX || s->depth > IDENTITY_DEPTH_MAX)
        return err_set(e, ERR_INPUT, "SERVER: a chain of %zu bytes, authorities of %zu, depth %u", s->chain.len, s->anchors.len, s->depth);
    return true;
}

bool identity_read_staple(struct slice body, struct slice *response, struct err *e)
{
    struct wire_reader r = wire_read(body);

    *response = wire_get_bytes(&r);
    if (!wire_end(&r, "STAPLE", e))
        return false;
    return response->len <= OCSP_RESPONSE_MAX || err_set(e, ERR_INPUT, "STAPLE: %zu bytes, at most %d", response->len, OCSP_RESPONSE_MAX);
}

bool identity_read_overrides(struct slice body, struct identity_overrides *o, struct err *e)
{
    struct wire_reader r = wire_read(body);
    unsigned count = wire_get_u8(&r);

    o->count = 0;
    if (count > IDENTITY_OVERRIDES_MAX)
        return err_set(e, ERR_INPUT, "OVERRIDES: %u, at most %d", count, IDENTITY_OVERRIDES_MAX);
    for (unsigned i = 0; i < count && !r.short_read; i++) {
        struct identity_override *one = &o->at[i];
        uint64_t until;

        *one = (struct identity_override){.profile = (enum roster_profile)wire_get_u8(&r)};
        until = wire_get_u64(&r);
        one->until = until > INT64_MAX ? 0 : (int64_t)until;
        one->by = wire_get_text(&r);
        one->why = wire_get_text(&r);
        if (!r.short_read && !override_fits(one))
            return err_set(e, ERR_INPUT, "OVERRIDES: profile, end or texts of %u out of bounds", i);
    }
    if (!wire_end(&r, "OVERRIDES", e))
        return false;
    o->count = count;
    return true;
}

bool identity_read_fetch(struct slice body, struct identity_fetch *f, struct err *e)
{
    struct wire_reader r = wire_read(body);

    f->request = wire_get_u32(&r);
    f->url = wire_get_text(&r);
    f->type = wire_get_text(&r);
    f->body = wire_get_bytes(&r);
    f->most = wire_get_u64(&r);
    f->timeout = wire_get_u64(&r);
    return wire_end(&r, "FETCH", e) && fetch_fits(f, e);
}

bool identity_read_fetched(struct slice body, struct identity_fetched *f, struct err *e)
{
    struct wire_reader r = wire_read(body);

    f->request = wire_get_u32(&r);
    f->status = wire_get_u16(&r);
    f->reason = wire_get_text(&r);
    f->body = wire_get_bytes(&r);
    if (!wire_end(&r, "FETCHED", e))
        return false;
    if (f->reason.len > IDENTITY_REASON_MAX)
        return err_set(e, ERR_INPUT, "FETCHED: a reason of %zu bytes", f->reason.len);
    return fetched_fits(f, e);
}
