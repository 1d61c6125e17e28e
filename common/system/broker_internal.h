/* What broker.c, broker_calls.c and broker_events.c share; nobody else includes it. */
#ifndef COFFRE_BROKER_INTERNAL_H
#define COFFRE_BROKER_INTERNAL_H

#include <amqp.h>
#include <amqp_framing.h>

#include "common/system/broker.h"

enum {
    OBJECT_CHANNEL = BROKER_CHANNELS_MAX + 1, /* declarations: their errors close no channel anybody uses */
    TUNED_CHANNELS = BROKER_CHANNELS_MAX + 2,
    TUNED_FRAME = 128 * 1024,
};

/* A content being put together: method, header, body frames. */
struct broker_content {
    bool open, header_seen;
    uint64_t missing;       /* bytes of body not yet there */
    struct broker_event ev; /* what will be told */
    struct buf body;
};

struct broker_channel {
    bool open;
    uint64_t published; /* tags given out since confirms were asked for */
    struct broker_content content;
};

struct broker {
    amqp_connection_state_t state;
    amqp_socket_t *socket; /* owned by state */
    int fd;
    bool dead; /* the connection is lost: nothing may be asked of it */
    bool unread; /* a synchronous call has read since broker_poll() last found nothing */
    bool blocked;
    char reason[256];
    struct broker_channel *channels[TUNED_CHANNELS]; /* by number; NULL: never opened */
    struct buf body;                                 /* of the event last told */
};

bool broker_lost(struct broker *b, int status, const char *doing, struct err *e);
/* Judges the answer to a synchronous call. True when it is the expected one. */
bool broker_judge(struct broker *b, uint16_t channel, amqp_rpc_reply_t r, const char *doing, struct err *e);
/* The peer closed a channel or the connection: answers it and remembers. */
void broker_channel_gone(struct broker *b, uint16_t channel);
/* The error a close method stands for. */
enum err_code broker_code(uint16_t reply_code);
bool broker_usable(struct broker *b, uint16_t channel, struct err *e);

#endif
