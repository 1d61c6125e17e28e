/* Growing bytes with a hard maximum: see buf.h. */
#include "common/values/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *p)
{
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return or_abort(malloc(size == 0 ? 1 : size));
}

void *mem_zalloc(size_t count, size_t size)
{
    return or_abort(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *mem_realloc(void *p, size_t size)
{
    return or_abort(realloc(p, size == 0 ? 1 : size));
}

char *mem_strdup(const char *text)
{
    return or_abort(strdup(text));
}

char *mem_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    return or_abort(n < 0 ? NULL : text);
}

char *mem_text(struct slice s)
{
    char *text = mem_alloc(s.len + 1);

    if (s.len != 0)
        memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    return text;
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .wipe = true};
}

void buf_free(struct buf *b)
{
    if (b->wipe && b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    free(b->data);
    b->data = NULL;
    b->start = b->len = b->capacity = 0;
}

/* Makes room for `need` bytes in all: slides what is held to the front, then grows. */
static void make_room(struct buf *b, size_t need)
{
    size_t capacity = b->capacity == 0 ? 512 : b->capacity;
    uint8_t *bigger;

    if (b->data != NULL && need <= b->capacity && b->start >= b->len) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
        return;
    }
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    bigger = mem_alloc(capacity);
    if (b->len != 0)
        memcpy(bigger, b->data + b->start, b->len);
    if (b->wipe && b->data != NULL)
        explicit_bzero(b->data, b->capacity);
    free(b->data);
    b->data = bigger;
    b->start = 0;
    b->capacity = capacity;
}

uint8_t *buf_reserve(struct buf *b, size_t len, struct err *e)
{
    if (len > b->max || b->len > b->max - len) {
        err_set(e, ERR_INPUT, "over the limit of %zu bytes", b->max);
        return NULL;
    }
    if (b->data == NULL || b->start + b->len + len > b->capacity)
        make_room(b, b->len + len);
    return b->data + b->start + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
    b->len += len;
}

bool buf_add(struct buf *b, const void *bytes, size_t len, struct err *e)
{
    uint8_t *room;

    if (len == 0)
        return true;
    room = buf_reserve(b, len, e);
    if (room == NULL)
        return false;
    memcpy(room, bytes, len);
    buf_commit(b, len);
    return true;
}

bool buf_add_slice(struct buf *b, struct slice s, struct err *e)
{
    return buf_add(b, s.at, s.len, e);
}

bool buf_printf(struct buf *b, struct err *e, const char *fmt, ...)
{
    va_list ap;
    uint8_t *room;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return err_set(e, ERR_FATAL, "a text could not be formatted");
    room = buf_reserve(b, (size_t)n + 1, e);
    if (room == NULL)
        return false;
    va_start(ap, fmt);
    vsnprintf((char *)room, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf_commit(b, (size_t)n);
    return true;
}

void buf_consume(struct buf *b, size_t len)
{
    if (b->wipe)
        explicit_bzero(b->data + b->start, len);
    b->start += len;
    b->len -= len;
    if (b->len == 0)
        b->start = 0;
}

void buf_reset(struct buf *b)
{
    if (b->len != 0)
        buf_consume(b, b->len);
    b->start = 0;
}
