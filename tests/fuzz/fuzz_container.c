/*
 * Fuzz target: a sealed container and the signature in it, up to where certificates would be asked. What is accepted must be
 * exactly what is written from its parts.
 */
#include <stdlib.h>

#include "common/formats/container.h"
#include "common/formats/xades.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct container c;
    struct xades x;
    struct err e = {0};
    enum zip_fault fault;

    /* The signature alone too: mutations seldom keep the CRC-32 of a container. */
    if (xades_read(slice_of(data, size), &x, &e)) {
        check(x.certificate_count >= 1 && x.value.len > 0 && x.token.len > 0);
        xades_clear(&x);
    }
    e = (struct err){0};
    if (container_read(slice_of(data, size), &c, &fault, &e)) {
        struct buf again;

        buf_init(&again, size);
        check(fault == ZIP_FAULT_NONE && container_length(&c) == size && container_write(&c, &again, NULL));
        check(slice_equal(buf_slice(&again), slice_of(data, size)));
        buf_free(&again);
    } else {
        check(fault != ZIP_FAULT_NONE && e.text[0] != '\0');
    }
    return 0;
}
