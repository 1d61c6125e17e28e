/* See hex.h. */
#include "common/formats/hex.h"

void hex_write(char *out, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.len; i++) {
        *out++ = digits[bytes.at[i] >> 4];
        *out++ = digits[bytes.at[i] & 15];
    }
    *out = '\0';
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool hex_read(struct slice text, uint8_t *out, size_t len)
{
    if (text.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text.at[2 * i]), low = hex_value(text.at[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool base64_write(struct buf *out, struct slice bytes, struct err *e)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = (bytes.len + 2) / 3 * 4;
    uint8_t *at;

    if (len == 0)
        return true;
    at = buf_reserve(out, len, e);
    if (at == NULL)
        return false;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)bytes.at[i] << 16 | (left > 1 ? (uint32_t)bytes.at[i + 1] << 8 : 0) |
                     (left > 2 ? bytes.at[i + 2] : 0);

        *at++ = (uint8_t)letters[v >> 18];
        *at++ = (uint8_t)letters[v >> 12 & 63];
        *at++ = left > 1 ? (uint8_t)letters[v >> 6 & 63] : '=';
        *at++ = left > 2 ? (uint8_t)letters[v & 63] : '=';
    }
    buf_commit(out, len);
    return true;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters; `letters` of them count. False on a foreign character or trailing bits. */
static bool base64_quad(const uint8_t *in, unsigned letters, uint8_t out[3])
{
    uint32_t v = 0;

    for (unsigned i = 0; i < 4; i++) {
        int digit = i < letters ? base64_value(in[i]) : in[i] == '=' ? 0 : -1;

        if (digit < 0)
            return false;
        v = v << 6 | (uint32_t)digit;
    }
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    return letters == 4 || (letters == 3 && out[2] == 0) || (letters == 2 && out[1] == 0 && out[2] == 0);
}

bool base64_read(struct slice text, struct buf *out, struct err *e)
{
    if (text.len % 4 != 0)
        return err_set(e, ERR_INPUT, "base64: length is not a multiple of four");
    for (size_t i = 0; i < text.len; i += 4) {
        bool last = i + 4 == text.len;
        unsigned letters = last && text.at[i + 3] == '=' ? (text.at[i + 2] == '=' ? 2 : 3) : 4;
        uint8_t three[3];

        if (!base64_quad(text.at + i, letters, three))
            return err_set(e, ERR_INPUT, "base64: not in RFC 4648 section 4 spelling");
        if (!buf_add(out, three, letters - 1, e))
            return false;
    }
    return true;
}
