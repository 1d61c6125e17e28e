/* Short copies without an allocation. See session_internal.h. */
#include <stdlib.h>

#include "ingest/session/session_internal.h"

void label_set(struct label *l, struct slice text)
{
    l->len = text.len;
    if (text.len > LABEL_INLINE)
        l->at.far = mem_alloc(text.len);
    if (text.len != 0)
        memcpy(text.len > LABEL_INLINE ? l->at.far : l->at.near, text.at, text.len);
}

struct slice label_slice(const struct label *l)
{
    return slice_of(l->len > LABEL_INLINE ? l->at.far : l->at.near, l->len);
}

void label_free(struct label *l)
{
    if (l->len > LABEL_INLINE)
        free(l->at.far);
    l->len = 0;
}
