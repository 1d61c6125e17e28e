/* HTTP requests as the exporter's front reads them: head (in two pieces), route, conditions, query, extraction's content. */
#include <stdint.h>
#include <stdlib.h>

#include "exporter/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct http_request *r, struct slice content)
{
    struct api_call call;
    struct api_refusal no;
    struct http_span span;

    if (r->path[0] != '/' || strlen(r->path) >= sizeof r->path || r->content_length > HTTP_BODY_MAX)
        abort();
    if (http_evaluate(r, "\"etag\"", 1000, &span) == HTTP_PART && (span.length == 0 || span.first + span.length > 1000))
        abort();
    if (!api_route(r, &call, &no)) {
        if (no.status < 400 || no.status > 499)
            abort();
        return;
    }
    if (!api_read_content(r, content, &call, &no) && no.status / 100 != 4)
        abort();
    if (call.a > INT64_MAX || call.b > INT64_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request whole, pieces;
    struct http_refusal why = {0}, why2 = {0};
    struct http_scan scan = {0}, scan2 = {0};
    size_t used = 0, used2 = 0, split = size == 0 ? 0 : data[0] % size;
    enum http_result r = http_read_head(slice_of(data, size), &scan, &whole, &used, &why);
    enum http_result r2 = http_read_head(slice_of(data, split), &scan2, &pieces, &used2, &why2);

    /* However the bytes come, the result is the same. */
    if (r2 == HTTP_MORE)
        r2 = http_read_head(slice_of(data, size), &scan2, &pieces, &used2, &why2);
    if (r != r2 || used != used2 || why.status != why2.status)
        abort();
    if (r == HTTP_DONE) {
        struct slice content = slice_of(data + used, size - used);

        if (used > size)
            abort();
        if (content.len > whole.content_length)
            content.len = (size_t)whole.content_length;
        use(&whole, content);
    }
    return 0;
}
