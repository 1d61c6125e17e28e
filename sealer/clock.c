/* Whether the time may be sealed with: see clock.h. */
#include "sealer/clock.h"

#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "common/formats/date.h"

enum { MS_US = 1000 };

bool clock_source_parse(const char *text, enum clock_source *source, struct err *e)
{
    if (strcmp(text, "kernel") == 0)
        *source = CLOCK_SOURCE_KERNEL;
    else if (strcmp(text, "local-trusted") == 0)
        *source = CLOCK_SOURCE_LOCAL_TRUSTED;
    else
        return err_set(e, ERR_INPUT, "sealer.clock.source: \"%.40s\" is neither kernel nor local-trusted", text);
    return true;
}

static bool read_kernel(struct clock_reading *r, struct err *e)
{
    struct timex t = {.modes = 0};
    int state = ntp_adjtime(&t);

    if (state < 0)
        return err_set_errno(e, ERR_DOUBT, "clock: ntp_adjtime");
    r->synchronised = state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
    r->max_error_us = t.maxerror < 0 ? UINT64_MAX : (uint64_t)t.maxerror;
    return true;
}

bool clock_read(enum clock_source source, struct clock_reading *r, struct err *e)
{
    struct timespec now;

    *r = (struct clock_reading){.synchronised = true};
    if (source == CLOCK_SOURCE_KERNEL && !read_kernel(r, e))
        return false;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return err_set_errno(e, ERR_DOUBT, "clock");
    r->now_us = (int64_t)now.tv_sec * 1000 * MS_US + now.tv_nsec / 1000;
    return true;
}

bool clock_judge(const struct clock_reading *r, uint64_t max_error_ms, int64_t not_before_ms, struct err *e)
{
    char now[DATE_LEN + 1], before[DATE_LEN + 1];

    if (!r->synchronised)
        return err_set(e, ERR_DOUBT, "clock: the kernel says it is not synchronised");
    if (r->max_error_us > max_error_ms * MS_US)
        return err_set(e, ERR_DOUBT, "clock: error up to %llu ms, sealer.clock.max_error is %llu ms",
                       (unsigned long long)(r->max_error_us / MS_US), (unsigned long long)max_error_ms);
    if (r->now_us / MS_US >= not_before_ms)
        return true;
    date_write(now, r->now_us / MS_US);
    date_write(before, not_before_ms);
    return err_set(e, ERR_DOUBT, "clock: it says %s, before %s which is already sealed", now, before);
}

bool clock_trusted(enum clock_source source, uint64_t max_error_ms, int64_t not_before_ms, int64_t *now_us, struct err *e)
{
    struct clock_reading r;

    if (!clock_read(source, &r, e) || !clock_judge(&r, max_error_ms, not_before_ms, e))
        return false;
    *now_us = r.now_us;
    return true;
}
