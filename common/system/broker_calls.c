/* RabbitMQ: declaring, publishing, consuming. See broker.h. */
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/system/broker_internal.h"

enum { ARGUMENTS_MAX = 16 };

static amqp_bytes_t text(const char *s)
{
    return amqp_cstring_bytes(s);
}

static unsigned fill_table(amqp_table_entry_t *entries, const struct broker_argument *arguments, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct broker_argument *a = &arguments[i];
        amqp_field_value_t *v = &entries[i].value;

        entries[i].key = text(a->name);
        if (a->text != NULL)
            *v = (amqp_field_value_t){.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = text(a->text)};
        else if (a->is_bool)
            *v = (amqp_field_value_t){.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = a->number != 0};
        else
            *v = (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I64, .value.i64 = a->number};
    }
    return count;
}

static bool object_call(struct broker *b, const char *doing, struct err *e)
{
    bool ok = broker_judge(b, OBJECT_CHANNEL, amqp_get_rpc_reply(b->state), doing, e);

    amqp_maybe_release_buffers_on_channel(b->state, OBJECT_CHANNEL);
    return ok;
}

bool broker_declare_queue(struct broker *b, const char *queue, const struct broker_argument *arguments, unsigned count,
                          struct err *e)
{
    static const struct broker_argument quorum = {.name = "x-queue-type", .text = "quorum"};
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    amqp_table_t table = {0, entries};

    if (count + 1 > ARGUMENTS_MAX)
        return err_set(e, ERR_FATAL, "RabbitMQ: %u arguments", count);
    if (!broker_channel_open(b, OBJECT_CHANNEL, e))
        return false;
    table.num_entries = (int)(fill_table(entries, arguments, count) + fill_table(entries + count, &quorum, 1));
    amqp_queue_declare(b->state, OBJECT_CHANNEL, text(queue), 0, 1, 0, 0, table);
    return object_call(b, "declaring a queue", e);
}

static bool ask(struct broker *b, uint16_t channel, amqp_method_number_t method, void *fields, const char *doing, struct err *e)
{
    int status;

    if (!broker_channel_open(b, channel, e))
        return false;
    status = amqp_send_method(b->state, channel, method, fields);
    return status == AMQP_STATUS_OK || broker_lost(b, status, doing, e);
}

/* Not documented by RabbitMQ but for its AMQP 1.0 plugin, which is its only way to consume: the credit a consumer begins with. A number that is not a long is passed over without a word, and all messages come. */
bool broker_ask_queue(struct broker *b, uint16_t channel, const char *queue, struct err *e)
{
    amqp_table_entry_t credit[] = {{text("credit"), {.kind = AMQP_FIELD_KIND_I64, .value.i64 = 0}},
                                   {text("drain"), {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 0}}};
    amqp_table_entry_t argument = {text("x-credit"), {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {2, credit}}};
    amqp_basic_consume_t m = {.queue = text(queue), .consumer_tag = text("does it answer"), .arguments = {1, &argument}};

    return ask(b, channel, AMQP_BASIC_CONSUME_METHOD, &m, "asking whether a queue answers", e);
}

bool broker_ask_delete(struct broker *b, uint16_t channel, const char *queue, struct err *e)
{
    amqp_queue_delete_t m = {.queue = text(queue)};

    return ask(b, channel, AMQP_QUEUE_DELETE_METHOD, &m, "deleting a queue", e);
}

bool broker_declare_temporary(struct broker *b, const char *queue, const struct broker_argument *arguments, unsigned count,
                              struct err *e)
{
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    amqp_table_t table = {0, entries};

    if (count > ARGUMENTS_MAX)
        return err_set(e, ERR_FATAL, "RabbitMQ: %u arguments", count);
    if (!broker_channel_open(b, OBJECT_CHANNEL, e))
        return false;
    table.num_entries = (int)fill_table(entries, arguments, count);
    amqp_queue_declare(b->state, OBJECT_CHANNEL, text(queue), 0, 0, 1, 1, table);
    return object_call(b, "declaring a temporary queue", e);
}

bool broker_bind_queue(struct broker *b, const char *queue, const char *exchange, const char *key, struct err *e)
{
    if (!broker_channel_open(b, OBJECT_CHANNEL, e))
        return false;
    amqp_queue_bind(b->state, OBJECT_CHANNEL, text(queue), text(exchange), text(key), amqp_empty_table);
    return object_call(b, "binding a queue", e);
}

bool broker_declare_exchange(struct broker *b, const char *exchange, const char *type, struct err *e)
{
    if (!broker_channel_open(b, OBJECT_CHANNEL, e))
        return false;
    amqp_exchange_declare(b->state, OBJECT_CHANNEL, text(exchange), text(type), 0, 1, 0, 0, amqp_empty_table);
    return object_call(b, "declaring an exchange", e);
}

bool broker_queue_exists(struct broker *b, const char *queue, bool *exists, uint64_t *messages, struct err *e)
{
    const amqp_queue_declare_ok_t *ok;
    amqp_rpc_reply_t r;

    *exists = false;
    if (!broker_channel_open(b, OBJECT_CHANNEL, e))
        return false;
    ok = amqp_queue_declare(b->state, OBJECT_CHANNEL, text(queue), 1, 1, 0, 0, amqp_empty_table);
    r = amqp_get_rpc_reply(b->state);
    if (r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && r.reply.id == AMQP_CHANNEL_CLOSE_METHOD &&
        ((const amqp_channel_close_t *)r.reply.decoded)->reply_code == AMQP_NOT_FOUND) {
        (void)broker_judge(b, OBJECT_CHANNEL, r, "looking for a queue", NULL);
        return !b->dead || err_set(e, ERR_RETRY, "RabbitMQ: the connection is lost");
    }
    if (!broker_judge(b, OBJECT_CHANNEL, r, "looking for a queue", e))
        return false;
    *exists = true;
    if (messages != NULL)
        *messages = ok->message_count;
    amqp_maybe_release_buffers_on_channel(b->state, OBJECT_CHANNEL);
    return true;
}

bool broker_confirms(struct broker *b, uint16_t channel, struct err *e)
{
    if (!broker_usable(b, channel, e))
        return false;
    amqp_confirm_select(b->state, channel);
    if (!broker_judge(b, channel, amqp_get_rpc_reply(b->state), "asking for confirms", e))
        return false;
    b->channels[channel]->published = 0;
    return true;
}

enum { CORK_MIN = 2048 };

/*
 * A message is three frames and librabbitmq writes each: RabbitMQ wakes up once when they come together, which costs it less. A small
 * message is alone on its way, and sooner there when RabbitMQ wakes up at the first frame, while we write the others.
 */
static void cork(const struct broker *b, int on)
{
    setsockopt(b->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

static bool publish(struct broker *b, uint16_t channel, const char *exchange, const char *key, const amqp_basic_properties_t *p,
                    bool mandatory, struct slice body, struct err *e)
{
    amqp_bytes_t bytes;
    int status;

    memcpy(&bytes.bytes, &body.at, sizeof bytes.bytes); /* librabbitmq only reads it */
    bytes.len = body.len;
    if (body.len >= CORK_MIN)
        cork(b, 1);
    status = amqp_basic_publish(b->state, channel, text(exchange), text(key), mandatory, 0, p, bytes);
    if (body.len >= CORK_MIN)
        cork(b, 0);
    return status == AMQP_STATUS_OK || broker_lost(b, status, "publishing", e);
}

bool broker_publish(struct broker *b, uint16_t channel, const char *exchange, const char *key, const char *content_type,
                    struct slice body, uint64_t *tag, struct err *e)
{
    /* The message carries its own tag: a return says nothing else that tells which one it was. */
    char id[24];
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
                                 .content_type = text(content_type),
                                 .delivery_mode = AMQP_DELIVERY_PERSISTENT};

    if (!broker_usable(b, channel, e))
        return false;
    snprintf(id, sizeof id, "%" PRIu64, b->channels[channel]->published + 1);
    p.message_id = text(id);
    if (!publish(b, channel, exchange, key, &p, true, body, e))
        return false;
    *tag = ++b->channels[channel]->published;
    return true;
}

bool broker_ask_route(struct broker *b, uint16_t channel, const char *exchange, const char *key, struct err *e)
{
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_EXPIRATION_FLAG, .expiration = text("0")};

    return broker_channel_open(b, channel, e) && broker_confirms(b, channel, e) && publish(b, channel, exchange, key, &p, true, slice_of(NULL, 0), e);
}

bool broker_publish_transient(struct broker *b, uint16_t channel, const char *exchange, const char *key, const char *content_type,
                              struct slice body, struct err *e)
{
    const amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG, .content_type = text(content_type)};

    return broker_usable(b, channel, e) && publish(b, channel, exchange, key, &p, false, body, e);
}

bool broker_consume(struct broker *b, uint16_t channel, const char *queue, const char *consumer_tag, uint16_t prefetch,
                    const struct broker_argument *arguments, unsigned count, struct err *e)
{
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    amqp_table_t table = {0, entries};

    if (count > ARGUMENTS_MAX)
        return err_set(e, ERR_FATAL, "RabbitMQ: %u arguments", count);
    if (!broker_usable(b, channel, e))
        return false;
    amqp_basic_qos(b->state, channel, 0, prefetch, 0);
    if (!broker_judge(b, channel, amqp_get_rpc_reply(b->state), "setting the prefetch", e))
        return false;
    table.num_entries = (int)fill_table(entries, arguments, count);
    amqp_basic_consume(b->state, channel, text(queue), text(consumer_tag), 0, 0, 0, table);
    return broker_judge(b, channel, amqp_get_rpc_reply(b->state), "consuming", e);
}

bool broker_cancel(struct broker *b, uint16_t channel, const char *consumer_tag, struct err *e)
{
    if (!broker_usable(b, channel, e))
        return false;
    amqp_basic_cancel(b->state, channel, text(consumer_tag));
    return broker_judge(b, channel, amqp_get_rpc_reply(b->state), "ending a consumer", e);
}

bool broker_ack(struct broker *b, uint16_t channel, uint64_t tag, bool multiple, struct err *e)
{
    int status;

    if (!broker_usable(b, channel, e))
        return false;
    status = amqp_basic_ack(b->state, channel, tag, multiple);
    return status == AMQP_STATUS_OK || broker_lost(b, status, "acknowledging", e);
}

bool broker_nack(struct broker *b, uint16_t channel, uint64_t tag, bool multiple, bool requeue, struct err *e)
{
    int status;

    if (!broker_usable(b, channel, e))
        return false;
    status = amqp_basic_nack(b->state, channel, tag, multiple, requeue);
    return status == AMQP_STATUS_OK || broker_lost(b, status, "giving back", e);
}
