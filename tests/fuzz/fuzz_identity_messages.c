/*
 * Fuzz target: messages of identity and fetch. The first byte chooses the type, the rest is the body. What is read is sent again and gives the
 * same bytes: a reader takes nothing that no sender writes.
 */
#include <stdlib.h>

#include "common/identity/identity.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct channel *ends[2];

static void open_ends(void)
{
    int fds[2];

    if (ends[0] != NULL)
        return;
    check(channel_pair(fds, NULL));
    for (unsigned i = 0; i < 2; i++)
        ends[i] = channel_open(fds[i], ROLE_MESSAGE_MAX, ROLE_QUEUE_MAX);
}

/* Reads the body as `type` and sends what was read. */
static bool again(uint16_t type, struct slice body, struct err *e)
{
    union {
        struct identity_present present;
        struct identity_verdict verdict;
        struct identity_server server;
        struct identity_overrides overrides;
        struct identity_fetch fetch;
        struct identity_fetched fetched;
        struct slice staple;
        uint64_t gone;
    } m;

    switch (type) {
    case IDENTITY_PRESENT:
        return identity_read_present(body, &m.present, e) && identity_send_present(ends[0], &m.present, NULL);
    case IDENTITY_GONE:
        return identity_read_gone(body, &m.gone, e) && identity_send_gone(ends[0], m.gone, NULL);
    case IDENTITY_SERVER:
        return identity_read_server(body, &m.server, e) && identity_send_server(ends[0], &m.server, NULL);
    case IDENTITY_VERDICT:
        return identity_read_verdict(body, &m.verdict, e) && identity_send_verdict(ends[0], &m.verdict, NULL);
    case IDENTITY_STAPLE:
        return identity_read_staple(body, &m.staple, e) && identity_send_staple(ends[0], m.staple, NULL);
    case IDENTITY_OVERRIDES:
        return identity_read_overrides(body, &m.overrides, e) && identity_send_overrides(ends[0], &m.overrides, NULL);
    case IDENTITY_FETCH:
        return identity_read_fetch(body, &m.fetch, e) && identity_send_fetch(ends[0], &m.fetch, NULL);
    default:
        return identity_read_fetched(body, &m.fetched, e) && identity_send_fetched(ends[0], &m.fetched, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t types[] = {IDENTITY_PRESENT, IDENTITY_GONE,  IDENTITY_SERVER,   IDENTITY_VERDICT,
                                     IDENTITY_STAPLE,  IDENTITY_OVERRIDES, IDENTITY_FETCH, IDENTITY_FETCHED};
    struct channel_message m;
    struct err e = {0};
    struct slice body;
    uint16_t type;

    if (size == 0)
        return 0;
    open_ends();
    type = types[data[0] % (sizeof types / sizeof *types)];
    body = slice_of(data + 1, size - 1);
    if (!again(type, body, &e)) {
        check(e.code == ERR_INPUT && e.text[0] != '\0');
        return 0;
    }
    check(channel_flush(ends[0], NULL) && channel_wait(ends[1], &m, 10000, NULL) == CHANNEL_MESSAGE);
    check(m.type == type && slice_equal(m.body, body));
    return 0;
}
