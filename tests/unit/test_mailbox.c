/* A depositor's queue: credit, order, acknowledgement entry by entry, what comes back and how it is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "ingest/queues/mailbox.h"

struct taken {
    uint64_t subscription, delivery;
    uint8_t redeliveries;
    char client[16];
};

struct post {
    struct mailbox mailbox;
    struct taken taken[100];
    unsigned count, refuse_after;
};

static bool take(void *ctx, const struct mailbox_subscription *s, const struct mailbox_delivery *delivery)
{
    struct post *p = ctx;
    struct taken *t = &p->taken[p->count];
    struct pack_answer a;

    if (p->count == p->refuse_after)
        return false;
    assert_true(pack_get_answer(delivery->record, &a, NULL));
    *t = (struct taken){.subscription = s->id, .delivery = delivery->number, .redeliveries = delivery->redeliveries};
    memcpy(t->client, a.client_id.at, a.client_id.len);
    p->count++;
    return true;
}

static void write_answers(struct buf *plain, unsigned first, unsigned n)
{
    struct wire_writer w;

    buf_init(plain, 1 << 20);
    w = wire_write(plain);
    for (unsigned i = first; i < first + n; i++) {
        char id[16];
        struct pack_answer a = {.status = PACK_OK, .serial = i, .lot = 1};

        snprintf(id, sizeof id, "c%u", i);
        a.client_id = slice_text(id);
        pack_put_answer(&w, &a);
    }
    assert_true(wire_ok(&w, "answers", NULL));
}

static struct mailbox_message *add(struct post *p, uint64_t ordinal, unsigned first, unsigned n, uint32_t redeliveries)
{
    struct mailbox_message *message;
    struct buf plain;

    write_answers(&plain, first, n);
    message = mailbox_add(&p->mailbox, ordinal, buf_slice(&plain), redeliveries, NULL);
    assert_non_null(message);
    buf_free(&plain);
    return message;
}

static struct mailbox_message *settle(struct post *p, unsigned subscription, unsigned taken, enum deliver_outcome outcome)
{
    return mailbox_settle(&p->mailbox, subscription, p->taken[taken].delivery, outcome, true);
}

static int open_post(void **state)
{
    struct post *p = mem_zalloc(1, sizeof *p);

    p->refuse_after = 100;
    *state = p;
    return 0;
}

static int close_post(void **state)
{
    struct post *p = *state;

    mailbox_free(&p->mailbox);
    free(p);
    return 0;
}

static void entries_go_in_order_within_credit(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 3, 0);
    add(p, 2, 4, 3, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 4), 0);
    assert_false(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 4);
    for (unsigned i = 0; i < 4; i++) {
        char id[16];

        snprintf(id, sizeof id, "c%u", i + 1);
        assert_string_equal(p->taken[i].client, id);
        assert_int_equal(p->taken[i].redeliveries, 0);
    }
    assert_null(settle(p, 0, 0, DELIVER_DONE));
    assert_false(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 5);
}

/* An acknowledgement gives no credit of its own accord; credit comes and goes by itself, within its bounds. */
static void credit_is_apart_from_acknowledgement(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 9, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 0), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 0);
    mailbox_credit(&p->mailbox, 0, 2);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_null(mailbox_settle(&p->mailbox, 0, p->taken[0].delivery, DELIVER_DONE, false));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_null(mailbox_settle(&p->mailbox, 0, p->taken[1].delivery, DELIVER_DONE, true));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 3);
    mailbox_credit(&p->mailbox, 0, 5);
    mailbox_credit(&p->mailbox, 0, INT32_MIN); /* never below none */
    mailbox_credit(&p->mailbox, 0, 1);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 4);
    for (unsigned i = 0; i < 3; i++)
        mailbox_credit(&p->mailbox, 0, INT32_MAX);
    assert_int_equal(p->mailbox.subscriptions[0].credit, MAILBOX_CREDIT_MAX);
    assert_true(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 9);
}

static void a_message_is_done_when_all_its_entries_are(void **state)
{
    struct post *p = *state;
    struct mailbox_message *message = add(p, 9, 1, 3, 0);

    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    assert_true(mailbox_pump(&p->mailbox, take, p));
    assert_null(settle(p, 0, 2, DELIVER_DONE));
    assert_null(settle(p, 0, 2, DELIVER_DONE)); /* twice counts once */
    assert_null(settle(p, 0, 0, DELIVER_DONE));
    assert_ptr_equal(settle(p, 0, 1, DELIVER_DONE), message);
    mailbox_remove(&p->mailbox, message);
    assert_null(p->mailbox.first);
    assert_true(p->mailbox.held == 0 && p->mailbox.count == 0 && p->mailbox.by_ordinal.count == 0);
}

static void two_subscriptions_take_turns(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 4, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 1, 2, 11, 10), 1);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 4);
    assert_int_equal(p->mailbox.subscriptions[0].out, 2);
    assert_int_equal(p->mailbox.subscriptions[1].out, 2);
    /* An entry can be settled only by the subscription it went to. */
    for (unsigned i = 0; i < 4; i++)
        assert_null(settle(p, (i + 1) % 2, i, DELIVER_DONE));
    assert_int_equal(p->mailbox.first->done, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_null(settle(p, i % 2, i, DELIVER_DONE));
    assert_non_null(settle(p, 1, 3, DELIVER_DONE));
}

static void a_full_mailbox_says_so(void **state)
{
    struct post *p = *state;

    for (int i = 0; i < MAILBOX_SUBSCRIPTIONS_MAX; i++)
        assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, (uint64_t)i, 1), i);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 9999, 1), -1);
    mailbox_unsubscribe(&p->mailbox, 17);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 9999, 1), 17);
    mailbox_unsubscribe_front(&p->mailbox, 0, 1);
    assert_int_equal(p->mailbox.subscription_count, 0);
    assert_int_equal(p->mailbox.subscription_top, 0);
}

static void what_a_leaving_subscriber_held_comes_back_counted(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 3, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_null(settle(p, 0, 1, DELIVER_DONE));
    mailbox_unsubscribe_front(&p->mailbox, 0, 1);
    assert_int_equal(p->mailbox.subscription_count, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 12, 10), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 5);
    assert_string_equal(p->taken[3].client, "c1");
    assert_string_equal(p->taken[4].client, "c3");
    assert_int_equal(p->taken[3].redeliveries, 1);
}

/* One of two goes: what the other has stays with it. */
static void only_the_leaving_subscribers_entries_come_back(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 2, 0);
    add(p, 2, 3, 2, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 1, 1, 12, 10), 1);
    mailbox_pump(&p->mailbox, take, p);
    mailbox_unsubscribe(&p->mailbox, 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 6);
    assert_true(p->taken[4].subscription == 12 && p->taken[5].subscription == 12);
    assert_int_equal(p->mailbox.subscriptions[1].out, 4);
    assert_int_equal(p->taken[4].redeliveries, 1);
}

static void a_rejected_entry_comes_again_and_the_brokers_count_adds(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 1, 2);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 1), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->taken[0].redeliveries, 2);
    assert_null(settle(p, 0, 0, DELIVER_REJECTED));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->taken[1].redeliveries, 3);
}

/* Handed to the connection, never to the application: back as it was, before what comes after it. */
static void an_unseen_entry_comes_again_as_it_was(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 2, 0);
    add(p, 2, 3, 2, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 3), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_null(settle(p, 0, 0, DELIVER_DONE));
    assert_null(settle(p, 0, 1, DELIVER_UNSEEN));
    assert_null(settle(p, 0, 1, DELIVER_UNSEEN)); /* twice: only its credit */
    assert_null(settle(p, 0, 2, DELIVER_UNSEEN));
    mailbox_unsubscribe(&p->mailbox, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 12, 10), 0);
    assert_true(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 6);
    for (unsigned i = 0; i < 3; i++) {
        char id[16];

        snprintf(id, sizeof id, "c%u", i + 2);
        assert_string_equal(p->taken[3 + i].client, id);
        assert_int_equal(p->taken[3 + i].redeliveries, 0);
    }
}

/* What became of a message decides how it goes back. */
static void a_message_nobody_reads_goes_back_with_every_count_right(void **state)
{
    struct post *p = *state;
    struct mailbox_message *m[5];

    for (unsigned i = 0; i < 5; i++)
        m[i] = add(p, i + 1, 2 * i, 2, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 8), 0);
    mailbox_pump(&p->mailbox, take, p); /* all but the last message */
    assert_null(settle(p, 0, 0, DELIVER_UNSEEN));
    assert_null(settle(p, 0, 1, DELIVER_UNSEEN));
    assert_null(settle(p, 0, 4, DELIVER_UNSEEN));
    assert_null(settle(p, 0, 6, DELIVER_DONE));
    mailbox_unsubscribe(&p->mailbox, 0);
    assert_int_equal(mailbox_fate(m[0]), MAILBOX_UNTOUCHED);
    assert_int_equal(mailbox_fate(m[1]), MAILBOX_RAISED);
    assert_int_equal(mailbox_fate(m[2]), MAILBOX_REMAINDER); /* one raised, one not */
    assert_int_equal(mailbox_fate(m[3]), MAILBOX_REMAINDER); /* one done */
    assert_int_equal(mailbox_fate(m[4]), MAILBOX_UNTOUCHED);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 12, 4), 0);
    mailbox_pump(&p->mailbox, take, p);
    mailbox_unsubscribe(&p->mailbox, 0);
    assert_int_equal(mailbox_fate(m[0]), MAILBOX_RAISED);
    assert_int_equal(mailbox_fate(m[1]), MAILBOX_REMAINDER); /* twice: the broker would count once */
}

static void the_remainder_is_what_was_not_acknowledged(void **state)
{
    struct post *p = *state;
    struct buf rest;
    struct wire_writer w;
    struct post again = {.refuse_after = 100};

    add(p, 1, 1, 4, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 3), 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_null(settle(p, 0, 0, DELIVER_DONE));
    mailbox_unsubscribe(&p->mailbox, 0);
    buf_init(&rest, 1 << 20);
    w = wire_write(&rest);
    mailbox_remainder(p->mailbox.first, &w);
    assert_non_null(mailbox_add(&again.mailbox, 5, buf_slice(&rest), 0, NULL));
    assert_int_equal(mailbox_subscribe(&again.mailbox, 0, 1, 1, 10), 0);
    mailbox_pump(&again.mailbox, take, &again);
    assert_int_equal(again.count, 3);
    assert_string_equal(again.taken[0].client, "c2");
    assert_int_equal(again.taken[0].redeliveries, 1);
    assert_string_equal(again.taken[2].client, "c4");
    assert_int_equal(again.taken[2].redeliveries, 0);
    mailbox_free(&again.mailbox);
    buf_free(&rest);
}

static void a_forgotten_delivery_only_gives_credit_back(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 2, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 1), 0);
    mailbox_pump(&p->mailbox, take, p);
    mailbox_forget(&p->mailbox);
    assert_int_equal(p->mailbox.held, 0);
    add(p, 77, 1, 2, 1); /* delivered again: its ordinal is new */
    assert_null(settle(p, 0, 0, DELIVER_DONE));
    assert_int_equal(p->mailbox.first->done, 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->taken[1].redeliveries, 1);
    assert_null(mailbox_settle(&p->mailbox, 0, UINT64_MAX, DELIVER_DONE, false));
    assert_null(mailbox_settle(&p->mailbox, 0, 77 * (uint64_t)MAILBOX_ENTRIES_MAX + 2, DELIVER_REJECTED, false));
}

static void a_front_that_cannot_take_stops_the_pump_and_loses_nothing(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 3, 0);
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    p->refuse_after = 1;
    assert_false(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 1);
    p->refuse_after = 100;
    assert_true(mailbox_pump(&p->mailbox, take, p));
    assert_int_equal(p->count, 3);
}

/* An archive notice is one entry, whatever its bytes. */
static bool look(void *ctx, const struct mailbox_subscription *s, const struct mailbox_delivery *delivery)
{
    unsigned *seen = ctx;

    (void)s;
    assert_true(slice_is(delivery->record, "notice"));
    assert_int_equal(delivery->redeliveries, 1);
    ++*seen;
    return true;
}

static void a_single_body_is_one_entry(void **state)
{
    struct post *p = *state;
    unsigned seen = 0;

    assert_non_null(mailbox_add_single(&p->mailbox, 1, SLICE_LITERAL("notice"), 1));
    assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10), 0);
    assert_true(mailbox_pump(&p->mailbox, look, &seen));
    assert_int_equal(seen, 1);
}

static void malformed_answers_are_refused(void **state)
{
    struct post *p = *state;
    struct buf plain;
    struct err e = {0};

    write_answers(&plain, 1, 2);
    plain.len--;
    assert_null(mailbox_add(&p->mailbox, 1, buf_slice(&plain), 0, &e));
    assert_int_equal(e.code, ERR_INPUT);
    err_clear(&e);
    plain.len++;
    plain.data[4] = 77; /* an unknown status */
    assert_null(mailbox_add(&p->mailbox, 1, buf_slice(&plain), 0, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_null(mailbox_add(&p->mailbox, 1, slice_of(NULL, 0), 0, NULL));
    assert_null(p->mailbox.first);
    buf_free(&plain);
}

/* What a sensor may hold that commits every five minutes, acknowledged from the first to the last and anyhow: what takes minutes here is too slow. */
enum { MANY_MESSAGES = 100000, MANY_EACH = 10, MANY = MANY_MESSAGES * MANY_EACH };

struct many {
    uint64_t *numbers;
    uint32_t count;
};

static bool keep(void *ctx, const struct mailbox_subscription *s, const struct mailbox_delivery *delivery)
{
    struct many *many = ctx;

    (void)s;
    many->numbers[many->count++] = delivery->number;
    return true;
}

static void shuffle(struct many *many)
{
    uint32_t random = 1;

    for (uint32_t i = many->count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(((uint64_t)(random = random * 1664525u + 1013904223u) * (i + 1)) >> 32);
        uint64_t number = many->numbers[i];

        many->numbers[i] = many->numbers[j];
        many->numbers[j] = number;
    }
}

static void a_million_entries_are_settled_in_any_order(void **state)
{
    struct post *p = *state;
    struct many many = {.numbers = mem_alloc(MANY * sizeof *many.numbers)};

    for (unsigned random = 0; random < 2; random++) {
        unsigned messages = 0;
        clock_t began = clock(), out, done;

        many.count = 0;
        for (unsigned i = 0; i < MANY_MESSAGES; i++)
            add(p, random * MANY_MESSAGES + i + 1, i, MANY_EACH, 0);
        assert_int_equal(mailbox_subscribe(&p->mailbox, 0, 1, 11 + random, MANY), 0);
        assert_false(mailbox_pump(&p->mailbox, keep, &many));
        assert_int_equal(many.count, MANY);
        if (random)
            shuffle(&many);
        out = clock();
        for (unsigned i = 0; i < MANY; i++) {
            struct mailbox_message *done_with = mailbox_settle(&p->mailbox, 0, many.numbers[i], DELIVER_DONE, true);

            if (done_with != NULL) {
                mailbox_remove(&p->mailbox, done_with);
                messages++;
            }
            if (i % 100 == 0)
                (void)mailbox_pump(&p->mailbox, keep, &many);
        }
        done = clock();
        assert_int_equal(messages, MANY_MESSAGES);
        assert_null(p->mailbox.first);
        print_message("%d entries in %d messages %s: added and handed out in %.3f s, settled in %.3f s\n", MANY, MANY_MESSAGES,
                      random ? "at random" : "in order", (double)(out - began) / CLOCKS_PER_SEC, (double)(done - out) / CLOCKS_PER_SEC);
        mailbox_unsubscribe(&p->mailbox, 0);
    }
    free(many.numbers);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_post, close_post)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_go_in_order_within_credit),
        TEST(credit_is_apart_from_acknowledgement),
        TEST(a_message_is_done_when_all_its_entries_are),
        TEST(two_subscriptions_take_turns),
        TEST(a_full_mailbox_says_so),
        TEST(what_a_leaving_subscriber_held_comes_back_counted),
        TEST(only_the_leaving_subscribers_entries_come_back),
        TEST(a_rejected_entry_comes_again_and_the_brokers_count_adds),
        TEST(an_unseen_entry_comes_again_as_it_was),
        TEST(a_message_nobody_reads_goes_back_with_every_count_right),
        TEST(the_remainder_is_what_was_not_acknowledged),
        TEST(a_forgotten_delivery_only_gives_credit_back),
        TEST(a_front_that_cannot_take_stops_the_pump_and_loses_nothing),
        TEST(a_single_body_is_one_entry),
        TEST(malformed_answers_are_refused),
        TEST(a_million_entries_are_settled_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
