/*
 * One structured line per thing worth knowing, on standard error:
 *   2026-01-31T12:00:00.123Z level=error daemon=coffre-ingest role=front pid=42 code=tls-refused peer=… msg="…"
 * Where systemd's journal reads it, a line begins with its priority, <3> to <7> (sd-daemon(3)), which the journal takes away.
 * Values are escaped, so that a peer can never forge a line. Content, PINs and keys are never
 * passed here. `code` is stable and documented in the manual: operators alert on it.
 */
#ifndef COFFRE_LOG_H
#define COFFRE_LOG_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names what every line carries from now on; the texts are borrowed for the process's life. */
void log_open(const char *daemon, const char *role, enum log_level level);
void log_set_level(enum log_level level);
bool log_level_parse(const char *text, enum log_level *level);

/*
 * Writes one line. `code` is a short stable word ("lot-sealed"); `fields` is a preformatted
 * `key=value key=value` made with log_field(), or NULL; the rest is the message.
 * At most 100 lines per second, code and level are written below LOG_LEVEL_ERROR. What is left out is counted, and told by a
 * line of the same code and level, with fields `left_out` (how many) and `since`: before the next line of any code when the
 * second is over, at log_tick(), at log_end(). More than 64 codes in a second are limited and told together, as "many-codes".
 */
void log_write(enum log_level level, const char *code, const char *fields, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Tells of what was left out when its second is over. For whoever has a loop, about once a second: a flood may be followed by silence. Cheap. */
void log_tick(void);
/* Tells of all that was left out. exit(3) does it by itself; to be called before _exit(2). */
void log_end(void);

#define log_error(code, ...) log_write(LOG_LEVEL_ERROR, code, NULL, __VA_ARGS__)
#define log_warning(code, ...) log_write(LOG_LEVEL_WARNING, code, NULL, __VA_ARGS__)
#define log_info(code, ...) log_write(LOG_LEVEL_INFO, code, NULL, __VA_ARGS__)
#define log_debug(code, ...) log_write(LOG_LEVEL_DEBUG, code, NULL, __VA_ARGS__)

/*
 * Appends ` key="escaped value"` to a field list of `size` bytes and returns the list, so that calls nest.
 * What does not fit is cut inside the quotes.
 */
const char *log_field(char *list, size_t size, const char *key, struct slice value);

#endif
