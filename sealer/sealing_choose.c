/* What two roles have in common: see sealing_internal.h. */
#include "sealer/sealing_internal.h"

static bool is_set(const uint8_t mark[MESSAGE_MARK])
{
    static const uint8_t none[MESSAGE_MARK];

    return memcmp(mark, none, MESSAGE_MARK) != 0;
}

static bool has(const struct message_stands *s, const uint8_t mark[MESSAGE_MARK])
{
    return is_set(mark) && (memcmp(s->now, mark, MESSAGE_MARK) == 0 || memcmp(s->next, mark, MESSAGE_MARK) == 0);
}

bool sealing_choose(const struct message_stands *seal, const struct message_stands *stamp, uint8_t chosen[MESSAGE_MARK])
{
    /* What is newer first. When only one of them could take the new, the old is what both have. */
    const uint8_t *const wishes[] = {seal->next, stamp->next, seal->now};

    for (unsigned i = 0; i < sizeof wishes / sizeof *wishes; i++)
        if (has(seal, wishes[i]) && has(stamp, wishes[i])) {
            memcpy(chosen, wishes[i], MESSAGE_MARK);
            return true;
        }
    return false;
}
