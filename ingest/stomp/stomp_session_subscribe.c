/* Subscriptions of a STOMP session: SUBSCRIBE, MESSAGE, ACK and NACK. See stomp_session.h. */
#include "ingest/stomp/stomp_session.h"

#include <stdio.h>
#include <stdlib.h>

static struct stomp_subscription *own(struct subscription *sub)
{
    return (struct stomp_subscription *)sub;
}

/* Automatic mode: what was written to the peer counts as received. */
void stomp_session_written(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++) {
        struct subscription *sub = s->subscriptions[k];

        while (own(sub)->mode == ACK_AUTO && sub->count != 0 && deliveries_nth(sub, 0)->mark <= s->written)
            deliveries_settle(s, sub, 0, SESSION_DONE);
    }
}

void stomp_session_free_subscription(struct subscription *sub)
{
    label_free(&own(sub)->id);
    free(sub);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE -------------------------------------------------------------- */

static bool read_mode(struct stomp_session *s, const struct stomp_frame *f, enum ack_mode *mode)
{
    struct slice v = stomp_get(f, STOMP_ACK_HEADER);

    if (!stomp_has(f, STOMP_ACK_HEADER) || slice_is(v, "auto"))
        *mode = ACK_AUTO;
    else if (slice_is(v, "client"))
        *mode = ACK_CLIENT;
    else if (slice_is(v, "client-individual"))
        *mode = ACK_INDIVIDUAL;
    else
        return stomp_session_error(s, f, SESSION_PROTOCOL,
                                   "STOMP 1.2 \"SUBSCRIBE ack Header\": neither auto, client nor client-individual");
    return true;
}

static bool read_credit(struct stomp_session *s, const struct stomp_frame *f, uint32_t *credit)
{
    enum stomp_name name = stomp_has(f, STOMP_PREFETCH_SIZE) ? STOMP_PREFETCH_SIZE : STOMP_PREFETCH_COUNT;
    uint64_t n = SESSION_CREDIT_DEFAULT;

    if (stomp_has(f, name) && !number_parse(stomp_get(f, name), &n))
        return stomp_session_error(s, f, SESSION_PROTOCOL, "%s is not a number", stomp_name_text(name));
    *credit = n == 0 ? 1 : n > SESSION_CREDIT_MAX ? SESSION_CREDIT_MAX : (uint32_t)n;
    return true;
}

static bool read_queue(struct stomp_session *s, const struct stomp_frame *f, enum session_queue *queue)
{
    struct slice destination = stomp_get(f, STOMP_DESTINATION);
    const struct session_rules *rules = s->base.rules;

    if (stomp_session_is_queue(destination, rules->queue_out))
        *queue = SESSION_EVENTS;
    else if (stomp_session_is_queue(destination, rules->queue_archive))
        *queue = SESSION_ARCHIVES;
    else
        return stomp_session_error(s, f, SESSION_DESTINATION, "SUBSCRIBE goes to /queue/%s or /queue/%s only", rules->queue_out,
                                   rules->queue_archive);
    return true;
}

/* A subscription's name: its id, or in STOMP 1.0 its destination. */
static struct slice name_of(const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_ID) ? stomp_get(f, STOMP_ID) : stomp_get(f, STOMP_DESTINATION);
}

static struct subscription *find_named(const struct stomp_session *s, struct slice name)
{
    for (unsigned k = 0; k < s->base.subscription_count; k++)
        if (slice_equal(label_slice(&own(s->base.subscriptions[k])->id), name))
            return s->base.subscriptions[k];
    return NULL;
}

static bool needs_id(struct stomp_session *s, const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_ID) || s->parser.version == STOMP_1_0 ||
           stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the id header is missing", stomp_command_text(f->command));
}

bool stomp_session_subscribe(struct stomp_session *s, const struct stomp_frame *f)
{
    struct stomp_subscription sub = {.has_id = stomp_has(f, STOMP_ID)}, *made;
    struct err e = {0};

    if (!needs_id(s, f) || !read_queue(s, f, &sub.base.queue) || !read_mode(s, f, &sub.mode) || !read_credit(s, f, &sub.base.credit))
        return false;
    if (stomp_has(f, STOMP_SELECTOR) && stomp_get(f, STOMP_SELECTOR).len != 0)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "selectors are not available: a depositor gets all its own messages");
    if (find_named(s, name_of(f)) != NULL)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"SUBSCRIBE id Header\": a subscription of that id exists already");
    made = mem_alloc(sizeof *made);
    *made = sub;
    if (!session_subscribe(&s->base, &made->base, &e)) {
        free(made);
        return stomp_session_error(s, f, e.code == ERR_RETRY ? SESSION_UNAVAILABLE : SESSION_LIMIT, "%s", e.text);
    }
    label_set(&made->id, name_of(f));
    stomp_session_receipt_for(s, f);
    return true;
}

/* Unacknowledged deliveries go back to the queue. */
bool stomp_session_unsubscribe(struct stomp_session *s, const struct stomp_frame *f)
{
    struct subscription *sub;

    if (!needs_id(s, f))
        return false;
    sub = find_named(s, name_of(f));
    if (sub == NULL)
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"UNSUBSCRIBE\": no such subscription");
    session_unsubscribe(&s->base, sub);
    stomp_session_receipt_for(s, f);
    return true;
}

/* ---- MESSAGE ----------------------------------------------------------------------------- */

/* "<subscription>-<n>", unique in this front for ever. */
static struct slice write_id(char *text, size_t size, uint64_t key, uint64_t n)
{
    int len = snprintf(text, size, "%llu-%llu", (unsigned long long)key, (unsigned long long)n);

    return slice_of(text, (size_t)len);
}

static bool read_id(struct slice id, uint64_t *key, uint64_t *n)
{
    const uint8_t *dash = id.len == 0 ? NULL : memchr(id.at, '-', id.len);
    size_t before = dash == NULL ? 0 : (size_t)(dash - id.at);

    return dash != NULL && number_parse(slice_of(id.at, before), key) &&
           number_parse(slice_of(dash + 1, id.len - before - 1), n);
}

/* The frame's beginning, common to answers and notices. NULL when the delivery is not taken. */
static struct delivery *open_message(struct stomp_session *s, struct stomp_subscription *sub, uint64_t delivery, bool again,
                                     struct stomp_writer *w)
{
    struct delivery *d = deliveries_add(&s->base, &sub->base, delivery, sub->sent + 1);
    const struct session_rules *rules = s->base.rules;
    char id[48], destination[64];
    struct slice id_text;

    if (d == NULL)
        return NULL;
    id_text = write_id(id, sizeof id, sub->base.key, ++sub->sent);
    snprintf(destination, sizeof destination, "/queue/%s",
             sub->base.queue == SESSION_EVENTS ? rules->queue_out : rules->queue_archive);
    stomp_open(w, s->base.out, s->parser.version, STOMP_MESSAGE);
    if (sub->has_id)
        stomp_add(w, STOMP_SUBSCRIPTION, label_slice(&sub->id));
    stomp_add(w, STOMP_MESSAGE_ID, id_text);
    stomp_add(w, STOMP_DESTINATION, slice_text(destination));
    if (sub->mode != ACK_AUTO && s->parser.version == STOMP_1_2)
        stomp_add(w, STOMP_ACK_HEADER, id_text);
    if (again)
        stomp_add(w, STOMP_REDELIVERED, SLICE_LITERAL("true"));
    return d;
}

static bool close_message(struct stomp_session *s, struct delivery *d, struct stomp_writer *w)
{
    struct err e = {0};

    if (!stomp_close(w, slice_of(NULL, 0), &e))
        return stomp_session_error(s, NULL, SESSION_SLOW, "the peer does not read: %s", e.text);
    d->mark = s->base.written + s->base.out->len;
    return true;
}

void stomp_session_answer(struct session *base, struct subscription *sub, uint64_t delivery, const struct pack_answer *a,
                          struct session_time t)
{
    struct stomp_session *s = (struct stomp_session *)base;
    struct stomp_writer w;
    struct delivery *d = open_message(s, own(sub), delivery, a->redeliveries != 0, &w);

    (void)t;
    if (d == NULL)
        return;
    stomp_add(&w, STOMP_CFJL_STATUS, slice_text(pack_status_name(a->status)));
    stomp_add_number(&w, STOMP_CFJL_SERIAL, a->serial);
    stomp_add(&w, STOMP_CFJL_DIGEST, a->digest);
    stomp_add(&w, STOMP_CFJL_DIGEST_ALGO, a->digest_algo);
    stomp_add(&w, STOMP_CLIENT_ID, a->client_id);
    stomp_add_number(&w, STOMP_CFJL_LOT_ID, a->lot);
    if (a->status == PACK_INVALID)
        stomp_add(&w, STOMP_CFJL_REASON, a->reason);
    if (close_message(s, d, &w))
        base->counts.answers++;
}

void stomp_session_archive(struct session *base, struct subscription *sub, uint64_t delivery, unsigned redeliveries,
                           const struct pack_archive *a, struct session_time t)
{
    struct stomp_session *s = (struct stomp_session *)base;
    struct stomp_writer w;
    struct delivery *d = open_message(s, own(sub), delivery, redeliveries != 0, &w);

    (void)t;
    if (d == NULL)
        return;
    stomp_add_number(&w, STOMP_CFJL_ARCH_ID, a->lot);
    stomp_add_number(&w, STOMP_CFJL_ARCH_DATE, a->date);
    stomp_add_number(&w, STOMP_CFJL_FIRST_SERIAL, a->first_serial);
    stomp_add_number(&w, STOMP_CFJL_LAST_SERIAL, a->last_serial);
    if (close_message(s, d, &w))
        base->counts.archives++;
}

/* ---- ACK, NACK --------------------------------------------------------------------------- */

/* The message acknowledged: `message-id` up to 1.1 (with `subscription` in 1.1), `id` in 1.2. */
static bool read_acknowledged(struct stomp_session *s, const struct stomp_frame *f, uint64_t *key, uint64_t *n)
{
    enum stomp_name name = s->parser.version == STOMP_1_2 ? STOMP_ID : STOMP_MESSAGE_ID;

    if (!stomp_has(f, name) || (s->parser.version == STOMP_1_1 && !stomp_has(f, STOMP_SUBSCRIPTION)))
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP %s \"%s\": header %s is missing",
                                   stomp_version_text(s->parser.version), stomp_command_text(f->command),
                                   stomp_name_text(stomp_has(f, name) ? STOMP_SUBSCRIPTION : name));
    if (!read_id(stomp_get(f, name), key, n))
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP %s \"%s\": %s is not one of ours",
                                   stomp_version_text(s->parser.version), stomp_command_text(f->command), stomp_name_text(name));
    return true;
}

static bool names_other(const struct stomp_session *s, const struct stomp_frame *f, const struct stomp_subscription *sub)
{
    return s->parser.version == STOMP_1_1 && !slice_equal(stomp_get(f, STOMP_SUBSCRIPTION), label_slice(&sub->id));
}

bool stomp_session_ack(struct stomp_session *s, const struct stomp_frame *f, bool release)
{
    enum session_outcome outcome = release ? SESSION_REJECTED : SESSION_DONE;
    struct stomp_subscription *sub;
    struct transaction *tx;
    uint64_t key, n;
    size_t count;

    if (!stomp_session_transaction(s, f, &tx) || !read_acknowledged(s, f, &key, &n))
        return false;
    sub = own(session_find_subscription(&s->base, key));
    if (sub != NULL && names_other(s, f, sub))
        return stomp_session_error(s, f, SESSION_PROTOCOL, "STOMP 1.1 \"%s\": the message is not of that subscription",
                                   stomp_command_text(f->command));
    /* One already acknowledged, or of a subscription that has ended, is no error: the two crossed. */
    count = sub == NULL || sub->mode == ACK_AUTO ? 0 : deliveries_up_to(&sub->base, n);
    if (count != 0 && sub->mode == ACK_CLIENT)
        deliveries_acknowledge(&s->base, &sub->base, 0, count, tx, outcome);
    else if (count != 0 && deliveries_nth(&sub->base, count - 1)->n == n)
        deliveries_acknowledge(&s->base, &sub->base, count - 1, count, tx, outcome);
    stomp_session_receipt_for(s, f);
    return true;
}
