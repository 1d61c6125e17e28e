/* What an OpenWire session says besides messages: responses, exceptions, keep-alives. See openwire_session.h. */
#include <stdio.h>

#include "ingest/openwire/openwire_session.h"

enum openwire_verdict openwire_refuse(struct openwire_refusal *r, enum openwire_exception class, const char *fmt, ...)
{
    va_list ap;

    r->class = class;
    va_start(ap, fmt);
    vsnprintf(r->text, sizeof r->text, fmt, ap);
    va_end(ap);
    return OPENWIRE_REFUSED;
}

const char *openwire_name(const struct openwire_object *destination, char text[OPENWIRE_NAMED])
{
    static const char *const kinds[] = {"queue", "topic", "temporary queue", "temporary topic"};
    struct slice name;
    size_t n;

    if (destination == NULL)
        return "no destination";
    name = openwire_get_bytes(destination, OPENWIRE_DESTINATION_PHYSICAL_NAME);
    n = (size_t)snprintf(text, OPENWIRE_NAMED, "%s \"", kinds[destination->type - OPENWIRE_QUEUE]);
    for (size_t i = 0; i < name.len && n < OPENWIRE_NAMED - 2; i++)
        text[n++] = name.at[i] >= ' ' && name.at[i] < 0x7f && name.at[i] != '"' ? (char)name.at[i] : '?';
    text[n++] = '"';
    text[n] = '\0';
    return text;
}

void openwire_say(struct openwire_session *s, const struct openwire_object *o)
{
    struct err e = {0};

    if (!openwire_write(o, s->format.version, s->base.out, &e))
        session_end_with(&s->base, SESSION_SLOW, e.text); /* no room even for last words */
}

void openwire_respond(struct openwire_session *s, uint32_t command)
{
    const struct openwire_value v[OPENWIRE_COUNT_RESPONSE] = {[OPENWIRE_RESPONSE_CORRELATION_ID] = openwire_number(command)};
    const struct openwire_object o = {.type = OPENWIRE_RESPONSE, .values = v};

    s->base.counts.receipts++;
    openwire_say(s, &o);
}

/* A text that the peer may be told: what we quote of its own bytes is printable already. */
static struct openwire_object throwable(struct openwire_value *v, enum openwire_exception class, const char *text)
{
    static const char *const names[OPENWIRE_EXCEPTIONS] = {
        [OPENWIRE_JMS] = "javax.jms.JMSException",
        [OPENWIRE_SECURITY] = "java.lang.SecurityException",
        [OPENWIRE_ILLEGAL_STATE] = "javax.jms.IllegalStateException",
        [OPENWIRE_INVALID_DESTINATION] = "javax.jms.InvalidDestinationException",
        [OPENWIRE_INVALID_SELECTOR] = "javax.jms.InvalidSelectorException",
        [OPENWIRE_MESSAGE_FORMAT] = "javax.jms.MessageFormatException",
        [OPENWIRE_RESOURCE_ALLOCATION] = "javax.jms.ResourceAllocationException",
        [OPENWIRE_ROLLED_BACK] = "javax.jms.TransactionRolledBackException",
        [OPENWIRE_XA] = "javax.transaction.xa.XAException",
    };

    v[OPENWIRE_THROWABLE_CLASS] = openwire_bytes(slice_text(names[class]));
    v[OPENWIRE_THROWABLE_MESSAGE] = openwire_bytes(slice_text(text));
    return (struct openwire_object){.type = OPENWIRE_THROWABLE, .values = v};
}

void openwire_respond_exception(struct openwire_session *s, uint32_t command, enum openwire_exception class, const char *text)
{
    struct openwire_value inner[OPENWIRE_COUNT_THROWABLE];
    const struct openwire_object exception = throwable(inner, class, text);
    const struct openwire_value v[OPENWIRE_COUNT_EXCEPTION_RESPONSE] = {
        [OPENWIRE_EXCEPTION_RESPONSE_CORRELATION_ID] = openwire_number(command),
        [OPENWIRE_EXCEPTION_RESPONSE_EXCEPTION] = openwire_nested(&exception),
    };
    const struct openwire_object o = {.type = OPENWIRE_EXCEPTION_RESPONSE, .values = v};

    s->base.counts.refusals++;
    openwire_say(s, &o);
}

void openwire_connection_error(struct openwire_session *s, enum openwire_exception class, const char *text)
{
    struct openwire_value inner[OPENWIRE_COUNT_THROWABLE];
    const struct openwire_object exception = throwable(inner, class, text);
    const struct openwire_value v[OPENWIRE_COUNT_CONNECTION_ERROR] = {
        [OPENWIRE_CONNECTION_ERROR_EXCEPTION] = openwire_nested(&exception)};
    const struct openwire_object o = {.type = OPENWIRE_CONNECTION_ERROR, .values = v};

    s->base.counts.refusals++;
    openwire_say(s, &o);
}

void openwire_complain(struct openwire_session *s, bool response_required, uint32_t command, enum openwire_exception class,
                       const char *text)
{
    if (response_required)
        openwire_respond_exception(s, command, class, text);
    else
        openwire_connection_error(s, class, text);
}

/* Flow control of a producer that asked for it (its window): the size is the one its Message.getSize() gave. */
void openwire_producer_ack(struct openwire_session *s, int64_t session, int64_t value, uint32_t size)
{
    const struct openwire_value id[OPENWIRE_COUNT_PRODUCER_ID] = {
        [OPENWIRE_PRODUCER_ID_CONNECTION_ID] = openwire_bytes(label_slice(&s->connection)),
        [OPENWIRE_PRODUCER_ID_VALUE] = openwire_number((uint64_t)value),
        [OPENWIRE_PRODUCER_ID_SESSION_ID] = openwire_number((uint64_t)session),
    };
    const struct openwire_object producer = {.type = OPENWIRE_PRODUCER_ID, .values = id};
    const struct openwire_value v[OPENWIRE_COUNT_PRODUCER_ACK] = {[OPENWIRE_PRODUCER_ACK_PRODUCER_ID] = openwire_nested(&producer),
                                                                  [OPENWIRE_PRODUCER_ACK_SIZE] = openwire_number(size)};
    const struct openwire_object o = {.type = OPENWIRE_PRODUCER_ACK, .values = v};

    if (s->open)
        openwire_say(s, &o);
}

void openwire_keep_alive(struct openwire_session *s, uint32_t command)
{
    const struct openwire_object o = {.type = OPENWIRE_KEEP_ALIVE_INFO, .command_id = command};

    openwire_say(s, &o);
}

/* Java clients do without; others wait for it after the preamble. It names nothing that tells about the machine (CVE-2017-15709). */
void openwire_broker_info(struct openwire_session *s)
{
    const struct openwire_value id[OPENWIRE_COUNT_BROKER_ID] = {[OPENWIRE_BROKER_ID_VALUE] = openwire_bytes(SLICE_LITERAL("coffre"))};
    const struct openwire_object broker = {.type = OPENWIRE_BROKER_ID, .values = id};
    const struct openwire_value v[OPENWIRE_COUNT_BROKER_INFO] = {
        [OPENWIRE_BROKER_INFO_BROKER_ID] = openwire_nested(&broker),
        [OPENWIRE_BROKER_INFO_BROKER_NAME] = openwire_bytes(SLICE_LITERAL("coffre")),
    };
    const struct openwire_object o = {.type = OPENWIRE_BROKER_INFO, .values = v};

    openwire_say(s, &o);
}
