/* One lot: its container, its list, its files. See verify.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/formats/digest.h"
#include "exporter/verify/verify.h"

static struct report_where lot_where(const struct verify *v)
{
    return (struct report_where){.lot = v->lot.number};
}

static void lot_say_range(struct verify *v, enum report_code code, struct verify_range *range, const char *what)
{
    if (range->first != 0)
        report_add(v->report, code, (struct report_where){v->lot.number, range->first, range->last, NULL}, "%s", what);
    *range = (struct verify_range){0, 0};
}

static void lot_extend_range(struct verify *v, enum report_code code, struct verify_range *range, uint64_t serial,
                             const char *what)
{
    if (range->first != 0 && serial == range->last + 1) {
        range->last = serial;
        return;
    }
    lot_say_range(v, code, range, what);
    *range = (struct verify_range){serial, serial};
}

#define WORDS_MISSING "sealed, but not here"
#define WORDS_ALTERED "the digest is not the one in the sealed list"

void verify_lot_begin(struct verify *v, uint64_t number)
{
    v->lot.number = number;
    v->lot.repeated = false;
    v->lot.listed = v->lot.sealed = false;
    v->lot.wanted = false;
    buf_reset(&v->lot.container);
    if (v->decrypt != NULL)
        decrypt_begin_lot(v->decrypt, number);
}

static void lot_advance(struct verify *v)
{
    v->lot.wanted = sums_next(&v->lot.cursor, &v->lot.want, NULL) == SUMS_LINE;
}

/* Keys by ordinal from 1, then serials from `first` on, all of this lot. */
static bool lot_line_in_order(const struct verify *v, const struct sums_line *line, uint32_t *keys, uint64_t *events)
{
    if (line->entry.lot != v->lot.header.number)
        return false;
    if (line->entry.kind == NAMES_KEY)
        return *events == 0 && line->entry.ordinal == ++*keys;
    return line->entry.serial == v->lot.header.first + (*events)++;
}

/* The whole list before any file is held against it: spelling, order, count, root. */
static void lot_check_sums(struct verify *v)
{
    struct sums_reader r = sums_read(v->lot.parts.sums);
    struct err e = {0};
    struct sums_line line;
    struct merkle tree;
    uint8_t root[32];
    uint64_t events = 0;
    uint32_t keys = 0;
    enum sums_result result;
    bool order = true;

    merkle_init(&tree);
    while ((result = sums_next(&r, &line, &e)) == SUMS_LINE) {
        merkle_add(&tree, line.whole);
        if (order && !lot_line_in_order(v, &line, &keys, &events)) {
            report_add(v->report, REPORT_SUMS_ORDER, lot_where(v), "line %" PRIu64 " of SHA256SUMS (%.*s) is not the one that must follow",
                       r.number, SLICE_ARGS(line.name));
            order = false;
        }
    }
    if (result == SUMS_BAD)
        report_add(v->report, REPORT_SUMS_FORM, lot_where(v), "%s", e.text);
    else if (order && events != v->lot.header.count)
        report_add(v->report, REPORT_SUMS_COUNT, lot_where(v), "SHA256SUMS lists %" PRIu64 " events, the header says %" PRIu64,
                   events, v->lot.header.count);
    if (result == SUMS_END && (!merkle_root(&tree, root, NULL) || memcmp(root, v->lot.header.root, 32) != 0))
        report_add(v->report, REPORT_MERKLE_ROOT, lot_where(v), "Racine in the header is not the Merkle root of SHA256SUMS");
    merkle_free(&tree);
    v->lot.listed = result == SUMS_END && order;
    v->lot.cursor = sums_read(v->lot.parts.sums);
    if (v->lot.listed)
        lot_advance(v);
}

static bool lot_open_container(struct verify *v)
{
    enum zip_fault fault;
    struct err e = {0};
    struct slice bytes = buf_slice(&v->lot.container);

    if (!container_read(bytes, &v->lot.parts, &fault, &e)) {
        report_add(v->report, fault == ZIP_FAULT_TRUNCATED ? REPORT_CONTAINER_TRUNCATED :
                              fault == ZIP_FAULT_CRC ? REPORT_CONTAINER_CRC : REPORT_CONTAINER_FORM, lot_where(v), "%s", e.text);
        return false;
    }
    lot_free(&v->lot.header);
    if (!lot_read(v->lot.parts.lot, &v->lot.header, &e)) {
        report_add(v->report, REPORT_LOT_FORM, lot_where(v), "%s", e.text);
        return false;
    }
    return true;
}

static void lot_check_header(struct verify *v)
{
    const struct lot *h = &v->lot.header;
    struct err e = {0};

    if (h->number != v->lot.number)
        report_add(v->report, REPORT_LOT_NUMBER, lot_where(v), "the container under this name is that of lot %" PRIu64, h->number);
    if (!lot_check(h, &e))
        report_add(v->report, REPORT_LOT_INCONSISTENT, lot_where(v), "%s", e.text);
    if (v->operator_id[0] == '\0') {
        memcpy(v->operator_id, h->operator_id, 5);
        v->vault = h->vault;
        (void)snprintf(v->report->vault, sizeof(v->report->vault), "%s/%" PRIu32, h->operator_id, h->vault);
        if (v->has_genesis && (strcmp(v->genesis.operator_id, h->operator_id) != 0 || v->genesis.vault != h->vault))
            report_add(v->report, REPORT_GENESIS_VAULT, lot_where(v), "sealed for operator %s, vault %" PRIu32
                       ", certs/genesis.xml is that of %s, vault %" PRIu32, h->operator_id, h->vault, v->genesis.operator_id,
                       v->genesis.vault);
    } else if (strcmp(v->operator_id, h->operator_id) != 0 || v->vault != h->vault) {
        report_add(v->report, REPORT_LOT_VAULT, lot_where(v), "sealed for operator %s, vault %" PRIu32 ", the others for %s, vault %" PRIu32,
                   h->operator_id, h->vault, v->operator_id, v->vault);
    }
}

static void lot_count(struct verify *v, const struct xades_verdict *verdict)
{
    struct report *r = v->report;
    const struct lot *h = &v->lot.header;

    r->lots++;
    r->empty_lots += h->count == 0;
    if (r->first_lot == 0 || h->number < r->first_lot)
        r->first_lot = h->number;
    if (h->number > r->last_lot)
        r->last_lot = h->number;
    if (h->count > 0 && (r->first_event == 0 || h->first < r->first_event))
        r->first_event = h->first;
    if (h->count > 0 && h->last > r->last_event)
        r->last_event = h->last;
    if (verdict->stamped_ms != 0 && (r->first_stamp_ms == 0 || verdict->stamped_ms < r->first_stamp_ms))
        r->first_stamp_ms = verdict->stamped_ms;
    if (verdict->stamped_ms > r->last_stamp_ms)
        r->last_stamp_ms = verdict->stamped_ms;
    if (verdict->subject[0] != '\0')
        (void)snprintf(r->seal, sizeof(r->seal), "%s", verdict->subject);
}

void verify_lot_container(struct verify *v)
{
    struct xades_files files;
    struct xades_verdict verdict;
    uint8_t digest[32];
    struct err e = {0};

    if (!lot_open_container(v)) {
        verify_chain_unknown(v);
        return;
    }
    lot_check_header(v);
    files = (struct xades_files){v->lot.parts.lot, v->lot.parts.sums, v->lot.parts.previous};
    v->lot.sealed = xades_verify(v->lot.parts.signatures, &files, v->trust, &verdict, &e);
    if (!v->lot.sealed)
        report_add(v->report, verdict.fault == XADES_FAULT_NONE ? REPORT_UNREADABLE :
                   (enum report_code)((int)REPORT_SIGNATURE_FORM + (int)verdict.fault - (int)XADES_FAULT_FORM), lot_where(v),
                   "%s", e.text);
    lot_check_sums(v);
    if (digest_sha256(buf_slice(&v->lot.container), digest, &e))
        verify_chain(v, digest, &verdict);
    if (!v->lot.repeated)
        lot_count(v, &verdict);
}

static void lot_say_missing(struct verify *v)
{
    const struct names_entry *n = &v->lot.want.entry;

    if (v->partial)
        return;
    if (n->kind == NAMES_KEY)
        report_add(v->report, REPORT_KEY_MISSING, lot_where(v), "key file %06" PRIu64 "-%" PRIu32 " is sealed, but not here", n->lot,
                   n->ordinal);
    else
        lot_extend_range(v, REPORT_EVENT_MISSING, &v->lot.missing, n->serial, WORDS_MISSING);
}

bool verify_lot_file(struct verify *v, const struct names_entry *entry, const uint8_t digest[32])
{
    bool key = entry->kind == NAMES_KEY, same;

    if (!v->lot.listed)
        return false; /* said already: the list cannot be used */
    while (v->lot.wanted && names_compare(&v->lot.want.entry, entry) < 0) {
        lot_say_missing(v);
        lot_advance(v);
    }
    if (!v->lot.wanted || names_compare(&v->lot.want.entry, entry) != 0) {
        report_add(v->report, key ? REPORT_KEY_EXTRA : REPORT_EVENT_EXTRA,
                   (struct report_where){v->lot.number, entry->serial, entry->serial, NULL}, "it is not in the lot's sealed list");
        return false;
    }
    same = memcmp(digest, v->lot.want.digest, 32) == 0;
    if (same) {
        v->report->keys += key && !v->lot.repeated;
        v->report->events += !key && !v->lot.repeated;
    } else if (key) {
        report_add(v->report, REPORT_KEY_ALTERED, lot_where(v), "key file %06" PRIu64 "-%" PRIu32 ": " WORDS_ALTERED, entry->lot,
                   entry->ordinal);
    } else {
        lot_extend_range(v, REPORT_EVENT_ALTERED, &v->lot.altered, entry->serial, WORDS_ALTERED);
    }
    lot_advance(v);
    return same && v->lot.sealed;
}

void verify_lot_end(struct verify *v, bool complete)
{
    while (complete && v->lot.listed && v->lot.wanted) {
        lot_say_missing(v);
        lot_advance(v);
    }
    lot_say_range(v, REPORT_EVENT_MISSING, &v->lot.missing, WORDS_MISSING);
    lot_say_range(v, REPORT_EVENT_ALTERED, &v->lot.altered, WORDS_ALTERED);
    v->lot.number = 0;
}
