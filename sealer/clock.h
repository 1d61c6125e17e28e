/*
 * Whether the time may be written into a seal. A wrong clock stops sealing, never the intake. Two sources:
 * `kernel`, a clock the kernel says NTP disciplines (ntp_adjtime(3)), and `local-trusted`, for development,
 * which believes the system clock and says so loudly. The judgement is pure; only clock_read() asks the system.
 */
#ifndef COFFRE_CLOCK_H
#define COFFRE_CLOCK_H

#include <stdint.h>

#include "common/values/err.h"

enum clock_source { CLOCK_SOURCE_KERNEL, CLOCK_SOURCE_LOCAL_TRUSTED };

/* "kernel" or "local-trusted"; ERR_INPUT otherwise. */
MUST_CHECK bool clock_source_parse(const char *text, enum clock_source *source, struct err *e);

/* What the system says about its clock at one instant. */
struct clock_reading {
    int64_t now_us;        /* since 1970 */
    bool synchronised;     /* by NTP or the like; always true of CLOCK_SOURCE_LOCAL_TRUSTED */
    uint64_t max_error_us; /* as the kernel estimates it; 0 of CLOCK_SOURCE_LOCAL_TRUSTED */
};

/* ERR_DOUBT when the system does not even answer. */
MUST_CHECK bool clock_read(enum clock_source source, struct clock_reading *r, struct err *e);

/*
 * True when `r` may be sealed with: synchronised, error at most `max_error_ms`, and not before `not_before_ms` (the last
 * instant that was sealed with, 0 for none). Otherwise ERR_DOUBT and the reason.
 */
MUST_CHECK bool clock_judge(const struct clock_reading *r, uint64_t max_error_ms, int64_t not_before_ms, struct err *e);

/* Both of the above; *now_us is only written on success. */
MUST_CHECK bool clock_trusted(enum clock_source source, uint64_t max_error_ms, int64_t not_before_ms, int64_t *now_us,
                              struct err *e);

#endif
