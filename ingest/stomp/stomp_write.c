/* Writing STOMP frames: see stomp.h. */
#include "ingest/stomp/stomp_internal.h"

void stomp_open(struct stomp_writer *w, struct buf *out, enum stomp_version version, enum stomp_command command)
{
    /* STOMP 1.1 and 1.2, "Value Encoding": all frames but CONNECT and CONNECTED escape; CR only in 1.2. */
    bool plain = command == STOMP_CONNECT || command == STOMP_CONNECTED || command == STOMP_STOMP;
    const struct stomp_word *word = &stomp_commands[command];
    uint8_t *at = buf_reserve(out, word->len + 1, NULL);

    *w = (struct stomp_writer){.out = out, .began = out->len, .escapes = !plain && version >= STOMP_1_1,
                               .escapes_cr = !plain && version >= STOMP_1_2, .overflow = at == NULL};
    if (at == NULL)
        return;
    memcpy(at, word->text, word->len);
    at[word->len] = '\n';
    buf_commit(out, word->len + 1);
}

/* Writes one byte of a value as the version can carry it: at most two bytes. */
static uint8_t *put_octet(const struct stomp_writer *w, uint8_t *at, uint8_t octet)
{
    uint8_t letter = 0;

    switch (octet) {
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = w->escapes_cr ? 'r' : 0;
        break;
    case ':':
        letter = 'c';
        break;
    case '\\':
        letter = '\\';
        break;
    default:
        break;
    }
    if (w->escapes && letter != 0) {
        *at++ = '\\';
        *at++ = letter;
    } else {
        *at++ = octet == '\n' || octet == '\r' || octet == '\0' ? ' ' : octet;
    }
    return at;
}

void stomp_add(struct stomp_writer *w, enum stomp_name name, struct slice value)
{
    const struct stomp_word *word = &stomp_names[name];
    uint8_t *begin = w->overflow ? NULL : buf_reserve(w->out, word->len + 2 + 2 * value.len, NULL), *at = begin;

    if (begin == NULL) {
        w->overflow = true;
        return;
    }
    memcpy(at, word->text, word->len);
    at += word->len;
    *at++ = ':';
    for (size_t i = 0; i < value.len; i++)
        at = value.at[i] > ':' && value.at[i] != '\\' ? (*at = value.at[i], at + 1) : put_octet(w, at, value.at[i]);
    *at++ = '\n';
    buf_commit(w->out, (size_t)(at - begin));
}

void stomp_add_number(struct stomp_writer *w, enum stomp_name name, uint64_t n)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    stomp_add(w, name, slice_of(digits + at, sizeof digits - at));
}

bool stomp_close(struct stomp_writer *w, struct slice body, struct err *e)
{
    uint8_t *at;

    if (body.len != 0)
        stomp_add_number(w, STOMP_CONTENT_LENGTH, body.len);
    at = w->overflow ? NULL : buf_reserve(w->out, body.len + 2, NULL);
    if (at == NULL) {
        w->out->len = w->began;
        return err_set(e, ERR_RETRY, "stomp: a frame does not fit the %zu bytes that may wait", w->out->max);
    }
    *at++ = '\n';
    if (body.len != 0)
        memcpy(at, body.at, body.len);
    at[body.len] = '\0';
    buf_commit(w->out, body.len + 2);
    return true;
}
