/* See lot.h. */
#include "common/formats/lot.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/formats/text_reader.h"

#define LOT_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

enum { VAULT_MAX = 999 };

static const char *const reasons[] = {
    [LOT_AGE] = "age",       [LOT_COUNT] = "nombre",  [LOT_BYTES] = "taille",
    [LOT_DEMAND] = "demande", [LOT_SHUTDOWN] = "arret", [LOT_IDLE] = "inactivite",
};

const char *lot_reason_text(enum lot_reason reason)
{
    return reasons[reason];
}

bool lot_reason_read(struct slice text, enum lot_reason *reason)
{
    for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (slice_is(text, reasons[i])) {
            *reason = (enum lot_reason)i;
            return true;
        }
    }
    return false;
}

void lot_free(struct lot *l)
{
    free(l->types);
    l->types = NULL;
    l->type_count = 0;
}

bool lot_type_is_valid(struct slice name)
{
    if (name.len == 0 || name.len > LOT_TYPE_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';

        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '.' || c == '-')))
            return false;
    }
    return true;
}

/* First type not before `name`. */
static size_t lot_find_type(const struct lot *l, const char *name)
{
    size_t low = 0, high = l->type_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(l->types[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool lot_add_type(struct lot *l, struct slice type, uint64_t count, struct err *e)
{
    struct lot_type fresh = {{0}, count};
    size_t at;

    if (!lot_type_is_valid(type))
        return err_set(e, ERR_INPUT, "lot: not a name of an event type");
    memcpy(fresh.name, type.at, type.len);
    at = lot_find_type(l, fresh.name);
    if (at < l->type_count && strcmp(l->types[at].name, fresh.name) == 0) {
        if (l->types[at].count > UINT64_MAX - count)
            return err_set(e, ERR_INPUT, "lot: too many events of type %s", fresh.name);
        l->types[at].count += count;
        return true;
    }
    if (l->type_count >= LOT_TYPES_MAX)
        return err_set(e, ERR_INPUT, "lot: over %d types of events", LOT_TYPES_MAX);
    if ((l->type_count & (l->type_count - 1)) == 0) /* room doubles at powers of two */
        l->types = mem_realloc(l->types, (l->type_count == 0 ? 1 : 2 * l->type_count) * sizeof(*l->types));
    memmove(l->types + at + 1, l->types + at, (l->type_count - at) * sizeof(*l->types));
    l->types[at] = fresh;
    l->type_count++;
    return true;
}

static bool operator_valid(const char id[5])
{
    for (int i = 0; i < 4; i++)
        if (id[i] < '0' || id[i] > '9')
            return false;
    return id[4] == '\0';
}

static bool lot_check_types(const struct lot *l, struct err *e)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->type_count; i++) {
        if (i > 0 && strcmp(l->types[i - 1].name, l->types[i].name) >= 0)
            return err_set(e, ERR_INPUT, "lot %" PRIu64 ": Comptes is not sorted by type", l->number);
        if (l->types[i].count == 0 || l->types[i].count > UINT64_MAX - sum)
            return err_set(e, ERR_INPUT, "lot %" PRIu64 ": Comptes has an impossible figure", l->number);
        sum += l->types[i].count;
    }
    return sum == l->count || err_set(e, ERR_INPUT, "lot %" PRIu64 ": Comptes adds up to %" PRIu64 ", NbEvt is %" PRIu64,
                                      l->number, sum, l->count);
}

bool lot_check(const struct lot *l, struct err *e)
{
    if (!operator_valid(l->operator_id) || l->vault < 1 || l->vault > VAULT_MAX)
        return err_set(e, ERR_INPUT, "lot %" PRIu64 ": IDOper or IDCoffre", l->number);
    if (l->number == 0 || l->previous_lot != l->number - 1)
        return err_set(e, ERR_INPUT, "lot %" PRIu64 ": Precedent names lot %" PRIu64, l->number, l->previous_lot);
    if (l->first == 0 || l->last < l->first - 1 || l->last - (l->first - 1) != l->count)
        return err_set(e, ERR_INPUT, "lot %" PRIu64 ": PremierEvt %" PRIu64 ", DernierEvt %" PRIu64 " and NbEvt %" PRIu64
                       " disagree", l->number, l->first, l->last, l->count);
    if (l->opened_ms > l->closed_ms)
        return err_set(e, ERR_INPUT, "lot %" PRIu64 ": closed before it was opened", l->number);
    if (l->recipient_count == 0 || l->recipient_count > LOT_RECIPIENTS_MAX)
        return err_set(e, ERR_INPUT, "lot %" PRIu64 ": no Destinataire, or over %d", l->number, LOT_RECIPIENTS_MAX);
    return lot_check_types(l, e);
}

bool lot_check_follows(const struct lot *next, const struct lot_link *previous, struct err *e)
{
    const char *what = NULL;

    if (next->number != previous->number + 1)
        what = "its number";
    else if (next->first != previous->last + 1)
        what = "its first serial";
    else if (next->closed_ms < previous->closed_ms)
        what = "its time, which goes back";
    else if (next->number == 1 && memcmp(next->genesis, previous->signatures, 32) != 0)
        what = "its genesis";
    else if (next->number > 1 && memcmp(next->previous_signatures, previous->signatures, 32) != 0)
        what = "the digest of the previous signatures";
    else if (next->number > 1 && memcmp(next->previous_value, previous->value, 32) != 0)
        what = "the digest of the previous signature value";
    return what == NULL || err_set(e, ERR_DOUBT, "lot %" PRIu64 " (events %" PRIu64 " to %" PRIu64
                                   ") does not follow lot %" PRIu64 " (last event %" PRIu64 "): %s", next->number,
                                   next->first, next->last, previous->number, previous->last, what);
}

/* ---- lot.xml ---- */

static bool lot_write_digest(struct buf *out, const char *before, const uint8_t digest[32], const char *after,
                             struct err *e)
{
    char hex[65];

    hex_write(hex, slice_of(digest, 32));
    return buf_printf(out, e, "%s%s%s", before, hex, after);
}

static bool lot_write_previous(const struct lot *l, struct buf *out, struct err *e)
{
    if (l->number == 1)
        return lot_write_digest(out, "<Precedent><Genese>", l->genesis, "</Genese></Precedent>", e);
    return buf_printf(out, e, "<Precedent><IDLot>%" PRIu64 "</IDLot>", l->previous_lot) &&
           lot_write_digest(out, "<Signatures>", l->previous_signatures, "</Signatures>", e) &&
           lot_write_digest(out, "<SignatureValue>", l->previous_value, "</SignatureValue></Precedent>", e);
}

bool lot_write(const struct lot *l, struct buf *out, struct err *e)
{
    char opened[DATE_LEN + 1], closed[DATE_LEN + 1];
    bool ok;

    date_write(opened, l->opened_ms);
    date_write(closed, l->closed_ms);
    ok = buf_printf(out, e, LOT_HEAD "<Lot xmlns=\"urn:coffre:lot:1\"><IDOper>%s</IDOper><IDCoffre>%" PRIu32
                    "</IDCoffre><IDLot>%" PRIu64 "</IDLot>", l->operator_id, l->vault, l->number) &&
         buf_printf(out, e, "<PremierEvt>%" PRIu64 "</PremierEvt><DernierEvt>%" PRIu64 "</DernierEvt><NbEvt>%" PRIu64
                    "</NbEvt>", l->first, l->last, l->count) &&
         buf_printf(out, e, "<Ouverture>%s</Ouverture><Cloture>%s</Cloture><MotifCloture>%s</MotifCloture>", opened,
                    closed, lot_reason_text(l->reason)) &&
         lot_write_previous(l, out, e);
    for (unsigned i = 0; ok && i < l->recipient_count; i++)
        ok = lot_write_digest(out, "<Destinataire>", l->recipients[i], "</Destinataire>", e);
    ok = ok && buf_printf(out, e, "<Comptes>");
    for (size_t i = 0; ok && i < l->type_count; i++)
        ok = buf_printf(out, e, "<Compte type=\"%s\">%" PRIu64 "</Compte>", l->types[i].name, l->types[i].count);
    return ok && lot_write_digest(out, "</Comptes><Racine>", l->root, "</Racine></Lot>\n", e);
}

static void lot_read_operator(struct text_reader *r, char id[5])
{
    struct slice text = text_until(r, "</IDOper>", 4);

    memset(id, 0, 5);
    if (text.len == 4)
        memcpy(id, text.at, 4);
    if (!operator_valid(id))
        (void)text_fail(r, "four digits");
}

static void lot_read_previous(struct text_reader *r, struct lot *l)
{
    bool genesis;

    (void)text_expect(r, "<Precedent>");
    genesis = text_peek(r, "<Genese>");
    if (genesis) {
        (void)text_expect(r, "<Genese>");
        text_digest(r, "</Genese></Precedent>", l->genesis);
    } else {
        (void)text_expect(r, "<IDLot>");
        l->previous_lot = text_number(r, "</IDLot><Signatures>", UINT64_MAX);
        text_digest(r, "</Signatures><SignatureValue>", l->previous_signatures);
        text_digest(r, "</SignatureValue></Precedent>", l->previous_value);
    }
    if ((l->number == 1) != genesis || genesis != (l->previous_lot == 0))
        (void)text_fail(r, "Genese in lot 1 and only there");
}

static void lot_read_types(struct text_reader *r, struct lot *l)
{
    (void)text_expect(r, "<Comptes>");
    while (text_peek(r, "<Compte type=\"") && !r->failed) {
        size_t before = l->type_count;
        struct slice name;
        uint64_t count;

        (void)text_expect(r, "<Compte type=\"");
        name = text_until(r, "\">", LOT_TYPE_MAX);
        count = text_number(r, "</Compte>", UINT64_MAX);
        if (r->failed)
            return;
        if (!lot_add_type(l, name, count, r->e))
            r->failed = true;
        else if (l->type_count == before || !slice_is(name, l->types[before].name))
            (void)text_fail(r, "types in order, each once");
    }
    (void)text_expect(r, "</Comptes>");
}

static void lot_read_head(struct text_reader *r, struct lot *l)
{
    (void)text_expect(r, LOT_HEAD "<Lot xmlns=\"urn:coffre:lot:1\"><IDOper>");
    lot_read_operator(r, l->operator_id);
    (void)text_expect(r, "<IDCoffre>");
    l->vault = (uint32_t)text_number(r, "</IDCoffre><IDLot>", VAULT_MAX);
    l->number = text_number(r, "</IDLot><PremierEvt>", UINT64_MAX);
    l->first = text_number(r, "</PremierEvt><DernierEvt>", UINT64_MAX);
    l->last = text_number(r, "</DernierEvt><NbEvt>", UINT64_MAX);
    l->count = text_number(r, "</NbEvt><Ouverture>", UINT64_MAX);
    l->opened_ms = text_date(r, "</Ouverture><Cloture>");
    l->closed_ms = text_date(r, "</Cloture><MotifCloture>");
    if (!lot_reason_read(text_until(r, "</MotifCloture>", 16), &l->reason))
        (void)text_fail(r, "a MotifCloture");
}

bool lot_read(struct slice xml, struct lot *l, struct err *e)
{
    struct text_reader r = text_read(xml, "lot.xml", e);

    memset(l, 0, sizeof(*l));
    if (xml.len > LOT_XML_MAX)
        return err_set(e, ERR_INPUT, "lot.xml: over %d bytes", LOT_XML_MAX);
    lot_read_head(&r, l);
    lot_read_previous(&r, l);
    while (text_peek(&r, "<Destinataire>") && l->recipient_count < LOT_RECIPIENTS_MAX) {
        (void)text_expect(&r, "<Destinataire>");
        text_digest(&r, "</Destinataire>", l->recipients[l->recipient_count++]);
    }
    lot_read_types(&r, l);
    (void)text_expect(&r, "<Racine>");
    text_digest(&r, "</Racine></Lot>\n", l->root);
    if (text_end(&r))
        return true;
    lot_free(l);
    return false;
}
