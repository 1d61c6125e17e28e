/*
 * Framed messages between two processes of one daemon, over a UNIX stream socket pair.
 * Bytes from a sibling are not trusted: every length is checked against a maximum fixed at
 * opening, an unknown flag or an oversize message ends the channel. Nothing here blocks
 * except channel_wait(). Descriptors travel in order with the messages around them.
 *
 * Frame: u32 body length, u16 type, u8 flags (1: a descriptor travels with it), u8 zero, body.
 */
#ifndef COFFRE_CHANNEL_H
#define COFFRE_CHANNEL_H

#include "common/values/buf.h"

struct channel;

struct channel_message {
    uint16_t type;     /* meaning agreed between the two roles */
    struct slice body; /* borrowed until the next receive */
    int fd;            /* descriptor that came along, owned by the receiver; -1: none */
};

enum { CHANNEL_FDS_MAX = 256 /* descriptors that wait for one peer */ };

enum channel_result { CHANNEL_MESSAGE, CHANNEL_EMPTY, CHANNEL_CLOSED };

/*
 * Takes `fd` (made non-blocking) over. Messages over `max_message` bytes end the channel when received
 * and are refused when sent; at most `max_queued` bytes wait to be sent.
 */
struct channel *channel_open(int fd, size_t max_message, size_t max_queued);
void channel_free(struct channel *c);

int channel_fd(const struct channel *c);
/* From now on messages received may have at most `max_received` bytes: for a sibling that never has more to say than that. What is sent to it has the limit it had. */
void channel_limit(struct channel *c, size_t max_received);
/* Bytes queued and not yet taken by the kernel: poll for writing while not 0. */
size_t channel_queued(const struct channel *c);
/* Room left for queued bytes: what a well-behaved producer looks at before it makes more. */
size_t channel_room(const struct channel *c);

/*
 * Queues a message. False and ERR_RETRY when the queue is full, ERR_INPUT when the message is over the maximum.
 * Nothing is written until channel_flush(), so that a loop turn costs one system call.
 */
MUST_CHECK bool channel_send(struct channel *c, uint16_t type, struct slice body, struct err *e);
/* As channel_send, in two parts that the peer sees as one body. */
MUST_CHECK bool channel_send2(struct channel *c, uint16_t type, struct slice head, struct slice body, struct err *e);
/*
 * As channel_send, for a body made in place: append it to the buffer given, at most `most` bytes, then channel_end().
 * Nothing else may use the channel in between. NULL (ERR_RETRY, ERR_INPUT as channel_send) when there is no room for that many.
 */
struct buf *channel_begin(struct channel *c, size_t most, struct err *e);
void channel_end(struct channel *c, uint16_t type);
/*
 * As channel_send, with a descriptor, of which a copy waits with the message: the caller still owns `fd`. Flushes what the peer takes.
 * ERR_RETRY when CHANNEL_FDS_MAX of them wait already, or there is none left for the copy.
 */
MUST_CHECK bool channel_send_fd(struct channel *c, uint16_t type, struct slice body, int fd, struct err *e);

/* Writes what the kernel takes. False and ERR_FATAL when the peer is gone. */
MUST_CHECK bool channel_flush(struct channel *c, struct err *e);

/* The next message, reading from the socket when none is buffered. `e` says why on CHANNEL_CLOSED. */
enum channel_result channel_receive(struct channel *c, struct channel_message *m, struct err *e);

/*
 * Flushes everything, then waits for one message, at most `timeout_ms` (-1: for ever).
 * CHANNEL_EMPTY means the time is over.
 */
enum channel_result channel_wait(struct channel *c, struct channel_message *m, int timeout_ms, struct err *e);

/* A connected, close-on-exec pair of descriptors. */
MUST_CHECK bool channel_pair(int fds[2], struct err *e);

#endif
