/* Natural numbers as text: see number.h. */
#include "common/values/number.h"

bool number_parse(struct slice text, uint64_t *n)
{
    uint64_t v = 0;

    if (text.len == 0 || text.len > 20)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *n = v;
    return true;
}
