/* One input from beginning to end: files in their order, each handed to whom it concerns. See verify.h. */
#include "exporter/verify/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, PROGRESS_BYTES = 16 << 20 };

void verify_init(struct verify *v, struct report *r, struct trust *t)
{
    memset(v, 0, sizeof(*v));
    v->report = r;
    v->trust = t;
    v->anchors = trust_store_at(t, 0);
    v->sha256 = EVP_MD_CTX_new();
    v->room = mem_alloc(ROOM);
    buf_init(&v->lot.container, VERIFY_CONTAINER_MAX);
}

void verify_free(struct verify *v)
{
    EVP_MD_CTX_free(v->sha256);
    free(v->room);
    free(v->seen);
    buf_free(&v->lot.container);
    lot_free(&v->lot.header);
}

static void verify_progress(struct verify *v, size_t bytes)
{
    struct report *r = v->report;

    r->bytes += bytes;
    v->unsaid += bytes;
    if (r->quiet || r->json || v->unsaid < PROGRESS_BYTES || isatty(STDERR_FILENO) != 1)
        return;
    v->unsaid = 0;
    r->progress = true;
    (void)fprintf(stderr, "\r\033[Klot %" PRIu64 ", %" PRIu64 " events, %" PRIu64 " MB", v->lot.number, r->events, r->bytes >> 20);
    if (v->total > 0)
        (void)fprintf(stderr, " of %" PRIu64, v->total >> 20);
}

static enum report_code verify_zip_code(enum zip_fault fault)
{
    switch (fault) {
    case ZIP_FAULT_TRUNCATED:
        return REPORT_SEGMENT_TRUNCATED;
    case ZIP_FAULT_COMPRESSED:
        return REPORT_SEGMENT_COMPRESSED;
    case ZIP_FAULT_DESCRIPTOR:
        return REPORT_SEGMENT_DESCRIPTOR;
    case ZIP_FAULT_MISMATCH:
        return REPORT_SEGMENT_MISMATCH;
    case ZIP_FAULT_NAME:
        return REPORT_SEGMENT_NAME;
    case ZIP_FAULT_DUPLICATE:
        return REPORT_SEGMENT_DUPLICATE;
    case ZIP_FAULT_CRC:
        return REPORT_SEGMENT_CRC;
    case ZIP_FAULT_TRAILING:
        return REPORT_SEGMENT_TRAILING;
    case ZIP_FAULT_READ:
        return REPORT_UNREADABLE;
    case ZIP_FAULT_NONE:
    case ZIP_FAULT_HEADER:
        break;
    }
    return REPORT_SEGMENT_HEADER;
}

/* Everything after this point of the input is unknown. */
struct broken {
    bool yes, truncated;
};

static void verify_break(struct verify *v, struct broken *b, enum zip_fault fault, const char *text)
{
    b->yes = true;
    if (fault == ZIP_FAULT_TRUNCATED && b->truncated)
        return; /* said when it was opened */
    b->truncated |= fault == ZIP_FAULT_TRUNCATED;
    report_add(v->report, verify_zip_code(fault), (struct report_where){.lot = v->lot.number}, "%s", text);
}

/*
 * Reads the current file to its end: digest when wanted, bytes when wanted (up to the buffer's maximum). False when it could not be read
 * to its end.
 */
static bool verify_read(struct verify *v, uint8_t digest[32], struct buf *bytes, struct broken *b)
{
    enum zip_fault fault;
    struct err e = {0};
    size_t got;

    if (digest != NULL && EVP_DigestInit_ex(v->sha256, EVP_sha256(), NULL) != 1)
        return false;
    for (;;) {
        if (!input_read(v->input, v->room, ROOM, &got, &fault, &e)) {
            verify_break(v, b, fault, e.text);
            return false;
        }
        if (got == 0)
            break;
        verify_progress(v, got);
        if (digest != NULL && EVP_DigestUpdate(v->sha256, v->room, got) != 1)
            return false;
        if (bytes != NULL && !buf_add(bytes, v->room, got, NULL))
            bytes = NULL; /* over its maximum: noticed by its length */
    }
    return digest == NULL || EVP_DigestFinal_ex(v->sha256, digest, NULL) == 1;
}

static void verify_crc(struct verify *v, const char *name)
{
    if (input_crc_wrong(v->input))
        report_add(v->report, REPORT_SEGMENT_CRC, (struct report_where){.lot = v->lot.number, .file = name},
                   "%s does not have the CRC-32 that the ZIP file names", name);
}

static void verify_certificate(struct verify *v, const struct input_file *file, struct broken *b)
{
    struct buf bytes;

    buf_init(&bytes, VERIFY_CERTS_MAX);
    if (verify_read(v, NULL, &bytes, b)) {
        verify_crc(v, file->name);
        verify_certificate_file(v, file->entry.ordinal, buf_slice(&bytes));
    }
    buf_free(&bytes);
}

static void verify_container(struct verify *v, const struct input_file *file, struct broken *b)
{
    if (file->size > VERIFY_CONTAINER_MAX) {
        report_add(v->report, REPORT_CONTAINER_FORM, (struct report_where){.lot = v->lot.number}, "over %d bytes", VERIFY_CONTAINER_MAX);
        verify_chain_unknown(v);
        (void)verify_read(v, NULL, NULL, b);
        return;
    }
    buf_reset(&v->lot.container);
    if (verify_read(v, NULL, &v->lot.container, b)) {
        verify_crc(v, file->name);
        verify_lot_container(v);
    } else {
        verify_chain_unknown(v);
    }
}

static void verify_decrypt(struct verify *v, const struct names_entry *n, const struct buf *bytes)
{
    struct report_where where = {v->lot.number, n->serial, n->serial, NULL};
    struct err e = {0};

    if (n->kind == NAMES_KEY && !decrypt_key(v->decrypt, n->ordinal, buf_slice(bytes), &e))
        report_add(v->report, REPORT_REGULATOR_KEY, where, "%s", e.text);
    if (n->kind != NAMES_EVENT || !decrypt_has_key(v->decrypt))
        return;
    if (decrypt_event(v->decrypt, n->serial, buf_slice(bytes), &e))
        v->report->decrypted++;
    else
        report_add(v->report, e.code == ERR_RETRY ? REPORT_UNREADABLE : REPORT_EVENT_UNDECRYPTABLE, where, "%s", e.text);
}

/* A key file or an event: its digest against the sealed list, its content for the regulator. */
static void verify_sealed_file(struct verify *v, const struct input_file *file, struct broken *b)
{
    struct buf bytes;
    uint8_t digest[32];

    buf_init_secret(&bytes, file->entry.kind == NAMES_KEY ? VERIFY_KEY_MAX : VERIFY_EVENT_MAX);
    if (verify_read(v, digest, v->decrypt == NULL ? NULL : &bytes, b)) {
        verify_crc(v, file->name);
        /* Only what is proved is opened and kept: nothing else may lie among the events that were sealed. */
        if (verify_lot_file(v, &file->entry, digest) && v->decrypt != NULL && !v->lot.repeated)
            verify_decrypt(v, &file->entry, &bytes);
    }
    buf_free(&bytes);
}

/* A key or event without its container: said once for the lot. */
static void verify_enter_lot(struct verify *v, const struct input_file *file)
{
    if (v->lot.number == file->entry.lot)
        return;
    if (v->lot.number != 0)
        verify_lot_end(v, true);
    verify_lot_begin(v, file->entry.lot);
    if (file->entry.kind == NAMES_LOT)
        return;
    report_add(v->report, REPORT_CONTAINER_MISSING, (struct report_where){.lot = v->lot.number},
               "its files are here, its container is not");
    verify_chain_unknown(v);
}

/* False when the file is not where it belongs, which has been said. */
static bool verify_order(struct verify *v, const struct input_file *file)
{
    struct names_entry before = v->last;
    int order = v->any ? names_compare(&before, &file->entry) : -1;

    if (order < 0) {
        v->any = true;
        v->last = file->entry;
        return true;
    }
    report_add(v->report, order == 0 ? REPORT_SEGMENT_DUPLICATE : file->entry.kind == NAMES_LOT ? REPORT_LOT_ORDER :
               REPORT_SEGMENT_ORDER, (struct report_where){.lot = file->entry.lot, .file = file->name},
               "%s is there twice, or after what it belongs before", file->name);
    return false;
}

static void verify_file(struct verify *v, const struct input_file *file, struct broken *b)
{
    if (file->entry.kind == NAMES_OTHER) {
        /* Beside certs/, lots/, keys/ and events/ of a folder people keep their own things. */
        bool beside = !input_is_zip(v->input) && strchr(file->name, '/') == NULL;

        report_add(v->report, beside ? REPORT_FILE_BESIDE : REPORT_FILE_EXTRA, (struct report_where){.file = file->name},
                   "%s does not belong here", file->name);
        (void)verify_read(v, NULL, NULL, b);
        return;
    }
    if (!verify_order(v, file)) {
        (void)verify_read(v, NULL, NULL, b);
        return;
    }
    if (file->entry.lot != 0)
        verify_enter_lot(v, file);
    switch (file->entry.kind) {
    case NAMES_CERTIFICATE:
        verify_certificate(v, file, b);
        break;
    case NAMES_LOT:
        verify_container(v, file, b);
        break;
    case NAMES_KEY:
    case NAMES_EVENT:
        verify_sealed_file(v, file, b);
        break;
    case NAMES_README:
        if (verify_read(v, NULL, NULL, b))
            verify_crc(v, file->name);
        break;
    case NAMES_OTHER:
        break;
    }
}

void verify_input(struct verify *v, struct input *in)
{
    struct broken b = {false, false};
    enum zip_fault fault;
    const char *text;
    struct input_file file;

    v->input = in;
    v->any = false;
    memset(&v->here, 0, sizeof(v->here));
    memset(v->pem_there, 0, sizeof(v->pem_there));
    memset(v->pem_matched, 0, sizeof(v->pem_matched));
    v->report->input = input_path(in);
    fault = input_opening_fault(in, &text);
    if (fault != ZIP_FAULT_NONE) {
        verify_break(v, &b, fault, text);
        b.yes = false; /* its files are read as far as they go */
    }
    while (!b.yes) {
        struct err e = {0};
        enum input_result result = input_next(in, &file, &fault, &e);

        if (result == INPUT_FILE)
            verify_file(v, &file, &b);
        else if (result == INPUT_DAMAGED)
            verify_break(v, &b, fault, e.text);
        else if (result == INPUT_FAILED)
            verify_break(v, &b, ZIP_FAULT_READ, e.text);
        else
            break;
    }
    if (v->lot.number != 0)
        verify_lot_end(v, !b.yes || b.truncated);
    verify_certificates_end(v);
    v->report->input = NULL;
}

void verify_expect(struct verify *v, uint64_t first_lot, uint64_t last_lot)
{
    const struct report *r = v->report;

    verify_genesis_end(v);
    if (first_lot != 0 && r->lots > 0 && r->first_lot > first_lot)
        report_add(v->report, REPORT_LOTS_MISSING_START, (struct report_where){.lot = first_lot},
                   "lots %" PRIu64 " to %" PRIu64 " were expected and are not here", first_lot, r->first_lot - 1);
    if (last_lot != 0 && r->lots > 0 && r->last_lot < last_lot)
        report_add(v->report, REPORT_LOTS_MISSING_END, (struct report_where){.lot = r->last_lot + 1},
                   "lots %" PRIu64 " to %" PRIu64 " were expected and are not here", r->last_lot + 1, last_lot);
}
