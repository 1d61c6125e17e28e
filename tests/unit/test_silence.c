/* Depositors whose queue does not answer: what is kept for them, how much of it, who is asked when. The ledger's own list of messages, no RabbitMQ; the clock is ours. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "ingest/ledger/ledger_internal.h"

enum { ASIDE = 1000, ROOM = 16 << 20, ASKING_MS = 5500 /* what asking one that does not answer takes, about */, AGAIN_MS = 30000, FOREVER_MS = 3600 * 1000 };

static uint64_t now;

/* What ledger.c has. */
uint64_t ledger_now(void)
{
    return now;
}

struct ledger_batch *ledger_batch_at(struct ledger *l, unsigned i)
{
    return i < l->used ? &l->batches[(l->first + i) % LEDGER_BATCHES] : NULL;
}

static int begin(void **state)
{
    struct ledger *l = mem_zalloc(1, sizeof *l);

    now = 1000;
    l->exchange_out = mem_zalloc(1, 16);
    strcpy(l->exchange_out, "Event.1.Out");
    *state = l;
    return 0;
}

static int end(void **state)
{
    struct ledger *l = *state;

    ledger_silences_drop(l);
    ledger_messages_drop(l);
    free(l->exchange_out);
    free(l);
    return 0;
}

/* An answer of the first batch; `tag`: it is sent. */
static void answer(struct ledger *l, uint32_t depositor, size_t bytes, uint64_t tag)
{
    struct ledger_message *m;
    uint8_t *room;

    l->messages = mem_realloc(l->messages, (l->message_count + 1) * sizeof *l->messages);
    m = &l->messages[l->message_count++];
    *m = (struct ledger_message){.batch = &l->batches[0], .depositor = depositor, .since = now, .tag = tag};
    buf_init(&m->body, bytes);
    room = buf_reserve(&m->body, bytes, NULL);
    assert_non_null(room);
    memset(room, 0, bytes);
    buf_commit(&m->body, bytes);
    l->batches[0].outgoing++;
    ledger_silence_heed(l, l->message_count - 1);
}

static void every_one_is_asked_in_its_turn_however_many_there_are(void **state)
{
    enum { MANY = 40 };
    struct ledger *l = *state;
    unsigned asked[MANY + 1] = {0};

    for (uint32_t depositor = 1; depositor <= MANY; depositor++)
        ledger_silence_begin(l, depositor);
    for (uint64_t until = now + FOREVER_MS; now < until;) {
        uint32_t depositor = ledger_silence_due(l);

        assert_true(depositor >= 1 && depositor <= MANY);
        asked[depositor]++;
        now += ASKING_MS;
        ledger_silence_asked(l, depositor);
    }
    for (uint32_t depositor = 1; depositor <= MANY; depositor++) {
        assert_true(asked[depositor] + 1 >= FOREVER_MS / ASKING_MS / MANY);
        assert_true(asked[depositor] <= FOREVER_MS / ASKING_MS / MANY + 2);
    }
}

static void one_alone_is_asked_now_and_then(void **state)
{
    struct ledger *l = *state;
    uint64_t last;

    ledger_silence_begin(l, 7);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(ledger_silence_due(l), 7);
        ledger_silence_asked(l, 7);
        assert_int_equal(ledger_silence_due(l), 0);
        for (last = now; ledger_silence_due(l) == 0;)
            now += 100;
    }
    assert_int_equal(now - last, AGAIN_MS);
    ledger_silence_end(l, 7);
    assert_int_equal(ledger_silence_due(l), 0);
}

/* Everybody waits for it. */
static void one_to_whom_something_was_sent_is_asked_first(void **state)
{
    struct ledger *l = *state;

    for (uint32_t depositor = 1; depositor <= 5; depositor++)
        ledger_silence_begin(l, depositor);
    now += AGAIN_MS;
    answer(l, 6, 100, 1);
    ledger_silence_begin(l, 6);
    assert_int_equal(ledger_silence_due(l), 6);
    ledger_silence_asked(l, 6);
    assert_int_equal(ledger_silence_due(l), 1);
}

static void its_answers_hold_up_no_batch_and_those_of_others_and_what_is_sent_do(void **state)
{
    struct ledger *l = *state;

    answer(l, 1, 10, 0);
    answer(l, 2, 20, 0);
    answer(l, 1, 30, 5);
    assert_int_equal(l->batches[0].outgoing, 3);
    ledger_silence_begin(l, 1);
    answer(l, 1, 40, 0);
    assert_int_equal(l->batches[0].outgoing, 2);
    assert_int_equal(l->aside_count, 2);
    assert_int_equal(l->aside_bytes, 50);
    /* It is refused: not sent any more. */
    l->messages[2].tag = 0;
    ledger_silence_heed(l, 2);
    assert_int_equal(l->batches[0].outgoing, 1);
    assert_int_equal(l->aside_bytes, 80);
    ledger_silence_end(l, 1);
    assert_false(ledger_silence_holds(l, 1));
    while (l->message_count != 0)
        ledger_message_done(l, l->message_count / 2);
    assert_int_equal(l->batches[0].outgoing, 0);
    assert_int_equal(l->aside_count, 0);
    assert_int_equal(l->aside_bytes, 0);
}

static void only_so_many_are_kept(void **state)
{
    struct ledger *l = *state;

    for (unsigned i = 0; i < ASIDE; i++)
        answer(l, 1 + i % 3, 10, 0);
    for (uint32_t depositor = 1; depositor <= 3; depositor++)
        ledger_silence_begin(l, depositor);
    for (unsigned i = 0; i < 10; i++)
        answer(l, 1 + i % 3, 10, 0);
    assert_int_equal(l->message_count, ASIDE);
    assert_int_equal(l->aside_count, ASIDE);
    assert_int_equal(l->aside_bytes, 10 * ASIDE);
    assert_int_equal(l->batches[0].outgoing, 0);
    answer(l, 4, 10, 0); /* nobody's loss */
    assert_int_equal(l->message_count, ASIDE + 1);
    assert_int_equal(l->batches[0].outgoing, 1);
}

static void and_only_so_many_bytes(void **state)
{
    struct ledger *l = *state;
    enum { ONE = ROOM / 4 };

    ledger_silence_begin(l, 1);
    for (unsigned i = 0; i < 3; i++)
        answer(l, 1, ONE, 0);
    answer(l, 1, ONE + 1, 0);
    assert_int_equal(l->aside_count, 3);
    answer(l, 1, ONE, 0);
    answer(l, 1, 1, 0);
    assert_int_equal(l->aside_count, 4);
    assert_int_equal(l->aside_bytes, ROOM);
    assert_int_equal(l->batches[0].outgoing, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_one_is_asked_in_its_turn_however_many_there_are),
        TEST(one_alone_is_asked_now_and_then),
        TEST(one_to_whom_something_was_sent_is_asked_first),
        TEST(its_answers_hold_up_no_batch_and_those_of_others_and_what_is_sent_do),
        TEST(only_so_many_are_kept),
        TEST(and_only_so_many_bytes),
    };

    return cmocka_run_group_tests_name("silence", tests, NULL, NULL);
}
