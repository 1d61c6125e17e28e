/* See report.h. */
#include "exporter/verify/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "common/formats/date.h"

enum { EACH_MAX = 1000 };

static const struct {
    const char *text;
    enum report_weight weight;
    const char *meaning;
} codes[REPORT_CODES] = {
    [REPORT_SEGMENT_TRUNCATED] = {"segment-truncated", REPORT_DAMAGE, "the file was cut short, in transfer or on disk: fetch it again"},
    [REPORT_SEGMENT_HEADER] = {"segment-header", REPORT_DAMAGE, "this ZIP file was not written by the vault, or was altered since"},
    [REPORT_SEGMENT_COMPRESSED] = {"segment-compressed", REPORT_DAMAGE, "the vault never compresses: this ZIP file was packed again by someone"},
    [REPORT_SEGMENT_DESCRIPTOR] = {"segment-descriptor", REPORT_DAMAGE, "the vault never writes such entries: this ZIP file was packed again by someone"},
    [REPORT_SEGMENT_MISMATCH] = {"segment-mismatch", REPORT_DAMAGE, "two programs could read different files from this ZIP file: do not use it"},
    [REPORT_SEGMENT_NAME] = {"segment-name", REPORT_DAMAGE, "such a name could write outside the folder it is unpacked to: do not unpack it"},
    [REPORT_SEGMENT_DUPLICATE] = {"segment-duplicate", REPORT_DAMAGE, "two programs could read different files from this ZIP file: do not use it"},
    [REPORT_SEGMENT_CRC] = {"segment-crc", REPORT_DAMAGE, "bytes changed in transfer or on disk"},
    [REPORT_SEGMENT_TRAILING] = {"segment-trailing", REPORT_DAMAGE, "something was hidden in or added to the file"},
    [REPORT_SEGMENT_ORDER] = {"segment-order", REPORT_DAMAGE, "the vault writes files in one order: this ZIP file was packed again by someone"},
    [REPORT_FILE_EXTRA] = {"file-extra", REPORT_DAMAGE, "nothing seals this file: it is no evidence"},
    [REPORT_CONTAINER_MISSING] = {"container-missing", REPORT_DAMAGE, "the files of this lot cannot be checked without its sealed container"},
    [REPORT_CONTAINER_TRUNCATED] = {"container-truncated", REPORT_DAMAGE, "the sealed container was cut short"},
    [REPORT_CONTAINER_CRC] = {"container-crc", REPORT_DAMAGE, "bytes of the sealed container changed"},
    [REPORT_CONTAINER_FORM] = {"container-form", REPORT_DAMAGE, "these are not the bytes the vault sealed"},
    [REPORT_LOT_FORM] = {"lot-form", REPORT_DAMAGE, "the lot's header is not one the vault wrote"},
    [REPORT_LOT_NUMBER] = {"lot-number", REPORT_DAMAGE, "a container was put in the place of another"},
    [REPORT_LOT_INCONSISTENT] = {"lot-inconsistent", REPORT_DAMAGE, "the header contradicts itself: its figures cannot be relied on"},
    [REPORT_LOT_VAULT] = {"lot-vault", REPORT_DAMAGE, "this lot belongs to another operator or vault"},
    [REPORT_SIGNATURE_FORM] = {"signature-form", REPORT_DAMAGE, "the signature file is not one the vault wrote"},
    [REPORT_SIGNATURE_LOT] = {"signature-lot", REPORT_DAMAGE, "the header was altered after it was sealed"},
    [REPORT_SIGNATURE_SUMS] = {"signature-sums", REPORT_DAMAGE, "the list of events was altered after it was sealed"},
    [REPORT_SIGNATURE_PREVIOUS] = {"signature-previous", REPORT_DAMAGE, "the link to the lot before was altered after it was sealed"},
    [REPORT_SIGNATURE_PROPERTIES] = {"signature-properties", REPORT_DAMAGE, "what is signed about the signature itself was altered"},
    [REPORT_SIGNATURE_VALUE] = {"signature-value", REPORT_DAMAGE, "the seal is broken: nothing in this lot is proved"},
    [REPORT_TIMESTAMP_FORM] = {"timestamp-form", REPORT_DAMAGE, "the time of this seal is not proved"},
    [REPORT_TIMESTAMP_IMPRINT] = {"timestamp-imprint", REPORT_DAMAGE, "the time-stamp was taken from another signature: the time of this seal is not proved"},
    [REPORT_TIMESTAMP_SIGNATURE] = {"timestamp-signature", REPORT_DAMAGE, "the time of this seal is not proved"},
    [REPORT_TIMESTAMP_CERTIFICATE] = {"timestamp-certificate", REPORT_DAMAGE, "the time-stamp was not made by an authority you trust"},
    [REPORT_SEAL_CERTIFICATE] = {"seal-certificate", REPORT_DAMAGE, "whoever sealed this lot was not entitled to, by the authority you trust"},
    [REPORT_SIGNATURE_TIME] = {"signature-time", REPORT_DAMAGE, "the seal was time-stamped long after or before the time it claims"},
    [REPORT_SIGNATURE_XMLSEC] = {"signature-xmlsec", REPORT_DAMAGE, "two independent programs disagree about this signature: have it examined"},
    [REPORT_SEAL_CHANGED] = {"seal-changed", REPORT_DAMAGE, "this lot was sealed in another vault's name"},
    [REPORT_SUMS_FORM] = {"sums-form", REPORT_DAMAGE, "the list of events is not one the vault wrote"},
    [REPORT_SUMS_ORDER] = {"sums-order", REPORT_DAMAGE, "numbers are not consecutive: an event was left out, repeated or brought in from another lot"},
    [REPORT_SUMS_COUNT] = {"sums-count", REPORT_DAMAGE, "the list does not have the events that the header counts"},
    [REPORT_MERKLE_ROOT] = {"merkle-root", REPORT_DAMAGE, "header and list were not made together"},
    [REPORT_LOT_MISSING] = {"lot-missing", REPORT_DAMAGE, "the archive has a hole: everything in between is gone from this extraction"},
    [REPORT_LOT_ORDER] = {"lot-order", REPORT_DAMAGE, "a lot was repeated or moved"},
    [REPORT_CHAIN_SERIAL] = {"chain-serial", REPORT_DAMAGE, "events were left out or numbered twice between these lots"},
    [REPORT_CHAIN_PREVIOUS] = {"chain-previous", REPORT_DAMAGE, "this lot was not sealed after the one before it here: one of them was replaced"},
    [REPORT_CHAIN_DIGEST] = {"chain-digest", REPORT_DAMAGE, "the header names another signature of the lot before than the one it carries"},
    [REPORT_CHAIN_VALUE] = {"chain-value", REPORT_DAMAGE, "the header names another signature value of the lot before than the one it carries"},
    [REPORT_CHAIN_TIME] = {"chain-time", REPORT_DAMAGE, "time goes back between these lots"},
    [REPORT_GENESIS_MISSING] = {"genesis-missing", REPORT_DAMAGE, "the beginning of the chain cannot be checked"},
    [REPORT_GENESIS_FORM] = {"genesis-form", REPORT_DAMAGE, "this is not the genesis the vault wrote"},
    [REPORT_GENESIS_DIGEST] = {"genesis-digest", REPORT_DAMAGE, "lot 1 does not begin at this genesis: one of them was replaced"},
    [REPORT_GENESIS_VAULT] = {"genesis-vault", REPORT_DAMAGE, "this genesis belongs to another operator or vault"},
    [REPORT_GENESIS_SEAL] = {"genesis-seal", REPORT_DAMAGE, "lot 1 was not sealed with the key of the ceremony"},
    [REPORT_GENESIS_TSA] = {"genesis-tsa", REPORT_DAMAGE, "lot 1 was not time-stamped with the key of the ceremony"},
    [REPORT_EVENT_MISSING] = {"event-missing", REPORT_DAMAGE, "sealed events are not in this extraction"},
    [REPORT_EVENT_ALTERED] = {"event-altered", REPORT_DAMAGE, "the event is not the one that was sealed"},
    [REPORT_EVENT_EXTRA] = {"event-extra", REPORT_DAMAGE, "no seal covers this event: it was added, or moved from elsewhere"},
    [REPORT_KEY_MISSING] = {"key-missing", REPORT_DAMAGE, "the events of this lot cannot be decrypted"},
    [REPORT_KEY_ALTERED] = {"key-altered", REPORT_DAMAGE, "the key file is not the one that was sealed: events of this lot may not open"},
    [REPORT_KEY_EXTRA] = {"key-extra", REPORT_DAMAGE, "no seal covers this key file"},
    [REPORT_OVERLAP_DIFFERS] = {"overlap-differs", REPORT_DAMAGE, "two extractions hold different bytes under one name: an incident, keep both"},
    [REPORT_CERTS_CA] = {"certs-ca", REPORT_DAMAGE, "the copy of the authority's certificate is damaged; the verification itself does not use it"},
    [REPORT_CERTS_SEAL] = {"certs-seal", REPORT_DAMAGE, "the copy of the seal's certificate is damaged or another's; the verification itself does not use it"},
    [REPORT_CERTS_TSA] = {"certs-tsa", REPORT_DAMAGE, "the copy of the time-stamp's certificate is damaged or another's; the verification itself does not use it"},
    [REPORT_REGULATOR_KEY] = {"regulator-key", REPORT_DAMAGE, "this private key is not one the lot was encrypted for, or the key file is damaged"},
    [REPORT_EVENT_UNDECRYPTABLE] = {"event-undecryptable", REPORT_DAMAGE, "the event cannot be read, though its bytes may be as sealed"},
    [REPORT_LOTS_MISSING_START] = {"lots-missing-start", REPORT_INCOMPLETE, "what was asked for is not all here: fetch or ask for the lots before"},
    [REPORT_LOTS_MISSING_BETWEEN] = {"lots-missing-between", REPORT_INCOMPLETE, "the extractions given do not meet: fetch or ask for the lots between"},
    [REPORT_LOTS_MISSING_END] = {"lots-missing-end", REPORT_INCOMPLETE, "what was asked for is not all here: fetch or ask for the lots after"},
    [REPORT_CERTIFICATE_RENEWED] = {"certificate-renewed", REPORT_NOTE, "same name and a trusted authority: a renewal, to be found in the journal of ceremonies"},
    [REPORT_CA_DIFFERS] = {"ca-differs", REPORT_NOTE, "the authority you gave was used, not the one in the extraction"},
    [REPORT_TRUST_EMBEDDED] = {"trust-embedded", REPORT_NOTE,
                               "IT PROVES ONLY THAT THE EXTRACTION AGREES WITH ITSELF: whoever made it could have made these certificates too"},
    [REPORT_FILE_BESIDE] = {"file-beside", REPORT_NOTE, "no extraction has it: it was put there afterwards, and was not looked at"},
    [REPORT_UNREADABLE] = {"unreadable", REPORT_FAILURE, "nothing can be said of what could not be read"},
};

static const char *const weights[] = {"damage", "incomplete", "note", "failure"};

const char *report_code_text(enum report_code code)
{
    return codes[code].text;
}

enum report_weight report_code_weight(enum report_code code)
{
    return codes[code].weight;
}

void report_print_codes(void)
{
    for (unsigned i = 0; i < REPORT_CODES; i++)
        (void)printf("%-24s %-11s %s\n", codes[i].text, weights[codes[i].weight], codes[i].meaning);
}

static void report_clear_progress(struct report *r)
{
    if (r->progress)
        (void)fputs("\r\033[K", stderr);
    r->progress = false;
}

void report_begin(struct report *r)
{
    if (r->json)
        (void)fputs("{\"program\":\"coffre-verify\",\"format\":1,\"findings\":[", stdout);
}

static void report_json(const struct report *r, enum report_code code, const struct report_where *w, const char *text,
                        bool first)
{
    json_t *o = json_pack("{ss ss ss ss}", "code", codes[code].text, "weight", weights[codes[code].weight], "text", text,
                          "meaning", codes[code].meaning);

    if (r->input != NULL)
        (void)json_object_set_new(o, "input", json_string(r->input));
    if (w->lot != 0)
        (void)json_object_set_new(o, "lot", json_integer((json_int_t)w->lot));
    if (w->first_event != 0) {
        (void)json_object_set_new(o, "first_event", json_integer((json_int_t)w->first_event));
        (void)json_object_set_new(o, "last_event", json_integer((json_int_t)w->last_event));
    }
    if (w->file != NULL)
        (void)json_object_set_new(o, "file", json_string(w->file));
    (void)fputs(first ? "\n" : ",\n", stdout);
    (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(o);
}

static const char *const headings[] = {"DAMAGE", "INCOMPLETE", "note", "FAILURE"};

static void report_words(const struct report *r, enum report_code code, const struct report_where *w, const char *text)
{
    (void)printf("%s [%s]", headings[codes[code].weight], codes[code].text);
    if (r->input != NULL && r->inputs > 1)
        (void)printf(" %s:", r->input);
    if (w->lot != 0)
        (void)printf(" lot %" PRIu64 ",", w->lot);
    if (w->first_event != 0 && w->first_event == w->last_event)
        (void)printf(" event %" PRIu64 ",", w->first_event);
    else if (w->first_event != 0)
        (void)printf(" events %" PRIu64 " to %" PRIu64 ",", w->first_event, w->last_event);
    (void)printf(" %s.\n    This means: %s.\n", text, codes[code].meaning);
}

/* Names come from strangers: what is not printable is escaped before it reaches a terminal. */
static void report_escape(char *out, size_t size, const char *text)
{
    size_t at = 0;

    for (; *text != '\0' && at + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;

        if (c >= ' ' && c <= '~')
            out[at++] = (char)c;
        else
            at += (size_t)snprintf(out + at, size - at, "\\x%02x", c);
    }
    out[at] = '\0';
}

void report_add(struct report *r, enum report_code code, struct report_where where, const char *fmt, ...)
{
    char raw[1024], text[2048];
    bool first = true;
    va_list args;

    for (unsigned i = 0; i < REPORT_CODES && first; i++)
        first = r->found[i] == 0;
    if (++r->found[code] > EACH_MAX)
        return;
    va_start(args, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    report_escape(text, sizeof(text), raw);
    report_clear_progress(r);
    if (r->json)
        report_json(r, code, &where, text, first);
    else if (!r->quiet || codes[code].weight != REPORT_NOTE || code == REPORT_TRUST_EMBEDDED)
        report_words(r, code, &where, text);
    (void)fflush(stdout);
}

static uint64_t report_count(const struct report *r, enum report_weight weight)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < REPORT_CODES; i++)
        if (codes[i].weight == weight)
            sum += r->found[i];
    return sum;
}

static int report_exit(const struct report *r)
{
    if (report_count(r, REPORT_DAMAGE) > 0)
        return EXIT_DAMAGE;
    if (report_count(r, REPORT_FAILURE) > 0 || r->lots == 0)
        return EXIT_UNREADABLE;
    return report_count(r, REPORT_INCOMPLETE) > 0 ? EXIT_INCOMPLETE : EXIT_HOLDS;
}

static const char *report_verdict(int code)
{
    switch (code) {
    case EXIT_HOLDS:
        return "holds";
    case EXIT_DAMAGE:
        return "damage";
    case EXIT_INCOMPLETE:
        return "incomplete";
    default:
        return "unreadable";
    }
}

static void report_end_json(const struct report *r, int code)
{
    char first[DATE_LEN + 1], last[DATE_LEN + 1];
    json_t *counts = json_object(), *o;

    date_write(first, r->first_stamp_ms);
    date_write(last, r->last_stamp_ms);
    for (unsigned i = 0; i < REPORT_CODES; i++)
        if (r->found[i] > 0)
            (void)json_object_set_new(counts, codes[i].text, json_integer((json_int_t)r->found[i]));
    o = json_pack("{ss si so ss ss sI sI sI sI sI sI sI sI sI sI ss ss}", "verdict", report_verdict(code), "exit", code,
                  "counts", counts, "vault", r->vault, "seal", r->seal, "lots", (json_int_t)r->lots, "empty_lots",
                  (json_int_t)r->empty_lots, "first_lot", (json_int_t)r->first_lot, "last_lot", (json_int_t)r->last_lot,
                  "events", (json_int_t)r->events, "first_event", (json_int_t)r->first_event, "last_event",
                  (json_int_t)r->last_event, "keys", (json_int_t)r->keys, "bytes", (json_int_t)r->bytes, "decrypted",
                  (json_int_t)r->decrypted, "first_stamp", r->first_stamp_ms == 0 ? "" : first, "last_stamp",
                  r->last_stamp_ms == 0 ? "" : last);
    (void)fputs("\n],\n\"summary\":", stdout);
    (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputs("}\n", stdout);
    json_decref(o);
}

static void report_end_words(const struct report *r, int code)
{
    char first[DATE_LEN + 1], last[DATE_LEN + 1];

    for (unsigned i = 0; i < REPORT_CODES; i++)
        if (r->found[i] > EACH_MAX)
            (void)printf("... %" PRIu64 " findings [%s] in all, the first %d are above.\n", r->found[i], codes[i].text,
                         EACH_MAX);
    if (r->quiet && code == EXIT_HOLDS)
        return;
    date_write(first, r->first_stamp_ms);
    date_write(last, r->last_stamp_ms);
    if (r->lots > 0)
        (void)printf("Vault %s: lots %" PRIu64 " to %" PRIu64 " (%" PRIu64 " read, %" PRIu64 " of them empty), sealed by %s", r->vault,
                     r->first_lot, r->last_lot, r->lots, r->empty_lots, r->seal);
    if (r->lots > 0 && r->first_stamp_ms != 0)
        (void)printf(" from %s to %s", first, last);
    if (r->lots > 0)
        (void)printf(".\n%" PRIu64 " events here and as they were sealed, of numbers %" PRIu64 " to %" PRIu64 "; %" PRIu64
                     " key files; %" PRIu64 " bytes read.\n",
                     r->events, r->first_event, r->last_event, r->keys, r->bytes);
    if (r->decrypted > 0)
        (void)printf("%" PRIu64 " events decrypted.\n", r->decrypted);
    switch (code) {
    case EXIT_HOLDS:
        (void)puts(r->partial ? "WHAT IS HERE HOLDS: nothing was altered (events that are not here were not asked for: --partial)."
                              : "EVERYTHING HOLDS: nothing was altered, nothing is missing between the first and the last lot.");
        break;
    case EXIT_DAMAGE:
        (void)printf("DAMAGE: %" PRIu64 " finding(s), listed above.\n", report_count(r, REPORT_DAMAGE));
        break;
    case EXIT_INCOMPLETE:
        (void)puts("INCOMPLETE: what is here holds, but not all that was expected is here (see above).");
        break;
    default:
        (void)puts("NOTHING CAN BE SAID: there was nothing to verify, or it could not be read.");
    }
}

int report_end(struct report *r)
{
    int code = report_exit(r);

    report_clear_progress(r);
    if (r->json)
        report_end_json(r, code);
    else
        report_end_words(r, code);
    (void)fflush(stdout);
    return code;
}
