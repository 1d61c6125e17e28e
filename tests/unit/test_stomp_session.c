/* The STOMP session: every frame of every version as a sensor would send it, and what it asks of its owner. No socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/session_owner.h"

static void open_as(struct owner *o, const char *denied)
{
    struct session_refusal refusal = {SESSION_DENIED, denied};

    *o = (struct owner){.rules = {.frame = {32, 4096, 1000}, .transaction_bytes = 2000, .transactions = 2, .subscriptions = 3,
                                  .heartbeat_min = 1000, .frame_time = 10000},
                        .held_max = 100000, .t = {1000, 1700000000000}};
    session_rules_vault(&o->rules, 1);
    buf_init(&o->out, 8192);
    o->s = session_new(&stomp_protocol, &o->rules, &owner_ops, o, &o->out, 7, denied == NULL ? NULL : &refusal, "test-1", o->t);
}

static void close_owner(struct owner *o)
{
    session_free(o->s);
    assert_int_equal(o->held, 0);
    buf_free(&o->out);
}

/* What the session sent since the last look; NUL bytes shown as ^, so that frames can be compared as text. */
static const char *sent(struct owner *o)
{
    static char text[8192];
    struct slice s = buf_slice(&o->out);

    for (size_t i = 0; i < s.len; i++)
        text[i] = s.at[i] == '\0' ? '^' : (char)s.at[i];
    text[s.len] = '\0';
    o->written += s.len;
    buf_reset(&o->out);
    session_written(o->s, o->written, o->t);
    return text;
}

static void assert_sent(struct owner *o, const char *expected)
{
    assert_string_equal(sent(o), expected);
}

static void assert_asked(struct owner *o, const char *expected)
{
    assert_string_equal(o->log, expected);
    o->log[0] = '\0';
}

/* Gives frames as text, ^ for NUL; all of it must be taken. */
static void give(struct owner *o, const char *frames)
{
    char *bytes = strdup(frames);
    size_t len = strlen(bytes);

    for (size_t i = 0; i < len; i++)
        if (bytes[i] == '^')
            bytes[i] = '\0';
    assert_int_equal(session_input(o->s, slice_of(bytes, len), o->t), len);
    free(bytes);
}

static void connect_as(struct owner *o, const char *version)
{
    char frame[200];

    open_as(o, NULL);
    snprintf(frame, sizeof frame, "CONNECT\naccept-version:%s\nhost:vault\n\n^", version);
    give(o, frame);
    assert_true(session_connected(o->s));
    sent(o);
}

/* The session has ended, and said so in an ERROR frame with these words. */
static void assert_error(struct owner *o, enum session_end why, const char *message, const char *body)
{
    const char *text = sent(o);
    char header[200];

    snprintf(header, sizeof header, "\nmessage:%s\n", message);
    assert_int_equal(session_ended(o->s), why);
    if (strncmp(text, "ERROR\n", 6) != 0 || strstr(text, header) == NULL || strstr(text, body) == NULL ||
        text[strlen(text) - 1] != '^' || strstr(session_end_reason(o->s), body) == NULL)
        fail_msg("not the error \"%s\", \"%s\": %s", message, body, text);
}

/* ---- CONNECT ----------------------------------------------------------------------------- */

static void negotiates_the_highest_common_version(void **state)
{
    static const struct {
        const char *headers, *version;
    } cases[] = {
        {"", "1.0"}, {"accept-version:1.0\n", "1.0"}, {"accept-version:1.1\n", "1.1"}, {"accept-version:1.0,1.1,1.2\n", "1.2"},
        {"accept-version:1.2, 1.0\n", "1.2"}, {"accept-version:1.3,1.1,2.0\n", "1.1"}, {"login:x\npasscode:y\nhost:z\n", "1.0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct owner o;
        char frame[200], expected[200];

        open_as(&o, NULL);
        snprintf(frame, sizeof frame, "%s\n%s\n^", i % 2 == 0 ? "CONNECT" : "STOMP", cases[i].headers);
        snprintf(expected, sizeof expected, "CONNECTED\nversion:%s\nsession:test-1\nserver:coffre/0.1.0\nheart-beat:0,0\n\n^", cases[i].version);
        give(&o, frame);
        assert_sent(&o, expected);
        close_owner(&o);
    }
}

static void refuses_what_cannot_be_connected(void **state)
{
    struct owner o;

    (void)state;
    open_as(&o, NULL);
    give(&o, "CONNECT\naccept-version:2.0\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "supported protocol versions are 1.0, 1.1 and 1.2");
    close_owner(&o);
    open_as(&o, "the certificate (CN \"x\") is not bound");
    give(&o, "CONNECT\naccept-version:1.2\n\n^SEND\ndestination:/queue/Event.1.In\n\nx^");
    assert_error(&o, SESSION_DENIED, "certificate not bound to a depositor", "(CN \"x\") is not bound");
    assert_asked(&o, "");
    close_owner(&o);
    open_as(&o, NULL);
    give(&o, "SEND\ndestination:/queue/Event.1.In\n\nx^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "SEND before CONNECT");
    assert_asked(&o, "");
    close_owner(&o);
    connect_as(&o, "1.1");
    give(&o, "CONNECT\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "already connected");
    close_owner(&o);
}

static void agrees_on_heart_beats(void **state)
{
    struct owner o;

    (void)state;
    open_as(&o, NULL);
    give(&o, "CONNECT\naccept-version:1.2\nheart-beat:4000,10\n\n^");
    assert_non_null(strstr(sent(&o), "heart-beat:1000,4000\n"));
    o.t.now += 700;
    session_tick(o.s, o.t, 250);
    assert_sent(&o, "");
    o.t.now += 100;
    session_tick(o.s, o.t, 250);
    assert_sent(&o, "\n");
    o.t.now += 7000; /* 7,800 ms without a word, 8,000 are twice what was agreed */
    session_tick(o.s, o.t, 250);
    assert_sent(&o, "\n");
    give(&o, "\n");
    o.t.now += 8000;
    session_tick(o.s, o.t, 250);
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    o.t.now += 1;
    sent(&o);
    session_tick(o.s, o.t, 250);
    assert_error(&o, SESSION_SILENT, "no heart-beat received", "4000 agreed");
    close_owner(&o);
    open_as(&o, NULL);
    give(&o, "CONNECT\naccept-version:1.2\nheart-beat:often\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "heart-beat");
    close_owner(&o);
}

static void times_out_what_trickles(void **state)
{
    struct owner o;

    (void)state;
    open_as(&o, NULL);
    o.t.now += 10001;
    session_tick(o.s, o.t, 250);
    assert_error(&o, SESSION_SLOW, "too slow", "no connection opened within 10000 ms");
    close_owner(&o);
    connect_as(&o, "1.2");
    assert_int_equal(session_input(o.s, SLICE_LITERAL("\n\nSE"), o.t), 2);
    for (int i = 0; i < 10; i++) {
        o.t.now += 1000;
        assert_int_equal(session_input(o.s, SLICE_LITERAL("SEN"), o.t), 0);
        session_tick(o.s, o.t, 250);
        assert_int_equal(session_ended(o.s), SESSION_OPEN);
    }
    o.t.now++;
    session_tick(o.s, o.t, 250);
    assert_error(&o, SESSION_SLOW, "too slow", "more than 10000 ms to arrive");
    close_owner(&o);
    connect_as(&o, "1.2"); /* nothing to say is not slow */
    o.t.now += 1000000;
    session_tick(o.s, o.t, 250);
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    close_owner(&o);
}

/* ---- SEND -------------------------------------------------------------------------------- */

static void receipts_leave_after_the_confirmation(void **state)
{
    static const char *const versions[] = {"1.0", "1.1", "1.2"};

    (void)state;
    for (int v = 0; v < 3; v++) {
        struct owner o;

        connect_as(&o, versions[v]);
        give(&o, "SEND\ndestination:/queue/Event.1.In\nClientId:c1\nDigest:d\nDigestAlgo:SHA-256\nTimestamp:5\nreceipt:r1\n\n<a/>^"
                 "SEND\ndestination:/queue/Event.1.In\n\n<b/>^"
                 "SEND\ndestination:/queue/Event.1.In\nTimestamp:soon\nreceipt:r3\n\n<c/>^");
        assert_asked(&o, "deposit 1 by 7 c1 d SHA-256 at 5: <a/>\ndeposit 2 by 7   : <b/>\ndeposit 3 by 7   : <c/>\n");
        assert_sent(&o, "");
        assert_int_equal(session_pending(o.s), 3);
        session_confirmed(o.s, 3);
        assert_sent(&o, "RECEIPT\nreceipt-id:r3\n\n^");
        session_confirmed(o.s, 3); /* once is enough */
        session_confirmed(o.s, 99);
        session_confirmed(o.s, 2);
        assert_sent(&o, "");
        session_confirmed(o.s, 1);
        assert_sent(&o, "RECEIPT\nreceipt-id:r1\n\n^");
        assert_int_equal(session_pending(o.s), 0);
        close_owner(&o);
    }
}

static void many_deposits_are_confirmed_in_any_order(void **state)
{
    struct owner o;
    unsigned char seen[300] = {0};

    (void)state;
    connect_as(&o, "1.2");
    for (int i = 0; i < 300; i++) {
        char frame[200];

        snprintf(frame, sizeof frame, "SEND\ndestination:/queue/Event.1.In\nreceipt:a-receipt-too-long-to-be-kept-inside-an-entry-%d\n\nx^", i);
        o.log[0] = '\0';
        give(&o, frame);
    }
    for (unsigned i = 0; i < 300; i++) {
        unsigned n = (i * 7) % 300, k;

        session_confirmed(o.s, n + 1);
        assert_int_equal(sscanf(sent(&o), "RECEIPT\nreceipt-id:a-receipt-too-long-to-be-kept-inside-an-entry-%u", &k), 1);
        assert_int_equal(k, n);
        assert_int_equal(seen[k]++, 0);
    }
    assert_int_equal(session_pending(o.s), 0);
    assert_int_equal(o.kept, 14590); /* what waits is accounted for, receipts too */
    close_owner(&o);
}

static void refuses_other_destinations(void **state)
{
    static const char *const frames[] = {
        "SEND\ndestination:/queue/Event.1.Out\nreceipt:r\n\nx^", "SEND\ndestination:/queue/Event.2.In\nreceipt:r\n\nx^",
        "SEND\ndestination:Event.1.In\nreceipt:r\n\nx^", "SEND\nreceipt:r\n\nx^",
        "SUBSCRIBE\nid:0\ndestination:/queue/Event.1.In\nreceipt:r\n\n^", "SUBSCRIBE\nid:0\nreceipt:r\n\n^",
        "SUBSCRIBE\nid:0\ndestination:/queue/Event.1.Out.8\nreceipt:r\n\n^",
    };

    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct owner o;

        connect_as(&o, "1.2");
        give(&o, frames[i]);
        assert_non_null(strstr((const char *)buf_slice(&o.out).at, "\nreceipt-id:r\n"));
        assert_error(&o, SESSION_DESTINATION, "unknown destination", "goes to /queue/");
        assert_asked(&o, "");
        close_owner(&o);
    }
}

static void refuses_replies_to_temporary_queues(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreply-to:/queue/Event.1.Out\n\nx^");
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreply-to:/temp-queue/answers\nreceipt:r\n\nx^");
    assert_non_null(strstr((const char *)buf_slice(&o.out).at, "\nreceipt-id:r\n"));
    assert_error(&o, SESSION_DESTINATION, "unknown destination", "reply-to a temporary queue is not available with STOMP");
    close_owner(&o);
}

static void waits_while_there_is_no_room(void **state)
{
    static const char frames[] = "SEND\ndestination:/queue/Event.1.In\nreceipt:1\n\nx\0BEGIN\ntransaction:t\n\n\0";
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    o.full = true;
    assert_int_equal(session_input(o.s, slice_of(frames, sizeof frames - 1), o.t), 0);
    assert_true(session_blocked(o.s));
    assert_asked(&o, "");
    give(&o, "SUBSCRIBE\nid:0\ndestination:/queue/Event.1.Out\n\n^BEGIN\ntransaction:u\n\n^"
             "SEND\ndestination:/queue/Event.1.In\ntransaction:u\n\nx^");
    assert_false(session_blocked(o.s));
    assert_asked(&o, "subscribe 1 depositor 7 queue 1 credit 1000\n");
    assert_int_equal(session_input(o.s, SLICE_LITERAL("COMMIT\ntransaction:u\n\n\0"), o.t), 0);
    assert_true(session_blocked(o.s));
    o.t.now += 1000000;
    session_heard(o.s, o.t);
    session_tick(o.s, o.t, 250);
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    o.full = false;
    assert_int_equal(session_input(o.s, slice_of(frames, sizeof frames - 1), o.t), sizeof frames - 1);
    assert_asked(&o, "deposit 1 by 7   : x\n");
    close_owner(&o);
}

static void tells_when_the_queue_fails(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SEND\ndestination:/queue/Event.1.In\n\nx^SEND\ndestination:/queue/Event.1.In\nreceipt:r2\n\nx^");
    session_fail(o.s, SESSION_UNAVAILABLE, "not confirmed");
    assert_non_null(strstr((const char *)buf_slice(&o.out).at, "\nreceipt-id:r2\n"));
    assert_error(&o, SESSION_UNAVAILABLE, "queue unavailable, send again later", "not confirmed");
    session_confirmed(o.s, 2); /* too late: the sensor was told otherwise, and sends again */
    assert_sent(&o, "");
    close_owner(&o);
    connect_as(&o, "1.2");
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreceipt:r1\n\nx^SEND\ndestination:/queue/Event.1.In\nreceipt:r2\n\nx^");
    session_refused(o.s, 2, "no such queue");
    assert_non_null(strstr((const char *)buf_slice(&o.out).at, "\nreceipt-id:r2\n"));
    assert_error(&o, SESSION_REFUSED, "deposit refused by the queue, send again later", "no such queue");
    close_owner(&o);
    connect_as(&o, "1.2");
    o.refuses = true;
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreceipt:r1\n\nx^");
    assert_error(&o, SESSION_UNAVAILABLE, "queue unavailable, send again later", "no room");
    close_owner(&o);
}

/* ---- transactions ------------------------------------------------------------------------ */

static void a_transaction_is_one_deposit(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "BEGIN\ntransaction:t\nreceipt:b\n\n^SEND\ndestination:/queue/Event.1.In\ntransaction:t\nreceipt:s\n\n<a/>^"
             "BEGIN\ntransaction:u\n\n^SEND\ndestination:/queue/Event.1.In\ntransaction:u\n\n<z/>^"
             "SEND\ndestination:/queue/Event.1.In\n\n<alone/>^"
             "SEND\ndestination:/queue/Event.1.In\ntransaction:t\n\n<b/>^");
    assert_sent(&o, "RECEIPT\nreceipt-id:b\n\n^RECEIPT\nreceipt-id:s\n\n^");
    assert_asked(&o, "deposit 1 by 7   : <alone/>\n");
    give(&o, "COMMIT\ntransaction:t\nreceipt:c\n\n^ABORT\ntransaction:u\nreceipt:a\n\n^");
    assert_asked(&o, "all 2 <a/> <b/>\n");
    assert_sent(&o, "RECEIPT\nreceipt-id:a\n\n^");
    session_confirmed(o.s, 2);
    assert_sent(&o, "RECEIPT\nreceipt-id:c\n\n^");
    give(&o, "BEGIN\ntransaction:t\n\n^COMMIT\ntransaction:t\nreceipt:empty\n\n^");
    assert_sent(&o, "RECEIPT\nreceipt-id:empty\n\n^");
    assert_asked(&o, "");
    close_owner(&o);
}

static void refuses_transactions_that_make_no_sense(void **state)
{
    static const struct {
        const char *frames, *word;
        enum session_end why;
    } cases[] = {
        {"BEGIN\n\n^", "header is missing", SESSION_PROTOCOL},
        {"COMMIT\n\n^", "header is missing", SESSION_PROTOCOL},
        {"COMMIT\ntransaction:t\n\n^", "not open", SESSION_PROTOCOL},
        {"ABORT\ntransaction:t\n\n^", "not open", SESSION_PROTOCOL},
        {"SEND\ndestination:/queue/Event.1.In\ntransaction:t\n\nx^", "not open", SESSION_PROTOCOL},
        {"ACK\nid:1-1\ntransaction:t\n\n^", "not open", SESSION_PROTOCOL},
        {"BEGIN\ntransaction:t\n\n^BEGIN\ntransaction:t\n\n^", "open already", SESSION_PROTOCOL},
        {"BEGIN\ntransaction:t\n\n^BEGIN\ntransaction:u\n\n^BEGIN\ntransaction:v\n\n^", "more than 2 transactions", SESSION_LIMIT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct owner o;

        connect_as(&o, "1.2");
        give(&o, cases[i].frames);
        assert_error(&o, cases[i].why, cases[i].why == SESSION_LIMIT ? "a limit of the vault is exceeded" : "malformed frame received", cases[i].word);
        assert_asked(&o, "");
        close_owner(&o);
    }
}

static void bounds_transactions(void **state)
{
    char frame[1200];
    struct owner o;

    (void)state;
    snprintf(frame, sizeof frame, "SEND\ndestination:/queue/Event.1.In\ntransaction:t\n\n%0900d^", 1);
    connect_as(&o, "1.2");
    give(&o, "BEGIN\ntransaction:t\n\n^");
    give(&o, frame);
    give(&o, frame);
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    give(&o, frame);
    assert_error(&o, SESSION_LIMIT, "a limit of the vault is exceeded", "more than 2000 bytes");
    close_owner(&o);
    connect_as(&o, "1.2");
    o.held_max = 1000;
    give(&o, "BEGIN\ntransaction:t\n\n^");
    give(&o, frame);
    give(&o, frame);
    assert_error(&o, SESSION_UNAVAILABLE, "queue unavailable, send again later", "hold too many bytes");
    close_owner(&o);
}

/* ---- SUBSCRIBE, ACK, NACK ---------------------------------------------------------------- */

static const struct pack_answer ok_answer = {.status = PACK_OK, .serial = 12, .lot = 3, .client_id = {(const uint8_t *)"c:1", 3},
                                             .digest = {(const uint8_t *)"ab", 2}, .digest_algo = {(const uint8_t *)"SHA-256", 7}};

static void answers_carry_every_header(void **state)
{
    struct pack_answer a = ok_answer;
    struct pack_archive archive = {.lot = 3, .date = 1700000000000, .first_serial = 1, .last_serial = 12};
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:e:0\\c\ndestination:/queue/Event.1.Out\nack:client\nactivemq.prefetchSize:5\n\n^"
             "SUBSCRIBE\nid:z\ndestination:/queue/Archive.1.Out\nprefetch-count:99999999\nreceipt:s\n\n^");
    assert_asked(&o, "subscribe 1 depositor 7 queue 1 credit 5\nsubscribe 2 depositor 7 queue 2 credit 10000\n");
    assert_sent(&o, "RECEIPT\nreceipt-id:s\n\n^");
    session_answer(o.s, 1, 100, &a, o.t);
    assert_sent(&o, "MESSAGE\nsubscription:e\\c0\\c\nmessage-id:1-1\ndestination:/queue/Event.1.Out\nack:1-1\nCFJLStatus:CFJL_OK\n"
                    "CFJLJELSerial:12\nCFJLDigest:ab\nCFJLDigestAlgo:SHA-256\nClientId:c\\c1\nCFJLLotId:3\n\n^");
    a = (struct pack_answer){.status = PACK_INVALID, .redeliveries = 2, .reason = {(const uint8_t *)"digest: wrong", 13}};
    session_answer(o.s, 1, 101, &a, o.t);
    assert_sent(&o, "MESSAGE\nsubscription:e\\c0\\c\nmessage-id:1-2\ndestination:/queue/Event.1.Out\nack:1-2\nredelivered:true\nCFJLStatus:CFJL_INVALID_MESSAGE\n"
                    "CFJLJELSerial:0\nCFJLDigest:\nCFJLDigestAlgo:\nClientId:\nCFJLLotId:0\nCFJLReason:digest\\c wrong\n\n^");
    session_archive(o.s, 2, 7, 0, &archive, o.t);
    assert_sent(&o, "MESSAGE\nsubscription:z\nmessage-id:2-1\ndestination:/queue/Archive.1.Out\nCFJLArchId:3\nCFJLArchDate:1700000000000\n"
                    "CFJLFirstSerial:1\nCFJLLastSerial:12\n\n^");
    assert_asked(&o, "ack 2 7\n"); /* automatic, once written */
    session_answer(o.s, 9, 1, &a, o.t);
    assert_sent(&o, "");
    close_owner(&o);
}

static void deliver(struct owner *o, uint64_t subscription, uint64_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        session_answer(o->s, subscription, first + i, &ok_answer, o->t);
    sent(o);
}

static void acknowledges_as_the_version_says(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.0"); /* no id: the destination names the subscription */
    give(&o, "SUBSCRIBE\ndestination:/queue/Event.1.Out\nack:client\n\n^");
    o.log[0] = '\0';
    session_answer(o.s, 1, 50, &ok_answer, o.t);
    assert_null(strstr((const char *)buf_slice(&o.out).at, "subscription:"));
    assert_null(strstr((const char *)buf_slice(&o.out).at, "\nack:"));
    deliver(&o, 1, 51, 2);
    give(&o, "ACK\nmessage-id:1-2\nreceipt:r\n\n^");
    assert_asked(&o, "ack 1 50\nack 1 51\n");
    assert_sent(&o, "RECEIPT\nreceipt-id:r\n\n^");
    give(&o, "UNSUBSCRIBE\ndestination:/queue/Event.1.Out\n\n^");
    assert_asked(&o, "unsubscribe 1\n");
    close_owner(&o);

    connect_as(&o, "1.1");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client-individual\n\n^");
    o.log[0] = '\0';
    deliver(&o, 1, 50, 4);
    give(&o, "ACK\nmessage-id:1-3\nsubscription:a\n\n^NACK\nmessage-id:1-1\nsubscription:a\n\n^ACK\nmessage-id:1-3\nsubscription:a\n\n^");
    assert_asked(&o, "ack 1 52\nrelease 1 50\n");
    give(&o, "ACK\nmessage-id:1-2\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "header subscription is missing");
    close_owner(&o);

    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client\n\n^");
    o.log[0] = '\0';
    deliver(&o, 1, 50, 4);
    give(&o, "NACK\nid:1-2\n\n^ACK\nid:1-4\n\n^ACK\nid:1-4\n\n^ACK\nid:77-4\n\n^");
    assert_asked(&o, "release 1 50\nrelease 1 51\nack 1 52\nack 1 53\n");
    give(&o, "ACK\nmessage-id:1-2\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "header id is missing");
    assert_asked(&o, "unsubscribe 1\n");
    close_owner(&o);
}

static void refuses_subscriptions_that_make_no_sense(void **state)
{
    static const struct {
        const char *frames, *word;
    } cases[] = {
        {"SUBSCRIBE\ndestination:/queue/Event.1.Out\n\n^", "id header is missing"},
        {"SUBSCRIBE\nid:1\ndestination:/queue/Event.1.Out\nack:maybe\n\n^", "neither auto"},
        {"SUBSCRIBE\nid:1\ndestination:/queue/Event.1.Out\nprefetch-count:many\n\n^", "prefetch-count is not a number"},
        {"SUBSCRIBE\nid:1\ndestination:/queue/Event.1.Out\nselector:a = 1\n\n^", "selectors"},
        {"SUBSCRIBE\nid:1\ndestination:/queue/Event.1.Out\n\n^SUBSCRIBE\nid:1\ndestination:/queue/Archive.1.Out\n\n^", "exists already"},
        {"UNSUBSCRIBE\nid:1\n\n^", "no such subscription"},
        {"UNSUBSCRIBE\n\n^", "id header is missing"},
        {"ACK\nid:abc\n\n^", "not one of ours"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct owner o;

        connect_as(&o, "1.2");
        give(&o, cases[i].frames);
        assert_error(&o, SESSION_PROTOCOL, "malformed frame received", cases[i].word);
        close_owner(&o);
    }
    struct owner o;
    connect_as(&o, "1.2");
    for (char id = 'a'; id <= 'd'; id++) {
        char frame[100];

        snprintf(frame, sizeof frame, "SUBSCRIBE\nid:%c\ndestination:/queue/Event.1.Out\n\n^", id);
        give(&o, frame);
    }
    assert_error(&o, SESSION_LIMIT, "a limit of the vault is exceeded", "more than 3 subscriptions");
    close_owner(&o);
}

static void acknowledgements_belong_to_their_transaction(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client-individual\n\n^");
    o.log[0] = '\0';
    deliver(&o, 1, 50, 4);
    give(&o, "BEGIN\ntransaction:t\n\n^ACK\nid:1-1\ntransaction:t\n\n^NACK\nid:1-2\ntransaction:t\n\n^"
             "SEND\ndestination:/queue/Event.1.In\ntransaction:t\n\nx^ACK\nid:1-1\n\n^");
    assert_asked(&o, "");
    give(&o, "COMMIT\ntransaction:t\nreceipt:c\n\n^");
    assert_asked(&o, "all 1 x\n"); /* the acknowledgements wait for its confirmation */
    session_confirmed(o.s, 1);
    assert_asked(&o, "ack 1 50\nrelease 1 51\n");
    assert_sent(&o, "RECEIPT\nreceipt-id:c\n\n^");
    give(&o, "BEGIN\ntransaction:t\n\n^ACK\nid:1-3\ntransaction:t\n\n^ABORT\ntransaction:t\n\n^");
    assert_asked(&o, "");
    give(&o, "BEGIN\ntransaction:t\n\n^ACK\nid:1-3\ntransaction:t\n\n^COMMIT\ntransaction:t\nreceipt:d\n\n^");
    assert_asked(&o, "ack 1 52\n"); /* nothing to deposit: at once */
    assert_sent(&o, "RECEIPT\nreceipt-id:d\n\n^");
    close_owner(&o);
}

static void takes_no_more_than_its_credit(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client\nprefetch-count:2\n\n^");
    o.log[0] = '\0';
    deliver(&o, 1, 50, 3);
    assert_asked(&o, "unseen 1 52 no credit\n");
    close_owner(&o);
}

static void asks_again_when_who_delivers_starts_again(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client\n\n^");
    deliver(&o, 1, 50, 1);
    o.log[0] = '\0';
    session_resubscribe(o.s);
    assert_asked(&o, "unsubscribe 1\nsubscribe 2 depositor 7 queue 1 credit 1000\n");
    give(&o, "ACK\nid:1-1\n\n^"); /* of the old life: means nothing now */
    assert_asked(&o, "");
    session_answer(o.s, 2, 50, &ok_answer, o.t);
    assert_non_null(strstr(sent(&o), "message-id:2-2\n"));
    close_owner(&o);
}

static void a_peer_that_does_not_read_is_left(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SUBSCRIBE\nid:a\ndestination:/queue/Event.1.Out\nack:client\n\n^");
    for (uint64_t i = 1; i < 100; i++)
        session_answer(o.s, 1, i, &ok_answer, o.t);
    assert_int_equal(session_ended(o.s), SESSION_SLOW);
    assert_true(o.out.len <= 8192);
    close_owner(&o);
}

/* ---- DISCONNECT, drain ------------------------------------------------------------------- */

static void disconnect_waits_for_what_is_pending(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreceipt:r1\n\nx^DISCONNECT\nreceipt:bye\n\n^\nSEND\ndestination:/queue/Event.1.In\n\ny^");
    assert_asked(&o, "deposit 1 by 7   : x\n");
    assert_sent(&o, "");
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    session_confirmed(o.s, 1);
    assert_sent(&o, "RECEIPT\nreceipt-id:r1\n\n^RECEIPT\nreceipt-id:bye\n\n^");
    assert_int_equal(session_ended(o.s), SESSION_DISCONNECT);
    close_owner(&o);
    connect_as(&o, "1.0");
    give(&o, "DISCONNECT\n\n^");
    assert_sent(&o, "");
    assert_int_equal(session_ended(o.s), SESSION_DISCONNECT);
    close_owner(&o);
}

static void a_drain_lets_receipts_out(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreceipt:r1\n\nx^");
    session_drain(o.s);
    assert_int_equal(session_ended(o.s), SESSION_OPEN);
    give(&o, "SEND\ndestination:/queue/Event.1.In\nreceipt:r2\n\nlate^");
    session_confirmed(o.s, 1);
    assert_sent(&o, "RECEIPT\nreceipt-id:r1\n\n^");
    assert_int_equal(session_ended(o.s), SESSION_SHUTDOWN);
    assert_asked(&o, "deposit 1 by 7   : x\n");
    close_owner(&o);
}

static void refuses_frames_that_are_not_stomp(void **state)
{
    struct owner o;

    (void)state;
    connect_as(&o, "1.2");
    give(&o, "SEND\nno colon\n\n^");
    assert_error(&o, SESSION_PROTOCOL, "malformed frame received", "has no colon");
    close_owner(&o);
    connect_as(&o, "1.2");
    give(&o, "SEND\ncontent-length:1001\n\n");
    assert_error(&o, SESSION_LIMIT, "a limit of the vault is exceeded", "at most 1000");
    close_owner(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(negotiates_the_highest_common_version),
        cmocka_unit_test(refuses_what_cannot_be_connected),
        cmocka_unit_test(agrees_on_heart_beats),
        cmocka_unit_test(times_out_what_trickles),
        cmocka_unit_test(receipts_leave_after_the_confirmation),
        cmocka_unit_test(many_deposits_are_confirmed_in_any_order),
        cmocka_unit_test(refuses_other_destinations),
        cmocka_unit_test(refuses_replies_to_temporary_queues),
        cmocka_unit_test(waits_while_there_is_no_room),
        cmocka_unit_test(tells_when_the_queue_fails),
        cmocka_unit_test(a_transaction_is_one_deposit),
        cmocka_unit_test(refuses_transactions_that_make_no_sense),
        cmocka_unit_test(bounds_transactions),
        cmocka_unit_test(answers_carry_every_header),
        cmocka_unit_test(acknowledges_as_the_version_says),
        cmocka_unit_test(refuses_subscriptions_that_make_no_sense),
        cmocka_unit_test(acknowledgements_belong_to_their_transaction),
        cmocka_unit_test(takes_no_more_than_its_credit),
        cmocka_unit_test(asks_again_when_who_delivers_starts_again),
        cmocka_unit_test(a_peer_that_does_not_read_is_left),
        cmocka_unit_test(disconnect_waits_for_what_is_pending),
        cmocka_unit_test(a_drain_lets_receipts_out),
        cmocka_unit_test(refuses_frames_that_are_not_stomp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
