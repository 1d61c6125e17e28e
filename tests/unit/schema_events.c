/* See schema_events.h. */
#include "tests/unit/unit.h"

#include <limits.h>
#include <stdlib.h>

#include "ingest/ledger/digest.h"
#include "tests/unit/schema_events.h"

static bool open_named(void *ctx, const char *path, struct slice *bytes, struct err *e)
{
    for (const struct named_text *file = ctx; file->path != NULL; file++)
        if (strcmp(file->path, path) == 0) {
            *bytes = slice_text(file->text);
            return true;
        }
    return err_set(e, ERR_INPUT, "%s: is not there", path);
}

struct schema *schema_of(const struct named_text *files, struct err *e)
{
    struct named_text *all = (struct named_text *)(uintptr_t)files;
    const struct schema_source source = {open_named, all};

    return schema_compile(files->path, &source, e);
}

struct event_checker *checker_with(const struct event_schemas *schemas)
{
    static const struct event_limits limits = {"4512", 1, 16};
    struct event_checker *c = event_checker_new(&limits, NULL);

    assert_non_null(c);
    event_checker_use_schemas(c, schemas);
    return c;
}

void judge_event(struct event_checker *c, struct slice body, struct event_verdict *v)
{
    struct digester *digester = digest_new(NULL);
    struct pack_deposit d = {.client_id = SLICE_LITERAL("C:1"), .digest_algo = SLICE_LITERAL("SHA-256"), .body = body};
    uint8_t digest[DIGEST_SIZE_MAX];
    char hex[DIGEST_HEX_MAX];
    struct err e = {0};
    size_t len;

    assert_non_null(digester);
    assert_true(digest_compute(digester, DIGEST_SHA256, &body, 1, digest, &len, NULL));
    digest_to_hex(digest, len, hex);
    d.digest = slice_of(hex, 2 * len);
    if (!event_check(c, &d, v, &e))
        fail_msg("%s", e.text);
    digest_free(digester);
}

struct event_schemas schemas_of_folder(const char *folder, const char *policy, struct schema_set *set)
{
    char path[PATH_MAX];
    struct settings s = {.ingest = {.schemas = {1, {path}}, .schema_policy = (char *)(uintptr_t)policy, .schema_unknown = (char *)(uintptr_t)policy}};
    struct event_schemas compiled;
    struct err e = {0};
    struct buf message;

    if (realpath(folder, path) == NULL)
        fail_msg("%s is not there", folder);
    buf_init(&message, 64 << 20);
    if (!schema_set_read(set, &s, &e) || !schema_set_write(set, &message, &e) || !schema_set_compile(buf_slice(&message), &compiled, &e))
        fail_msg("%s", e.text);
    buf_free(&message);
    return compiled;
}
