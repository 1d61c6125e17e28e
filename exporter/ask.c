/* Messages between front and query: see ask.h. Pure but for queueing on the channel. */
#include "exporter/ask.h"

#include "common/values/wire.h"

enum { HEAD_MAX = 4096 };

static bool send_head(struct channel *c, enum ask_type type, struct buf *head, const struct wire_writer *w,
                      struct slice content, struct err *e)
{
    bool ok = wire_ok(w, "message between front and query", e) &&
              channel_send2(c, (uint16_t)type, buf_slice(head), content, e);

    buf_free(head);
    return ok;
}

bool ask_send_question(struct channel *c, const struct ask_question *q, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u32(&w, q->request);
    wire_put_u8(&w, (uint8_t)q->call.resource);
    wire_put_u64(&w, q->call.a);
    wire_put_u64(&w, q->call.b);
    wire_put_u32(&w, q->call.limit);
    wire_put_u8(&w, (uint8_t)q->call.range);
    wire_put_u8(&w, q->call.overlap);
    wire_put_u8(&w, q->call.all);
    wire_put_u8(&w, (uint8_t)q->profiles);
    wire_put_text(&w, q->reader);
    wire_put_text(&w, q->client.cn);
    wire_put_text(&w, q->client.ou);
    wire_put_text(&w, q->client.serial);
    wire_put_text(&w, q->client.issuer);
    wire_put_text(&w, q->client.address);
    wire_put_u32(&w, (uint32_t)q->content.len);
    return send_head(c, ASK_QUESTION, &head, &w, q->content, e);
}

/* Texts that end up in a database, a journal and a log. */
static bool is_clean(struct slice s, size_t most)
{
    if (s.len > most)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < 0x20 || s.at[i] == 0x7f)
            return false;
    return true;
}

static bool client_is_clean(const struct ask_client *who)
{
    return is_clean(who->cn, ROSTER_TEXT_MAX) && is_clean(who->ou, ROSTER_TEXT_MAX) && is_clean(who->serial, ROSTER_SERIAL_MAX + 1) &&
           is_clean(who->issuer, ASK_ISSUER_MAX) && is_clean(who->address, ASK_ADDRESS_MAX);
}

bool ask_read_question(struct slice body, struct ask_question *q, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint8_t resource, range, overlap, all;

    memset(q, 0, sizeof *q);
    q->request = wire_get_u32(&r);
    resource = wire_get_u8(&r);
    q->call.a = wire_get_u64(&r);
    q->call.b = wire_get_u64(&r);
    q->call.limit = wire_get_u32(&r);
    range = wire_get_u8(&r);
    overlap = wire_get_u8(&r);
    all = wire_get_u8(&r);
    q->profiles = wire_get_u8(&r);
    q->reader = wire_get_text(&r);
    q->client.cn = wire_get_text(&r);
    q->client.ou = wire_get_text(&r);
    q->client.serial = wire_get_text(&r);
    q->client.issuer = wire_get_text(&r);
    q->client.address = wire_get_text(&r);
    q->content = wire_get_bytes(&r);
    if (!wire_end(&r, "question", e))
        return false;
    if (resource >= API_RESOURCES || range > API_BY_DATE || overlap > 1 || all > 1 || (q->profiles & ~(unsigned)API_ANY) != 0 || q->call.a > INT64_MAX || q->call.b > INT64_MAX ||
        q->call.limit > API_LIMIT_MAX || q->reader.len > HEAD_MAX / 2 || q->content.len > API_CONTENT_MAX || !client_is_clean(&q->client))
        return err_set(e, ERR_INPUT, "question out of bounds");
    q->call.all = all == 1;
    q->call.resource = (enum api_resource)resource;
    q->call.range = (enum api_range)range;
    q->call.overlap = overlap == 1;
    return true;
}

bool ask_send_span(struct channel *c, const struct ask_span *s, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u32(&w, s->request);
    wire_put_u64(&w, s->first);
    wire_put_u64(&w, s->length);
    wire_put_u32(&w, s->credit);
    return send_head(c, ASK_READ, &head, &w, slice_of(NULL, 0), e);
}

bool ask_read_span(struct slice body, struct ask_span *s, struct err *e)
{
    struct wire_reader r = wire_read(body);

    s->request = wire_get_u32(&r);
    s->first = wire_get_u64(&r);
    s->length = wire_get_u64(&r);
    s->credit = wire_get_u32(&r);
    return wire_end(&r, "span", e);
}

bool ask_send_number(struct channel *c, enum ask_type type, uint32_t request, uint32_t number, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u32(&w, request);
    wire_put_u32(&w, number);
    return send_head(c, type, &head, &w, slice_of(NULL, 0), e);
}

bool ask_read_number(struct slice body, uint32_t *request, uint32_t *number, struct err *e)
{
    struct wire_reader r = wire_read(body);

    *request = wire_get_u32(&r);
    *number = wire_get_u32(&r);
    return wire_end(&r, "credit", e);
}

bool ask_send_answer(struct channel *c, const struct ask_answer *a, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u32(&w, a->request);
    wire_put_u16(&w, a->status);
    wire_put_u8(&w, a->streamed);
    wire_put_u64(&w, a->length);
    wire_put_text(&w, slice_text(a->type));
    wire_put_text(&w, slice_text(a->etag));
    wire_put_text(&w, slice_text(a->file));
    wire_put_text(&w, slice_text(a->location));
    wire_put_u32(&w, (uint32_t)a->content.len);
    return send_head(c, ASK_ANSWER, &head, &w, a->content, e);
}

/* Printable ASCII that fits: it goes into header fields. */
static bool take_text(struct wire_reader *r, char out[ASK_TEXT_MAX])
{
    struct slice s = wire_get_text(r);

    if (s.len >= ASK_TEXT_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < 0x20 || s.at[i] > 0x7e)
            return false;
    if (s.len != 0)
        memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return true;
}

bool ask_read_answer(struct slice body, struct ask_answer *a, struct err *e)
{
    struct wire_reader r = wire_read(body);
    uint8_t streamed;
    bool texts;

    memset(a, 0, sizeof *a);
    a->request = wire_get_u32(&r);
    a->status = wire_get_u16(&r);
    streamed = wire_get_u8(&r);
    a->length = wire_get_u64(&r);
    texts = take_text(&r, a->type) && take_text(&r, a->etag) && take_text(&r, a->file) && take_text(&r, a->location);
    if (!texts)
        return err_set(e, ERR_INPUT, "answer: a text that no header may hold");
    a->content = wire_get_bytes(&r);
    if (!wire_end(&r, "answer", e))
        return false;
    if (streamed > 1 || a->status < 200 || a->status > 599 || a->content.len > ASK_SHORT_MAX ||
        (streamed == 1 ? a->content.len != 0 || a->etag[0] == '\0' : a->length != a->content.len))
        return err_set(e, ERR_INPUT, "answer out of bounds");
    a->streamed = streamed == 1;
    return true;
}

bool ask_send_content(struct channel *c, enum ask_type type, uint32_t request, struct slice content, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u32(&w, request);
    return send_head(c, type, &head, &w, content, e);
}

bool ask_read_content(struct slice body, uint32_t *request, struct slice *content, struct err *e)
{
    struct wire_reader r = wire_read(body);

    *request = wire_get_u32(&r);
    *content = wire_get_fixed(&r, r.rest.len);
    return wire_end(&r, "content", e);
}

bool ask_send_state(struct channel *c, bool available, const char *reason, struct err *e)
{
    struct buf head;
    struct wire_writer w;

    buf_init(&head, HEAD_MAX);
    w = wire_write(&head);
    wire_put_u8(&w, available);
    wire_put_text(&w, slice_text(reason));
    return send_head(c, ASK_STATE, &head, &w, slice_of(NULL, 0), e);
}

bool ask_read_state(struct slice body, bool *available, struct slice *reason, struct err *e)
{
    struct wire_reader r = wire_read(body);

    *available = wire_get_u8(&r) == 1;
    *reason = wire_get_text(&r);
    return wire_end(&r, "state", e);
}
