/* Role `fetch`: HTTP towards CRL and OCSP servers. See identity.h. */
#include "common/identity/identity.h"

struct fetch {
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
    ((struct fetch *)ctx)->drained = true;
}

int fetch_role_run(struct role *self)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct fetch f = {.role = self};

    role_on(self, &events, &f);
    role_ready(self, true, "nothing to fetch");
    while (role_poll(self, 1000))
        if (f.drained)
            return 0;
    return 1;
}
