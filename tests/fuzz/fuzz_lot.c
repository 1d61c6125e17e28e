/* Fuzz target: lot.xml and genesis.xml. What is read must be written as the same bytes; the rules must stand any values. */
#include <stdlib.h>

#include "common/formats/lot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct err e = {0};
    struct genesis g;
    struct lot l;
    struct buf again;

    buf_init(&again, LOT_XML_MAX);
    if (lot_read(in, &l, &e)) {
        struct lot_link link = {.number = l.number - 1, .last = l.first - 1};

        check(lot_write(&l, &again, NULL) && slice_equal(buf_slice(&again), in));
        (void)lot_check(&l, NULL);
        (void)lot_check_follows(&l, &link, NULL);
        lot_free(&l);
    } else {
        check(e.text[0] != '\0' && l.types == NULL);
    }
    buf_reset(&again);
    if (genesis_read(in, &g, NULL))
        check(genesis_write(&g, &again, NULL) && slice_equal(buf_slice(&again), in));
    buf_free(&again);
    return 0;
}
