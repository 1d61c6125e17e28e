/* Role `identity`: its life and its links. See identity.h. */
#include "common/identity/identity.h"

#include <poll.h>

struct identity {
    struct role *role;
    bool drained;
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    (void)ctx;
    (void)kind;
    (void)index;
    channel_free(c);
}

static void drain(void *ctx)
{
    ((struct identity *)ctx)->drained = true;
}

int identity_role_run(struct role *self, const struct identity_duty *duty)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct identity i = {.role = self};

    (void)duty;
    role_on(self, &events, &i);
    role_ready(self, true, "nothing to watch");
    while (role_poll(self, 1000))
        if (i.drained)
            return 0;
    return 1;
}
