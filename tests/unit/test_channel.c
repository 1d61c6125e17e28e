/* Channels between siblings: messages and descriptors arrive whole and in order, hostile frames end the channel. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/system/channel.h"

enum { MESSAGE_MAX = 100000, QUEUE_MAX = 300000 };

struct ends {
    struct channel *a, *b;
};

static int connect_ends(void **state)
{
    struct ends *e = mem_zalloc(1, sizeof *e);
    int fds[2];

    if (!channel_pair(fds, NULL))
        return -1;
    e->a = channel_open(fds[0], MESSAGE_MAX, QUEUE_MAX);
    e->b = channel_open(fds[1], MESSAGE_MAX, QUEUE_MAX);
    *state = e;
    return 0;
}

static int free_ends(void **state)
{
    struct ends *e = *state;

    channel_free(e->a);
    channel_free(e->b);
    free(e);
    return 0;
}

static void messages_arrive_whole_and_in_order(void **state)
{
    struct ends *ends = *state;
    unsigned sent = 0, got = 0;
    uint8_t *body = mem_zalloc(1, MESSAGE_MAX);

    while (got < 3000) {
        struct channel_message m;
        size_t len = (size_t)sent * 37 % 5000 + 5;

        if (sent < 3000) {
            memcpy(body, &sent, sizeof sent);
            body[len - 1] = (uint8_t)len;
            if (channel_send(ends->a, (uint16_t)(sent % 65536), slice_of(body, len), NULL))
                sent++;
        }
        assert_true(channel_flush(ends->a, NULL));
        while (channel_receive(ends->b, &m, NULL) == CHANNEL_MESSAGE) {
            unsigned number;

            len = (size_t)got * 37 % 5000 + 5;
            assert_int_equal(m.type, got % 65536);
            assert_int_equal(m.body.len, len);
            memcpy(&number, m.body.at, sizeof number);
            assert_int_equal(number, got);
            assert_int_equal(m.body.at[len - 1], (uint8_t)len);
            assert_int_equal(m.fd, -1);
            got++;
        }
    }
    free(body);
}

static void two_parts_are_one_body(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;

    assert_true(channel_send2(ends->a, 9, SLICE_LITERAL("head"), SLICE_LITERAL("body"), NULL));
    assert_true(channel_send2(ends->a, 9, slice_of(NULL, 0), slice_of(NULL, 0), NULL));
    assert_true(channel_flush(ends->a, NULL));
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
    assert_true(slice_is(m.body, "headbody"));
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
    assert_int_equal(m.body.len, 0);
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_EMPTY);
}

static void a_full_queue_is_said_so(void **state)
{
    struct ends *ends = *state;
    uint8_t *body = mem_zalloc(1, MESSAGE_MAX + 1);
    struct err e = {0};
    unsigned n = 0;

    assert_false(channel_send(ends->a, 1, slice_of(body, MESSAGE_MAX + 1), &e));
    assert_int_equal(e.code, ERR_INPUT);
    err_clear(&e);
    while (channel_send(ends->a, 1, slice_of(body, MESSAGE_MAX), &e))
        n++;
    assert_int_equal(e.code, ERR_RETRY);
    assert_true(n >= 2 && n <= 3);
    assert_true(channel_queued(ends->a) > 2 * MESSAGE_MAX);
    assert_true(channel_room(ends->a) < MESSAGE_MAX);
    free(body);
}

static void descriptors_travel_with_their_message(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;
    int pipes[3][2];

    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        assert_true(channel_send(ends->a, 1, SLICE_LITERAL("before"), NULL));
        assert_true(channel_send_fd(ends->a, 2, SLICE_LITERAL("with"), pipes[i][1], NULL));
        close(pipes[i][1]);
    }
    for (unsigned i = 0; i < 3; i++) {
        char c;

        assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
        assert_int_equal(m.fd, -1);
        assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
        assert_true(slice_is(m.body, "with"));
        assert_true(m.fd >= 0);
        assert_true((fcntl(m.fd, F_GETFD) & FD_CLOEXEC) != 0);
        assert_int_equal(write(m.fd, "x", 1), 1);
        assert_int_equal(read(pipes[i][0], &c, 1), 1);
        close(m.fd);
        close(pipes[i][0]);
    }
}

/* A peer that reads nothing is waited for by nobody; what was for it arrives in order when it reads. */
static void descriptors_wait_for_a_peer_that_does_not_read(void **state)
{
    struct ends *ends = *state;
    uint8_t *body = mem_zalloc(1, MESSAGE_MAX);
    struct channel_message m;
    struct err e = {0};
    unsigned bodies = 0, sent = 0, got = 0;
    int ends_of[2];

    assert_int_equal(pipe(ends_of), 0);
    while (channel_queued(ends->a) == 0) {
        assert_true(channel_send(ends->a, 1, slice_of(body, MESSAGE_MAX), NULL) && channel_flush(ends->a, NULL));
        bodies++;
    }
    while (channel_send_fd(ends->a, 2, slice_of(&sent, sizeof sent), ends_of[1], &e)) {
        assert_true(channel_send(ends->a, 3, SLICE_LITERAL("behind"), NULL));
        sent++;
    }
    assert_int_equal(e.code, ERR_RETRY);
    assert_int_equal(sent, CHANNEL_FDS_MAX);
    close(ends_of[1]);
    while (got < bodies + 2 * sent) {
        assert_true(channel_flush(ends->a, NULL));
        while (channel_receive(ends->b, &m, NULL) == CHANNEL_MESSAGE) {
            unsigned place = got < bodies ? 0 : 1 + (got - bodies) % 2, number = (got - bodies) / 2;

            assert_int_equal(m.type, 1 + place);
            assert_int_equal(m.fd >= 0, place == 1);
            if (place == 1) {
                assert_memory_equal(m.body.at, &number, sizeof number);
                assert_int_equal(write(m.fd, "x", 1), 1);
                close(m.fd);
            }
            got++;
        }
    }
    assert_int_equal(channel_queued(ends->a), 0);
    /* All of them were copies of one end, and no copy is left. */
    assert_int_equal(read(ends_of[0], body, MESSAGE_MAX), sent);
    assert_int_equal(read(ends_of[0], body, MESSAGE_MAX), 0);
    free(body);
    close(ends_of[0]);
}

/* What a peer was never to have is closed with the channel. */
static void descriptors_that_wait_end_with_their_channel(void **state)
{
    int fds[2], ends_of[2];
    struct channel *c;
    char byte;

    (void)state;
    assert_true(channel_pair(fds, NULL));
    assert_int_equal(pipe(ends_of), 0);
    c = channel_open(fds[0], MESSAGE_MAX, QUEUE_MAX);
    close(fds[1]);
    assert_false(channel_send_fd(c, 1, SLICE_LITERAL("lost"), ends_of[1], NULL));
    close(ends_of[1]);
    channel_free(c);
    assert_int_equal(read(ends_of[0], &byte, 1), 0);
    close(ends_of[0]);
}

static void a_limit_may_be_lowered(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;

    channel_limit(ends->b, 10);
    assert_true(channel_send(ends->a, 1, SLICE_LITERAL("ten bytes."), NULL) && channel_send(ends->a, 1, SLICE_LITERAL("eleven byte"), NULL) && channel_flush(ends->a, NULL));
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_CLOSED);
    /* Whoever hears little may have much to say. */
    channel_limit(ends->a, 0);
    assert_true(channel_send(ends->a, 1, SLICE_LITERAL("eleven byte"), NULL));
}

/* Raw bytes from a sibling that was taken over. */
static void hostile(const uint8_t *bytes, size_t len)
{
    struct channel_message m;
    struct channel *c;
    struct err e = {0};
    int fds[2];

    assert_true(channel_pair(fds, NULL));
    c = channel_open(fds[0], 64, 64);
    assert_int_equal(write(fds[1], bytes, len), len);
    assert_int_equal(channel_receive(c, &m, &e), CHANNEL_CLOSED);
    assert_int_not_equal(e.code, ERR_NONE);
    /* Closed is closed, even when something correct follows. */
    assert_int_equal(write(fds[1], "\0\0\0\0\0\1\0\0", 8), 8);
    assert_int_equal(channel_receive(c, &m, &e), CHANNEL_CLOSED);
    close(fds[1]);
    channel_free(c);
}

static void hostile_frames_end_the_channel(void **state)
{
    (void)state;
    hostile((const uint8_t *)"\xff\xff\xff\xff\0\1\0\0", 8);
    hostile((const uint8_t *)"\0\0\0\x41\0\1\0\0", 8);        /* one byte over the maximum */
    hostile((const uint8_t *)"\0\0\0\0\0\1\x02\0", 8);        /* unknown flag */
    hostile((const uint8_t *)"\0\0\0\0\0\1\0\1", 8);          /* reserved byte */
    hostile((const uint8_t *)"\0\0\0\0\0\1\1\0", 8);          /* a descriptor announced, none there */
    hostile((const uint8_t *)"\x80\0\0\0\0\1\0\0", 8);
}

static void a_frame_in_pieces_is_waited_for(void **state)
{
    static const uint8_t frame[] = "\0\0\0\3\0\7\0\0""abc";
    struct channel_message m;
    struct channel *c;
    int fds[2];

    (void)state;
    assert_true(channel_pair(fds, NULL));
    c = channel_open(fds[0], 64, 64);
    for (unsigned i = 0; i < 11; i++) {
        assert_int_equal(channel_receive(c, &m, NULL), CHANNEL_EMPTY);
        assert_int_equal(write(fds[1], frame + i, 1), 1);
    }
    assert_int_equal(channel_receive(c, &m, NULL), CHANNEL_MESSAGE);
    assert_int_equal(m.type, 7);
    assert_true(slice_is(m.body, "abc"));
    close(fds[1]);
    assert_int_equal(channel_receive(c, &m, NULL), CHANNEL_CLOSED);
    channel_free(c);
}

static void what_was_sent_before_the_end_is_received(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;
    struct err e = {0};

    assert_true(channel_send(ends->a, 1, SLICE_LITERAL("last words"), NULL));
    assert_true(channel_flush(ends->a, NULL));
    channel_free(ends->a);
    ends->a = NULL;
    assert_int_equal(channel_receive(ends->b, &m, &e), CHANNEL_MESSAGE);
    assert_true(slice_is(m.body, "last words"));
    assert_int_equal(channel_receive(ends->b, &m, &e), CHANNEL_CLOSED);
    assert_true(channel_send(ends->b, 1, SLICE_LITERAL("x"), NULL));
    err_clear(&e);
    assert_false(channel_flush(ends->b, &e));
    assert_int_equal(e.code, ERR_FATAL);
}

/* A role's last words: sending to it fails first. */
static void what_was_said_by_who_is_gone_is_received(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;
    struct err e = {0};

    assert_true(channel_send(ends->a, 7, SLICE_LITERAL("why"), NULL) && channel_flush(ends->a, NULL));
    channel_free(ends->a);
    ends->a = NULL;
    assert_true(channel_send(ends->b, 1, SLICE_LITERAL("a link"), NULL));
    assert_false(channel_flush(ends->b, &e));
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_MESSAGE);
    assert_true(m.type == 7 && slice_is(m.body, "why"));
    assert_int_equal(channel_receive(ends->b, &m, NULL), CHANNEL_CLOSED);
}

static void waiting_ends_with_its_time(void **state)
{
    struct ends *ends = *state;
    struct channel_message m;

    assert_int_equal(channel_wait(ends->b, &m, 20, NULL), CHANNEL_EMPTY);
    assert_true(channel_send(ends->a, 5, SLICE_LITERAL("now"), NULL));
    assert_int_equal(channel_wait(ends->a, &m, 0, NULL), CHANNEL_EMPTY); /* flushes */
    assert_int_equal(channel_wait(ends->b, &m, -1, NULL), CHANNEL_MESSAGE);
    assert_int_equal(m.type, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_arrive_whole_and_in_order, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(two_parts_are_one_body, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(a_full_queue_is_said_so, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(descriptors_travel_with_their_message, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(descriptors_wait_for_a_peer_that_does_not_read, connect_ends, free_ends),
        cmocka_unit_test(descriptors_that_wait_end_with_their_channel),
        cmocka_unit_test_setup_teardown(a_limit_may_be_lowered, connect_ends, free_ends),
        cmocka_unit_test(hostile_frames_end_the_channel),
        cmocka_unit_test(a_frame_in_pieces_is_waited_for),
        cmocka_unit_test_setup_teardown(what_was_sent_before_the_end_is_received, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(what_was_said_by_who_is_gone_is_received, connect_ends, free_ends),
        cmocka_unit_test_setup_teardown(waiting_ends_with_its_time, connect_ends, free_ends),
    };

    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
