/* See date.h. */
#include "common/formats/date.h"

#include <stdio.h>

enum { DAY_MS = 86400000 };

/* Civil calendar from days since 1970-01-01, in 400-year cycles that start on 1 March of year 0. */
static void date_civil(int64_t days, int *year, int *month, int *day)
{
    int64_t shifted = days + 719468;
    int64_t cycle = shifted / 146097, in_cycle = shifted % 146097;
    int64_t y = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    int64_t in_year = in_cycle - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153; /* 0: March */

    *day = (int)(in_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + cycle * 400 + (*month <= 2));
}

static int64_t date_days(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t cycle = y / 400, in_cycle = y % 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return cycle * 146097 + in_cycle * 365 + in_cycle / 4 - in_cycle / 100 + in_year - 719468;
}

void date_write(char out[DATE_LEN + 1], int64_t ms)
{
    const int64_t last = 253402300799999; /* 9999-12-31T23:59:59.999Z */
    int year, month, day, left;
    char text[96]; /* the compiler cannot know how small the numbers are */

    ms = ms < 0 ? 0 : ms > last ? last : ms;
    date_civil(ms / DAY_MS, &year, &month, &day);
    left = (int)(ms % DAY_MS);
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day, left / 3600000,
                   left / 60000 % 60, left / 1000 % 60, left % 1000);
    memcpy(out, text, DATE_LEN);
    out[DATE_LEN] = '\0';
}

static bool date_digits(struct slice text, size_t from, size_t count, int *value)
{
    *value = 0;
    for (size_t i = from; i < from + count; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        *value = *value * 10 + (text.at[i] - '0');
    }
    return true;
}

bool date_read(struct slice text, int64_t *ms)
{
    int year, month, day, hour, minute, second, milli;
    char again[DATE_LEN + 1];

    if (text.len != DATE_LEN || !date_digits(text, 0, 4, &year) || !date_digits(text, 5, 2, &month) ||
        !date_digits(text, 8, 2, &day) || !date_digits(text, 11, 2, &hour) || !date_digits(text, 14, 2, &minute) ||
        !date_digits(text, 17, 2, &second) || !date_digits(text, 20, 3, &milli))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59)
        return false;
    *ms = date_days(year, month, day) * DAY_MS + (int64_t)hour * 3600000 + minute * 60000 + second * 1000 + milli;
    date_write(again, *ms); /* separators, and days such as 31 April */
    return slice_is(text, again);
}
