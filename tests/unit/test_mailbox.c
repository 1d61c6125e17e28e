/* A depositor's queue: credit, order, acknowledgement entry by entry, what comes back and how it is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

static bool take(void *ctx, const struct mailbox_subscription *s, uint64_t delivery, const struct mailbox_entry *entry)
{
    struct post *p = ctx;
    struct taken *t = &p->taken[p->count];
    struct pack_answer a;

    if (p->count == p->refuse_after)
        return false;
    assert_true(pack_get_answer(entry->record, &a, NULL));
    *t = (struct taken){.subscription = s->id, .delivery = delivery, .redeliveries = entry->redeliveries};
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

static void add(struct post *p, uint64_t tag, unsigned first, unsigned n, uint32_t deliveries)
{
    struct buf plain;

    write_answers(&plain, first, n);
    assert_true(mailbox_add(&p->mailbox, tag, tag, &plain, deliveries, NULL));
    buf_free(&plain);
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
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 4));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 4);
    for (unsigned i = 0; i < 4; i++) {
        char id[16];

        snprintf(id, sizeof id, "c%u", i + 1);
        assert_string_equal(p->taken[i].client, id);
        assert_int_equal(p->taken[i].redeliveries, 0);
    }
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[0].delivery, true));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 5);
}

static void a_message_is_done_when_all_its_entries_are(void **state)
{
    struct post *p = *state;
    struct mailbox_message *done;

    add(p, 9, 1, 3, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10));
    mailbox_pump(&p->mailbox, take, p);
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[2].delivery, true));
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[2].delivery, true)); /* twice counts once */
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[0].delivery, true));
    done = mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[1].delivery, true);
    assert_non_null(done);
    assert_int_equal(done->tag, 9);
    mailbox_remove(&p->mailbox, done);
    assert_null(p->mailbox.first);
}

static void two_subscriptions_take_turns(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 4, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10));
    assert_true(mailbox_subscribe(&p->mailbox, 1, 2, 11, 10)); /* the same name on another front */
    assert_false(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 4);
    /* An entry can be settled only by the subscription it went to. */
    assert_null(mailbox_settle(&p->mailbox, 1, 2, 11, p->taken[0].delivery, true));
    assert_int_equal(p->mailbox.first->done, 0);
}

static void a_full_mailbox_says_so(void **state)
{
    struct post *p = *state;
    uint64_t id = 0;

    while (!mailbox_is_full(&p->mailbox))
        assert_true(mailbox_subscribe(&p->mailbox, 0, 1, ++id, 1));
    assert_int_equal(id, MAILBOX_SUBSCRIPTIONS_MAX);
    assert_false(mailbox_subscribe(&p->mailbox, 0, 1, ++id, 1));
    assert_true(mailbox_unsubscribe(&p->mailbox, 0, 1, 1));
    assert_false(mailbox_is_full(&p->mailbox));
    mailbox_unsubscribe_front(&p->mailbox, 0, 1);
}

static void what_a_leaving_subscriber_held_comes_back_counted(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 3, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10));
    mailbox_pump(&p->mailbox, take, p);
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[1].delivery, true));
    mailbox_unsubscribe_front(&p->mailbox, 0, 1);
    assert_int_equal(p->mailbox.subscription_count, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 12, 10));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 5);
    assert_string_equal(p->taken[3].client, "c1");
    assert_string_equal(p->taken[4].client, "c3");
    assert_int_equal(p->taken[3].redeliveries, 1);
}

static void a_released_entry_comes_again_and_the_brokers_count_adds(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 1, 2);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 1));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->taken[0].redeliveries, 2);
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[0].delivery, false));
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->taken[1].redeliveries, 3);
}

static void the_remainder_is_what_was_not_acknowledged(void **state)
{
    struct post *p = *state;
    struct buf rest;
    struct wire_writer w;
    struct post again = {.refuse_after = 100};

    add(p, 1, 1, 4, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 3));
    mailbox_pump(&p->mailbox, take, p);
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[0].delivery, true));
    assert_true(mailbox_unsubscribe(&p->mailbox, 0, 1, 11));
    buf_init(&rest, 1 << 20);
    w = wire_write(&rest);
    mailbox_remainder(p->mailbox.first, &w);
    assert_true(mailbox_add(&again.mailbox, 5, 5, &rest, 0, NULL));
    assert_true(mailbox_subscribe(&again.mailbox, 0, 1, 1, 10));
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
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 1));
    mailbox_pump(&p->mailbox, take, p);
    mailbox_forget(&p->mailbox);
    add(p, 1, 1, 2, 1); /* delivered again under the same tag; its ordinal is new in life */
    p->mailbox.first->ordinal = 77;
    assert_null(mailbox_settle(&p->mailbox, 0, 1, 11, p->taken[0].delivery, true));
    assert_int_equal(p->mailbox.first->done, 0);
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->taken[1].redeliveries, 1);
}

static void a_front_that_cannot_take_stops_the_pump_and_loses_nothing(void **state)
{
    struct post *p = *state;

    add(p, 1, 1, 3, 0);
    assert_true(mailbox_subscribe(&p->mailbox, 0, 1, 11, 10));
    p->refuse_after = 1;
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 1);
    p->refuse_after = 100;
    mailbox_pump(&p->mailbox, take, p);
    assert_int_equal(p->count, 3);
}

static void malformed_answers_are_refused(void **state)
{
    struct post *p = *state;
    struct buf plain;
    struct err e = {0};

    write_answers(&plain, 1, 2);
    plain.len--;
    assert_false(mailbox_add(&p->mailbox, 1, 1, &plain, 0, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_null(p->mailbox.first);
    buf_free(&plain);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_post, close_post)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_go_in_order_within_credit),
        TEST(a_message_is_done_when_all_its_entries_are),
        TEST(two_subscriptions_take_turns),
        TEST(a_full_mailbox_says_so),
        TEST(what_a_leaving_subscriber_held_comes_back_counted),
        TEST(a_released_entry_comes_again_and_the_brokers_count_adds),
        TEST(the_remainder_is_what_was_not_acknowledged),
        TEST(a_forgotten_delivery_only_gives_credit_back),
        TEST(a_front_that_cannot_take_stops_the_pump_and_loses_nothing),
        TEST(malformed_answers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
