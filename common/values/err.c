/* Errors as values: see err.h. */
#include "common/values/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

/* Peers' bytes may be quoted in an error: nothing below may forge a log line. */
static void escape_controls(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '.';
}

static void record(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
    e->code = code;
    vsnprintf(e->text, sizeof e->text, fmt, ap);
}

static void append(struct err *e, const char *why)
{
    size_t used = strlen(e->text);

    snprintf(e->text + used, sizeof e->text - used, ": %s", why);
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    if (e == NULL || e->code != ERR_NONE)
        return false;
    va_start(ap, fmt);
    record(e, code, fmt, ap);
    va_end(ap);
    escape_controls(e->text);
    return false;
}

bool err_set_openssl(struct err *e, enum err_code code, const char *fmt, ...)
{
    char why[256] = "no detail from OpenSSL";
    unsigned long queued = ERR_get_error();
    va_list ap;

    if (queued != 0)
        ERR_error_string_n(queued, why, sizeof why);
    ERR_clear_error();
    if (e == NULL || e->code != ERR_NONE)
        return false;
    va_start(ap, fmt);
    record(e, code, fmt, ap);
    va_end(ap);
    append(e, why);
    escape_controls(e->text);
    return false;
}

bool err_set_errno(struct err *e, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    char why[128] = "";
    va_list ap;

    if (e == NULL || e->code != ERR_NONE)
        return false;
    va_start(ap, fmt);
    record(e, code, fmt, ap);
    va_end(ap);
    append(e, strerror_r(saved, why, sizeof why));
    escape_controls(e->text);
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    char kept[ERR_TEXT_MAX];
    size_t used;
    va_list ap;

    if (e == NULL || e->code == ERR_NONE)
        return false;
    memcpy(kept, e->text, sizeof kept);
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    escape_controls(e->text);
    used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %.*s", (int)sizeof kept - 1, kept);
    return false;
}

void err_clear(struct err *e)
{
    e->code = ERR_NONE;
    e->text[0] = '\0';
}
