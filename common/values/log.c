/* Structured, escaped, rate-limited log lines: see log.h. */
#include "common/values/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, RATE_CODES = 64, RATE_PER_SECOND = 100 };

static struct {
    const char *daemon;
    const char *role;
    enum log_level level;
    bool journald; /* lines begin with a priority */
} self = {"coffre", "parent", LOG_LEVEL_INFO, false};

/* Lines written this second for a code; codes are string literals, told apart by their text. */
static struct rate {
    const char *code;
    time_t second;
    unsigned written, left_out;
} rates[RATE_CODES];

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */

/* systemd names the stream it reads, in case standard error has become another since: systemd.exec(5), $JOURNAL_STREAM. */
static bool is_read_by_journald(void)
{
    const char *named = getenv("JOURNAL_STREAM");
    char stream[64];
    struct stat st;

    if (named == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(named, stream) == 0;
}

void log_open(const char *daemon, const char *role, enum log_level level)
{
    self.daemon = daemon;
    self.role = role;
    self.level = level;
    self.journald = is_read_by_journald();
}

void log_set_level(enum log_level level)
{
    self.level = level;
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    return false;
}

/* Appends `value` quoted; bytes outside printable ASCII and UTF-8 continuation become \xNN. */
static size_t quote(char *out, size_t size, struct slice value)
{
    size_t used = 0;

    if (size < 3)
        return 0;
    out[used++] = '"';
    for (size_t i = 0; i < value.len && used + 6 < size; i++) {
        uint8_t c = value.at[i];

        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0)) {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
        } else {
            out[used++] = (char)c;
        }
    }
    out[used++] = '"';
    out[used] = '\0';
    return used;
}

const char *log_field(char *list, size_t size, const char *key, struct slice value)
{
    size_t used = strnlen(list, size);
    int n;

    if (used + strlen(key) + 5 > size)
        return list;
    n = snprintf(list + used, size - used, "%s%s=", used == 0 ? "" : " ", key);
    if (n > 0 && quote(list + used + n, size - used - (size_t)n, value) == 0)
        list[used] = '\0';
    return list;
}

/* False when this line is one too many of its code this second. */
static bool within_rate(const char *code, time_t now, unsigned *left_out)
{
    struct rate *free_slot = &rates[0];

    *left_out = 0;
    for (unsigned i = 0; i < RATE_CODES; i++) {
        struct rate *r = &rates[i];

        if (r->code != NULL && strcmp(r->code, code) == 0) {
            if (r->second != now) {
                *left_out = r->left_out;
                *r = (struct rate){code, now, 1, 0};
                return true;
            }
            if (r->written < RATE_PER_SECOND) {
                r->written++;
                return true;
            }
            r->left_out++;
            return false;
        }
        if (r->code == NULL || r->second < free_slot->second)
            free_slot = r;
        if (r->code == NULL)
            break;
    }
    *free_slot = (struct rate){code, now, 1, 0};
    return true;
}

void log_write(enum log_level level, const char *code, const char *fields, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES], text[ERR_TEXT_MAX + 256];
    struct timespec now;
    struct tm utc;
    unsigned left_out = 0;
    size_t used;
    va_list ap;
    int n;

    if (level > self.level)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    if (level != LOG_LEVEL_ERROR && !within_rate(code, now.tv_sec, &left_out))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    gmtime_r(&now.tv_sec, &utc);
    used = self.journald ? strlen(strcpy(line, priorities[level])) : 0;
    used += strftime(line + used, sizeof line - used, "%Y-%m-%dT%H:%M:%S", &utc);
    n = snprintf(line + used, sizeof line - used, ".%03ldZ level=%s daemon=%s role=%s pid=%ld code=%s",
                 now.tv_nsec / 1000000, level_names[level], self.daemon, self.role, (long)getpid(), code);
    used += (size_t)n;
    if (fields != NULL && *fields != '\0')
        used += (size_t)snprintf(line + used, sizeof line - used, " %.1000s", fields);
    if (left_out != 0)
        used += (size_t)snprintf(line + used, sizeof line - used, " left_out=%u", left_out);
    used += (size_t)snprintf(line + used, sizeof line - used, " msg=");
    used += quote(line + used, sizeof line - used - 1, slice_text(text));
    line[used++] = '\n';
    /* One write per line: roles share the descriptor. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
