/* Events out: reading, naming, transactions. See run_internal.h. */
#include "ingest/deposit/run_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ingest/deposit/adapt.h"

enum {
    OUT_FULL = 256 << 10,   /* bytes waiting to be sent at which reading pauses */
    HELD_FULL = 256 << 20,  /* bytes of events kept at which reading pauses */
    NAME_MAX_BYTES = 300,
};

static uint64_t wall_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* prefix:file:rank:digest, of bytes that need no escape anywhere; the same for the same input every time. */
static void make_client_id(const struct run *r, const struct source_input *from, unsigned index, const char *digest,
                           char *out, size_t size)
{
    static const char hex[] = "0123456789ABCDEF";
    char name[NAME_MAX_BYTES];
    size_t at = 0, len = strlen(from->name), skip = len > 90 ? len - 90 : 0;

    for (const char *p = from->name + skip; *p != '\0' && at + 4 < sizeof name; p++) {
        unsigned char c = (unsigned char)*p;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-/", c) != NULL) {
            name[at++] = (char)c;
        } else {
            name[at++] = '%';
            name[at++] = hex[c >> 4];
            name[at++] = hex[c & 15];
        }
    }
    name[at] = '\0';
    snprintf(out, size, "%s:%s:%u:%.16s", r->options->client_id_prefix, name, index, digest);
}

static void notices(struct run *r, const struct split_event *event, struct slice bytes, const char *place)
{
    if (event->had_declaration && !r->source.named_declaration && !r->options->quiet) {
        r->source.named_declaration = true;
        if (!r->said_declaration || r->options->verbose)
            report_say(&r->report, "%s: XML declaration left out (sensors send none)%s", place,
                       r->options->verbose ? "" : "; further ones are not mentioned");
        r->said_declaration = true;
    }
    if (!r->said_placeholder && !adapt_has_placeholder(bytes)) {
        r->said_placeholder = true;
        report_say(&r->report, "%s: no %s in IDEvt: the vault will find it invalid (--placeholder puts it there)", place,
                   ADAPT_PLACEHOLDER);
    }
}

/* Has an earlier run taken this event as far as this one is asked to? */
static bool is_done(const struct run *r, const struct item *known)
{
    if (known == NULL)
        return false;
    switch (r->options->follow) {
    case FOLLOW_NONE:
        return known->state != ITEM_SENT;
    case FOLLOW_OK:
        return known->state == ITEM_ANSWERED;
    case FOLLOW_ARCHIVED:
        return known->state == ITEM_ANSWERED && known->lot <= r->journal.archived;
    }
    return false;
}

static bool send_begin(struct run *r, struct err *e)
{
    struct stomp_writer w;
    char name[32];

    r->transaction = ++r->transactions;
    r->in_transaction = 0;
    snprintf(name, sizeof name, "t%llu", (unsigned long long)r->transaction);
    stomp_open(&w, &r->link.out, STOMP_1_2, STOMP_BEGIN);
    stomp_add(&w, STOMP_TRANSACTION, slice_text(name));
    return stomp_close(&w, slice_of(NULL, 0), e);
}

/* COMMIT or ABORT; the receipt of a COMMIT is that of all its events. */
static bool send_end(struct run *r, enum stomp_command command, struct err *e)
{
    struct stomp_writer w;
    char name[32];

    snprintf(name, sizeof name, "t%llu", (unsigned long long)r->transaction);
    r->transaction = 0;
    r->in_transaction = 0;
    stomp_open(&w, &r->link.out, STOMP_1_2, command);
    stomp_add(&w, STOMP_TRANSACTION, slice_text(name));
    if (command == STOMP_COMMIT)
        stomp_add(&w, STOMP_RECEIPT_HEADER, slice_text(name));
    return stomp_close(&w, slice_of(NULL, 0), e);
}

static bool send_item(struct run *r, struct item *item, struct err *e)
{
    struct stomp_writer w;
    char name[48];

    if (r->options->transaction != TRANSACTION_NONE && r->transaction == 0 && !send_begin(r, e))
        return false;
    item->transaction = r->transaction;
    stomp_open(&w, &r->link.out, STOMP_1_2, STOMP_SEND);
    snprintf(name, sizeof name, "/queue/Event.%s.In", r->options->vault);
    stomp_add(&w, STOMP_DESTINATION, slice_text(name));
    if (r->transaction == 0)
        snprintf(name, sizeof name, "e%llu", (unsigned long long)item->number);
    else
        snprintf(name, sizeof name, "t%llu", (unsigned long long)r->transaction);
    stomp_add(&w, r->transaction == 0 ? STOMP_RECEIPT_HEADER : STOMP_TRANSACTION, slice_text(name));
    stomp_add(&w, STOMP_CLIENT_ID, slice_text(item->client_id));
    stomp_add(&w, STOMP_DIGEST, slice_text(item->digest));
    stomp_add(&w, STOMP_DIGEST_ALGO, slice_text(r->digest.name));
    stomp_add_number(&w, STOMP_TIMESTAMP, item->timestamp);
    if (!stomp_close(&w, slice_of(item->body, item->body_len), e))
        return false;
    r->in_transaction += r->transaction != 0;
    if (r->transaction != 0 && r->options->transaction > 0 && r->in_transaction == (size_t)r->options->transaction)
        return send_end(r, STOMP_COMMIT, e);
    return true;
}

/* An event that the state file says is answered but not archived: not sent, only waited for. */
static bool only_await(struct run *r, const struct item *known, const char *place, const char *digest)
{
    struct item *item;

    if (known == NULL || known->state != ITEM_ANSWERED)
        return false;
    item = items_add(&r->items, known->client_id, place, digest, SLICE_LITERAL(""));
    item->serial = known->serial;
    item->lot = known->lot;
    item->duplicate = known->duplicate;
    r->items.duplicates += known->duplicate;
    item->answer_digest = mem_strdup(known->answer_digest);
    items_move(&r->items, item, ITEM_ANSWERED);
    run_await_archive(r, item);
    return true;
}

/* One event of the source: named, compared with what is known, sent. */
static bool take_event(struct run *r, const struct split_event *event, const struct source_input *from, struct err *e)
{
    const struct options *o = r->options;
    struct adapt_rules rules = {o->adapt ? o->operator_number : NULL, o->adapt ? o->vault : NULL, o->placeholder};
    struct slice bytes = event->bytes;
    char digest[DIGEST_HEX_MAX], client_id[512], place[1024];
    struct err wrong = {0};
    struct item *item;

    snprintf(place, sizeof place, "%s:%u", from->path, event->line);
    buf_reset(&r->adapted);
    if (o->placeholder) {
        if (!adapt_event(bytes, &rules, &r->adapted, &wrong)) {
            report_say(&r->report, "%s: %s", place, wrong.text);
            r->report.problems++;
            return true;
        }
        bytes = buf_slice(&r->adapted);
    }
    notices(r, event, bytes, place);
    if (!digest_hex(&r->digest, bytes, digest, e))
        return false;
    make_client_id(r, from, event->index, digest, client_id, sizeof client_id);
    item = items_find(&r->items, slice_text(client_id));
    if (item != NULL) {
        report_say(&r->report, "%s: the same as %s, sent once", place, item->place);
        return true;
    }
    item = items_find(&r->journal.known, slice_text(client_id));
    if (is_done(r, item)) {
        r->report.known++;
        return true;
    }
    if (o->follow == FOLLOW_ARCHIVED && only_await(r, item, place, digest))
        return true;
    item = items_add(&r->items, client_id, place, digest, bytes);
    item->timestamp = wall_clock_ms();
    r->moved_at = link_now_ms();
    return send_item(r, item, e);
}

static bool may_read_on(const struct run *r)
{
    size_t window = r->options->window;

    if (r->read_all || r->link.out.len >= OUT_FULL)
        return false;
    if (r->options->transaction == TRANSACTION_ALL)
        return true;
    if (r->options->transaction > 0 && window < 2 * (size_t)r->options->transaction)
        window = 2 * (size_t)r->options->transaction;
    return r->items.in_flight < window && r->items.body_bytes < HELD_FULL;
}

static bool read_on(struct run *r, struct err *e)
{
    while (may_read_on(r)) {
        struct split_event event;
        const struct source_input *from = NULL;
        struct err wrong = {0};
        enum source_result result = source_next(&r->source, &event, &from, &wrong);

        r->waits_for_input = result == SOURCE_WAIT;
        if (result == SOURCE_WAIT)
            return true;
        if (result == SOURCE_END)
            r->read_all = true;
        if (result == SOURCE_PROBLEM) {
            report_say(&r->report, "%s", wrong.text);
            r->report.problems++;
        }
        if (result == SOURCE_EVENT && !take_event(r, &event, from, e))
            return false;
    }
    return true;
}

bool run_fill(struct run *r, struct err *e)
{
    while (r->again != NULL && r->link.out.len < OUT_FULL) {
        struct item *item = r->again;

        r->again = item->next;
        if (!send_item(r, item, e))
            return false;
    }
    if (r->again == NULL && !read_on(r, e))
        return false;
    if (!r->read_all || r->again != NULL || r->transaction == 0)
        return true;
    if (r->options->transaction == TRANSACTION_ALL && (r->report.problems > 0 || r->abandoned)) {
        r->abandoned = true;
        return send_end(r, STOMP_ABORT, e);
    }
    return send_end(r, STOMP_COMMIT, e);
}

static bool subscribe(struct run *r, const char *id, const char *queue, struct err *e)
{
    struct stomp_writer w;
    char name[64];

    snprintf(name, sizeof name, "/queue/%s.%s.Out", queue, r->options->vault);
    stomp_open(&w, &r->link.out, STOMP_1_2, STOMP_SUBSCRIBE);
    stomp_add(&w, STOMP_ID, slice_text(id));
    stomp_add(&w, STOMP_DESTINATION, slice_text(name));
    stomp_add(&w, STOMP_ACK_HEADER, slice_text(r->options->cumulative ? "client" : "client-individual"));
    return stomp_close(&w, slice_of(NULL, 0), e);
}

bool run_session(struct run *r, struct err *e)
{
    r->again = r->items.oldest;
    r->transaction = 0;
    r->in_transaction = 0;
    buf_reset(&r->acks);
    for (int i = 0; i < 2; i++) {
        free(r->last_ack[i]);
        r->last_ack[i] = NULL;
    }
    r->subscribed = r->options->follow != FOLLOW_NONE;
    if (r->subscribed && !subscribe(r, "0", "Event", e))
        return false;
    return r->options->follow != FOLLOW_ARCHIVED || subscribe(r, "1", "Archive", e);
}
