/* Structured, escaped, rate-limited log lines: see log.h. */
#include "common/values/log.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/values/quota.h"

enum { LINE_MAX_BYTES = 2048, TIME_TEXT = 32, SECOND_MS = 1000 };

/* What is below LOG_LEVEL_ERROR: three levels. */
static const struct quota_limits rate_limits = {
    .kinds = 64, .others = 3, .part = 64, .each = 100, .all = UINT_MAX, .window = SECOND_MS};

static struct {
    const char *daemon;
    const char *role;
    enum log_level level;
    bool journald; /* lines begin with a priority */
} self = {"coffre", "parent", LOG_LEVEL_INFO, false};

/* Of one code and level so many lines a second are written, the others counted. Owned; made by the first, kept. */
static struct quota *rate;
static uint64_t owed; /* lines left out that nobody has been told of */

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

static int64_t now_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Like all that is put here, returns how long it is. */
static size_t put_time(char *out, size_t size, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    size_t used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));

    return used + (size_t)snprintf(out + used, size - used, ".%03dZ", (int)(ms % 1000));
}

static void write_line(enum log_level level, const char *code, const char *fields, const char *text)
{
    char line[LINE_MAX_BYTES];
    size_t used = self.journald ? strlen(strcpy(line, priorities[level])) : 0;

    used += put_time(line + used, sizeof line - used, now_ms(CLOCK_REALTIME));
    used += (size_t)snprintf(line + used, sizeof line - used, " level=%s daemon=%s role=%s pid=%ld code=%s",
                             level_names[level], self.daemon, self.role, (long)getpid(), code);
    if (fields != NULL && *fields != '\0')
        used += (size_t)snprintf(line + used, sizeof line - used, " %.1000s", fields);
    used += (size_t)snprintf(line + used, sizeof line - used, " msg=");
    used += quote(line + used, sizeof line - used - 1, slice_text(text));
    line[used++] = '\n';
    /* One write per line: roles share the descriptor. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

/* ---- floods ---------------------------------------------------------------------------------- */

static void say_left_out(const struct quota_count *count, uint64_t now)
{
    enum log_level level = LOG_LEVEL_WARNING;
    char since[TIME_TEXT], fields[80], text[100];

    (void)log_level_parse(count->name[1], &level);
    put_time(since, sizeof since, now_ms(CLOCK_REALTIME) - (int64_t)(now - count->begun));
    snprintf(fields, sizeof fields, "left_out=%" PRIu64 " since=%s", count->omitted, since);
    snprintf(text, sizeof text, "%" PRIu64 " more lines like these since %s were left out", count->omitted, since);
    write_line(level, *count->name[0] == '\0' ? "many-codes" : count->name[0], fields, text);
}

static void tell_left_out(bool all)
{
    uint64_t now = (uint64_t)now_ms(CLOCK_MONOTONIC);
    struct quota_count count;

    while (owed != 0 && quota_tell(rate, now, all, &count)) {
        owed -= count.omitted;
        say_left_out(&count, now);
    }
}

void log_tick(void)
{
    if (owed != 0)
        tell_left_out(false);
}

void log_end(void)
{
    if (owed != 0)
        tell_left_out(true);
}

static void open_rate(void)
{
    rate = quota_new(&rate_limits);
    (void)atexit(log_end);
}

/* False when this line is one too many of its code and level in this second. */
static bool within_rate(enum log_level level, const char *code)
{
    const struct slice word = slice_text(level_names[level]);
    const struct quota_name name = {{slice_text(code), word}}, others = {{slice_of(NULL, 0), word}};

    if (rate == NULL)
        open_rate();
    if (quota_take(rate, (uint64_t)now_ms(CLOCK_MONOTONIC), &name, &others))
        return true;
    owed++;
    return false;
}

void log_write(enum log_level level, const char *code, const char *fields, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + 256];
    va_list ap;

    if (level > self.level)
        return;
    log_tick(); /* also because what is owed comes before more of it */
    if (level != LOG_LEVEL_ERROR && !within_rate(level, code))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    write_line(level, code, fields, text);
}
