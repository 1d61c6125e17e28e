/* Producers of an OpenWire session: messages, their properties and contents, windows, confirmations. */
#include "tests/unit/test_openwire_session.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

#include "tests/unit/openwire_peer.h"
#include "tests/unit/unit.h"

/* ---- answers ----------------------------------------------------------------------------- */

static void responses_wait_for_confirmations_in_any_order(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put_r(&p, peer_message("<a/>", 0));
    peer_put(&p, peer_message("<b/>", 0));
    peer_put_r(&p, peer_message("<c/>", 0));
    peer_give(&p);
    peer_expect(&p, "");
    peer_expect_asked(&p, PEER_DEPOSIT("1", "<a/>") PEER_DEPOSIT("2", "<b/>") PEER_DEPOSIT("3", "<c/>"));
    assert_int_equal(session_pending(p.o.s), 3);
    session_confirmed(p.o.s, 3);
    peer_expect(&p, "Response 6\n");
    session_confirmed(p.o.s, 3);
    session_confirmed(p.o.s, 9);
    session_confirmed(p.o.s, 2);
    peer_expect(&p, "");
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "Response 4\n");
    assert_int_equal(session_pending(p.o.s), 0);
    peer_close(&p);
}

static void refused_deposits_are_exceptions(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_send_r(&p, peer_message("<a/>", 0));
    peer_send(&p, peer_message("<b/>", 0));
    session_refused(p.o.s, 1, "the queue is full");
    session_refused(p.o.s, 2, "the queue is full");
    peer_expect(&p, "Exception 4 " LATER "the queue is full\nError " LATER "the queue is full\n");
    p.o.refuses = true;
    peer_send_r(&p, peer_message("<c/>", 0));
    peer_expect(&p, "Exception 6 " LATER "no room\n");
    peer_close(&p);
}

static void a_full_vault_makes_deposits_wait(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    p.o.full = true;
    peer_put_r(&p, peer_message("<a/>", 0));
    peer_put_r(&p, build(OPENWIRE_KEEP_ALIVE_INFO));
    peer_offer(&p);
    assert_true(session_blocked(p.o.s));
    peer_offer(&p);
    peer_expect(&p, "");
    p.o.full = false;
    peer_give(&p);
    assert_false(session_blocked(p.o.s));
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "KeepAlive 5\nResponse 4\n");
    peer_close(&p);
}

/* The one that waited too long, and no other. */
static void what_waits_too_long_is_refused(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 5000);
    p.o.full = true;
    peer_put_r(&p, peer_message("<a/>", 0));
    peer_put(&p, peer_message("<b/>", 0));
    peer_offer(&p);
    session_stalled(p.o.s, "no room");
    peer_offer(&p);
    assert_true(session_blocked(p.o.s));
    peer_expect(&p, "Exception 4 " LATER "queue unavailable, send again later: no room for more deposits\n");
    session_stalled(p.o.s, "no room");
    peer_give(&p);
    peer_expect(&p, "ProducerAck C:1:1 1104\nError " LATER "queue unavailable, send again later: no room for more deposits\n");
    peer_put_r(&p, peer_message("<c/>", 0));
    peer_offer(&p);
    session_stalled(p.o.s, "no room");
    p.o.full = false; /* meanwhile there is room */
    peer_give(&p);
    p.o.full = true;
    peer_put_r(&p, peer_message("<d/>", 0));
    peer_offer(&p);
    assert_true(session_blocked(p.o.s));
    peer_expect_asked(&p, PEER_DEPOSIT("1", "<c/>"));
    peer_close(&p);
}

/* ---- where, and whose -------------------------------------------------------------------- */

static const struct {
    enum openwire_type type;
    const char *name, *said;
} elsewhere[] = {
    {OPENWIRE_QUEUE, "Event.1.Out", "queue \"Event.1.Out\""},
    {OPENWIRE_QUEUE, "Event.2.In", "queue \"Event.2.In\""},
    {OPENWIRE_QUEUE, "Event.1.In,Event.1.In", "queue \"Event.1.In,Event.1.In\""},
    {OPENWIRE_QUEUE, "Event.>", "queue \"Event.>\""},
    {OPENWIRE_QUEUE, "Event.*.In", "queue \"Event.*.In\""},
    {OPENWIRE_QUEUE, "", "queue \"\""},
    {OPENWIRE_QUEUE, "a\"b\n\x7f\xc3\xa9", "queue \"a?b????\""},
    {OPENWIRE_TOPIC, "Event.1.In", "topic \"Event.1.In\""},
    {OPENWIRE_TOPIC, "ActiveMQ.Advisory.TempQueue", "topic \"ActiveMQ.Advisory.TempQueue\""},
    {OPENWIRE_TEMP_QUEUE, "C:1", "temporary queue \"C:1\""},
    {OPENWIRE_TEMP_TOPIC, "C:1", "temporary topic \"C:1\""},
};

static void messages_go_to_the_intake_only(void **state)
{
    struct openwire_object *o;
    char said[300];
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        o = build_producer("C", 1, 9, NULL, 0);
        build_object(o, OPENWIRE_PRODUCER_INFO_DESTINATION, build_destination(elsewhere[i].type, elsewhere[i].name));
        peer_send_r(&p, o);
        o = peer_message("<a/>", 0);
        build_object(o, OPENWIRE_MESSAGE_DESTINATION, build_destination(elsewhere[i].type, elsewhere[i].name));
        peer_send(&p, o);
        snprintf(said, sizeof said, "Exception %u " NO_PLACE "%s: messages go to queue Event.1.In only\nError " NO_PLACE "%s: messages go to queue Event.1.In only\n",
                 p.command - 1, elsewhere[i].said, elsewhere[i].said);
        peer_expect(&p, said);
    }
    o = peer_message("<a/>", 0);
    build_object(o, OPENWIRE_MESSAGE_DESTINATION, NULL);
    peer_send_r(&p, o);
    snprintf(said, sizeof said, "Exception %u " NO_PLACE "no destination: messages go to queue Event.1.In only\n", p.command);
    peer_expect(&p, said);
    peer_expect_asked(&p, "");
    assert_int_equal(session_ended(p.o.s), SESSION_OPEN);
    peer_close(&p);
}

static void long_names_are_cut(void **state)
{
    char name[300], said[500];
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    memset(name, 'n', sizeof name);
    name[299] = '\0';
    peer_send_r(&p, build_producer("C", 1, 9, name, 0));
    name[111] = '\0';
    snprintf(said, sizeof said, "Exception 4 " NO_PLACE "queue \"%s\": messages go to queue Event.1.In only\n", name);
    peer_expect(&p, said);
    peer_close(&p);
}

static void producers_are_of_this_connection_and_session(void **state)
{
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_send_r(&p, build_producer("D", 1, 2, NULL, 0));
    peer_send_r(&p, build_producer("C", 2, 1, NULL, 0));
    peer_send_r(&p, build(OPENWIRE_PRODUCER_INFO));
    peer_expect(&p, "Exception 4 " ILLEGAL "ProducerId is of another connection than this one\n"
                    "Exception 5 " ILLEGAL "ProducerInfo: there is no session 2\n"
                    "Exception 6 " ILLEGAL "ProducerId is of another connection than this one\n");
    o = peer_message("<a/>", 0);
    build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, build_producer_id("D", 1, 1));
    peer_send_r(&p, o);
    o = peer_message("<a/>", 0);
    build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, NULL);
    peer_send_r(&p, o);
    o = peer_message("<a/>", 0);
    build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, build_producer_id("C", 1, 2));
    peer_send_r(&p, o);
    peer_expect(&p, "Exception 7 " ILLEGAL "ProducerId is of another connection than this one\n"
                    "Exception 8 " ILLEGAL "ProducerId is of another connection than this one\n"
                    "Exception 9 " ILLEGAL "the message's producer does not exist\n");
    peer_send_r(&p, build_producer("C", 1, 1, NULL, 0)); /* again: a replay */
    peer_send_r(&p, build_remove(build_producer_id("C", 1, 1), -2));
    peer_send_r(&p, peer_message("<a/>", 0));
    peer_expect(&p, "Response 10\nResponse 11\nException 12 " ILLEGAL "the message's producer does not exist\n");
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void producers_have_a_limit(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (int64_t i = 4097; i > 2; i--)
        peer_put(&p, build_producer("C", 1, i, NULL, 0));
    peer_put_r(&p, build_producer("C", 1, 2, NULL, 0));
    peer_put(&p, build_remove(build_producer_id("C", 1, 77), -2));
    peer_put_r(&p, build_producer("C", 1, 2, NULL, 0));
    peer_give(&p);
    peer_expect(&p, "Exception 4099 " LATER "more than 4096 producers on a connection\nResponse 4101\n");
    peer_close(&p);
}

/* ---- what a message is ------------------------------------------------------------------- */

static void other_messages_are_refused(void **state)
{
    static const enum openwire_type types[] = {OPENWIRE_MESSAGE, OPENWIRE_MAP_MESSAGE, OPENWIRE_OBJECT_MESSAGE, OPENWIRE_STREAM_MESSAGE};
    char said[100];
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct openwire_object *o = peer_message("<a/>", 0);

        o->type = (uint8_t)types[i];
        peer_send_r(&p, o);
        snprintf(said, sizeof said, "Exception %u " FORMAT "an event is a text or bytes message\n", p.command);
        peer_expect(&p, said);
    }
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void fields_of_brokers_are_refused(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (unsigned i = 0; i < 5; i++) {
        struct openwire_object *o = peer_message("<a/>", 0);

        if (i == 0)
            build_object(o, OPENWIRE_MESSAGE_ORIGINAL_DESTINATION, build_destination(OPENWIRE_QUEUE, "Event.1.In"));
        else if (i == 1)
            build_object(o, OPENWIRE_MESSAGE_ORIGINAL_TRANSACTION_ID, build_transaction_id("C", 1));
        else if (i == 2)
            build_object(o, OPENWIRE_MESSAGE_DATA_STRUCTURE, build_connection("C"));
        else if (i == 3)
            build_object(o, OPENWIRE_MESSAGE_TARGET_CONSUMER_ID, build_consumer_id("C", 1, 1));
        else
            build_set(o, OPENWIRE_MESSAGE_BROKER_PATH, (struct openwire_value){.there = true});
        peer_send(&p, o);
        peer_expect(&p, "Error " ILLEGAL "the message has fields that only a broker writes\n");
    }
    peer_expect_asked(&p, "");
    peer_close(&p);
}

static void bodies_come_as_they_are(void **state)
{
    static const uint8_t emoji[] = {0, 0, 0, 8, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, 0xc0, 0x80};
    uint8_t stream[200] = {0, 0, 0, 9};
    uLongf size = sizeof stream - 4;
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    peer_put(&p, peer_message("", 0));
    o = peer_message("", 0);
    build_set(o, OPENWIRE_MESSAGE_CONTENT, (struct openwire_value){0});
    peer_put(&p, o);
    o = peer_message("", 0);
    build_content(o, "<compressed/>", true);
    peer_put(&p, o);
    o = peer_message("", 0);
    build_bytes(o, OPENWIRE_MESSAGE_CONTENT, slice_of(emoji, sizeof emoji));
    peer_put(&p, o);
    o = peer_message("", 0);
    o->type = OPENWIRE_BYTES_MESSAGE;
    build_bytes(o, OPENWIRE_MESSAGE_CONTENT, SLICE_LITERAL("<bytes/>"));
    peer_put(&p, o);
    assert_int_equal(compress(stream + 4, &size, (const uint8_t *)"<deflate>", 9), Z_OK);
    o = peer_message("", 0);
    o->type = OPENWIRE_BYTES_MESSAGE;
    build_bytes(o, OPENWIRE_MESSAGE_CONTENT, slice_of(stream, size + 4));
    build_number(o, OPENWIRE_MESSAGE_COMPRESSED, 1);
    peer_put(&p, o);
    peer_give(&p);
    peer_expect(&p, "");
    peer_expect_asked(&p, PEER_DEPOSIT("1", "") PEER_DEPOSIT("2", "") PEER_DEPOSIT("3", "<compressed/>") PEER_DEPOSIT("4", "\xf0\x9f\x98\x80" /* and a NUL */)
                      "deposit 5 by 7 c d SHA-256 at 1234 bytes: <bytes/>\ndeposit 6 by 7 c d SHA-256 at 1234 bytes: <deflate>\n");
    peer_close(&p);
}

static void bodies_that_are_wrong_are_refused(void **state)
{
    static char large[4200];
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    memset(large, 'x', sizeof large - 1);
    large[4097] = '\0';
    peer_send_r(&p, peer_message(large, 0));
    peer_expect(&p, "Exception 4 javax.jms.JMSException: coffre: OpenWire content: 4097 bytes, at most 4096 are taken\n");
    o = peer_message("", 0);
    build_content(o, large, true);
    peer_send_r(&p, o);
    assert_non_null(strstr(peer_said(&p), "Exception 5 javax.jms.JMSException: coffre: OpenWire content: "));
    o = peer_message("", 0);
    build_bytes(o, OPENWIRE_MESSAGE_CONTENT, SLICE_LITERAL("\0\0\0\7<a/>"));
    peer_send(&p, o);
    peer_expect(&p, "Error " FORMAT "OpenWire content: a text of 7 bytes is announced, there are 4\n");
    large[4096] = '\0';
    peer_send(&p, peer_message(large, 0));
    peer_expect(&p, "");
    assert_int_equal(session_counts(p.o.s)->bytes, 4096);
    peer_close(&p);
}

/* ---- properties -------------------------------------------------------------------------- */

/* name, tag, value. */
#define ENTRY(name_length, name, tag_and_value) "\0" name_length name tag_and_value

static void properties_of_every_type(void **state)
{
    static const struct {
        struct slice map;
        const char *asked;
    } cases[] = {
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x09\0\2ab")), "deposit 1 by 7 ab  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x0d\0\0\0\2ab")), "deposit 1 by 7 ab  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x06\xff\xff\xff\xff\xff\xff\xff\xfe")), "deposit 1 by 7 -2  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x05\0\0\1\0")), "deposit 1 by 7 256  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x04\1\1")), "deposit 1 by 7 257  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x02\x07")), "deposit 1 by 7 7  : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x01\1")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x03\0A")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x07\0\0\0\0\0\0\0\0")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x08\0\0\0\0")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\x0a\0\0\0\1x")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x08", "ClientId", "\0")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\2" ENTRY("\6", "Digest", "\x09\0\6\xed\xa0\xbd\xed\xb8\x80") ENTRY("\x0a", "DigestAlgo", "\x09\0\2\xc3\xa9")),
         "deposit 1 by 7  \xf0\x9f\x98\x80 \xc3\xa9: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\2" ENTRY("\6", "Digest", "\x05\0\0\0\5") ENTRY("\x0a", "DigestAlgo", "\x05\0\0\0\6")), "deposit 1 by 7  5 6: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x06\0\0\1\x8b\xcf\xe5\x68\0")), "deposit 1 by 7    at 1700000000000: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x05\0\0\0\7")), "deposit 1 by 7    at 7: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x04\0\7")), "deposit 1 by 7    at 7: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x02\7")), "deposit 1 by 7    at 7: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x09\0\4" "1234")), "deposit 1 by 7    at 1234: <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x09\0\3" "12x")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\x09", "Timestamp", "\x06\xff\xff\xff\xff\xff\xff\xff\xff")), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\0\0\0\2" ENTRY("\1", "m", "\x0b\0\0\0\1\0\1k\x0c\0\0\0\1\x02\1") ENTRY("\x08", "ClientId", "\x09\0\1c")), "deposit 1 by 7 c  : <a/>\n"},
        {SLICE_LITERAL(""), "deposit 1 by 7   : <a/>\n"},
        {SLICE_LITERAL("\xff\xff\xff\xff"), "deposit 1 by 7   : <a/>\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct openwire_object *o;
        struct peer p;

        peer_produce(&p, 0);
        o = peer_message("<a/>", 0);
        build_bytes(o, OPENWIRE_MESSAGE_PROPERTIES, cases[i].map);
        peer_send(&p, o);
        peer_expect(&p, "");
        peer_expect_asked(&p, cases[i].asked);
        peer_close(&p);
    }
}

/* More than a record's texts may be: cut, so that the deposit is answered (as invalid) instead of refused for ever. */
static void long_properties_are_cut(void **state)
{
    enum { LONG = 70000 };
    static uint8_t map[4 + 2 + 8 + 1 + 4 + LONG] = {0, 0, 0, 1, 0, 8, 'C', 'l', 'i', 'e', 'n', 't', 'I', 'd', 13, 0, LONG >> 16, LONG >> 8 & 255, LONG & 255};
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    p.o.rules.frame.header_bytes = 1 << 17;
    memset(map + sizeof map - LONG, 'x', LONG);
    o = peer_message("<a/>", 0);
    build_bytes(o, OPENWIRE_MESSAGE_PROPERTIES, slice_of(map, sizeof map));
    peer_send(&p, o);
    peer_expect(&p, "");
    assert_non_null(strstr(p.o.log, "deposit 1 by 7 xxx"));
    peer_close(&p);
}

static void properties_that_are_wrong_are_refused(void **state)
{
    static const struct {
        struct slice map;
        const char *said;
    } cases[] = {
        {SLICE_LITERAL("\0\0\0"), "Error " FORMAT "OpenWire properties: 3 bytes are no map\n"},
        {SLICE_LITERAL("\0\0\1\1"), "Error " FORMAT "OpenWire properties: 257 entries are announced in 0 bytes, at most 256 are taken\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\1", "a", "\x0e\0")), "Error " FORMAT "OpenWire properties: entry 0 has no value of type 14\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\1", "a", "\x09\0\2x")), "Error " FORMAT "OpenWire properties: entry 0 has no value of type 9\n"},
        {SLICE_LITERAL("\0\0\0\1" ENTRY("\1", "a", "\0x")), "Error " FORMAT "OpenWire properties: 1 bytes follow the last entry\n"},
    };
    struct peer p;

    (void)state;
    peer_produce(&p, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct openwire_object *o = peer_message("<a/>", 0);

        build_bytes(o, OPENWIRE_MESSAGE_PROPERTIES, cases[i].map);
        peer_send(&p, o);
        peer_expect(&p, cases[i].said);
    }
    peer_expect_asked(&p, "");
    peer_close(&p);
}

/* ---- producer windows -------------------------------------------------------------------- */

/* 1024, the content and the properties: what Message.getSize() says (openwire.md, C.10). */
static void windows_open_when_confirmed(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 5000);
    peer_send(&p, peer_message("<a/>", 0));
    peer_send_r(&p, peer_message("<b/>", 0));
    peer_send(&p, peer_message("", 0));
    peer_expect(&p, "");
    session_confirmed(p.o.s, 2);
    peer_expect(&p, "Response 5\n");
    session_confirmed(p.o.s, 1);
    session_refused(p.o.s, 3, "full");
    peer_expect(&p, "ProducerAck C:1:1 1104\nError " LATER "full\nProducerAck C:1:1 1100\n");
    peer_close(&p);
}

/* Its window is all that a producer waits for: a refused message opens it too, whatever it was refused for. */
static void windows_open_when_refused(void **state)
{
    struct openwire_object *o;
    struct peer p;

    (void)state;
    peer_produce(&p, 5000);
    peer_send(&p, build_message("C", "X", "<a/>", 0));
    peer_expect(&p, "ProducerAck C:1:1 1104\nError " NO_PLACE "queue \"X\": messages go to queue Event.1.In only\n");
    peer_send(&p, peer_message("<a/>", 5));
    peer_expect(&p, "ProducerAck C:1:1 1104\nError " ROLLED_BACK "the transaction is not open\n");
    o = peer_message("<a/>", 0);
    o->type = OPENWIRE_MAP_MESSAGE;
    peer_send(&p, o);
    peer_expect(&p, "ProducerAck C:1:1 1104\nError " FORMAT "an event is a text or bytes message\n");
    peer_send_r(&p, build_message("C", "X", "<a/>", 0));
    peer_expect(&p, "Exception 7 " NO_PLACE "queue \"X\": messages go to queue Event.1.In only\n");
    peer_close(&p);
}

static void windows_open_at_once_in_transactions(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 5000);
    peer_put(&p, build_transaction("C", 1, BUILD_BEGIN));
    peer_put(&p, peer_message("<a/>", 1));
    peer_put_r(&p, peer_message("<b/>", 1));
    peer_give(&p);
    peer_expect(&p, "ProducerAck C:1:1 1104\nResponse 6\n");
    peer_close(&p);
}

static void a_window_is_not_of_the_next_connection(void **state)
{
    struct peer p;

    (void)state;
    peer_produce(&p, 5000);
    peer_send(&p, peer_message("<a/>", 0));
    peer_send(&p, build_remove(build_connection_id("C"), -2));
    peer_send(&p, build_connection("D"));
    session_confirmed(p.o.s, 1);
    peer_expect(&p, "");
    peer_close(&p);
}

int openwire_produce_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses_wait_for_confirmations_in_any_order),
        cmocka_unit_test(refused_deposits_are_exceptions),
        cmocka_unit_test(a_full_vault_makes_deposits_wait),
        cmocka_unit_test(what_waits_too_long_is_refused),
        cmocka_unit_test(messages_go_to_the_intake_only),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(producers_are_of_this_connection_and_session),
        cmocka_unit_test(producers_have_a_limit),
        cmocka_unit_test(other_messages_are_refused),
        cmocka_unit_test(fields_of_brokers_are_refused),
        cmocka_unit_test(bodies_come_as_they_are),
        cmocka_unit_test(bodies_that_are_wrong_are_refused),
        cmocka_unit_test(properties_of_every_type),
        cmocka_unit_test(long_properties_are_cut),
        cmocka_unit_test(properties_that_are_wrong_are_refused),
        cmocka_unit_test(windows_open_when_confirmed),
        cmocka_unit_test(windows_open_when_refused),
        cmocka_unit_test(windows_open_at_once_in_transactions),
        cmocka_unit_test(a_window_is_not_of_the_next_connection),
    };

    return cmocka_run_group_tests_name("OpenWire producers", tests, NULL, NULL);
}
