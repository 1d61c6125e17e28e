/* Sending made-up events as cheaply as possible. See load_internal.h. */
#include "ingest/deposit/load_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ingest/deposit/digest.h"
#include "ingest/deposit/made.h"

enum { RECORD = 16384, OUT_FULL = 2 * RECORD };

static const char zeros[] = "000000000000";
static const char time_zeros[] = "0000000000000";

static void put_digits(uint8_t *at, size_t digits, uint64_t n)
{
    while (digits-- > 0) {
        at[digits] = (uint8_t)('0' + n % 10);
        n /= 10;
    }
}

/* Where the value that begins after "\nname:" (and `skip` bytes more) stands in the frame. */
static size_t place_of(const struct load_frame *f, const char *header, size_t skip)
{
    const uint8_t *at = memmem(f->bytes, f->len, header, strlen(header));

    return at == NULL ? 0 : (size_t)(at - f->bytes) + strlen(header) + skip;
}

static bool write_frame(const struct load *l, struct slice body, struct digest *d, struct buf *out, struct err *e)
{
    const struct options *o = l->options;
    char digest[DIGEST_HEX_MAX], name[64];
    struct stomp_writer w;

    if (!digest_hex(d, body, digest, e))
        return false;
    stomp_open(&w, out, STOMP_1_2, STOMP_SEND);
    snprintf(name, sizeof name, "/queue/Event.%s.In", o->vault);
    stomp_add(&w, STOMP_DESTINATION, slice_text(o->destination != NULL ? o->destination : name));
    stomp_add(&w, STOMP_RECEIPT_HEADER, slice_text(zeros));
    snprintf(name, sizeof name, "%s-%s", l->run_name, zeros);
    stomp_add(&w, STOMP_CLIENT_ID, slice_text(name));
    stomp_add(&w, STOMP_DIGEST, slice_text(digest));
    stomp_add(&w, STOMP_DIGEST_ALGO, slice_text(d->name));
    stomp_add(&w, STOMP_TIMESTAMP, slice_text(time_zeros));
    for (int i = 0; i < o->header_count; i++)
        if (!buf_add_slice(out, slice_text(o->headers[i]), e) || !buf_add(out, "\n", 1, e))
            return false;
    return stomp_close(&w, body, e);
}

static bool make_frame(struct load *l, struct load_frame *f, struct made *m, struct digest *d, struct err *e)
{
    struct buf body, out;
    bool ok;

    buf_init(&body, l->options->size + 64);
    buf_init(&out, l->options->size + 8192);
    ok = made_event(m, l->options->size, &body, e) && write_frame(l, buf_slice(&body), d, &out, e);
    if (ok) {
        f->len = out.len;
        f->bytes = mem_alloc(out.len);
        memcpy(f->bytes, buf_slice(&out).at, out.len);
        f->receipt_at = place_of(f, "\nreceipt:", 0);
        f->client_id_at = place_of(f, "\nClientId:", strlen(l->run_name) + 1);
        f->timestamp_at = place_of(f, "\nTimestamp:", 0);
    }
    buf_free(&body);
    buf_free(&out);
    return ok;
}

bool load_make_frames(struct load *l, struct err *e)
{
    struct made m = {.random = 4512, .operator_number = l->options->operator_number, .vault = l->options->vault};
    struct digest d;
    bool ok = digest_open(&d, l->options->digest, e);

    l->frames = mem_zalloc(LOAD_POOL, sizeof *l->frames);
    for (size_t i = 0; ok && i < LOAD_POOL; i++)
        ok = make_frame(l, &l->frames[i], &m, &d, e);
    digest_close(&d);
    return ok;
}

void load_free_frames(struct load *l)
{
    for (size_t i = 0; l->frames != NULL && i < LOAD_POOL; i++)
        free(l->frames[i].bytes);
    free(l->frames);
    l->frames = NULL;
}

void load_lane_init(struct load_lane *lane, struct load *l)
{
    *lane = (struct load_lane){.load = l, .slot_count = 1, .wait = {.since = link_now_ms()}};
    while (lane->slot_count < LOAD_SLOTS_PER_WINDOW * l->options->window)
        lane->slot_count *= 2;
    lane->sent_at = mem_zalloc(lane->slot_count, sizeof *lane->sent_at);
}

void load_lane_free(struct load_lane *lane)
{
    if (lane->open)
        link_close(&lane->link);
    free(lane->sent_at);
    lane->sent_at = NULL;
}

static uint64_t wall_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static bool send_one(struct load_lane *lane, uint64_t timestamp, uint64_t now)
{
    struct load *l = lane->load;
    const struct load_frame *f = &l->frames[l->sent % LOAD_POOL];
    uint8_t *at = buf_reserve(&lane->link.out, f->len, NULL);

    if (at == NULL)
        return false;
    memcpy(at, f->bytes, f->len);
    put_digits(at + f->receipt_at, LOAD_DIGITS, ++lane->sent);
    put_digits(at + f->client_id_at, LOAD_DIGITS, ++l->sent);
    put_digits(at + f->timestamp_at, strlen(time_zeros), timestamp);
    buf_commit(&lane->link.out, f->len);
    lane->sent_at[lane->sent & (lane->slot_count - 1)] = now;
    lane->outstanding++;
    return true;
}

/*
 * With a wide window a few receipts are let gather before sending again, so that frames share TLS records; the
 * window never empties meanwhile.
 */
static size_t worth_sending(const struct load_lane *lane)
{
    size_t window = lane->load->options->window, record = RECORD / lane->load->frames[0].len;

    if (lane->load->options->rate > 0 || record < 1)
        return 1;
    return record < window / 4 ? record : window / 4 + (window < 4);
}

bool load_lane_fill(struct load_lane *lane, uint64_t *allowed, uint64_t now)
{
    size_t window = lane->load->options->window;
    uint64_t timestamp = wall_clock_ms();

    if (lane->outstanding + worth_sending(lane) > window)
        return true;
    while (lane->outstanding < window && *allowed > 0 &&
           lane->sent_at[(lane->sent + 1) & (lane->slot_count - 1)] == 0) {
        if (lane->link.out.len >= OUT_FULL && !link_flush(&lane->link))
            return false;
        if (lane->link.out.len >= OUT_FULL || !send_one(lane, timestamp, now))
            break;
        --*allowed;
    }
    return link_flush(&lane->link);
}

static bool take_receipt(struct load_lane *lane, struct slice id, struct err *e)
{
    struct load *l = lane->load;
    uint64_t number, now = link_now_ns(), *slot;

    if (!number_parse(id, &number) || number > lane->sent || number + lane->slot_count <= lane->sent)
        return err_set(e, ERR_RETRY, "a receipt for nothing we sent");
    slot = &lane->sent_at[number & (lane->slot_count - 1)];
    if (*slot == 0)
        return err_set(e, ERR_RETRY, "the same receipt twice");
    if (*slot >= l->measured_from)
        histogram_add(&l->latency, now - *slot);
    *slot = 0;
    lane->outstanding--;
    l->confirmed++;
    return true;
}

bool load_lane_frame(void *context, const struct stomp_frame *f, struct err *e)
{
    struct load_lane *lane = context;

    if (f->command == STOMP_RECEIPT)
        return take_receipt(lane, stomp_get(f, STOMP_RECEIPT_ID), e);
    if (f->command == STOMP_ERROR)
        return link_take_error(&lane->link, f, e);
    return err_set(e, ERR_RETRY, "an unexpected %s frame", stomp_command_text(f->command));
}
