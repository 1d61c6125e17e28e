/*
 * Errors as values. A must-check bool says whether something failed, struct err
 * says why and what the caller may decide. Recording an error and leaving is one
 * expression: return err_set(e, ERR_INPUT, "stomp: header line over %u bytes", max);
 */
#ifndef COFFRE_ERR_H
#define COFFRE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* What the caller may do about it: a decision, not a cause. */
enum err_code {
    ERR_NONE = 0,
    ERR_INPUT,    /* what was read is wrong: refuse it, name what and where */
    ERR_RETRY,    /* a peer is away or slow: try again later, nothing is lost */
    ERR_DENIED,   /* not allowed for this identity */
    ERR_DOUBT,    /* clock, chain or key cannot be trusted: stop sealing */
    ERR_FENCED,   /* another instance took over: stop at once, write nothing */
    ERR_FOREIGN,  /* it belongs to another operator or vault: the daemon must not run */
    ERR_FATAL,    /* this process cannot go on */
};

enum { ERR_TEXT_MAX = 512 };

struct err {
    enum err_code code;      /* ERR_NONE when nothing went wrong */
    char text[ERR_TEXT_MAX]; /* one line, no line feed; may quote peer bytes, already escaped */
};

/*
 * Records an error and returns false. A specific error already recorded is kept:
 * a later, more generic one never overwrites it. `e` may be NULL.
 */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, followed by the oldest error of OpenSSL's queue, which is emptied. */
bool err_set_openssl(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, followed by strerror(errno). */
bool err_set_errno(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " before the recorded text; returns false so that it can end a chain. */
bool err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *e);

#endif
