/* Messages between the sealer's roles: see messages.h. */
#include "sealer/messages.h"

#include "common/values/wire.h"

static void put_fields(struct wire_writer *w, const struct lot *l)
{
    wire_put_u64(w, l->number);
    wire_put_u64(w, l->first);
    wire_put_u64(w, l->last);
    wire_put_u64(w, (uint64_t)l->opened_ms);
    wire_put_u64(w, (uint64_t)l->closed_ms);
    wire_put_text(w, slice_text(lot_reason_text(l->reason)));
}

bool message_put_seal(struct buf *out, const struct message_seal *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    put_fields(&w, &m->lot);
    wire_put_u8(&w, (uint8_t)m->lot.recipient_count);
    for (unsigned i = 0; i < m->lot.recipient_count; i++)
        wire_put_fixed(&w, m->lot.recipients[i], sizeof m->lot.recipients[i]);
    wire_put_u32(&w, (uint32_t)m->lot.type_count);
    for (size_t i = 0; i < m->lot.type_count; i++) {
        wire_put_text(&w, slice_text(m->lot.types[i].name));
        wire_put_u64(&w, m->lot.types[i].count);
    }
    wire_put_bytes(&w, m->previous);
    wire_put_bytes(&w, m->sums);
    return wire_ok(&w, "SEAL", e);
}

static bool get_recipients(struct wire_reader *r, struct lot *l, struct err *e)
{
    l->recipient_count = wire_get_u8(r);
    if (l->recipient_count > LOT_RECIPIENTS_MAX)
        return err_set(e, ERR_INPUT, "SEAL: %u recipients", l->recipient_count);
    for (unsigned i = 0; i < l->recipient_count; i++) {
        struct slice s = wire_get_fixed(r, sizeof l->recipients[i]);

        if (s.len == sizeof l->recipients[i])
            memcpy(l->recipients[i], s.at, s.len);
    }
    return true;
}

static bool get_types(struct wire_reader *r, struct lot *l, struct err *e)
{
    uint32_t count = wire_get_u32(r);

    if (count > LOT_TYPES_MAX)
        return err_set(e, ERR_INPUT, "SEAL: %u types", count);
    for (uint32_t i = 0; i < count && !r->short_read; i++) {
        struct slice name = wire_get_text(r);
        uint64_t events = wire_get_u64(r);

        if (!r->short_read && !lot_add_type(l, name, events, e))
            return false;
    }
    return true;
}

bool message_get_seal(struct slice body, struct message_seal *m, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct lot *l = &m->lot;
    struct slice reason;
    bool ok;

    *m = (struct message_seal){0};
    l->number = wire_get_u64(&r);
    l->first = wire_get_u64(&r);
    l->last = wire_get_u64(&r);
    l->count = l->last - l->first + 1;
    l->opened_ms = (int64_t)wire_get_u64(&r);
    l->closed_ms = (int64_t)wire_get_u64(&r);
    reason = wire_get_text(&r);
    ok = lot_reason_read(reason, &l->reason) || err_set(e, ERR_INPUT, "SEAL: reason unknown");
    ok = ok && get_recipients(&r, l, e) && get_types(&r, l, e);
    if (ok) {
        m->previous = wire_get_bytes(&r);
        m->sums = wire_get_bytes(&r);
        ok = wire_end(&r, "SEAL", e);
    }
    if (!ok)
        lot_free(l);
    return ok;
}

bool message_put_sealed(struct buf *out, const struct message_sealed *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, m->lot);
    wire_put_u64(&w, (uint64_t)m->signing_ms);
    wire_put_u8(&w, (uint8_t)m->algorithm);
    wire_put_bytes(&w, m->lot_xml);
    wire_put_u8(&w, (uint8_t)m->certificate_count);
    for (size_t i = 0; i < m->certificate_count; i++)
        wire_put_bytes(&w, m->certificates[i]);
    wire_put_bytes(&w, m->signature);
    return wire_ok(&w, "SEALED", e);
}

bool message_get_sealed(struct slice body, struct message_sealed *m, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint8_t algorithm;

    *m = (struct message_sealed){0};
    m->lot = wire_get_u64(&r);
    m->signing_ms = (int64_t)wire_get_u64(&r);
    algorithm = wire_get_u8(&r);
    m->lot_xml = wire_get_bytes(&r);
    m->certificate_count = wire_get_u8(&r);
    if (algorithm > XADES_RSA_PSS_SHA256 || m->certificate_count > XADES_CERTIFICATES_MAX)
        return err_set(e, ERR_INPUT, "SEALED: algorithm %u, %zu certificates", algorithm, m->certificate_count);
    m->algorithm = (enum xades_algorithm)algorithm;
    for (size_t i = 0; i < m->certificate_count; i++)
        m->certificates[i] = wire_get_bytes(&r);
    m->signature = wire_get_bytes(&r);
    return wire_end(&r, "SEALED", e);
}

bool message_put_stamp(struct buf *out, const struct message_stamp *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, m->lot);
    wire_put_fixed(&w, m->imprint, sizeof m->imprint);
    wire_put_u64(&w, (uint64_t)m->not_before_ms);
    return wire_ok(&w, "STAMP", e);
}

bool message_get_stamp(struct slice body, struct message_stamp *m, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct slice imprint;

    *m = (struct message_stamp){.lot = wire_get_u64(&r)};
    imprint = wire_get_fixed(&r, sizeof m->imprint);
    m->not_before_ms = (int64_t)wire_get_u64(&r);
    if (!wire_end(&r, "STAMP", e))
        return false;
    memcpy(m->imprint, imprint.at, sizeof m->imprint);
    return true;
}

bool message_put_stamped(struct buf *out, const struct message_stamped *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, m->lot);
    wire_put_u64(&w, (uint64_t)m->time_ms);
    wire_put_bytes(&w, m->token);
    return wire_ok(&w, "STAMPED", e);
}

bool message_get_stamped(struct slice body, struct message_stamped *m, struct err *e)
{
    struct wire_reader r = wire_read(body);

    m->lot = wire_get_u64(&r);
    m->time_ms = (int64_t)wire_get_u64(&r);
    m->token = wire_get_bytes(&r);
    return wire_end(&r, "STAMPED", e);
}

bool message_put_stand(struct buf *out, const struct message_stand *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, m->lot);
    wire_put_fixed(&w, m->take, sizeof m->take);
    return wire_ok(&w, "STAND", e);
}

bool message_get_stand(struct slice body, struct message_stand *m, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct slice take;

    *m = (struct message_stand){.lot = wire_get_u64(&r)};
    take = wire_get_fixed(&r, sizeof m->take);
    if (!wire_end(&r, "STAND", e))
        return false;
    memcpy(m->take, take.at, sizeof m->take);
    return true;
}

bool message_put_stands(struct buf *out, const struct message_stands *m, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, m->lot);
    wire_put_fixed(&w, m->now, sizeof m->now);
    wire_put_fixed(&w, m->next, sizeof m->next);
    return wire_ok(&w, "STANDS", e);
}

bool message_get_stands(struct slice body, struct message_stands *m, struct err *e)
{
    struct wire_reader r = wire_read(body);
    struct slice now, next;

    *m = (struct message_stands){.lot = wire_get_u64(&r)};
    now = wire_get_fixed(&r, sizeof m->now);
    next = wire_get_fixed(&r, sizeof m->next);
    if (!wire_end(&r, "STANDS", e))
        return false;
    memcpy(m->now, now.at, sizeof m->now);
    memcpy(m->next, next.at, sizeof m->next);
    return true;
}

bool message_put_refused(struct buf *out, uint64_t lot, const struct err *why, struct err *e)
{
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, lot);
    wire_put_u8(&w, (uint8_t)why->code);
    wire_put_text(&w, slice_text(why->text));
    return wire_ok(&w, "REFUSED", e);
}

bool message_get_refused(struct slice body, uint64_t *lot, struct err *why, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint8_t code;
    struct slice text;

    *lot = wire_get_u64(&r);
    code = wire_get_u8(&r);
    text = wire_get_text(&r);
    if (!wire_end(&r, "REFUSED", e))
        return false;
    if (text.len >= ERR_TEXT_MAX)
        text.len = ERR_TEXT_MAX - 1;
    err_set(why, code == ERR_NONE || code > ERR_FATAL ? ERR_RETRY : (enum err_code)code, "%.*s", SLICE_ARGS(text));
    return true;
}
