/*
 * What deposits that ask for it are answered besides: in a temporary queue, if anybody reads it (common/PROTOCOL.md, "Pack"). Said after the
 * ordinary answers, unconfirmed and forgotten; nothing waits for it and nothing fails by it, but for the connection itself.
 */
#include "ingest/ledger/ledger_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/values/log.h"

/* The replies of a batch are put in order of their queues, each queue's as they came. */
struct wanted {
    char key[PACK_REPLY_KEY_SIZE];
    size_t entry;
};

static int by_key(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    int order = strcmp(x->key, y->key);

    return order != 0 ? order : x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* Of entries that ask for a reply; returns how many. */
static size_t list_wanted(const struct ledger_batch *b, struct wanted **list)
{
    struct err e = {0};
    size_t n = 0;

    *list = NULL;
    for (size_t i = 0; i < b->count; i++)
        n += b->entries[i].d.asks_reply;
    if (n == 0)
        return 0;
    *list = mem_zalloc(n, sizeof(**list));
    n = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct pack_deposit *d = &b->entries[i].d;

        if (!d->asks_reply)
            continue;
        if (!pack_reply_key(d->depositor, d->reply, (*list)[n].key, &e)) {
            log_error("reply-dropped", "%s", e.text);
            continue;
        }
        (*list)[n++].entry = i;
    }
    qsort(*list, n, sizeof(**list), by_key);
    return n;
}

static struct ledger_reply *new_reply(struct ledger *l, const char *key)
{
    struct ledger_reply *r;

    if (l->reply_count == l->reply_capacity) {
        l->reply_capacity = l->reply_capacity == 0 ? 16 : l->reply_capacity * 2;
        l->replies = mem_realloc(l->replies, l->reply_capacity * sizeof(*l->replies));
    }
    r = &l->replies[l->reply_count++];
    *r = (struct ledger_reply){0};
    memcpy(r->key, key, sizeof(r->key));
    buf_init(&r->body, LEDGER_RECORDS_MAX + PACK_OVERHEAD);
    return r;
}

static void drop(struct ledger *l, const char *why)
{
    l->figures.replies_dropped++;
    log_warning("reply-dropped", "%s", why);
}

/* The records so far, as one message. */
static void seal(struct ledger *l, const char *key, struct wire_writer *w)
{
    struct buf *plain = w->out;
    struct ledger_reply *r;
    struct err e = {0};

    if (!wire_ok(w, "reply", &e)) {
        drop(l, e.text);
    } else if (l->reply_bytes + plain->len > LEDGER_REPLIES_BYTES) {
        drop(l, "RabbitMQ takes no replies, and more of them wait than may");
    } else {
        r = new_reply(l, key);
        if (pack_seal(l->writer, PACK_ANSWERS, buf_slice(plain), &r->body, &e)) {
            l->reply_bytes += r->body.len;
        } else {
            buf_free(&r->body);
            l->reply_count--;
            drop(l, e.text);
        }
    }
    buf_reset(plain);
    *w = wire_write(plain);
}

void ledger_reply(struct ledger *l, const struct ledger_batch *b)
{
    struct wanted *list;
    size_t n = list_wanted(b, &list);
    struct buf plain;
    struct wire_writer w = wire_write(&plain);

    buf_init_secret(&plain, LEDGER_RECORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        ledger_put_answer(&w, &b->entries[list[i].entry], true);
        l->figures.replies++;
        if (i + 1 == n || plain.len >= LEDGER_REPLY_BYTES || strcmp(list[i].key, list[i + 1].key) != 0)
            seal(l, list[i].key, &w);
    }
    buf_free(&plain);
    free(list);
}

bool ledger_reply_publish(struct ledger *l, struct err *e)
{
    unsigned done = 0;
    bool ok = true;

    if (l->reply_count == 0)
        return true;
    if (!broker_channel_is_open(l->publisher, CHANNEL_REPLY) && !broker_channel_open(l->publisher, CHANNEL_REPLY, e))
        return false;
    while (ok && done < l->reply_count && broker_can_publish(l->publisher, l->replies[done].body.len)) {
        struct ledger_reply *r = &l->replies[done++];
        char key[16 + PACK_REPLY_KEY_SIZE];

        snprintf(key, sizeof(key), "reply.%s", r->key);
        ok = broker_publish_transient(l->publisher, CHANNEL_REPLY, l->exchange_out, key, PACK_CONTENT_TYPE, buf_slice(&r->body), e);
        l->reply_bytes -= r->body.len;
        buf_free(&r->body);
    }
    l->reply_count -= done;
    memmove(l->replies, l->replies + done, l->reply_count * sizeof(*l->replies));
    return ok;
}

void ledger_replies_drop(struct ledger *l)
{
    for (unsigned i = 0; i < l->reply_count; i++)
        buf_free(&l->replies[i].body);
    free(l->replies);
    l->replies = NULL;
    l->reply_count = l->reply_capacity = 0;
    l->reply_bytes = 0;
}
