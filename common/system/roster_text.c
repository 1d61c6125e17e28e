/* The spelling of what bindings are made of: see roster.h. Pure; the text is a person's or a stranger's. */
#include <arpa/inet.h>
#include <stdio.h>

#include <openssl/asn1.h>

#include "common/system/roster.h"

/* UTF-8 (RFC 3629) without control characters: what no terminal, log or header can be fooled with. */
static bool is_printable(struct slice text)
{
    while (text.len != 0) {
        unsigned long c;
        int used = UTF8_getc(text.at, (int)text.len, &c);

        if (used <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            return false;
        text = slice_of(text.at + used, text.len - (size_t)used);
    }
    return true;
}

bool roster_read_name(struct slice text, const char *what, char name[ROSTER_TEXT_MAX + 1], struct err *e)
{
    if (text.len > ROSTER_TEXT_MAX)
        return err_set(e, ERR_INPUT, "%s is longer than %d bytes", what, ROSTER_TEXT_MAX);
    if (!is_printable(text))
        return err_set(e, ERR_INPUT, "%s is not UTF-8 without control characters", what);
    if (text.len != 0)
        memcpy(name, text.at, text.len);
    name[text.len] = '\0';
    return true;
}

bool roster_check_reason(struct slice text, struct err *e)
{
    if (text.len > ROSTER_REASON_MAX)
        return err_set(e, ERR_INPUT, "a reason is longer than %d bytes", ROSTER_REASON_MAX);
    return is_printable(text) || err_set(e, ERR_INPUT, "a reason is not UTF-8 without control characters");
}

bool roster_read_serial(struct slice text, char serial[ROSTER_SERIAL_MAX + 1], struct err *e)
{
    bool given = text.len != 0;

    while (text.len != 0 && text.at[0] == '0')
        text = slice_of(text.at + 1, text.len - 1);
    if (text.len > ROSTER_SERIAL_MAX || (given && text.len == 0))
        return err_set(e, ERR_INPUT, "RFC 5280 4.1.2.2: a serial number has 1 to %d hexadecimal digits and is not zero", ROSTER_SERIAL_MAX);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.at[i];

        if (c >= 'a' && c <= 'f')
            c = (uint8_t)(c - 'a' + 'A');
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F')))
            return err_set(e, ERR_INPUT, "a serial number is written in hexadecimal digits, without colons or 0x");
        serial[i] = (char)c;
    }
    serial[text.len] = '\0';
    return true;
}

/* The one text of an address (RFC 5952 for IPv6). */
static bool read_address(char san[ROSTER_TEXT_MAX + 1], struct err *e)
{
    struct in6_addr address;
    int family = strchr(san, ':') == strrchr(san, ':') ? AF_INET : AF_INET6; /* one colon is the prefix's */

    if (inet_pton(family, san + 3, &address) != 1 || inet_ntop(family, &address, san + 3, ROSTER_TEXT_MAX - 3) == NULL)
        return err_set(e, ERR_INPUT, "a SAN that begins with IP: goes on with an IPv4 or IPv6 address");
    return true;
}

bool roster_read_san(struct slice text, char san[ROSTER_TEXT_MAX + 1], struct err *e)
{
    static const char *const prefixes[] = {"DNS:", "email:", "URI:", "IP:"};
    size_t prefix = 0;

    if (!roster_read_name(text, "the SAN", san, e))
        return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(san, prefixes[i], strlen(prefixes[i])) == 0)
            prefix = strlen(prefixes[i]);
    if (text.len != 0 && (prefix == 0 || text.len == prefix))
        return err_set(e, ERR_INPUT, "a SAN is DNS:, email:, URI: or IP: and the name (RFC 5280 4.2.1.6)");
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= 0x20 || text.at[i] >= 0x7f)
            return err_set(e, ERR_INPUT, "a SAN is written as in certificates: ASCII without spaces (RFC 5280 4.2.1.6)");
    if (prefix == 4 && san[0] == 'D')
        for (char *c = san + prefix; *c != '\0'; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c - 'A' + 'a');
    return prefix != 3 || read_address(san, e);
}
