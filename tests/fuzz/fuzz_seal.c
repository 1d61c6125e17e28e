/*
 * Fuzz target: what seal, stamp and work read of each other, and the seal's memory. A role that was broken into must not
 * break its sibling, nor get a signature for a lot that does not follow. The first byte chooses.
 */
#include <stdlib.h>

#include "sealer/succession.h"

/* Whatever is judged fit to be signed is the lot after the last one, or the last one itself. */
static void judge(struct slice in)
{
    struct memory last;
    struct message_seal request;
    struct succession_lot lot;
    enum succession what;
    struct err e = {0};

    if (!message_get_seal(in, &request, &e))
        return;
    memory_init(&last);
    memcpy(last.operator_id, "4512", 5);
    last.vault = 1;
    if (succession_judge(&last, &request, &lot, &what, &e)) {
        if (what != SUCCESSION_SIGN || lot.lot.number != 1 || lot.lot.first != 1 || lot.lot.last != lot.lot.count)
            abort();
        lot_free(&lot.lot);
    } else if (e.code == ERR_NONE || e.code == ERR_INPUT) {
        abort();
    }
    lot_free(&request.lot);
    memory_free(&last);
}

static void remember(struct slice in)
{
    struct memory m;
    struct err e = {0};

    memory_init(&m);
    (void)!memory_read(&m, in, &e);
    memory_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;
    struct message_sealed sealed;
    struct message_stamp stamp;
    struct message_stamped stamped;
    struct message_stand stand;
    struct message_stands stands;
    struct err why = {0}, e = {0};
    uint64_t lot;

    if (size == 0)
        return 0;
    in = slice_of(data + 1, size - 1);
    switch (data[0] % 8) {
    case 0: judge(in); break;
    case 1: remember(in); break;
    case 2: (void)!message_get_sealed(in, &sealed, &e); break;
    case 3: (void)!message_get_stamp(in, &stamp, &e); break;
    case 4: (void)!message_get_stamped(in, &stamped, &e); break;
    case 6: (void)!message_get_stand(in, &stand, &e); break;
    case 7: (void)!message_get_stands(in, &stands, &e); break;
    default: (void)!message_get_refused(in, &lot, &why, &e); break;
    }
    return 0;
}
