/* Framed messages between sibling processes: see channel.h. */
#include "common/system/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_SIZE = 8, FLAG_FD = 1, READ_CHUNK = 256 * 1024, FDS_MAX = 8 };

struct leaving {
    int fd;
    uint64_t at; /* where its message begins, in bytes that the kernel will have taken */
};

struct channel {
    int fd;
    size_t max_message, max_received;
    struct buf in, out;
    uint64_t taken;   /* bytes that the kernel has taken so far */
    struct leaving *leaving; /* owned: descriptors that wait for their message's turn, oldest first */
    unsigned leaving_count;
    size_t begun;     /* where in `out` the frame being made in place begins */
    size_t consumed;  /* bytes of `in` that belong to the message last handed out */
    int fds[FDS_MAX]; /* received and not yet handed out, oldest first */
    unsigned fd_count;
    bool closed;
};

struct channel *channel_open(int fd, size_t max_message, size_t max_queued)
{
    struct channel *c = mem_zalloc(1, sizeof *c);
    int size = 1 << 20;

    c->fd = fd;
    c->max_message = c->max_received = max_message;
    buf_init_secret(&c->in, max_message + HEADER_SIZE + READ_CHUNK);
    buf_init_secret(&c->out, max_queued + HEADER_SIZE);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    /* Larger kernel buffers mean fewer turns; the default stands when refused. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return c;
}

void channel_free(struct channel *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->fd_count; i++)
        close(c->fds[i]);
    for (unsigned i = 0; i < c->leaving_count; i++)
        close(c->leaving[i].fd);
    free(c->leaving);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    free(c);
}

int channel_fd(const struct channel *c)
{
    return c->fd;
}

void channel_limit(struct channel *c, size_t max_received)
{
    c->max_received = max_received;
}

size_t channel_queued(const struct channel *c)
{
    return c->out.len;
}

size_t channel_room(const struct channel *c)
{
    return c->out.max - c->out.len;
}

static void put_header(uint8_t *h, uint16_t type, size_t len, uint8_t flags)
{
    for (size_t i = 0; i < 4; i++)
        h[i] = (uint8_t)(len >> 8 * (3 - i));
    h[4] = (uint8_t)(type >> 8);
    h[5] = (uint8_t)type;
    h[6] = flags;
    h[7] = 0;
}

bool channel_send2(struct channel *c, uint16_t type, struct slice head, struct slice body, struct err *e)
{
    size_t len = head.len + body.len;
    uint8_t *room;

    if (len > c->max_message)
        return err_set(e, ERR_INPUT, "channel: message of %zu bytes, at most %zu", len, c->max_message);
    room = buf_reserve(&c->out, HEADER_SIZE + len, NULL);
    if (room == NULL)
        return err_set(e, ERR_RETRY, "channel: the peer is slow, %zu bytes wait", c->out.len);
    put_header(room, type, len, 0);
    if (head.len != 0)
        memcpy(room + HEADER_SIZE, head.at, head.len);
    if (body.len != 0)
        memcpy(room + HEADER_SIZE + head.len, body.at, body.len);
    buf_commit(&c->out, HEADER_SIZE + len);
    return true;
}

struct buf *channel_begin(struct channel *c, size_t most, struct err *e)
{
    if (most > c->max_message) {
        err_set(e, ERR_INPUT, "channel: message of %zu bytes, at most %zu", most, c->max_message);
        return NULL;
    }
    if (buf_reserve(&c->out, HEADER_SIZE + most, NULL) == NULL) {
        err_set(e, ERR_RETRY, "channel: the peer is slow, %zu bytes wait", c->out.len);
        return NULL;
    }
    c->begun = c->out.len;
    buf_commit(&c->out, HEADER_SIZE);
    return &c->out;
}

void channel_end(struct channel *c, uint16_t type)
{
    put_header(c->out.data + c->out.start + c->begun, type, c->out.len - c->begun - HEADER_SIZE, 0);
}

bool channel_send(struct channel *c, uint16_t type, struct slice body, struct err *e)
{
    return channel_send2(c, type, body, slice_of(NULL, 0), e);
}

/* The first message that waits has a descriptor: both together. */
static ssize_t send_with_descriptor(struct channel *c, size_t len)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {c->out.data + c->out.start, len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    ssize_t n;

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &c->leaving[0].fd, sizeof(int));
    n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n <= 0)
        return n;
    /* However few bytes were taken, it went with the first of them. */
    close(c->leaving[0].fd);
    c->leaving_count--;
    memmove(c->leaving, c->leaving + 1, c->leaving_count * sizeof *c->leaving);
    return n;
}

/* As much as can leave in one call: up to the next message with a descriptor, or that one. */
static ssize_t send_some(struct channel *c)
{
    struct slice s = buf_slice(&c->out);
    bool first = c->leaving_count != 0 && c->leaving[0].at == c->taken;
    unsigned next = first ? 1 : 0;

    if (next < c->leaving_count && c->leaving[next].at - c->taken < s.len)
        s.len = (size_t)(c->leaving[next].at - c->taken);
    return first ? send_with_descriptor(c, s.len) : send(c->fd, s.at, s.len, MSG_NOSIGNAL);
}

bool channel_flush(struct channel *c, struct err *e)
{
    while (c->out.len != 0) {
        ssize_t n = send_some(c);

        if (n < 0 && errno == EINTR)
            continue;
        /* The last: too many descriptors of this user are under way in the whole system. */
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS))
            return true;
        if (n < 0) {
            /* What a peer that has gone said before is there to be received: that ends by itself. */
            c->closed = c->closed || (errno != EPIPE && errno != ECONNRESET);
            return err_set_errno(e, ERR_FATAL, "channel: the peer is gone");
        }
        buf_consume(&c->out, (size_t)n);
        c->taken += (uint64_t)n;
    }
    return true;
}

static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, timeout_ms) > 0;
}

bool channel_send_fd(struct channel *c, uint16_t type, struct slice body, int fd, struct err *e)
{
    uint64_t at = c->taken + c->out.len;
    int copy;

    if (c->leaving_count == CHANNEL_FDS_MAX)
        return err_set(e, ERR_RETRY, "channel: the peer is slow, %u descriptors wait", c->leaving_count);
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return err_set_errno(e, ERR_RETRY, "channel: no copy of a descriptor");
    if (!channel_send(c, type, body, e)) {
        close(copy);
        return false;
    }
    c->out.data[c->out.start + (size_t)(at - c->taken) + 6] = FLAG_FD;
    if (c->leaving == NULL)
        c->leaving = mem_zalloc(CHANNEL_FDS_MAX, sizeof *c->leaving);
    c->leaving[c->leaving_count++] = (struct leaving){copy, at};
    return channel_flush(c, e);
}

static void keep_descriptors(struct channel *c, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        size_t count;

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (c->fd_count < FDS_MAX)
                c->fds[c->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

/* Reads what is there. False when the peer is gone. */
static bool fill(struct channel *c, bool *got, struct err *e)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    struct iovec part;
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    size_t room = c->in.max - c->in.len < READ_CHUNK ? c->in.max - c->in.len : READ_CHUNK;
    uint8_t *at = buf_reserve(&c->in, room, e);
    ssize_t n;

    *got = false;
    if (at == NULL)
        return false;
    part = (struct iovec){at, room};
    n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return true;
    if (n < 0)
        return err_set_errno(e, ERR_FATAL, "channel: cannot read");
    if (n == 0)
        return err_set(e, ERR_FATAL, "channel: closed by the peer");
    keep_descriptors(c, &m);
    buf_commit(&c->in, (size_t)n);
    *got = true;
    return true;
}

/* Takes one whole message from what was read. */
static enum channel_result take(struct channel *c, struct channel_message *m, struct err *e)
{
    struct slice s = buf_slice(&c->in);
    size_t len;

    if (s.len < HEADER_SIZE)
        return CHANNEL_EMPTY;
    len = (size_t)s.at[0] << 24 | (size_t)s.at[1] << 16 | (size_t)s.at[2] << 8 | s.at[3];
    if (len > c->max_received || (s.at[6] & ~FLAG_FD) != 0 || s.at[7] != 0) {
        err_set(e, ERR_FATAL, "channel: malformed frame (length %zu)", len);
        return CHANNEL_CLOSED;
    }
    if (s.len < HEADER_SIZE + len)
        return CHANNEL_EMPTY;
    m->type = (uint16_t)(s.at[4] << 8 | s.at[5]);
    m->body = slice_of(s.at + HEADER_SIZE, len);
    m->fd = -1;
    if ((s.at[6] & FLAG_FD) != 0) {
        if (c->fd_count == 0) {
            err_set(e, ERR_FATAL, "channel: announced descriptor missing");
            return CHANNEL_CLOSED;
        }
        m->fd = c->fds[0];
        c->fd_count--;
        memmove(c->fds, c->fds + 1, c->fd_count * sizeof *c->fds);
    }
    c->consumed = HEADER_SIZE + len;
    return CHANNEL_MESSAGE;
}

enum channel_result channel_receive(struct channel *c, struct channel_message *m, struct err *e)
{
    enum channel_result r;
    bool got;

    if (c->consumed != 0)
        buf_consume(&c->in, c->consumed);
    c->consumed = 0;
    for (;;) {
        r = take(c, m, e);
        if (r != CHANNEL_EMPTY)
            break;
        if (c->closed || !fill(c, &got, e)) {
            err_set(e, ERR_FATAL, "channel: closed");
            r = CHANNEL_CLOSED;
            break;
        }
        if (!got)
            return CHANNEL_EMPTY;
    }
    if (r == CHANNEL_CLOSED)
        c->closed = true;
    return r;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum channel_result channel_wait(struct channel *c, struct channel_message *m, int timeout_ms, struct err *e)
{
    int64_t end = now_ms() + timeout_ms;

    for (;;) {
        enum channel_result r;
        int64_t left = timeout_ms < 0 ? -1 : end - now_ms();

        if (!channel_flush(c, e))
            return CHANNEL_CLOSED;
        r = channel_receive(c, m, e);
        if (r != CHANNEL_EMPTY)
            return r;
        if (timeout_ms >= 0 && left <= 0)
            return CHANNEL_EMPTY;
        wait_for(c->fd, (short)(POLLIN | (c->out.len != 0 ? POLLOUT : 0)), (int)left);
    }
}

bool channel_pair(int fds[2], struct err *e)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return err_set_errno(e, ERR_FATAL, "channel: no socket pair");
    return true;
}
