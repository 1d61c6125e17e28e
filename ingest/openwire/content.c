/* The content of a message: see content.h. */
#include "ingest/openwire/content.h"

#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#include "ingest/openwire/openwire_internal.h"
#include "ingest/openwire/text.h"

enum {
    PIECE_MIN = 4096, /* bytes made room for at first, without regard to what is announced */
    CELL = 16,        /* before each block of zlib's: how long it is */
    RATIO_FREE = 64 * 1024, /* bytes that may be made of anything … */
    RATIO_MAX = 100,  /* … and so many times the content's own for what is larger: XML shrinks to a tenth or a thirtieth */
    BUFFER_MIN = 1028 /* the Java client's buffer of a bytes message, which doubles */
};

/* zlib keeps the last 32 KiB of what it inflated: an event's text, wiped like every other copy. */
static void *block_new(void *unused, unsigned count, unsigned size)
{
    size_t total = CELL + (size_t)count * size;
    uint8_t *block = mem_alloc(total);

    (void)unused;
    memcpy(block, &total, sizeof total);
    return block + CELL;
}

static void block_free(void *unused, void *at)
{
    uint8_t *block = (uint8_t *)at - CELL;
    size_t total;

    (void)unused;
    memcpy(&total, block, sizeof total);
    explicit_bzero(block, total);
    free(block);
}

/* Inflates into all of `out`, or as far as the stream goes; false when it is malformed or cut short. */
static bool pour(z_stream *z, uint8_t *out, size_t room, size_t *made, bool *ended, struct err *e)
{
    int status = Z_OK;

    z->next_out = out;
    z->avail_out = (uInt)room;
    while (status == Z_OK && z->avail_out != 0)
        status = inflate(z, Z_NO_FLUSH);
    *made = room - z->avail_out;
    *ended = status == Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END)
        return err_set(e, ERR_INPUT, "OpenWire content: the compressed stream is %s", status == Z_BUF_ERROR ? "cut short" : "malformed");
    return true;
}

/* The rest of the stream: at most `most` zeros. */
static bool skip_zeros(z_stream *z, size_t most, size_t announced, struct err *e)
{
    uint8_t piece[256];
    size_t made, zeros = 0;
    bool ended = false;

    while (!ended) {
        if (!pour(z, piece, sizeof piece, &made, &ended, e))
            return false;
        for (size_t i = 0; i < made; i++)
            zeros += piece[i] == 0 ? 1 : most + 1;
        explicit_bzero(piece, sizeof piece);
        if (zeros > most)
            return err_set(e, ERR_INPUT, "OpenWire content: more than the %zu bytes announced", announced);
    }
    return true;
}

/*
 * Exactly `len` bytes and the end of the stream, which is the end of the content. What is made room for follows what was made. With `padded`, zeros
 * may come between: ActiveMQ's client compresses the whole buffer that a bytes message was written to (5.17.2, ActiveMQBytesMessage.doCompress()).
 */
static bool inflate_exactly(z_stream *z, size_t len, bool padded, struct buf *out, struct err *e)
{
    size_t made = 0;
    bool ended = false;

    while (out->len < len && !ended) {
        size_t left = len - out->len, piece = out->len < PIECE_MIN ? PIECE_MIN : out->len;
        uint8_t *room;

        piece = piece < left ? piece : left;
        room = buf_reserve(out, piece, NULL);
        if (room == NULL)
            return err_set(e, ERR_DENIED, "OpenWire content: over the limit of %zu bytes", out->max);
        if (!pour(z, room, piece, &made, &ended, e))
            return false;
        buf_commit(out, made);
    }
    if (out->len != len)
        return err_set(e, ERR_INPUT, "OpenWire content: less than the %zu bytes announced", len);
    if (!ended && !skip_zeros(z, !padded ? 0 : len < BUFFER_MIN ? BUFFER_MIN : len, len, e))
        return false;
    if (z->avail_in != 0)
        return err_set(e, ERR_INPUT, "OpenWire content: %u bytes follow the compressed stream", z->avail_in);
    return true;
}

/* The length before a body, with `z` set to go on after it: a text's is within the stream, that of bytes before it. */
static bool begin_stream(z_stream *z, bool text, struct slice content, int32_t *announced, struct err *e)
{
    size_t before = text ? 0 : 4, made = content.len < before ? content.len : before;
    uint8_t head[4] = {0};
    bool ended;

    memcpy(head, content.at, made);
    z->next_in = content.at + made;
    z->avail_in = (uInt)(content.len - made);
    if (text && !pour(z, head, sizeof head, &made, &ended, e))
        return false;
    if (made < sizeof head)
        return err_set(e, ERR_INPUT, "OpenWire content: %zu bytes have no length", made);
    *announced = (int32_t)openwire_load_32(head);
    return true;
}

static bool inflate_body(z_stream *z, bool text, size_t max, struct slice content, struct buf *out, struct err *e)
{
    int32_t announced = 0;

    if (!begin_stream(z, text, content, &announced, e))
        return false;
    if (text && announced == -1)
        announced = 0; /* null, as if it were not compressed */
    if (announced < 0)
        return err_set(e, ERR_INPUT, "OpenWire content: a length of %d", (int)announced);
    /* Modified UTF-8 is at most twice as long. */
    if ((size_t)announced / (text ? 2 : 1) > max)
        return err_set(e, ERR_DENIED, "OpenWire content: %d bytes, at most %zu are taken", (int)announced, max);
    if (announced > RATIO_FREE && (size_t)announced / RATIO_MAX > content.len)
        return err_set(e, ERR_DENIED, "OpenWire content: %d bytes made of %zu: more than %d times as many", (int)announced, content.len,
                       RATIO_MAX);
    return inflate_exactly(z, (size_t)announced, !text, out, e);
}

static bool inflate_content(bool text, size_t max, struct slice content, struct buf *out, struct err *e)
{
    z_stream z = {.zalloc = block_new, .zfree = block_free};
    bool ok;

    if (content.len == 0 || content.len > INT32_MAX)
        return err_set(e, ERR_INPUT, "OpenWire content: %zu bytes are no compressed stream", content.len);
    if (inflateInit(&z) != Z_OK)
        return err_set(e, ERR_FATAL, "zlib cannot be used: %s", z.msg == NULL ? "another version" : z.msg);
    ok = inflate_body(&z, text, max, content, out, e);
    inflateEnd(&z);
    return ok;
}

/* What is inflated is turned to UTF-8 where it is: that is never longer. */
static void decode_in_place(struct buf *b)
{
    if (b->len != 0 && !openwire_text_is_plain(buf_slice(b)))
        b->len = openwire_text_decode_into(buf_slice(b), b->data + b->start);
}

/* Text that is not compressed: its length, and that many bytes to the end. */
static bool plain_text(struct slice content, struct buf *scratch, struct slice *body, struct err *e)
{
    int32_t announced = 0;

    if (content.len < 4)
        return err_set(e, ERR_INPUT, "OpenWire content: %zu bytes have no length", content.len);
    announced = (int32_t)openwire_load_32(content.at);
    content = slice_of(content.at + 4, content.len - 4);
    if (announced < -1 || (announced == -1 ? 0 : (size_t)announced) != content.len)
        return err_set(e, ERR_INPUT, "OpenWire content: a text of %d bytes is announced, there are %zu", (int)announced, content.len);
    *body = content;
    if (openwire_text_is_plain(content))
        return true;
    if (!openwire_text_decode(content, scratch, NULL))
        return err_set(e, ERR_DENIED, "OpenWire content: over the limit of %zu bytes", scratch->max);
    *body = buf_slice(scratch);
    return true;
}

bool openwire_content(const struct openwire_object *message, size_t max, struct buf *scratch, struct slice *body, struct err *e)
{
    struct slice content = openwire_get_bytes(message, OPENWIRE_MESSAGE_CONTENT);
    bool text = message->type == OPENWIRE_TEXT_MESSAGE;

    buf_reset(scratch);
    *body = slice_of(NULL, 0);
    if (!text && message->type != OPENWIRE_BYTES_MESSAGE)
        return err_set(e, ERR_INPUT, "OpenWire content: type %u has none that is read", message->type);
    if (!message->values[OPENWIRE_MESSAGE_CONTENT].there)
        return true;
    if (openwire_get_number(message, OPENWIRE_MESSAGE_COMPRESSED) != 0) {
        if (!inflate_content(text, max, content, scratch, e))
            return false;
        if (text)
            decode_in_place(scratch);
        *body = buf_slice(scratch);
    } else if (!text) {
        *body = content;
    } else if (!plain_text(content, scratch, body, e)) {
        return false;
    }
    return body->len <= max || err_set(e, ERR_DENIED, "OpenWire content: %zu bytes, at most %zu are taken", body->len, max);
}
