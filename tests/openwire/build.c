/* See build.h. */
#include "tests/openwire/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "ingest/openwire/preamble.h"

enum { OBJECTS = 64, VALUES_EACH = 32, BYTES = 1 << 18 };

static struct openwire_object objects[OBJECTS];
static struct openwire_value values[OBJECTS][VALUES_EACH];
static uint8_t bytes[BYTES];
static unsigned used;
static size_t bytes_used;

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct openwire_object *build(enum openwire_type type)
{
    must(used < OBJECTS && openwire_row((unsigned)type)->count <= VALUES_EACH);
    memset(values[used], 0, sizeof values[used]);
    objects[used] = (struct openwire_object){.type = (uint8_t)type, .values = values[used]};
    return &objects[used++];
}

void build_set(struct openwire_object *o, unsigned field, struct openwire_value v)
{
    values[o - objects][field] = v;
}

void build_number(struct openwire_object *o, unsigned field, int64_t n)
{
    build_set(o, field, openwire_number((uint64_t)n));
}

void build_bytes(struct openwire_object *o, unsigned field, struct slice s)
{
    must(s.len <= BYTES - bytes_used);
    if (s.len != 0)
        memcpy(bytes + bytes_used, s.at, s.len);
    build_set(o, field, openwire_bytes(slice_of(bytes + bytes_used, s.len)));
    bytes_used += s.len;
}

void build_text(struct openwire_object *o, unsigned field, const char *text)
{
    if (text == NULL)
        build_set(o, field, (struct openwire_value){0});
    else
        build_bytes(o, field, slice_text(text));
}

void build_object(struct openwire_object *o, unsigned field, const struct openwire_object *inner)
{
    build_set(o, field, openwire_nested(inner));
}

/* ---- ids --------------------------------------------------------------------------------- */

struct openwire_object *build_connection_id(const char *connection)
{
    struct openwire_object *o = build(OPENWIRE_CONNECTION_ID);

    build_text(o, OPENWIRE_CONNECTION_ID_VALUE, connection);
    return o;
}

struct openwire_object *build_session_id(const char *connection, int64_t session)
{
    struct openwire_object *o = build(OPENWIRE_SESSION_ID);

    build_text(o, OPENWIRE_SESSION_ID_CONNECTION_ID, connection);
    build_number(o, OPENWIRE_SESSION_ID_VALUE, session);
    return o;
}

struct openwire_object *build_consumer_id(const char *connection, int64_t session, int64_t value)
{
    struct openwire_object *o = build(OPENWIRE_CONSUMER_ID);

    build_text(o, OPENWIRE_CONSUMER_ID_CONNECTION_ID, connection);
    build_number(o, OPENWIRE_CONSUMER_ID_SESSION_ID, session);
    build_number(o, OPENWIRE_CONSUMER_ID_VALUE, value);
    return o;
}

struct openwire_object *build_producer_id(const char *connection, int64_t session, int64_t value)
{
    struct openwire_object *o = build(OPENWIRE_PRODUCER_ID);

    build_text(o, OPENWIRE_PRODUCER_ID_CONNECTION_ID, connection);
    build_number(o, OPENWIRE_PRODUCER_ID_SESSION_ID, session);
    build_number(o, OPENWIRE_PRODUCER_ID_VALUE, value);
    return o;
}

struct openwire_object *build_message_id(const char *connection, int64_t sequence)
{
    struct openwire_object *o = build(OPENWIRE_MESSAGE_ID);

    build_object(o, OPENWIRE_MESSAGE_ID_PRODUCER_ID, build_producer_id(connection, 1, 1));
    build_number(o, OPENWIRE_MESSAGE_ID_PRODUCER_SEQUENCE_ID, sequence);
    build_number(o, OPENWIRE_MESSAGE_ID_BROKER_SEQUENCE_ID, sequence);
    return o;
}

struct openwire_object *build_transaction_id(const char *connection, int64_t value)
{
    struct openwire_object *o = build(OPENWIRE_LOCAL_TRANSACTION_ID);

    build_number(o, OPENWIRE_LOCAL_TRANSACTION_ID_VALUE, value);
    build_object(o, OPENWIRE_LOCAL_TRANSACTION_ID_CONNECTION_ID, build_connection_id(connection));
    return o;
}

struct openwire_object *build_destination(enum openwire_type type, const char *name)
{
    struct openwire_object *o = build(type);

    build_text(o, OPENWIRE_DESTINATION_PHYSICAL_NAME, name);
    return o;
}

/* ---- commands ---------------------------------------------------------------------------- */

struct openwire_object *build_connection(const char *connection)
{
    struct openwire_object *o = build(OPENWIRE_CONNECTION_INFO);

    build_object(o, OPENWIRE_CONNECTION_INFO_CONNECTION_ID, build_connection_id(connection));
    build_text(o, OPENWIRE_CONNECTION_INFO_CLIENT_ID, "sensor");
    build_number(o, OPENWIRE_CONNECTION_INFO_MANAGEABLE, 1);
    build_number(o, OPENWIRE_CONNECTION_INFO_CLIENT_MASTER, 1);
    return o;
}

struct openwire_object *build_session(const char *connection, int64_t session)
{
    struct openwire_object *o = build(OPENWIRE_SESSION_INFO);

    build_object(o, OPENWIRE_SESSION_INFO_SESSION_ID, build_session_id(connection, session));
    return o;
}

struct openwire_object *build_producer(const char *connection, int64_t session, int64_t value, const char *queue, int64_t window)
{
    struct openwire_object *o = build(OPENWIRE_PRODUCER_INFO);

    build_object(o, OPENWIRE_PRODUCER_INFO_PRODUCER_ID, build_producer_id(connection, session, value));
    if (queue != NULL)
        build_object(o, OPENWIRE_PRODUCER_INFO_DESTINATION, build_destination(OPENWIRE_QUEUE, queue));
    build_number(o, OPENWIRE_PRODUCER_INFO_WINDOW_SIZE, window);
    return o;
}

struct openwire_object *build_consumer(const char *connection, int64_t session, int64_t value, struct openwire_object *from,
                                       int64_t prefetch)
{
    struct openwire_object *o = build(OPENWIRE_CONSUMER_INFO);

    build_object(o, OPENWIRE_CONSUMER_INFO_CONSUMER_ID, build_consumer_id(connection, session, value));
    build_object(o, OPENWIRE_CONSUMER_INFO_DESTINATION, from);
    build_number(o, OPENWIRE_CONSUMER_INFO_PREFETCH_SIZE, prefetch);
    return o;
}

struct openwire_object *build_transaction(const char *connection, int64_t value, int kind)
{
    struct openwire_object *o = build(OPENWIRE_TRANSACTION_INFO);

    build_object(o, OPENWIRE_TRANSACTION_INFO_CONNECTION_ID, build_connection_id(connection));
    build_object(o, OPENWIRE_TRANSACTION_INFO_TRANSACTION_ID, build_transaction_id(connection, value));
    build_number(o, OPENWIRE_TRANSACTION_INFO_KIND, kind);
    return o;
}

struct openwire_object *build_remove(struct openwire_object *id, int64_t seen)
{
    struct openwire_object *o = build(OPENWIRE_REMOVE_INFO);

    build_object(o, OPENWIRE_REMOVE_INFO_OBJECT_ID, id);
    build_number(o, OPENWIRE_REMOVE_INFO_LAST_DELIVERED_SEQUENCE_ID, seen);
    return o;
}

struct openwire_object *build_temporary(const char *connection, const char *name, int operation)
{
    struct openwire_object *o = build(OPENWIRE_DESTINATION_INFO);

    build_object(o, OPENWIRE_DESTINATION_INFO_CONNECTION_ID, build_connection_id(connection));
    build_object(o, OPENWIRE_DESTINATION_INFO_DESTINATION, build_destination(OPENWIRE_TEMP_QUEUE, name));
    build_number(o, OPENWIRE_DESTINATION_INFO_OPERATION, operation);
    return o;
}

struct openwire_object *build_pull(const char *connection, int64_t session, int64_t value, int64_t timeout)
{
    struct openwire_object *o = build(OPENWIRE_MESSAGE_PULL);

    build_object(o, OPENWIRE_MESSAGE_PULL_CONSUMER_ID, build_consumer_id(connection, session, value));
    build_number(o, OPENWIRE_MESSAGE_PULL_TIMEOUT, timeout);
    return o;
}

struct openwire_object *build_ack(const char *connection, int64_t session, int64_t value, int kind, const char *source, int64_t first,
                                  int64_t last)
{
    struct openwire_object *o = build(OPENWIRE_MESSAGE_ACK);

    build_object(o, OPENWIRE_MESSAGE_ACK_CONSUMER_ID, build_consumer_id(connection, session, value));
    build_number(o, OPENWIRE_MESSAGE_ACK_ACK_TYPE, kind);
    if (first != 0)
        build_object(o, OPENWIRE_MESSAGE_ACK_FIRST_MESSAGE_ID, build_message_id(source, first));
    build_object(o, OPENWIRE_MESSAGE_ACK_LAST_MESSAGE_ID, build_message_id(source, last));
    build_number(o, OPENWIRE_MESSAGE_ACK_MESSAGE_COUNT, 1);
    return o;
}

static void put_properties(struct openwire_object *o)
{
    struct openwire_map_writer w;
    struct buf map;

    buf_init(&map, 1024);
    openwire_map_begin(&w, &map);
    openwire_map_put_text(&w, "ClientId", SLICE_LITERAL("c"));
    openwire_map_put_text(&w, "Digest", SLICE_LITERAL("d"));
    openwire_map_put_text(&w, "DigestAlgo", SLICE_LITERAL("SHA-256"));
    openwire_map_put_long(&w, "Timestamp", 1234);
    must(openwire_map_end(&w, NULL));
    build_bytes(o, OPENWIRE_MESSAGE_PROPERTIES, buf_slice(&map));
    buf_free(&map);
}

void build_content(struct openwire_object *o, const char *text, bool compressed)
{
    uint32_t len = (uint32_t)strlen(text);
    uLongf size = compressBound(len + 4);
    uint8_t *plain = mem_alloc(len + 4 + size), *stream = plain + len + 4;

    plain[0] = (uint8_t)(len >> 24);
    plain[1] = (uint8_t)(len >> 16);
    plain[2] = (uint8_t)(len >> 8);
    plain[3] = (uint8_t)len;
    memcpy(plain + 4, text, len);
    must(compress(stream, &size, plain, len + 4) == Z_OK);
    build_bytes(o, OPENWIRE_MESSAGE_CONTENT, compressed ? slice_of(stream, size) : slice_of(plain, len + 4));
    build_number(o, OPENWIRE_MESSAGE_COMPRESSED, compressed);
    free(plain);
}

struct openwire_object *build_message(const char *connection, const char *queue, const char *body, int64_t transaction)
{
    struct openwire_object *o = build(OPENWIRE_TEXT_MESSAGE);

    build_object(o, OPENWIRE_MESSAGE_PRODUCER_ID, build_producer_id(connection, 1, 1));
    build_object(o, OPENWIRE_MESSAGE_MESSAGE_ID, build_message_id(connection, 1));
    build_object(o, OPENWIRE_MESSAGE_DESTINATION, build_destination(OPENWIRE_QUEUE, queue));
    if (transaction != 0)
        build_object(o, OPENWIRE_MESSAGE_TRANSACTION_ID, build_transaction_id(connection, transaction));
    build_number(o, OPENWIRE_MESSAGE_PERSISTENT, 1);
    build_number(o, OPENWIRE_MESSAGE_PRIORITY, 4);
    build_content(o, body, false);
    put_properties(o);
    return o;
}

/* ---- frames ------------------------------------------------------------------------------ */

void build_frame(struct openwire_object *o, unsigned version, uint32_t command, bool response_required, struct buf *out)
{
    struct err e = {0};

    o->command_id = command;
    o->response_required = response_required;
    if (!openwire_write(o, version, out, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    used = 0;
    bytes_used = 0;
}

void build_preamble(unsigned version, struct buf *out)
{
    const struct openwire_format theirs = {.version = version, .max_frame = INT64_MAX, .inactivity = 30000, .inactivity_delay = 10000};

    must(openwire_preamble_write(&theirs, out, NULL));
}
