/* The memory of the last signature: see memory.h. */
#include "sealer/memory.h"

#include "common/formats/digest.h"
#include "common/system/durable.h"
#include "common/values/wire.h"

/* File: magic, version, fields, answer; then the SHA-256 of all that. */
static const char magic[4] = {'C', 'F', 'S', 'M'};
enum { VERSION = 1, FILE_MAX = MEMORY_ANSWER_MAX + 1024 };

void memory_init(struct memory *m)
{
    *m = (struct memory){0};
    buf_init(&m->answer, MEMORY_ANSWER_MAX);
}

void memory_free(struct memory *m)
{
    buf_free(&m->answer);
}

int memory_lock(const char *path, struct err *e)
{
    return durable_lock(path, e);
}

bool memory_write(const struct memory *m, struct buf *out, struct err *e)
{
    struct wire_writer w = wire_write(out);
    uint8_t digest[DIGEST_LEN];
    size_t before = out->len;
    struct slice written;

    wire_put_fixed(&w, magic, sizeof magic);
    wire_put_u8(&w, VERSION);
    wire_put_text(&w, slice_text(m->operator_id));
    wire_put_u32(&w, m->vault);
    wire_put_u64(&w, m->number);
    wire_put_u64(&w, m->last);
    wire_put_u64(&w, (uint64_t)m->closed_ms);
    wire_put_u64(&w, (uint64_t)m->signed_ms);
    wire_put_fixed(&w, m->genesis, sizeof m->genesis);
    wire_put_fixed(&w, m->value, sizeof m->value);
    wire_put_fixed(&w, m->request, sizeof m->request);
    wire_put_bytes(&w, buf_slice(&m->answer));
    if (!wire_ok(&w, "memory", e))
        return false;
    written = slice_of(buf_slice(out).at + before, out->len - before);
    return digest_sha256(written, digest, e) && buf_add(out, digest, sizeof digest, e);
}

static void copy_fixed(struct wire_reader *r, uint8_t out[32])
{
    struct slice s = wire_get_fixed(r, 32);

    if (s.len == 32)
        memcpy(out, s.at, 32);
}

static bool read_fields(struct memory *m, struct slice bytes, struct err *e)
{
    struct wire_reader r = wire_read(bytes);
    struct slice start = wire_get_fixed(&r, sizeof magic), operator_id, answer;
    uint8_t version = wire_get_u8(&r);

    if (!slice_equal(start, slice_of(magic, sizeof magic)) || version != VERSION)
        return err_set(e, ERR_DOUBT, "seal's memory: not such a file, or of another version");
    operator_id = wire_get_text(&r);
    m->vault = wire_get_u32(&r);
    m->number = wire_get_u64(&r);
    m->last = wire_get_u64(&r);
    m->closed_ms = (int64_t)wire_get_u64(&r);
    m->signed_ms = (int64_t)wire_get_u64(&r);
    copy_fixed(&r, m->genesis);
    copy_fixed(&r, m->value);
    copy_fixed(&r, m->request);
    answer = wire_get_bytes(&r);
    if (!wire_end(&r, "seal's memory", NULL) || operator_id.len != 4)
        return err_set(e, ERR_DOUBT, "seal's memory: fields are missing");
    memcpy(m->operator_id, operator_id.at, 4);
    m->operator_id[4] = '\0';
    buf_reset(&m->answer);
    return buf_add_slice(&m->answer, answer, e);
}

bool memory_read(struct memory *m, struct slice bytes, struct err *e)
{
    uint8_t digest[DIGEST_LEN];
    struct slice told;

    if (bytes.len < DIGEST_LEN)
        return err_set(e, ERR_DOUBT, "seal's memory: torn (%zu bytes)", bytes.len);
    told = slice_of(bytes.at + bytes.len - DIGEST_LEN, DIGEST_LEN);
    bytes.len -= DIGEST_LEN;
    if (!digest_sha256(bytes, digest, e))
        return false;
    if (!slice_equal(told, slice_of(digest, sizeof digest)))
        return err_set(e, ERR_DOUBT, "seal's memory: torn or changed, its digest does not hold");
    return read_fields(m, bytes, e);
}

bool memory_load(struct memory *m, const char *path, bool *missing, struct err *e)
{
    struct err why = {0};
    bool absent = false, ok;
    struct buf b;

    buf_init(&b, FILE_MAX);
    ok = durable_read(path, &b, &absent, &why);
    if (missing != NULL)
        *missing = absent;
    if (absent)
        err_set(e, ERR_DOUBT, "%s is missing: what was signed last is not known. coffre-ceremony genesis creates it; "
                              "if it was lost, see coffre-ceremony remember", path);
    else if (!ok)
        err_set(e, ERR_DOUBT, "%s", why.text);
    else if (!memory_read(m, buf_slice(&b), e))
        ok = err_prefix(e, "%s", path);
    buf_free(&b);
    return ok;
}

bool memory_store(const struct memory *m, const char *path, struct err *e)
{
    struct buf b;
    bool ok;

    buf_init(&b, FILE_MAX);
    ok = memory_write(m, &b, e) && durable_write(path, buf_slice(&b), 0600, e);
    buf_free(&b);
    return ok;
}
