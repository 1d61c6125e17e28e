/* OpenWire frames: read and written byte for byte as real peers do, every version's fields, and everything that must be refused. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "ingest/openwire/openwire.h"
#include "tests/openwire/equal.h"
#include "tests/openwire/notation.h"
#include "tests/openwire/sample.h"

#define CONNECTION "01 001d 'ID:vm-43473-1795228162445-1:1'"
#define CONSUMER "01 7a " CONNECTION " 0000000000000001 0000000000000002"
#define PRODUCER "01 7b " CONNECTION " 0000000000000001 0000000000000001"

/* Frames of version 12 as real peers write them (the names are ours), with the field to be looked at. */
static const struct exact {
    const char *text;
    enum openwire_type type;
    unsigned field;
    uint64_t number;
} exacts[] = {
    {"0000000a 1e 00000000 00 00000001", OPENWIRE_RESPONSE, OPENWIRE_RESPONSE_CORRELATION_ID, 1},
    {"00000006 0a 00000000 00", OPENWIRE_KEEP_ALIVE_INFO, 0, 0},
    {"00000006 0b 00000024 00", OPENWIRE_SHUTDOWN_INFO, 0, 0},
    {"00000067 1f 00000000 00 00000004 01 01 001b 'java.lang.SecurityException' 01 003b 'User sensor is not authorized to write to: queue://SECRET.Q'",
     OPENWIRE_EXCEPTION_RESPONSE, OPENWIRE_EXCEPTION_RESPONSE_CORRELATION_ID, 4},
    {"00000064 10 00000000 00 01 01 001b 'java.lang.SecurityException' 01 003b 'User sensor is not authorized to write to: queue://SECRET.Q' 00",
     OPENWIRE_CONNECTION_ERROR, OPENWIRE_CONNECTION_ERROR_CONNECTION_ID, 0},
    {"0000004d 03 00000001 01 | 01 78 " CONNECTION " | 01 0009 'sensor-42' | 01 0006 'secret' | 01 0006 'sensor' | 00 | 00 01 01 00 00 | 00",
     OPENWIRE_CONNECTION_INFO, OPENWIRE_CONNECTION_INFO_CLIENT_MASTER, 1},
    {"00000030 04 00000003 00 01 79 " CONNECTION " 0000000000000001", OPENWIRE_SESSION_INFO, OPENWIRE_SESSION_INFO_SESSION_ID, 0},
    {"0000004c 06 00000004 01 " PRODUCER " 01 64 01 0009 'EVENTS.IN' 00 00 00000000", OPENWIRE_PRODUCER_INFO,
     OPENWIRE_PRODUCER_INFO_WINDOW_SIZE, 0},
    {"0000008b 05 00000002 01 01 7a " CONNECTION " ffffffffffffffff 0000000000000001 00 01 65 01 0037 "
     "'ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic' 000003e8 00000000 01 00 00 00 01 00 00 00 00 00 00 00 00 00",
     OPENWIRE_CONSUMER_INFO, OPENWIRE_CONSUMER_INFO_PREFETCH_SIZE, 1000},
    {"00000055 07 0000001a 00 01 78 " CONNECTION " 01 6f 0000000000000001 01 78 " CONNECTION " 02", OPENWIRE_TRANSACTION_INFO,
     OPENWIRE_TRANSACTION_INFO_KIND, 2},
    {"00000056 08 00000004 01 01 78 " CONNECTION " 01 66 01 001f 'ID:vm-43473-1795228162445-1:1:1' 00 0000000000000000 00",
     OPENWIRE_DESTINATION_INFO, OPENWIRE_DESTINATION_INFO_TIMEOUT, 0},
    {"00000040 0c 00000010 00 01 7b " CONNECTION " 0000000000000002 0000000000000001 fffffffffffffffe", OPENWIRE_REMOVE_INFO,
     OPENWIRE_REMOVE_INFO_LAST_DELIVERED_SEQUENCE_ID, (uint64_t)-2},
    {"000000ed 16 00000008 00 01 66 01 001f 'ID:vm-43473-1795228162445-1:1:1' 00 " CONSUMER " 02 01 6e 00 " PRODUCER
     " 0000000000000003 0000000000000007 01 6e 00 " PRODUCER " 0000000000000003 0000000000000007 00000001 00",
     OPENWIRE_MESSAGE_ACK, OPENWIRE_MESSAGE_ACK_ACK_TYPE, 2},
    {"0000003c 13 00000000 00 " PRODUCER " 000009dc", OPENWIRE_PRODUCER_ACK, OPENWIRE_PRODUCER_ACK_SIZE, 2524},
    {"0000004f 14 00000022 00 " CONSUMER " 01 64 01 0008 'ATTEST.Q' 00000000000001f4 00 00", OPENWIRE_MESSAGE_PULL,
     OPENWIRE_MESSAGE_PULL_TIMEOUT, 500},
    {"00000013 12 00000000 00 00 00 00 00 00 01 0000 01 0000 00 00", OPENWIRE_CONNECTION_CONTROL, OPENWIRE_CONNECTION_CONTROL_TOKEN, 0},
    {"0000005c 02 00000000 00 01 7c " CONNECTION " 01 0015 'tcp://localhost:16161' 00 01 0009 'capbroker' 00 00 00 00 00 "
     "0000000000000000 00 00",
     OPENWIRE_BROKER_INFO, OPENWIRE_BROKER_INFO_CONNECTION_ID, 0},
    {"00000012 01 'ActiveMQ' 0000000c 01 00000000", OPENWIRE_WIRE_FORMAT_INFO, OPENWIRE_WIRE_FORMAT_INFO_VERSION, 12},
    {"000000d2 1c 00000005 01 " PRODUCER " 01 64 01 0002 'IN' 00 00 01 6e 00 " PRODUCER " 0000000000000001 0000000000000000"
     " 00 00 ffffffff 00 01 0000000000000000 fc 00 0000019000000000 00 01 00000006 00000002 'ab' 00 00 00 00 00000000 00"
     " 0000000000000000 00 00 00 00 0000000000000000 0000000000000000 00",
     OPENWIRE_TEXT_MESSAGE, OPENWIRE_MESSAGE_PRIORITY, (uint64_t)-4},
};

static uint8_t bytes[70000];
static struct openwire_arena arena, again;

/* Where the size that stood before a frame says it ends. */
static struct slice frame_of(struct slice whole)
{
    assert_true(whole.len > 4);
    assert_int_equal((uint32_t)whole.at[0] << 24 | whole.at[1] << 16 | whole.at[2] << 8 | whole.at[3], whole.len - 4);
    return slice_of(whole.at + 4, whole.len - 4);
}

static void assert_written(const struct openwire_object *o, unsigned version, struct slice whole)
{
    struct err e = {0};
    struct buf out;

    buf_init(&out, whole.len);
    if (!openwire_write(o, version, &out, &e))
        fail_msg("%s", e.text);
    assert_int_equal(out.len, whole.len);
    assert_memory_equal(buf_slice(&out).at, whole.at, whole.len);
    buf_free(&out);
}

static void test_exact_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof exacts / sizeof exacts[0]; i++) {
        const struct exact *x = &exacts[i];
        struct slice whole = openwire_bytes_of(x->text, bytes);
        const struct openwire_object *o;
        struct err e = {0};

        memset(&arena, 0xa5, sizeof arena);
        if (!openwire_read(frame_of(whole), 12, &arena, &o, &e))
            fail_msg("%s: %s", x->text, e.text);
        assert_int_equal(o->type, x->type);
        if (openwire_row(x->type)->count != 0 && o->values[x->field].there && x->number != 0)
            assert_int_equal(openwire_get_number(o, x->field), x->number);
        assert_written(o, 12, whole);
    }
}

/* No frame is whole before its last byte, none goes on behind it. */
static void test_cut_and_trailing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof exacts / sizeof exacts[0]; i++) {
        struct slice frame = frame_of(openwire_bytes_of(exacts[i].text, bytes));
        const struct openwire_object *o;
        struct err e = {0};

        for (size_t len = 0; len < frame.len; len++) {
            uint8_t *copy = malloc(len + 1); /* its own block, so that a sanitizer sees a read beyond */

            memcpy(copy, frame.at, len);
            err_clear(&e);
            assert_false(openwire_read(slice_of(copy, len), 12, &arena, &o, &e));
            assert_int_equal(e.code, ERR_INPUT);
            assert_non_null(strstr(e.text, "at byte "));
            free(copy);
        }
        bytes[4 + frame.len] = 0;
        err_clear(&e);
        assert_false(openwire_read(slice_of(frame.at, frame.len + 1), 12, &arena, &o, &e));
        assert_non_null(strstr(e.text, "1 bytes follow the last field"));
    }
}

static void test_values(void **state)
{
    const struct openwire_object *o, *id;
    struct err e = {0};

    (void)state;
    assert_true(openwire_read(frame_of(openwire_bytes_of(exacts[18].text, bytes)), 12, &arena, &o, &e));
    assert_int_equal(o->command_id, 5);
    assert_true(o->response_required);
    id = openwire_get_object(o, OPENWIRE_MESSAGE_PRODUCER_ID);
    assert_non_null(id);
    assert_true(slice_is(openwire_get_bytes(id, OPENWIRE_PRODUCER_ID_CONNECTION_ID), "ID:vm-43473-1795228162445-1:1"));
    assert_int_equal(openwire_get_number(id, OPENWIRE_PRODUCER_ID_VALUE), 1);
    assert_null(openwire_get_object(o, OPENWIRE_MESSAGE_TRANSACTION_ID));
    assert_int_equal(openwire_get_object(o, OPENWIRE_MESSAGE_DESTINATION)->type, OPENWIRE_QUEUE);
    assert_int_equal(openwire_get_object(o, OPENWIRE_MESSAGE_DESTINATION)->command_id, 0);
    assert_int_equal((int64_t)openwire_get_number(o, OPENWIRE_MESSAGE_GROUP_SEQUENCE), -1);
    assert_int_equal(openwire_get_number(o, OPENWIRE_MESSAGE_TIMESTAMP), 0x19000000000);
    assert_int_equal(openwire_get_bytes(o, OPENWIRE_MESSAGE_CONTENT).len, 6);
    assert_false(o->values[OPENWIRE_MESSAGE_PROPERTIES].there);
    assert_true(o->values[OPENWIRE_MESSAGE_REDELIVERY_COUNTER].there);
    id = openwire_get_object(o, OPENWIRE_MESSAGE_MESSAGE_ID);
    assert_false(id->values[OPENWIRE_MESSAGE_ID_TEXT_VIEW].there);
    assert_int_equal(openwire_get_number(id, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID), 1);
}

/* ---- what must be refused ------------------------------------------------------------------ */

#define RESPONSE_HEAD "1f 00000000 00 00000001 "
/* A message up to its content, all that is null or zero. */
#define MESSAGE_HEAD "1c 00000000 00 00 00 00 00 00 00 00 00000000 00 00 0000000000000000 00 00 0000000000000000 00 "

static const struct refused {
    const char *text, *why;
} refusals[] = {
    {"", "a frame without a type at byte 4"},
    {"00", "unknown type 0 at byte 4"},
    {"1d 00000000 00", "unknown type 29 at byte 4"},
    {"3c 00000000 00000000", "unknown type 60 at byte 4"},
    {"ff 00 00", "unknown type 255 at byte 4"},
    {"0a 00000000 02", "KEEP_ALIVE_INFO at byte 9: a boolean of 2"},
    {"0a 000000", "KEEP_ALIVE_INFO at byte 5: 4 bytes are needed, 3 are left"},
    {"1e 00000000 00 000000", "RESPONSE.CORRELATION_ID at byte 10: 4 bytes are needed, 3 are left"},
    {"12 00000000 00 00 00 ff 00 00 00 00 00 00", "CONNECTION_CONTROL.FAULT_TOLERANT at byte 12: a boolean of 255"},
    {"0e 00000000 00 02", "CONTROL_COMMAND.COMMAND at byte 10: a boolean of 2"},
    {"0e 00000000 00 01 ffff 'shutdown'", "CONTROL_COMMAND.COMMAND at byte 11: a text of 65535 bytes, 8 are left"},
    {"0e 00000000 00 01 0009 'shutdown'", "CONTROL_COMMAND.COMMAND at byte 11: a text of 9 bytes, 8 are left"},
    {"0e 00000000 00 01 00", "CONTROL_COMMAND.COMMAND at byte 11: 2 bytes are needed, 1 are left"},
    {"04 00000000 00 01", "SESSION_INFO.SESSION_ID at byte 11: 1 bytes are needed, 0 are left"},
    {"04 00000000 00 01 00", "SESSION_INFO.SESSION_ID at byte 11: a value of type 0 (unknown)"},
    {"04 00000000 00 01 ff 00 00", "SESSION_INFO.SESSION_ID at byte 11: a value of type 255 (unknown)"},
    {"04 00000000 00 01 78 00", "SESSION_INFO.SESSION_ID at byte 11: a value of type 120 (CONNECTION_ID)"},
    {"0c 00000000 00 01 64 00 0000000000000000", "REMOVE_INFO.OBJECT_ID at byte 11: a value of type 100 (QUEUE)"},
    {"07 00000000 00 00 01 78 00 00", "TRANSACTION_INFO.TRANSACTION_ID at byte 12: a value of type 120 (CONNECTION_ID)"},
    {"15 00000000 00 00 00 01 0a 00000000 00 00000000", "MESSAGE_DISPATCH.MESSAGE at byte 13: a value of type 10 (KEEP_ALIVE_INFO)"},
    {"06 00000000 00 00 01 68 00 00 00000000", "PRODUCER_INFO.DESTINATION at byte 12: a value of type 104 (unknown)"},
    {"20 00000000 00 00000001 01 4d", "DATA_RESPONSE.DATA at byte 15: a value of type 77 (unknown)"},
    {"20 00000000 00 00000001 01 ff 00 00", "DATA_RESPONSE.DATA at byte 15: a value of type 255 (unknown)"},
    {"04 00000000 00 01 79 01 0004 'abc'", "SESSION_ID.CONNECTION_ID at byte 13: a text of 4 bytes, 3 are left"},
    {"04 00000000 00 01 79 00 00000000", "SESSION_ID.VALUE at byte 13: 8 bytes are needed, 4 are left"},
    {"01 'ActiveM'", "WIRE_FORMAT_INFO.MAGIC at byte 5: 8 bytes are needed, 7 are left"},
    {"01 'ActiveMQ' 0000000c 01 7fffffff 00", "WIRE_FORMAT_INFO.PROPERTIES at byte 18: 2147483647 bytes are announced, 1 are left"},
    {"01 'ActiveMQ' 0000000c 01 ffffffff 00", "WIRE_FORMAT_INFO.PROPERTIES at byte 18: -1 bytes are announced, 1 are left"},
    {"01 'ActiveMQ' 0000000c 01 80000000 00", "WIRE_FORMAT_INFO.PROPERTIES at byte 18: -2147483648 bytes are announced, 1 are left"},
    {"01 'ActiveMQ' 0000000c 01 00000002 00", "WIRE_FORMAT_INFO.PROPERTIES at byte 18: 2 bytes are announced, 1 are left"},
    {MESSAGE_HEAD "01 7fffffff 00", "TEXT_MESSAGE.CONTENT at byte 43: 2147483647 bytes are announced, 1 are left"},
    {MESSAGE_HEAD "01 fffffffe 00", "TEXT_MESSAGE.CONTENT at byte 43: -2 bytes are announced, 1 are left"},
    {"21 00000000 00 00000001 01 ffff", "DATA_ARRAY_RESPONSE.DATA at byte 15: -1 values are announced, 0 bytes are left"},
    {"21 00000000 00 00000001 01 8000", "DATA_ARRAY_RESPONSE.DATA at byte 15: -32768 values are announced"},
    {"21 00000000 00 00000001 01 7fff 00", "DATA_ARRAY_RESPONSE.DATA at byte 15: 32767 values are announced, 1 bytes are left"},
    {"21 00000000 00 00000001 01 0001 00", "DATA_ARRAY_RESPONSE.DATA at byte 17: a null in an array"},
    {"21 00000000 00 00000001 01 0001 03", "DATA_ARRAY_RESPONSE.DATA at byte 17: a boolean of 3"},
    {"21 00000000 00 00000001 01 00", "DATA_ARRAY_RESPONSE.DATA at byte 15: 2 bytes are needed, 1 are left"},
    {RESPONSE_HEAD "01 01 0004 'abc'", "THROWABLE.CLASS at byte 16: a text of 4 bytes, 3 are left"},
    {RESPONSE_HEAD "01 00 07", "THROWABLE.MESSAGE at byte 16: a boolean of 7"},
    {RESPONSE_HEAD "01 00 00 0000", "EXCEPTION_RESPONSE at byte 17: 2 bytes follow the last field"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct slice s = openwire_bytes_of(refusals[i].text, bytes);
        uint8_t *copy = malloc(s.len + 1);
        const struct openwire_object *o;
        struct err e = {0};

        memcpy(copy, s.at, s.len);
        assert_false(openwire_read(slice_of(copy, s.len), 12, &arena, &o, &e));
        assert_int_equal(e.code, ERR_INPUT);
        if (strstr(e.text, refusals[i].why) == NULL)
            fail_msg("%s: \"%s\", not \"%s\"", refusals[i].text, e.text, refusals[i].why);
        free(copy);
    }
}

/* Messages whose data structure is a message: `levels` of them, then nothing. */
static struct slice bomb(size_t levels)
{
    uint8_t *at = bytes;

    for (size_t i = 0; i <= levels; i++) {
        *at++ = OPENWIRE_MESSAGE;
        memset(at, 0, 39); /* command, and fields up to the data structure */
        at += 39;
        *at++ = i < levels;
    }
    for (size_t i = 0; i <= levels; i++) {
        memset(at, 0, 36); /* from the target consumer on */
        at += 36;
    }
    return slice_of(bytes, (size_t)(at - bytes));
}

static void test_depth(void **state)
{
    const struct openwire_object *o;
    struct err e = {0};

    (void)state;
    if (!openwire_read(bomb(OPENWIRE_DEPTH_MAX), 12, &arena, &o, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < OPENWIRE_DEPTH_MAX; i++)
        o = openwire_get_object(o, OPENWIRE_MESSAGE_DATA_STRUCTURE);
    assert_null(openwire_get_object(o, OPENWIRE_MESSAGE_DATA_STRUCTURE));
    for (size_t levels = OPENWIRE_DEPTH_MAX + 1; levels < 800; levels *= 3) {
        err_clear(&e);
        assert_false(openwire_read(bomb(levels), 12, &arena, &o, &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.text, "MESSAGE.DATA_STRUCTURE at byte"));
        assert_non_null(strstr(e.text, "more than 6 values within each other"));
    }
}

/* A connection that names a path of `count` brokers. */
static struct slice long_path(size_t count)
{
    struct slice head = openwire_bytes_of("03 00000001 01 00 00 00 00 01", bytes);
    uint8_t *at = bytes + head.len;

    *at++ = (uint8_t)(count >> 8);
    *at++ = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, "\x01\x7c\x00", 3);
        at += 3;
    }
    memset(at, 0, 6);
    return slice_of(bytes, (size_t)(at - bytes) + 6);
}

static void test_arena(void **state)
{
    const struct openwire_object *o;
    bool refused = false;

    (void)state;
    for (size_t count = 0; count < 2000; count++) {
        struct err e = {0};

        if (openwire_read(long_path(count), 12, &arena, &o, &e)) {
            assert_false(refused);
            assert_int_equal(o->values[OPENWIRE_CONNECTION_INFO_BROKER_PATH].array.count, count);
            assert_true(arena.used <= sizeof arena.bytes);
            continue;
        }
        refused = true;
        assert_true(count > 100);
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.text, "CONNECTION_INFO.BROKER_PATH at byte"));
        assert_non_null(strstr(e.text, "more values than the 6144 bytes a frame may take"));
    }
    assert_true(refused);
}

/* ---- versions ------------------------------------------------------------------------------ */

static size_t written_size(const struct openwire_object *o, unsigned version)
{
    struct err e = {0};
    struct buf out;
    size_t len;

    buf_init(&out, sizeof bytes);
    if (!openwire_write(o, version, &out, &e))
        fail_msg("%s", e.text);
    memcpy(bytes, buf_slice(&out).at, out.len);
    len = out.len;
    buf_free(&out);
    return len;
}

/* Every type with every field, written and read in every version. */
static void test_every_type_in_every_version(void **state)
{
    unsigned types = 0;

    (void)state;
    for (unsigned type = 1; type < 255; type++) {
        if (openwire_row(type)->name == NULL)
            continue;
        types++;
        for (unsigned version = 1; version <= 12; version++) {
            const struct openwire_object *o = sample_full(type), *read;
            size_t len = written_size(o, version);
            char where[80];
            struct err e = {0};

            if (!openwire_read(slice_of(bytes + 4, len - 4), version, &arena, &read, &e))
                fail_msg("%s", e.text);
            sample_forget(o, version);
            if (!openwire_equal(o, read, where))
                fail_msg("%s differs in version %u", where, version);
        }
    }
    assert_int_equal(types, 45);
}

/* What each version added, from the description of the protocol rather than from the table: the bytes of an absent value. */
static const struct added {
    enum openwire_type type;
    unsigned since, bytes;
} additions[] = {
    {OPENWIRE_BROKER_INFO, 2, 1 + 1 + 8}, {OPENWIRE_BROKER_INFO, 3, 1 + 1},
    {OPENWIRE_CONNECTION_INFO, 2, 1}, {OPENWIRE_CONNECTION_INFO, 6, 1 + 1}, {OPENWIRE_CONNECTION_INFO, 8, 1},
    {OPENWIRE_CONSUMER_INFO, 4, 1}, {OPENWIRE_CONSUMER_INFO, 10, 1},
    {OPENWIRE_PRODUCER_INFO, 2, 1}, {OPENWIRE_PRODUCER_INFO, 3, 4},
    {OPENWIRE_REMOVE_INFO, 5, 8},
    {OPENWIRE_CONSUMER_CONTROL, 2, 1 + 1 + 1}, {OPENWIRE_CONSUMER_CONTROL, 6, 1},
    {OPENWIRE_CONNECTION_CONTROL, 6, 1 + 1 + 1}, {OPENWIRE_CONNECTION_CONTROL, 8, 1},
    {OPENWIRE_PRODUCER_ACK, 3, 1 + 4}, {OPENWIRE_MESSAGE_PULL, 3, 1 + 1}, {OPENWIRE_MESSAGE_ACK, 7, 1},
    {OPENWIRE_MESSAGE, 2, 1}, {OPENWIRE_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_MESSAGE, 10, 1},
    {OPENWIRE_BYTES_MESSAGE, 2, 1}, {OPENWIRE_BYTES_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_BYTES_MESSAGE, 10, 1},
    {OPENWIRE_MAP_MESSAGE, 2, 1}, {OPENWIRE_MAP_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_MAP_MESSAGE, 10, 1},
    {OPENWIRE_OBJECT_MESSAGE, 2, 1}, {OPENWIRE_OBJECT_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_OBJECT_MESSAGE, 10, 1},
    {OPENWIRE_STREAM_MESSAGE, 2, 1}, {OPENWIRE_STREAM_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_STREAM_MESSAGE, 10, 1},
    {OPENWIRE_TEXT_MESSAGE, 2, 1}, {OPENWIRE_TEXT_MESSAGE, 3, 1 + 8 + 8}, {OPENWIRE_TEXT_MESSAGE, 10, 1},
    {OPENWIRE_MESSAGE_ID, 10, 1}, {OPENWIRE_NETWORK_BRIDGE_FILTER, 10, 4}, /* two numbers instead of one */
};

static unsigned added_bytes(unsigned type, unsigned version)
{
    for (size_t i = 0; i < sizeof additions / sizeof additions[0]; i++)
        if (additions[i].type == type && additions[i].since == version)
            return additions[i].bytes;
    return 0;
}

static void test_since_versions(void **state)
{
    static const struct openwire_value nothing[64] = {{.there = false}};

    (void)state;
    for (unsigned type = 2; type < 255; type++) {
        const struct openwire_object o = {.type = (uint8_t)type, .values = nothing};

        if (openwire_row(type)->name == NULL)
            continue;
        assert_true(openwire_row(type)->count < 64);
        for (unsigned version = 2; version <= 12; version++)
            assert_int_equal(written_size(&o, version) - written_size(&o, version - 1), added_bytes(type, version));
    }
}

/* Before version 10 a filter had one number, in another place. */
static void test_bridge_filter(void **state)
{
    static const char *const filters[] = {"0000000d 5b 00000007 01 7c 01 0003 'ID:'", "00000011 5b 01 7c 01 0003 'ID:' 00000007 00000008"};
    const struct openwire_object *o;
    struct err e = {0};

    (void)state;
    assert_true(openwire_read(frame_of(openwire_bytes_of(filters[0], bytes)), 9, &arena, &o, &e));
    assert_int_equal(openwire_get_number(o, OPENWIRE_NETWORK_BRIDGE_FILTER_NETWORK_TTL), 7);
    assert_false(o->values[OPENWIRE_NETWORK_BRIDGE_FILTER_MESSAGE_TTL].there);
    assert_written(o, 9, openwire_bytes_of(filters[0], bytes));
    assert_true(openwire_read(frame_of(openwire_bytes_of(filters[1], bytes)), 10, &arena, &o, &e));
    assert_int_equal(openwire_get_number(o, OPENWIRE_NETWORK_BRIDGE_FILTER_CONSUMER_TTL), 8);
    assert_false(o->values[OPENWIRE_NETWORK_BRIDGE_FILTER_NETWORK_TTL].there);
    assert_written(o, 10, openwire_bytes_of(filters[1], bytes));
}

/* ---- writing ------------------------------------------------------------------------------- */

static void assert_not_written(const struct openwire_object *o, const char *why)
{
    struct err e = {0};
    struct buf out;

    buf_init(&out, 200000);
    assert_true(buf_add(&out, "before", 6, NULL));
    assert_false(openwire_write(o, 12, &out, &e));
    assert_int_equal(e.code, ERR_INPUT);
    if (strstr(e.text, why) == NULL)
        fail_msg("\"%s\", not \"%s\"", e.text, why);
    assert_true(slice_is(buf_slice(&out), "before"));
    buf_free(&out);
}

static void test_what_cannot_be_written(void **state)
{
    static const struct openwire_value empty[64] = {{.there = false}};
    static const struct openwire_object queue = {.type = OPENWIRE_QUEUE, .values = empty};
    static const struct openwire_object *many[32768];
    struct openwire_value v[64] = {{.there = false}};
    struct openwire_object o = {.type = OPENWIRE_CONTROL_COMMAND, .values = v};

    (void)state;
    v[0] = openwire_bytes(slice_of(bytes, 65536));
    assert_not_written(&o, "CONTROL_COMMAND.COMMAND cannot be written: a text of more than 65,535 bytes");
    v[0] = openwire_bytes(slice_of(bytes, 65535));
    assert_int_equal(written_size(&o, 12), 4 + 1 + 5 + 1 + 2 + 65535);
    o.type = OPENWIRE_WIRE_FORMAT_INFO;
    v[0] = openwire_bytes(slice_of(bytes, 7));
    assert_not_written(&o, "WIRE_FORMAT_INFO.MAGIC cannot be written: not 8 bytes");
    v[0] = (struct openwire_value){0};
    assert_not_written(&o, "WIRE_FORMAT_INFO.MAGIC cannot be written: not 8 bytes");
    o.type = OPENWIRE_SESSION_INFO;
    v[0] = openwire_nested(&queue);
    assert_not_written(&o, "SESSION_INFO.SESSION_ID cannot be written: a value of another type");
    v[0] = (struct openwire_value){.there = true};
    assert_not_written(&o, "SESSION_INFO.SESSION_ID cannot be written: a value that is not there");
    o.type = OPENWIRE_CONNECTION_ERROR;
    v[0] = openwire_nested(&queue);
    assert_not_written(&o, "CONNECTION_ERROR.EXCEPTION cannot be written: a value of another type");
    o.type = OPENWIRE_DATA_ARRAY_RESPONSE;
    v[1] = (struct openwire_value){.array = {many, 32768}, .there = true};
    assert_not_written(&o, "DATA_ARRAY_RESPONSE.DATA cannot be written: more than 32,767 values");
    v[1].array.count = 1;
    assert_not_written(&o, "DATA_ARRAY_RESPONSE.DATA cannot be written: a value that is not there");
    o.type = OPENWIRE_MESSAGE;
    v[OPENWIRE_MESSAGE_DATA_STRUCTURE] = openwire_nested(&o); /* for ever */
    v[0] = v[1] = (struct openwire_value){0};
    assert_not_written(&o, "MESSAGE.DATA_STRUCTURE cannot be written: too many values within each other");
    o.type = OPENWIRE_THROWABLE;
    assert_not_written(&o, "type 255 cannot be written");
    o.type = 77;
    assert_not_written(&o, "type 77 cannot be written");
}

/* A frame that does not fit leaves what was there, whatever is missing; it is added behind what was there otherwise. */
static void test_no_room(void **state)
{
    const struct openwire_object *o = sample_full(OPENWIRE_MESSAGE_DISPATCH), *read;
    size_t len = written_size(o, 12);
    struct err e = {0};
    struct buf out;

    (void)state;
    sample_forget(o, 12);
    for (size_t max = 6; max < 6 + len; max++) {
        err_clear(&e);
        buf_init(&out, max);
        assert_true(buf_add(&out, "before", 6, NULL));
        assert_false(openwire_write(o, 12, &out, &e));
        assert_int_equal(e.code, ERR_RETRY);
        assert_true(slice_is(buf_slice(&out), "before"));
        buf_free(&out);
    }
    buf_init(&out, 3 + 2 * len);
    assert_true(buf_add(&out, "before", 6, NULL));
    buf_consume(&out, 3);
    assert_true(openwire_write(o, 12, &out, NULL) && openwire_write(o, 12, &out, NULL));
    assert_int_equal(out.len, 3 + 2 * len);
    assert_memory_equal(buf_slice(&out).at, "ore", 3);
    for (int i = 0; i < 2; i++) {
        assert_true(openwire_read(slice_of(buf_slice(&out).at + 3 + (size_t)i * len + 4, len - 4), 12, &again, &read, &e));
        assert_true(openwire_equal(o, read, NULL));
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_frames),
        cmocka_unit_test(test_cut_and_trailing),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_every_type_in_every_version),
        cmocka_unit_test(test_since_versions),
        cmocka_unit_test(test_bridge_filter),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_no_room),
    };

    return cmocka_run_group_tests_name("openwire", tests, NULL, NULL);
}
