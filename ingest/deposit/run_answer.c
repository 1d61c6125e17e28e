/* Frames in: receipts, answers, archive notices. See run_internal.h. The vault is believed, within limits. */
#include "ingest/deposit/run_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/deposit/adapt.h"

/* An event leaves the queue of what has no receipt. */
static void settle(struct run *r, struct item *item, enum item_state state)
{
    if (r->again == item)
        r->again = item->next;
    items_move(&r->items, item, state);
    r->moved_at = link_now_ms();
    r->refusals = 0;
}

static void deposited(struct run *r, struct item *item)
{
    settle(r, item, ITEM_DEPOSITED);
    journal_deposited(&r->journal, item);
    if (r->options->follow != FOLLOW_NONE)
        return;
    items_drop_body(&r->items, item);
    report_event(&r->report, item);
}

static bool take_receipt(struct run *r, struct slice id, struct err *e)
{
    uint64_t number;

    if (id.len < 2 || !number_parse(slice_of(id.at + 1, id.len - 1), &number))
        return err_set(e, ERR_RETRY, "a receipt for nothing we sent");
    if (id.at[0] == 'e' && number >= 1 && number <= r->items.count) {
        if (r->items.all[number - 1]->state == ITEM_SENT)
            deposited(r, r->items.all[number - 1]);
        return true;
    }
    if (id.at[0] != 't')
        return err_set(e, ERR_RETRY, "a receipt for nothing we sent");
    for (struct item *item = r->items.oldest, *next; item != NULL; item = next) {
        next = item->next;
        if (item->transaction == number)
            deposited(r, item);
    }
    return true;
}

/*
 * The digest the vault computed must be that of our event with its serial in the placeholder's stead:
 * proof that it numbered what we sent.
 */
static bool digest_agrees(const struct item *item, struct slice algorithm, struct slice digest)
{
    static const char marked[] = ">" ADAPT_PLACEHOLDER "<";
    const uint8_t *at = item->body == NULL ? NULL : memmem(item->body, item->body_len, marked, strlen(marked));
    struct digest d = {0};
    struct buf whole;
    char name[16], hex[DIGEST_HEX_MAX] = "";
    size_t before;
    bool agrees;

    if (at == NULL)
        return true; /* resumed: the bytes are gone */
    before = (size_t)(at - item->body) + 1;
    snprintf(name, sizeof name, "%.*s", (int)(algorithm.len > 15 ? 15 : algorithm.len), (const char *)algorithm.at);
    buf_init(&whole, item->body_len + 32);
    agrees = digest_open(&d, name, NULL) && buf_add(&whole, item->body, before, NULL) &&
             buf_printf(&whole, NULL, "%" PRIu64, item->serial) &&
             buf_add(&whole, item->body + before + strlen(ADAPT_PLACEHOLDER),
                     item->body_len - before - strlen(ADAPT_PLACEHOLDER), NULL) &&
             digest_hex(&d, buf_slice(&whole), hex, NULL) && slice_is(digest, hex);
    buf_free(&whole);
    digest_close(&d);
    return agrees;
}

static void set_text(char **text, struct slice value)
{
    free(*text);
    *text = mem_text(slice_of(value.at, value.len > 500 ? 500 : value.len));
    for (char *p = *text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '.'; /* shown on terminals */
}

void run_await_archive(struct run *r, struct item *item)
{
    if (item->lot <= r->journal.archived) {
        items_move(&r->items, item, ITEM_ARCHIVED);
        report_event(&r->report, item);
        return;
    }
    if (r->unsealed_count == r->unsealed_room) {
        r->unsealed_room = r->unsealed_room == 0 ? 1024 : 2 * r->unsealed_room;
        r->unsealed = mem_realloc(r->unsealed, r->unsealed_room * sizeof *r->unsealed);
    }
    r->unsealed[r->unsealed_count++] = item;
    r->unsealed_new += !item->duplicate;
}

static void numbered(struct run *r, struct item *item, const struct stomp_frame *f)
{
    struct slice digest = stomp_get(f, STOMP_CFJL_DIGEST);

    set_text(&item->answer_digest, digest);
    if (!digest_agrees(item, stomp_get(f, STOMP_CFJL_DIGEST_ALGO), digest)) {
        item->mismatch = true;
        r->items.mismatches++;
        report_say(&r->report, "%s: the vault's digest is not that of this event with serial %" PRIu64, item->place,
                   item->serial);
    }
    r->items.duplicates += item->duplicate;
    settle(r, item, ITEM_ANSWERED);
    items_drop_body(&r->items, item);
    journal_answered(&r->journal, item);
    if (r->options->follow == FOLLOW_ARCHIVED)
        run_await_archive(r, item);
    else
        report_event(&r->report, item);
}

static bool take_answer(struct run *r, const struct stomp_frame *f, struct err *e)
{
    struct item *item = items_find(&r->items, stomp_get(f, STOMP_CLIENT_ID));
    struct slice status = stomp_get(f, STOMP_CFJL_STATUS);
    bool ok = slice_is(status, "CFJL_OK"), duplicate = slice_is(status, "CFJL_DUPLICATE_EVENT");

    if (item == NULL || (item->state != ITEM_SENT && item->state != ITEM_DEPOSITED))
        return true; /* of an earlier run, or told twice */
    if (slice_is(status, "CFJL_INVALID_MESSAGE")) {
        set_text(&item->reason, stomp_get(f, STOMP_CFJL_REASON));
        settle(r, item, ITEM_INVALID);
        items_drop_body(&r->items, item);
        report_event(&r->report, item);
        return true;
    }
    if ((!ok && !duplicate) || !number_parse(stomp_get(f, STOMP_CFJL_SERIAL), &item->serial) ||
        !number_parse(stomp_get(f, STOMP_CFJL_LOT_ID), &item->lot))
        return err_set(e, ERR_RETRY, "an answer without status, serial or lot, for %s", item->client_id);
    item->duplicate = duplicate;
    numbered(r, item, f);
    return true;
}

/* Lots are sealed one after the other, each over the one before: a notice counts for all earlier lots too. */
static bool take_archive(struct run *r, const struct stomp_frame *f, struct err *e)
{
    uint64_t lot;
    size_t kept = 0;

    if (!number_parse(stomp_get(f, STOMP_CFJL_ARCH_ID), &lot))
        return err_set(e, ERR_RETRY, "an archive notice without a lot");
    r->moved_at = link_now_ms();
    if (lot <= r->journal.archived)
        return true;
    r->journal.archived = lot;
    journal_archived(&r->journal, lot);
    for (size_t i = 0; i < r->unsealed_count; i++) {
        struct item *item = r->unsealed[i];

        if (item->lot > lot) {
            r->unsealed[kept++] = item;
            continue;
        }
        r->unsealed_new -= !item->duplicate;
        items_move(&r->items, item, ITEM_ARCHIVED);
        report_event(&r->report, item);
    }
    r->unsealed_count = kept;
    return true;
}

static bool write_ack(struct run *r, struct slice id, struct err *e)
{
    struct stomp_writer w;

    stomp_open(&w, &r->acks, STOMP_1_2, STOMP_ACK);
    stomp_add(&w, STOMP_ID, id);
    return stomp_close(&w, slice_of(NULL, 0), e);
}

static bool take_message(struct run *r, const struct stomp_frame *f, struct err *e)
{
    int which = slice_is(stomp_get(f, STOMP_SUBSCRIPTION), "1") ? 1 : 0;
    struct slice ack = stomp_get(f, STOMP_ACK_HEADER);

    if (!(which == 1 ? take_archive(r, f, e) : take_answer(r, f, e)))
        return false;
    if (ack.len == 0)
        return err_set(e, ERR_RETRY, "a MESSAGE that cannot be acknowledged (STOMP 1.2, MESSAGE: no ack header)");
    if (!r->options->cumulative)
        return write_ack(r, ack, e);
    free(r->last_ack[which]);
    r->last_ack[which] = mem_text(ack);
    return true;
}

bool run_take_frame(void *context, const struct stomp_frame *f, struct err *e)
{
    struct run *r = context;

    if (f->command == STOMP_RECEIPT)
        return take_receipt(r, stomp_get(f, STOMP_RECEIPT_ID), e);
    if (f->command == STOMP_MESSAGE)
        return take_message(r, f, e);
    if (f->command != STOMP_ERROR)
        return err_set(e, ERR_RETRY, "an unexpected %s frame", stomp_command_text(f->command));
    return link_take_error(&r->link, f, e);
}

bool run_acknowledge(struct run *r, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        bool ok = r->last_ack[i] == NULL || write_ack(r, slice_text(r->last_ack[i]), e);

        free(r->last_ack[i]);
        r->last_ack[i] = NULL;
        if (!ok)
            return false;
    }
    if (!journal_write(&r->journal, e))
        return false;
    if (r->acks.len == 0)
        return true;
    if (!buf_add_slice(&r->link.out, buf_slice(&r->acks), e))
        return false;
    buf_reset(&r->acks);
    return true;
}
