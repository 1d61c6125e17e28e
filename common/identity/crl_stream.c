/* Lists of one issuer, key and scope: see crl_stream.h. */
#include "common/identity/crl_stream.h"

#include <stdlib.h>

/* Any list of the stream; NULL: it is about to end. */
static const struct crl_list *example(const struct crl_stream *stream)
{
    return stream->first != NULL ? stream->first : stream->left;
}

struct crl_stream *crl_streams_find(const struct crl_streams *s, const struct crl_list *l)
{
    struct crl_stream *stream = map_get(&s->by_mark, l->mark);

    while (stream != NULL && (example(stream) == NULL || !crl_list_same_stream(example(stream), l)))
        stream = stream->next;
    return stream;
}

static struct crl_stream *begin(struct crl_streams *s, uint64_t mark)
{
    struct crl_stream *stream = mem_zalloc(1, sizeof *stream);

    stream->mark = mark;
    stream->next = map_put(&s->by_mark, mark, stream);
    return stream;
}

void crl_streams_touch(struct crl_streams *s, struct crl_stream *stream)
{
    if (stream->is_changed)
        return;
    stream->is_changed = true;
    stream->next_changed = s->changed;
    s->changed = stream;
}

void crl_streams_add(struct crl_streams *s, struct crl_list *l)
{
    struct crl_list **at;

    l->stream = crl_streams_find(s, l);
    if (l->stream == NULL)
        l->stream = begin(s, l->mark);
    at = &l->stream->first;
    if (*at != NULL && crl_list_older(l, *at))
        at = &(*at)->next;
    l->next = *at;
    *at = l;
    crl_streams_touch(s, l->stream);
}

void crl_streams_remove(struct crl_streams *s, struct crl_list *l)
{
    struct crl_list **at = &l->stream->first;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    crl_streams_touch(s, l->stream);
}

struct crl_stream *crl_streams_changed(struct crl_streams *s)
{
    struct crl_stream *stream = s->changed;

    if (stream != NULL) {
        s->changed = stream->next_changed;
        stream->is_changed = false;
    }
    return stream;
}

static void take_out(struct crl_streams *s, const struct crl_stream *stream)
{
    struct crl_stream *first = map_take(&s->by_mark, stream->mark), **at = &first;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    if (first != NULL)
        (void)map_put(&s->by_mark, first->mark, first);
}

void crl_streams_end(struct crl_streams *s, struct crl_stream *stream)
{
    if (example(stream) != NULL)
        return;
    take_out(s, stream);
    free(stream);
}

void crl_streams_free(struct crl_streams *s)
{
    struct crl_stream *stream, *next;
    size_t place = 0;

    while ((stream = map_next(&s->by_mark, &place)) != NULL)
        for (; stream != NULL; stream = next) {
            next = stream->next;
            free(stream);
        }
    map_free(&s->by_mark);
}

bool crl_stream_has_newer(const struct crl_list *l)
{
    const struct crl_list *left = l->stream->left;

    if (left != NULL && crl_list_older(l, left))
        return true;
    for (const struct crl_list *other = l->stream->first; other != NULL; other = other->next)
        if (other != l && crl_list_older(l, other))
            return true;
    return false;
}
