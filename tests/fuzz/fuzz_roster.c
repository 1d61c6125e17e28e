/* ROSTER messages as fronts read them: whatever a sibling sends, entries stay within the bytes that came, and lookups end. */
#include <stdint.h>
#include <stdlib.h>

#include "common/system/roster.h"
#include "common/system/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct slice part, struct slice whole)
{
    if (part.len != 0 && (part.at < whole.at || part.at + part.len > whole.at + whole.len))
        abort();
}

/* The subject of an entry: it must be found, by that binding or by one as specific. */
static void look_up(const struct roster *r, const struct roster_entry *entry)
{
    struct tls_subject s = {0};
    uint32_t id = 0;

    if (entry->cn.len >= sizeof s.cn || entry->ou.len >= sizeof s.ou || entry->serial.len >= sizeof s.serial || entry->san.len >= sizeof s.sans ||
        memchr(entry->cn.at, 0, entry->cn.len) != NULL || memchr(entry->ou.at, 0, entry->ou.len) != NULL ||
        memchr(entry->serial.at, 0, entry->serial.len) != NULL || memchr(entry->san.at, 0, entry->san.len) != NULL)
        return;
    memcpy(s.cn, entry->cn.at, entry->cn.len);
    memcpy(s.ou, entry->ou.at, entry->ou.len);
    memcpy(s.serial, entry->serial.at, entry->serial.len);
    memcpy(s.sans, entry->san.at, entry->san.len);
    s.san_count = 1;
    if (!roster_find(r, entry->profile, &s, &id))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char serial[ROSTER_SERIAL_MAX + 1], text[ROSTER_TEXT_MAX + 1];
    struct slice all = slice_of(data, size);
    struct roster *r = roster_decode(all, NULL);

    if (roster_read_serial(all, serial, NULL) && strlen(serial) > ROSTER_SERIAL_MAX)
        abort();
    if (roster_read_san(all, text, NULL) && strlen(text) > ROSTER_TEXT_MAX)
        abort();
    if (r == NULL)
        return 0;
    for (unsigned i = 0; i < roster_count(r); i++) {
        const struct roster_entry *entry = roster_at(r, i);

        within(entry->cn, roster_body(r));
        within(entry->ou, roster_body(r));
        within(entry->serial, roster_body(r));
        within(entry->san, roster_body(r));
        if (i < 64)
            look_up(r, entry);
    }
    roster_free(r);
    return 0;
}
