/* What a STOMP session receives: SUBSCRIBE, MESSAGE, ACK and NACK. See session.h. */
#include "ingest/front/session_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- unacknowledged deliveries ----------------------------------------------------------- */

static struct delivery *nth(const struct subscription *sub, size_t i)
{
    return &sub->at[sub->first + i];
}

static struct delivery *append(struct subscription *sub)
{
    if (sub->first + sub->count == sub->capacity && sub->first != 0) {
        memmove(sub->at, sub->at + sub->first, sub->count * sizeof *sub->at);
        sub->first = 0;
    }
    if (sub->count == sub->capacity) {
        sub->capacity = sub->capacity == 0 ? 16 : sub->capacity * 2;
        sub->at = mem_realloc(sub->at, sub->capacity * sizeof *sub->at);
    }
    return nth(sub, sub->count++);
}

/* Acknowledging in order costs nothing: only the beginning moves. */
static void take_away(struct subscription *sub, size_t i)
{
    if (i == 0)
        sub->first++;
    else
        memmove(nth(sub, i), nth(sub, i + 1), (sub->count - i - 1) * sizeof *sub->at);
    if (--sub->count == 0)
        sub->first = 0;
}

/* How many deliveries have a number of at most n. */
static size_t up_to(const struct subscription *sub, uint64_t n)
{
    size_t low = 0, high = sub->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (nth(sub, middle)->n <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void settle(struct session *s, struct subscription *sub, size_t i, bool released)
{
    (released ? s->ops->release : s->ops->ack)(s->ctx, sub->key, nth(sub, i)->delivery);
    take_away(sub, i);
    s->counts.acks++;
}

void session_apply_acks(struct session *s, const struct transaction *tx)
{
    for (unsigned k = 0; k < s->subscription_count; k++) {
        struct subscription *sub = &s->subscriptions[k];

        for (size_t i = 0; i < sub->count;)
            if (nth(sub, i)->held == tx)
                settle(s, sub, i, nth(sub, i)->released);
            else
                i++;
    }
}

void session_forget_acks(struct session *s, const struct transaction *tx)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        for (size_t i = 0; i < s->subscriptions[k].count; i++)
            if (nth(&s->subscriptions[k], i)->held == tx)
                nth(&s->subscriptions[k], i)->held = NULL;
}

/* Automatic mode: what was written to the peer counts as received. */
void session_auto_acks(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++) {
        struct subscription *sub = &s->subscriptions[k];

        while (sub->mode == ACK_AUTO && sub->count != 0 && nth(sub, 0)->mark <= s->written)
            settle(s, sub, 0, false);
    }
}

/* ---- SUBSCRIBE, UNSUBSCRIBE -------------------------------------------------------------- */

static void subscription_free(struct subscription *sub)
{
    label_free(&sub->id);
    free(sub->at);
}

void session_trim_subscriptions(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (s->subscriptions[k].count == 0) {
            free(s->subscriptions[k].at);
            s->subscriptions[k].at = NULL;
            s->subscriptions[k].capacity = 0;
        }
}

void session_free_subscriptions(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++) {
        s->ops->unsubscribe(s->ctx, s->subscriptions[k].key);
        subscription_free(&s->subscriptions[k]);
    }
    free(s->subscriptions);
    s->subscriptions = NULL;
    s->subscription_count = 0;
}

void session_resubscribe(struct session *s)
{
    for (unsigned k = 0; k < s->subscription_count; k++) {
        struct subscription *sub = &s->subscriptions[k];
        struct err e = {0};

        s->ops->unsubscribe(s->ctx, sub->key);
        sub->first = sub->count = 0;
        if (!s->ops->subscribe(s->ctx, s->depositor, sub->queue, sub->credit, &sub->key, &e)) {
            session_error(s, NULL, SESSION_UNAVAILABLE, "%s", e.text);
            return;
        }
    }
}

static bool read_mode(struct session *s, const struct stomp_frame *f, enum ack_mode *mode)
{
    struct slice v = stomp_get(f, STOMP_ACK_HEADER);

    if (!stomp_has(f, STOMP_ACK_HEADER) || slice_is(v, "auto"))
        *mode = ACK_AUTO;
    else if (slice_is(v, "client"))
        *mode = ACK_CLIENT;
    else if (slice_is(v, "client-individual"))
        *mode = ACK_INDIVIDUAL;
    else
        return session_error(s, f, SESSION_PROTOCOL,
                             "STOMP 1.2 \"SUBSCRIBE ack Header\": neither auto, client nor client-individual");
    return true;
}

static bool read_credit(struct session *s, const struct stomp_frame *f, uint32_t *credit)
{
    enum stomp_name name = stomp_has(f, STOMP_PREFETCH_SIZE) ? STOMP_PREFETCH_SIZE : STOMP_PREFETCH_COUNT;
    uint64_t n = SESSION_CREDIT_DEFAULT;

    if (stomp_has(f, name) && !stomp_number(stomp_get(f, name), &n))
        return session_error(s, f, SESSION_PROTOCOL, "%s is not a number", stomp_name_text(name));
    *credit = n == 0 ? 1 : n > SESSION_CREDIT_MAX ? SESSION_CREDIT_MAX : (uint32_t)n;
    return true;
}

static bool read_queue(struct session *s, const struct stomp_frame *f, enum session_queue *queue)
{
    struct slice destination = stomp_get(f, STOMP_DESTINATION);

    if (slice_is(destination, s->rules->queue_out))
        *queue = SESSION_EVENTS;
    else if (slice_is(destination, s->rules->queue_archive))
        *queue = SESSION_ARCHIVES;
    else
        return session_error(s, f, SESSION_DESTINATION, "SUBSCRIBE goes to %s or %s only", s->rules->queue_out,
                             s->rules->queue_archive);
    return true;
}

/* A subscription's name: its id, or in STOMP 1.0 its destination. */
static struct slice name_of(const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_ID) ? stomp_get(f, STOMP_ID) : stomp_get(f, STOMP_DESTINATION);
}

static struct subscription *find_named(const struct session *s, struct slice name)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (slice_equal(label_slice(&s->subscriptions[k].id), name))
            return &s->subscriptions[k];
    return NULL;
}

static struct subscription *find_key(const struct session *s, uint64_t key)
{
    for (unsigned k = 0; k < s->subscription_count; k++)
        if (s->subscriptions[k].key == key)
            return &s->subscriptions[k];
    return NULL;
}

static bool needs_id(struct session *s, const struct stomp_frame *f)
{
    return stomp_has(f, STOMP_ID) || s->parser.version == STOMP_1_0 ||
           session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"%s\": the id header is missing", stomp_command_text(f->command));
}

bool session_take_subscribe(struct session *s, const struct stomp_frame *f)
{
    struct subscription sub = {.has_id = stomp_has(f, STOMP_ID)};
    struct err e = {0};

    if (!needs_id(s, f) || !read_queue(s, f, &sub.queue) || !read_mode(s, f, &sub.mode) || !read_credit(s, f, &sub.credit))
        return false;
    if (stomp_has(f, STOMP_SELECTOR) && stomp_get(f, STOMP_SELECTOR).len != 0)
        return session_error(s, f, SESSION_PROTOCOL, "selectors are not available: a depositor gets all its own messages");
    if (find_named(s, name_of(f)) != NULL)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"SUBSCRIBE id Header\": a subscription of that id exists already");
    if (s->subscription_count >= s->rules->subscriptions)
        return session_error(s, f, SESSION_LIMIT, "more than %u subscriptions", s->rules->subscriptions);
    if (!s->ops->subscribe(s->ctx, s->depositor, sub.queue, sub.credit, &sub.key, &e))
        return session_error(s, f, SESSION_UNAVAILABLE, "%s", e.text);
    label_set(&sub.id, name_of(f));
    s->subscriptions = mem_realloc(s->subscriptions, (s->subscription_count + 1) * sizeof sub);
    s->subscriptions[s->subscription_count++] = sub;
    session_receipt_for(s, f);
    return true;
}

/* Unacknowledged deliveries go back to the queue. */
bool session_take_unsubscribe(struct session *s, const struct stomp_frame *f)
{
    struct subscription *sub;

    if (!needs_id(s, f))
        return false;
    sub = find_named(s, name_of(f));
    if (sub == NULL)
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.2 \"UNSUBSCRIBE\": no such subscription");
    s->ops->unsubscribe(s->ctx, sub->key);
    subscription_free(sub);
    *sub = s->subscriptions[--s->subscription_count];
    session_receipt_for(s, f);
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

    return dash != NULL && stomp_number(slice_of(id.at, before), key) &&
           stomp_number(slice_of(dash + 1, id.len - before - 1), n);
}

/* The frame's beginning, common to answers and notices. NULL when the delivery is not wanted here. */
static struct subscription *open_message(struct session *s, uint64_t key, uint64_t delivery, bool again, struct stomp_writer *w)
{
    struct subscription *sub = find_key(s, key);
    char text[48];
    struct slice id;

    if (sub == NULL || s->end != SESSION_OPEN)
        return NULL;
    if (sub->count >= sub->credit) {
        /* More than was asked for: not taken, so that memory stays bounded whatever the sibling does. */
        s->ops->release(s->ctx, key, delivery);
        return NULL;
    }
    *append(sub) = (struct delivery){.n = ++sub->sent, .delivery = delivery};
    id = write_id(text, sizeof text, key, sub->sent);
    stomp_open(w, s->out, s->parser.version, STOMP_MESSAGE);
    if (sub->has_id)
        stomp_add(w, STOMP_SUBSCRIPTION, label_slice(&sub->id));
    stomp_add(w, STOMP_MESSAGE_ID, id);
    stomp_add(w, STOMP_DESTINATION, slice_text(sub->queue == SESSION_EVENTS ? s->rules->queue_out : s->rules->queue_archive));
    if (sub->mode != ACK_AUTO && s->parser.version == STOMP_1_2)
        stomp_add(w, STOMP_ACK_HEADER, id);
    if (again)
        stomp_add(w, STOMP_REDELIVERED, SLICE_LITERAL("true"));
    return sub;
}

static bool close_message(struct session *s, struct subscription *sub, struct stomp_writer *w)
{
    struct err e = {0};

    if (!stomp_close(w, slice_of(NULL, 0), &e))
        return session_error(s, NULL, SESSION_SLOW, "the peer does not read: %s", e.text);
    nth(sub, sub->count - 1)->mark = s->written + s->out->len;
    return true;
}

void session_answer(struct session *s, uint64_t subscription, uint64_t delivery, const struct pack_answer *a)
{
    struct stomp_writer w;
    struct subscription *sub = open_message(s, subscription, delivery, a->redeliveries != 0, &w);

    if (sub == NULL)
        return;
    stomp_add(&w, STOMP_CFJL_STATUS, slice_text(pack_status_name(a->status)));
    stomp_add_number(&w, STOMP_CFJL_SERIAL, a->serial);
    stomp_add(&w, STOMP_CFJL_DIGEST, a->digest);
    stomp_add(&w, STOMP_CFJL_DIGEST_ALGO, a->digest_algo);
    stomp_add(&w, STOMP_CLIENT_ID, a->client_id);
    stomp_add_number(&w, STOMP_CFJL_LOT_ID, a->lot);
    if (a->status == PACK_INVALID)
        stomp_add(&w, STOMP_CFJL_REASON, a->reason);
    if (close_message(s, sub, &w))
        s->counts.answers++;
}

void session_archive(struct session *s, uint64_t subscription, uint64_t delivery, unsigned redeliveries,
                     const struct pack_archive *a)
{
    struct stomp_writer w;
    struct subscription *sub = open_message(s, subscription, delivery, redeliveries != 0, &w);

    if (sub == NULL)
        return;
    stomp_add_number(&w, STOMP_CFJL_ARCH_ID, a->lot);
    stomp_add_number(&w, STOMP_CFJL_ARCH_DATE, a->date);
    stomp_add_number(&w, STOMP_CFJL_FIRST_SERIAL, a->first_serial);
    stomp_add_number(&w, STOMP_CFJL_LAST_SERIAL, a->last_serial);
    if (close_message(s, sub, &w))
        s->counts.archives++;
}

/* ---- ACK, NACK --------------------------------------------------------------------------- */

/* The message acknowledged: `message-id` up to 1.1 (with `subscription` in 1.1), `id` in 1.2. */
static bool read_acknowledged(struct session *s, const struct stomp_frame *f, uint64_t *key, uint64_t *n)
{
    enum stomp_name name = s->parser.version == STOMP_1_2 ? STOMP_ID : STOMP_MESSAGE_ID;

    if (!stomp_has(f, name) || (s->parser.version == STOMP_1_1 && !stomp_has(f, STOMP_SUBSCRIPTION)))
        return session_error(s, f, SESSION_PROTOCOL, "STOMP %s \"%s\": header %s is missing", stomp_version_text(s->parser.version),
                             stomp_command_text(f->command), stomp_name_text(stomp_has(f, name) ? STOMP_SUBSCRIPTION : name));
    if (!read_id(stomp_get(f, name), key, n))
        return session_error(s, f, SESSION_PROTOCOL, "STOMP %s \"%s\": %s is not one of ours", stomp_version_text(s->parser.version),
                             stomp_command_text(f->command), stomp_name_text(name));
    return true;
}

static bool names_other(const struct session *s, const struct stomp_frame *f, const struct subscription *sub)
{
    return s->parser.version == STOMP_1_1 && !slice_equal(stomp_get(f, STOMP_SUBSCRIPTION), label_slice(&sub->id));
}

/* One delivery, now or when its transaction is committed; one that another transaction holds stays there. */
static bool acknowledge(struct session *s, struct subscription *sub, size_t i, const struct transaction *tx, bool release)
{
    struct delivery *d = nth(sub, i);

    if (d->held != NULL)
        return false;
    d->held = tx;
    d->released = release;
    if (tx == NULL)
        settle(s, sub, i, release);
    return tx == NULL;
}

bool session_take_ack(struct session *s, const struct stomp_frame *f, bool release)
{
    struct subscription *sub;
    struct transaction *tx;
    uint64_t key, n;
    size_t count, i;

    if (!session_transaction(s, f, &tx) || !read_acknowledged(s, f, &key, &n))
        return false;
    sub = find_key(s, key);
    if (sub != NULL && names_other(s, f, sub))
        return session_error(s, f, SESSION_PROTOCOL, "STOMP 1.1 \"%s\": the message is not of that subscription", stomp_command_text(f->command));
    /* One already acknowledged, or of a subscription that has ended, is no error: the two crossed. */
    count = sub == NULL || sub->mode == ACK_AUTO ? 0 : up_to(sub, n);
    if (count != 0 && sub->mode == ACK_CLIENT) {
        for (i = 0; count != 0; count--)
            i += acknowledge(s, sub, i, tx, release) ? 0 : 1;
    } else if (count != 0 && nth(sub, count - 1)->n == n) {
        acknowledge(s, sub, count - 1, tx, release);
    }
    session_receipt_for(s, f);
    return true;
}
