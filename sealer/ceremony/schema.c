/* The compiled-in schema: the file's own bytes, put in by the assembler. See schema.h. */
#include "sealer/ceremony/schema.h"

__asm__(".section .rodata\n"
        "schema_begin: .incbin \"deploy/postgresql/schema.sql\"\n"
        "schema_end: .byte 0\n"
        ".previous\n");

extern const char schema_begin[], schema_end[];

struct slice schema_compiled(void)
{
    return slice_of(schema_begin, (size_t)(schema_end - schema_begin));
}
