/* RabbitMQ: connecting, channels, errors. See broker.h; calls are in broker_calls.c, events in broker_events.c. */
#include "common/system/broker.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <amqp_ssl_socket.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/system/broker_internal.h"

enum { CONNECT_SECONDS = 10, CALL_SECONDS = 10, SILENT_MS = 20000 };

bool broker_lost(struct broker *b, int status, const char *doing, struct err *e)
{
    b->dead = true;
    ERR_clear_error(); /* librabbitmq leaves OpenSSL's queue as it is */
    return err_set(e, ERR_RETRY, "RabbitMQ, %s: %s", doing, amqp_error_string2(status));
}

enum err_code broker_code(uint16_t reply_code)
{
    switch (reply_code) {
    case AMQP_ACCESS_REFUSED:
    case AMQP_NOT_ALLOWED:
        return ERR_DENIED;
    case AMQP_NOT_FOUND:
    case AMQP_PRECONDITION_FAILED:
    case AMQP_RESOURCE_LOCKED:
        return ERR_INPUT;
    default:
        return ERR_RETRY;
    }
}

void broker_channel_gone(struct broker *b, uint16_t channel)
{
    struct broker_channel *c = channel < TUNED_CHANNELS ? b->channels[channel] : NULL;

    if (c == NULL)
        return;
    buf_free(&c->content.body);
    *c = (struct broker_channel){0};
}

static bool server_exception(struct broker *b, uint16_t channel, const amqp_method_t *m, const char *doing, struct err *e)
{
    if (m->id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *why = m->decoded;
        amqp_channel_close_ok_t ok = {0};

        err_set(e, broker_code(why->reply_code), "RabbitMQ, %s: %.*s", doing, (int)why->reply_text.len,
                (const char *)why->reply_text.bytes);
        if (amqp_send_method(b->state, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) != AMQP_STATUS_OK)
            b->dead = true;
        broker_channel_gone(b, channel);
    } else if (m->id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *why = m->decoded;
        amqp_connection_close_ok_t ok = {0};

        err_set(e, broker_code(why->reply_code), "RabbitMQ, %s: connection closed: %.*s", doing, (int)why->reply_text.len,
                (const char *)why->reply_text.bytes);
        (void)amqp_send_method(b->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        b->dead = true;
    } else {
        b->dead = true;
    }
    return err_set(e, ERR_RETRY, "RabbitMQ, %s: unexpected method %08x", doing, m->id);
}

bool broker_judge(struct broker *b, uint16_t channel, amqp_rpc_reply_t r, const char *doing, struct err *e)
{
    b->unread = true;
    switch (r.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return true;
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return broker_lost(b, r.library_error, doing, e);
    case AMQP_RESPONSE_SERVER_EXCEPTION:
        return server_exception(b, channel, &r.reply, doing, e);
    case AMQP_RESPONSE_NONE:
        break;
    }
    b->dead = true;
    return err_set(e, ERR_RETRY, "RabbitMQ, %s: no answer", doing);
}

bool broker_usable(struct broker *b, uint16_t channel, struct err *e)
{
    if (b->dead)
        return err_set(e, ERR_RETRY, "RabbitMQ: the connection is lost");
    if (!broker_channel_is_open(b, channel))
        return err_set(e, ERR_RETRY, "RabbitMQ: channel %u is closed", channel);
    return true;
}

/* ---- connecting ------------------------------------------------------------------------------------------------------------ */

static bool prepare_tls(struct broker *b, const struct broker_options *o, struct err *e)
{
    SSL_CTX *context;

    b->socket = amqp_ssl_socket_new(b->state);
    if (b->socket == NULL)
        return err_set_openssl(e, ERR_FATAL, "RabbitMQ: no TLS socket");
    /* One read() brings many records; librabbitmq asks OpenSSL before it polls. */
    context = amqp_ssl_socket_get_context(b->socket);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 * 1024);
    amqp_ssl_socket_set_verify_peer(b->socket, 1);
    amqp_ssl_socket_set_verify_hostname(b->socket, 1);
    if (amqp_ssl_socket_set_ssl_versions(b->socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) != AMQP_STATUS_OK)
        return err_set(e, ERR_FATAL, "RabbitMQ: TLS versions refused");
    if (amqp_ssl_socket_set_cacert(b->socket, o->settings->rabbitmq.ca) != AMQP_STATUS_OK)
        return err_set_openssl(e, ERR_INPUT, "%s: no CA certificate", o->settings->rabbitmq.ca);
    if (amqp_ssl_socket_set_key(b->socket, o->certificate, o->key) != AMQP_STATUS_OK)
        return err_set_openssl(e, ERR_INPUT, "%s, %s: no certificate and key that fit", o->certificate, o->key);
    return true;
}

/* A broker that is gone, or that reads nothing, ends the connection instead of holding this process for ever. */
static void watch_socket(struct broker *b)
{
    int one = 1, idle = 10, interval = 5, count = 2, silent = SILENT_MS;

    setsockopt(b->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(b->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(b->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(b->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(b->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof silent);
}

static bool reach(struct broker *b, const struct broker_options *o, struct err *e)
{
    struct timeval limit = {CONNECT_SECONDS, 0}, call = {CALL_SECONDS, 0};
    int status;

    if (amqp_set_handshake_timeout(b->state, &limit) != AMQP_STATUS_OK || amqp_set_rpc_timeout(b->state, &call) != AMQP_STATUS_OK)
        return err_set(e, ERR_FATAL, "RabbitMQ: time limits refused");
    status = amqp_socket_open_noblock(b->socket, o->settings->rabbitmq.host, (int)o->settings->rabbitmq.port, &limit);
    if (status != AMQP_STATUS_OK) {
        broker_lost(b, status, "connecting", e);
        return err_prefix(e, "%s:%llu", o->settings->rabbitmq.host, (unsigned long long)o->settings->rabbitmq.port);
    }
    b->fd = amqp_get_sockfd(b->state);
    watch_socket(b);
    return true;
}

static amqp_table_entry_t entry_bool(const char *name)
{
    return (amqp_table_entry_t){amqp_cstring_bytes(name), {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static bool log_in(struct broker *b, const struct broker_options *o, struct err *e)
{
    amqp_table_entry_t can[] = {entry_bool("connection.blocked"), entry_bool("consumer_cancel_notify"),
                                entry_bool("publisher_confirms"), entry_bool("basic.nack")};
    amqp_table_entry_t about[] = {
        {amqp_cstring_bytes("capabilities"),
         {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {sizeof can / sizeof *can, can}}},
        {amqp_cstring_bytes("connection_name"),
         {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(o->name)}},
        {amqp_cstring_bytes("product"), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("Coffre")}},
    };
    amqp_table_t properties = {sizeof about / sizeof *about, about};
    int heartbeat = (int)(o->settings->rabbitmq.heartbeat / 1000);

    /* RabbitMQ takes the name from the certificate; librabbitmq 0.11 takes an empty one for a failed allocation. */
    return broker_judge(b, 0,
                        amqp_login_with_properties(b->state, o->settings->rabbitmq.vhost, TUNED_CHANNELS, TUNED_FRAME,
                                                   heartbeat, &properties, AMQP_SASL_METHOD_EXTERNAL, o->name),
                        "logging in", e);
}

struct broker *broker_open(const struct broker_options *o, struct err *e)
{
    struct broker *b = mem_zalloc(1, sizeof *b);

    signal(SIGPIPE, SIG_IGN);
    buf_init(&b->body, BROKER_BODY_MAX);
    b->fd = -1;
    b->state = amqp_new_connection();
    if (b->state == NULL) {
        err_set(e, ERR_FATAL, "RabbitMQ: no memory for a connection");
        free(b);
        return NULL;
    }
    if (prepare_tls(b, o, e) && reach(b, o, e) && log_in(b, o, e) && broker_channel_open(b, 1, e))
        return b;
    b->dead = true;
    broker_close(b);
    return NULL;
}

void broker_close(struct broker *b)
{
    struct timeval limit = {2, 0};

    if (b == NULL)
        return;
    if (!b->dead && amqp_set_rpc_timeout(b->state, &limit) == AMQP_STATUS_OK)
        (void)amqp_connection_close(b->state, AMQP_REPLY_SUCCESS);
    (void)amqp_destroy_connection(b->state);
    ERR_clear_error();
    for (unsigned i = 0; i < TUNED_CHANNELS; i++)
        if (b->channels[i] != NULL) {
            buf_free(&b->channels[i]->content.body);
            free(b->channels[i]);
        }
    buf_free(&b->body);
    free(b);
}

void broker_abandon(struct broker *b)
{
    if (b != NULL)
        b->dead = true;
    broker_close(b);
}

int broker_fd(const struct broker *b)
{
    return b->fd;
}

bool broker_unread(const struct broker *b)
{
    return b->unread || amqp_frames_enqueued(b->state) || amqp_data_in_buffer(b->state);
}

/* ---- channels -------------------------------------------------------------------------------------------------------------- */

bool broker_channel_is_open(const struct broker *b, uint16_t channel)
{
    return !b->dead && channel < TUNED_CHANNELS && b->channels[channel] != NULL && b->channels[channel]->open;
}

bool broker_channel_open(struct broker *b, uint16_t channel, struct err *e)
{
    if (b->dead)
        return err_set(e, ERR_RETRY, "RabbitMQ: the connection is lost");
    if (channel == 0 || channel >= TUNED_CHANNELS)
        return err_set(e, ERR_FATAL, "RabbitMQ: channel %u", channel);
    if (broker_channel_is_open(b, channel))
        return true;
    amqp_channel_open(b->state, channel);
    if (!broker_judge(b, channel, amqp_get_rpc_reply(b->state), "opening a channel", e))
        return false;
    if (b->channels[channel] == NULL)
        b->channels[channel] = mem_zalloc(1, sizeof *b->channels[channel]);
    *b->channels[channel] = (struct broker_channel){.open = true};
    buf_init(&b->channels[channel]->content.body, BROKER_BODY_MAX);
    return true;
}

bool broker_channel_close(struct broker *b, uint16_t channel, struct err *e)
{
    bool ok;

    if (!broker_usable(b, channel, e))
        return false;
    ok = broker_judge(b, channel, amqp_channel_close(b->state, channel, AMQP_REPLY_SUCCESS), "closing a channel", e);
    broker_channel_gone(b, channel);
    return ok;
}

/* ---- flow ------------------------------------------------------------------------------------------------------------------ */

bool broker_blocked(const struct broker *b, const char **reason)
{
    if (reason != NULL)
        *reason = b->reason;
    return b->blocked;
}

bool broker_can_publish(const struct broker *b, size_t len)
{
    int waiting = 0, size = 0;
    socklen_t n = sizeof size;

    if (b->dead || b->blocked)
        return false;
    if (ioctl(b->fd, SIOCOUTQ, &waiting) != 0 || getsockopt(b->fd, SOL_SOCKET, SO_SNDBUF, &size, &n) != 0)
        return true;
    /* The kernel counts its own overhead in SO_SNDBUF: half of it is what data may use. */
    return waiting == 0 || (size_t)waiting + len < (size_t)size / 2;
}
