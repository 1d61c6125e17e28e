/* Which lot may be signed: see succession.h. */
#include "sealer/succession.h"

#include "common/formats/digest.h"
#include "common/formats/merkle.h"
#include "common/formats/sums.h"

/* Where the reading of SHA256SUMS stands. */
struct order {
    uint32_t ordinal;     /* last key file seen, 0: none */
    uint64_t next_serial; /* expected */
    bool events;          /* key files are over */
};

static bool in_order(struct order *o, const struct sums_line *line, const struct lot *lot, uint64_t number, struct err *e)
{
    const struct names_entry *n = &line->entry;

    if (n->lot != lot->number)
        return err_set(e, ERR_DOUBT, "SHA256SUMS line %llu: names lot %llu", (unsigned long long)number,
                       (unsigned long long)n->lot);
    if (n->kind == NAMES_KEY) {
        if (o->events || n->ordinal <= o->ordinal)
            return err_set(e, ERR_DOUBT, "SHA256SUMS line %llu: key file out of order", (unsigned long long)number);
        o->ordinal = n->ordinal;
        return true;
    }
    o->events = true;
    if (n->serial != o->next_serial)
        return err_set(e, ERR_DOUBT, "lot %llu: serial %llu where %llu is due", (unsigned long long)lot->number,
                       (unsigned long long)n->serial, (unsigned long long)o->next_serial);
    o->next_serial++;
    return true;
}

bool succession_read_sums(struct slice sums, const struct lot *lot, uint8_t root[32], struct err *e)
{
    struct sums_reader r = sums_read(sums);
    struct order o = {.next_serial = lot->first};
    struct sums_line line;
    struct merkle m;
    enum sums_result got;
    bool ok = true;

    merkle_init(&m);
    while (ok && (got = sums_next(&r, &line, e)) == SUMS_LINE) {
        ok = in_order(&o, &line, lot, r.number, e);
        merkle_add(&m, line.whole);
    }
    if (ok && got == SUMS_BAD)
        ok = err_prefix(e, "SHA256SUMS");
    if (ok && o.next_serial != lot->last + 1)
        ok = err_set(e, ERR_DOUBT, "lot %llu: serials end at %llu, not %llu", (unsigned long long)lot->number,
                     (unsigned long long)(o.next_serial - 1), (unsigned long long)lot->last);
    ok = ok && merkle_root(&m, root, e);
    merkle_free(&m);
    return ok;
}

/* The digest of the last signature this file holds, and of the file itself. */
static bool read_previous(struct slice previous, struct lot *lot, struct err *e)
{
    struct xades x;
    bool ok;

    if (!xades_read(previous, &x, e))
        return err_prefix(e, "previous signatures");
    ok = digest_sha256(buf_slice(&x.value), lot->previous_value, e) && digest_sha256(previous, lot->previous_signatures, e);
    xades_clear(&x);
    return ok;
}

static bool complete(const struct memory *last, const struct message_seal *request, struct succession_lot *out, struct err *e)
{
    struct lot *lot = &out->lot;

    memcpy(lot->operator_id, last->operator_id, sizeof lot->operator_id);
    lot->vault = last->vault;
    out->files.has_previous = lot->number > 1;
    if (lot->number > 1) {
        lot->previous_lot = lot->number - 1;
        if (!read_previous(request->previous, lot, e))
            return false;
        memcpy(out->files.previous, lot->previous_signatures, sizeof out->files.previous);
    } else {
        memcpy(lot->genesis, last->genesis, sizeof lot->genesis);
        if (request->previous.len != 0)
            return err_set(e, ERR_DOUBT, "lot 1 has nothing before it");
    }
    return succession_read_sums(request->sums, lot, lot->root, e) && lot_check(lot, e) &&
           digest_sha256(request->sums, out->files.sums, e);
}

/* The recipients may change between two tries (a renewed certificate): they do not make it another lot. */
static bool identify(struct succession_lot *out, struct err *e)
{
    struct lot plain = out->lot;
    struct buf xml;
    bool ok;

    plain.recipient_count = 0;
    buf_init(&xml, LOT_XML_MAX);
    ok = lot_write(&plain, &xml, e) && digest_sha256(buf_slice(&xml), out->identity, e);
    buf_free(&xml);
    return ok;
}

static bool follows(const struct memory *last, const struct lot *lot, struct err *e)
{
    struct lot_link link = {.number = last->number, .last = last->last, .closed_ms = last->closed_ms};

    /*
     * The previous signature file is recognised by its SignatureValue; the time-stamp in it was added after
     * signing, so its own digest is not remembered here.
     */
    memcpy(link.signatures, last->number == 0 ? last->genesis : lot->previous_signatures, sizeof link.signatures);
    memcpy(link.value, last->value, sizeof link.value);
    return lot_check_follows(lot, &link, e);
}

static bool decide(const struct memory *last, struct succession_lot *out, enum succession *what, struct err *e)
{
    unsigned long long asked = out->lot.number, known = last->number;

    if (asked < known)
        return err_set(e, ERR_DOUBT, "lot %llu is asked for, lot %llu is signed already: the database went back", asked, known);
    if (asked > known + 1)
        return err_set(e, ERR_DOUBT, "lot %llu is asked for, the last one signed here is %llu: its memory went back", asked, known);
    if (asked == known + 1) {
        *what = SUCCESSION_SIGN;
        return follows(last, &out->lot, e);
    }
    if (memcmp(out->identity, last->request, sizeof out->identity) != 0)
        return err_set(e, ERR_DOUBT, "another lot %llu is signed already: this one would fork the chain", asked);
    if (last->answer.len == 0)
        return err_set(e, ERR_DOUBT, "lot %llu is signed already, and its signature is not remembered", asked);
    *what = SUCCESSION_REPEAT;
    return true;
}

bool succession_judge(const struct memory *last, struct message_seal *request, struct succession_lot *out,
                      enum succession *what, struct err *e)
{
    *out = (struct succession_lot){.lot = request->lot};
    request->lot.types = NULL;
    request->lot.type_count = 0;
    if (complete(last, request, out, e) && identify(out, e) && decide(last, out, what, e))
        return true;
    lot_free(&out->lot);
    /* Whatever is wrong with a lot, it is not to be sealed. */
    if (e != NULL && e->code == ERR_INPUT)
        e->code = ERR_DOUBT;
    return false;
}
