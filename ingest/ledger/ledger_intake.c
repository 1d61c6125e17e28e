/*
 * The ledger's intake: packs from RabbitMQ are opened into batches, and batches are judged by inspect. Packs are
 * hostile until opened; verdicts come from the process that parses strangers' bytes and are checked again.
 */
#include "ingest/ledger/ledger_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/values/log.h"

static const uint64_t RECEIVED_MAX = UINT64_C(253402300799999); /* ms since 1970: the end of the year 9999 */

enum { CHECK_ATTEMPTS = 3 /* inspect ends that often on one deposit: the deposit is to blame */ };

/* --- batches
 * -------------------------------------------------------------------------------------------------------------- */

static void give_back(struct buf *b)
{
    if (b->capacity > LEDGER_KEEP_BYTES)
        buf_free(b);
    else
        buf_reset(b);
}

void ledger_batch_reset(struct ledger_batch *b)
{
    for (size_t i = 0; i < b->count && b->entries != NULL && i < b->capacity; i++) {
        free(b->entries[i].reason);
        b->entries[i].reason = NULL;
    }
    for (unsigned i = 0; i < b->parked_count; i++)
        buf_free(&b->parked[i]);
    free(b->parked);
    b->parked = NULL;
    b->parked_count = 0;
    give_back(&b->records);
    free(b->stored);
    b->stored = NULL;
    b->stored_count = 0;
    batch_table_free(&b->stored_table);
    b->checked = b->prepared = b->written = 0;
    b->outgoing = 0;
    b->state = LEDGER_FREE;
}

void ledger_batch_clear(struct ledger_batch *b)
{
    ledger_batch_reset(b);
    buf_free(&b->records);
    free(b->entries);
    b->entries = NULL;
    b->capacity = b->count = 0;
    batch_table_free(&b->table);
}

/* The batch that takes packs now; begins one when there is none and a place is free. */
static struct ledger_batch *collecting(struct ledger *l)
{
    struct ledger_batch *b = l->used == 0 ? NULL : ledger_batch_at(l, l->used - 1);

    if (b != NULL && b->state == LEDGER_COLLECTING)
        return b;
    if (l->used == LEDGER_BATCHES)
        return NULL;
    b = &l->batches[(l->first + l->used++) % LEDGER_BATCHES];
    /* Its last life's identities end here. */
    batch_table_free(&b->table);
    b->count = 0;
    b->state = LEDGER_COLLECTING;
    b->began_ms = ledger_now();
    if (b->records.max == 0)
        buf_init_secret(&b->records, LEDGER_RECORDS_MAX);
    return b;
}

static bool is_full(const struct ledger *l, const struct ledger_batch *b)
{
    return b->count >= l->batch_events || b->records.len >= LEDGER_BATCH_BYTES;
}

/* --- packs
 * ---------------------------------------------------------------------------------------------------------------- */

/* A pack that cannot be read is kept as it is, for a human: losing it or trying for ever would both be wrong. */
static void park(struct ledger *l, struct ledger_batch *b, struct slice pack, const struct err *why)
{
    log_error("pack-parked", "a pack of %zu bytes cannot be read and is set aside in Event.%llu.Parked: %s", pack.len,
              (unsigned long long)l->settings->vault.number, why->text);
    b->parked = mem_realloc(b->parked, (b->parked_count + 1) * sizeof(*b->parked));
    buf_init(&b->parked[b->parked_count], pack.len);
    if (pack.len != 0 && !buf_add_slice(&b->parked[b->parked_count], pack, NULL))
        abort(); /* its maximum is this very length */
    b->parked_count++;
    l->figures.parked++;
}

/* What a column of PostgreSQL could not hold would stop the ledger for ever. */
static bool is_storable(const struct pack_deposit *d, struct err *e)
{
    if (d->depositor == 0 || d->depositor > INT32_MAX)
        return err_set(e, ERR_INPUT, "deposit record: depositor %u makes no sense", d->depositor);
    if (d->received > RECEIVED_MAX)
        return err_set(e, ERR_INPUT, "deposit record: received after the year 9999");
    return true;
}

/* Counts the records behind `from`; every one must decode. */
static bool count_records(const struct ledger_batch *b, size_t from, size_t *count, struct err *e)
{
    struct slice all = buf_slice(&b->records);
    struct wire_reader r = wire_read(slice_of(all.at + from, all.len - from));
    struct slice record;
    struct pack_deposit d;

    for (*count = 0; pack_next(&r, &record); ++*count)
        if (!pack_get_deposit(record, &d, e) || !is_storable(&d, e))
            return false;
    return wire_end(&r, "pack", e);
}

/* Opens a pack into the batch. False: no room, the next batch has some. */
static bool take_pack(struct ledger *l, struct ledger_batch *b, uint64_t tag, struct slice pack)
{
    size_t before = b->records.len, count = 0;
    struct err e = {0};
    bool ok = pack_open(l->reader, pack, PACK_DEPOSITS, &b->records, &e);

    if (!ok && e.code == ERR_RETRY && before != 0)
        return false;
    if (!ok && e.code == ERR_FATAL) {
        /* Not the pack's fault: unacknowledged, it comes to the next ledger. */
        log_error("pack-failed", "%s", e.text);
        log_end();
        _exit(1);
    }
    if (ok && !count_records(b, before, &count, &e)) {
        OPENSSL_cleanse(b->records.data + b->records.start + before, b->records.len - before);
        b->records.len = before;
        ok = false;
    }
    if (ok)
        b->count += count;
    else
        park(l, b, pack, &e);
    b->last_tag = tag;
    return true;
}

static bool take_or_keep(struct ledger *l, uint64_t tag, struct slice pack, struct err *e)
{
    struct ledger_batch *b = l->waiting_count == 0 ? collecting(l) : NULL;
    unsigned place = (l->waiting_first + l->waiting_count) % LEDGER_PREFETCH;

    if (b != NULL && !is_full(l, b) && take_pack(l, b, tag, pack))
        return true;
    if (l->waiting_count == LEDGER_PREFETCH)
        return err_set(e, ERR_RETRY, "RabbitMQ: more deliveries than the prefetch allows");
    buf_init(&l->waiting[place], pack.len);
    if (pack.len != 0 && !buf_add_slice(&l->waiting[place], pack, e))
        return false;
    l->waiting_tags[place] = tag;
    l->waiting_count++;
    return true;
}

static void take_waiting(struct ledger *l)
{
    while (l->waiting_count != 0) {
        struct ledger_batch *b = collecting(l);
        struct buf *pack = &l->waiting[l->waiting_first];

        if (b == NULL || is_full(l, b) || !take_pack(l, b, l->waiting_tags[l->waiting_first], buf_slice(pack)))
            return;
        buf_free(pack);
        l->waiting_first = (l->waiting_first + 1) % LEDGER_PREFETCH;
        l->waiting_count--;
    }
}

bool ledger_consume(struct ledger *l, struct err *e)
{
    uint64_t now = ledger_now();

    take_waiting(l);
    /* While nothing more can be taken the connection is only kept alive: RabbitMQ's patience is the back-pressure. */
    while (l->waiting_count == 0 || now - l->consumer_polled >= 1000) {
        struct broker_event ev;

        l->consumer_polled = now;
        if (!broker_poll(l->consumer, 0, &ev, e))
            return false;
        if (ev.kind == BROKER_NOTHING)
            break;
        if (ev.kind == BROKER_CANCELLED || ev.kind == BROKER_CHANNEL_CLOSED)
            return err_set(e, ERR_RETRY, "RabbitMQ ended the consumer of %s: %s", l->queue_in, ev.text);
        if (ev.kind == BROKER_DELIVERY && !take_or_keep(l, ev.tag, ev.body, e))
            return false;
    }
    return true;
}

/* --- inspect
 * -------------------------------------------------------------------------------------------------------------- */

/* Collecting ends: records get their entries, which borrow from them. */
static void fill_entries(struct ledger_batch *b)
{
    struct wire_reader r = wire_read(buf_slice(&b->records));
    struct slice record;

    if (b->count > b->capacity) {
        free(b->entries);
        b->capacity = b->count;
        b->entries = mem_zalloc(b->capacity, sizeof(*b->entries));
    }
    for (size_t i = 0; i < b->count && pack_next(&r, &record); i++) {
        b->entries[i] = (struct batch_entry){.kind = BATCH_VALID};
        if (!pack_get_deposit(record, &b->entries[i].d, NULL))
            abort(); /* each one was decoded when its pack was opened */
    }
    batch_table_reset(&b->table, b->count);
}

/* The framed records of entries [from, to). */
static struct slice records_of(const struct ledger_batch *b, size_t from, size_t to)
{
    struct slice all = buf_slice(&b->records);
    const uint8_t *begin = all.at, *end = all.at + all.len;

    if (from > 0)
        begin = b->entries[from - 1].d.body.at + b->entries[from - 1].d.body.len;
    if (to < b->count)
        end = b->entries[to - 1].d.body.at + b->entries[to - 1].d.body.len;
    return slice_of(begin, (size_t)(end - begin));
}

static bool send_check(struct ledger *l, struct err *e)
{
    struct ledger_batch *b = l->checking;
    uint32_t count;
    uint8_t head[4];

    l->check_from = b->checked;
    l->check_to = l->check_singly ? b->checked + 1 : b->count;
    count = (uint32_t)(l->check_to - l->check_from);
    for (unsigned i = 0; i < 4; i++)
        head[i] = (uint8_t)(count >> 8 * (3 - i));
    l->check_sent = ledger_now();
    return channel_send2(l->inspect, l->check_plain ? INSPECT_CHECK_PLAIN : INSPECT_CHECK, slice_of(head, 4), records_of(b, l->check_from, l->check_to), e) &&
           channel_flush(l->inspect, e);
}

static bool reason_is_sound(struct slice reason)
{
    if (reason.len == 0 || reason.len >= EVENT_REASON_MAX)
        return false;
    for (size_t i = 0; i < reason.len; i++)
        if (reason.at[i] < 0x20 || reason.at[i] > 0x7e)
            return false;
    return true;
}

/* What inspect may say of a deposit that is taken all the same. */
static bool is_remark(struct slice reason)
{
    return reason_is_sound(reason) && reason.len > 6 && memcmp(reason.at, "schema", 6) == 0;
}

static bool take_verdict(struct wire_reader *r, struct batch_entry *entry, struct err *e)
{
    uint8_t verdict = wire_get_u8(r);
    uint32_t placeholder = wire_get_u32(r);
    struct slice type = wire_get_text(r), reason = wire_get_text(r);

    if (r->short_read || verdict > 1 || (type.len != 0 && !lot_type_is_valid(type)))
        return err_set(e, ERR_INPUT, "inspect: a verdict that makes no sense");
    if (verdict == 0 && (type.len == 0 || (reason.len != 0 && !is_remark(reason)) || !event_placeholder_is_at(entry->d.body, placeholder) ||
                         digest_parse_algorithm(entry->d.digest_algo) == DIGEST_NONE))
        return err_set(e, ERR_INPUT, "inspect: a valid verdict that is not");
    if (verdict == 1 && !reason_is_sound(reason))
        return err_set(e, ERR_INPUT, "inspect: a refusal without a reason");
    entry->kind = verdict == 0 ? BATCH_VALID : BATCH_INVALID;
    entry->placeholder = placeholder;
    if (type.len != 0)
        memcpy(entry->type, type.at, type.len);
    entry->type[type.len] = '\0';
    free(entry->reason);
    entry->reason = reason.len != 0 ? mem_text(reason) : NULL;
    return true;
}

/* Of more than there is room for, the one whose time ends first is forgotten. */
static void spare(struct ledger *l, uint32_t depositor)
{
    unsigned at = 0;

    for (unsigned i = 1; i < l->spared_count; i++)
        if (l->spared[i].depositor == depositor || (l->spared[at].depositor != depositor && l->spared[i].until_ms < l->spared[at].until_ms))
            at = i;
    if (l->spared_count < LEDGER_SPARED_MAX && (l->spared_count == 0 || l->spared[at].depositor != depositor))
        at = l->spared_count++;
    l->spared[at].depositor = depositor;
    l->spared[at].until_ms = ledger_now() + (uint64_t)LEDGER_SPARE_S * 1000;
    log_warning("schema-spared", "events of depositor %u are not compared with schemas for %d s: comparing one has ended inspect", depositor, (int)LEDGER_SPARE_S);
}

/* Inspect is new: it is told what became of the ones before. */
static bool send_spared(struct ledger *l, struct err *e)
{
    uint64_t now = ledger_now();

    for (unsigned i = 0; i < l->spared_count; i++) {
        uint8_t bytes[8];
        struct buf message = {.data = bytes, .capacity = sizeof(bytes), .max = sizeof(bytes)};
        struct wire_writer w = wire_write(&message);

        if (l->spared[i].until_ms <= now)
            continue;
        wire_put_u32(&w, l->spared[i].depositor);
        wire_put_u32(&w, (uint32_t)((l->spared[i].until_ms - now) / 1000 + 1));
        if (!wire_ok(&w, "SPARE", e) || !channel_send(l->inspect, INSPECT_SPARE, buf_slice(&message), e))
            return false;
    }
    return true;
}

static bool take_verdicts(struct ledger *l, const struct channel_message *m, struct err *e)
{
    struct wire_reader r = wire_read(m->body);
    struct ledger_batch *b = l->checking;

    if (m->type == INSPECT_READY && m->fd < 0) {
        l->inspect_ready = true;
        return wire_end(&r, "READY", e) && send_spared(l, e);
    }
    if (m->type != INSPECT_CHECKED || m->fd >= 0 || b == NULL || l->check_to == 0)
        return err_set(e, ERR_INPUT, "inspect: message %u makes no sense", m->type);
    if (wire_get_u32(&r) != l->check_to - l->check_from)
        return err_set(e, ERR_INPUT, "inspect: another number of verdicts than of deposits");
    for (size_t i = l->check_from; i < l->check_to; i++)
        if (!take_verdict(&r, &b->entries[i], e))
            return false;
    if (!wire_end(&r, "CHECKED", e))
        return false;
    b->checked = l->check_to;
    l->check_to = 0;
    l->check_failures = 0;
    l->check_plain = false;
    return true;
}

static bool identify_all(struct ledger *l, struct ledger_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->count; i++) {
        struct batch_entry *entry = &b->entries[i];

        if (entry->kind == BATCH_INVALID ? !batch_identify_invalid(l->identity, &entry->d, entry->id, e)
                                         : !batch_identify(l->identity, &entry->d, entry->id, e))
            return false;
    }
    return true;
}

/*
 * Inspect has ended while it had deposits: again when it is back, one at a time to find the one to blame; that one then without being compared with
 * schemas, which are what takes long, and in the end it is refused without being read. Whoever has kept inspect busy until its deadline would do so again: that is not
 * waited for as often.
 */
static void blame(struct ledger *l, bool stuck)
{
    if (l->checking == NULL || l->check_to == 0)
        return;
    l->check_to = 0;
    l->check_failures++;
    log_error("inspect-ended", "inspect ended while it judged %zu deposits", l->checking->count - l->checking->checked);
    if (l->check_failures < CHECK_ATTEMPTS && !stuck)
        return;
    l->check_failures = 0;
    if (!l->check_singly) {
        l->check_singly = true;
        return;
    }
    if (!l->check_plain) {
        l->check_plain = true;
        spare(l, l->checking->entries[l->checking->checked].d.depositor);
        return;
    }
    l->check_plain = false;
    l->checking->entries[l->checking->checked].kind = BATCH_INVALID;
    free(l->checking->entries[l->checking->checked].reason);
    l->checking->entries[l->checking->checked].reason = mem_strdup("not-inspectable: reading it ended the reader");
    l->checking->checked++;
}

void ledger_inspect_gone(struct ledger *l)
{
    blame(l, false);
}

static void receive_verdicts(struct ledger *l)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result r;
    bool stuck = false;

    while ((r = channel_receive(l->inspect, &m, &e)) == CHANNEL_MESSAGE)
        if (!take_verdicts(l, &m, &e)) {
            log_error("channel-bad", "%s", e.text);
            role_kill_sibling(l->self, "inspect", 0);
            r = CHANNEL_CLOSED;
            break;
        }
    if (r == CHANNEL_EMPTY && l->check_to != 0 && ledger_now() - l->check_sent > LEDGER_CHECK_MS) {
        log_error("inspect-stuck", "inspect did not answer within %d ms", (int)LEDGER_CHECK_MS);
        role_kill_sibling(l->self, "inspect", 0);
        r = CHANNEL_CLOSED;
        stuck = true;
    }
    if (r == CHANNEL_CLOSED) {
        channel_free(l->inspect);
        l->inspect = NULL;
        blame(l, stuck);
    }
}

bool ledger_gathers(const struct ledger *l, const struct ledger_batch *b)
{
    return b->state == LEDGER_COLLECTING && !l->draining && b->count < LEDGER_GATHER_ENOUGH &&
           ledger_now() - b->began_ms < LEDGER_GATHER_MS;
}

/* Starts checking the collecting batch once nobody else is being checked: packs arriving meanwhile make the next batch
 * larger. */
static void begin_check(struct ledger *l)
{
    struct ledger_batch *b = l->used == 0 ? NULL : ledger_batch_at(l, l->used - 1);

    if (l->checking != NULL || b == NULL || b->state != LEDGER_COLLECTING || (b->count == 0 && b->parked_count == 0))
        return;
    if (ledger_gathers(l, b))
        return;
    fill_entries(b);
    b->state = LEDGER_CHECKING;
    l->checking = b;
    l->check_singly = l->check_plain = false;
    l->check_failures = 0;
    l->check_to = 0;
}

bool ledger_check(struct ledger *l, struct err *e)
{
    /* Read even while standing by: what is left in its channel would wake every wait at once. */
    if (l->inspect != NULL)
        receive_verdicts(l);
    if (!l->fenced)
        return true;
    begin_check(l);
    while (l->checking != NULL && l->checking->checked == l->checking->count) {
        struct ledger_batch *b = l->checking;

        if (!identify_all(l, b, e))
            return false;
        b->state = LEDGER_CHECKED;
        l->checking = NULL;
        begin_check(l);
    }
    if (l->checking != NULL && l->check_to == 0 && l->inspect != NULL && l->inspect_ready && !send_check(l, NULL)) {
        channel_free(l->inspect);
        l->inspect = NULL;
        ledger_inspect_gone(l);
    }
    return true;
}
