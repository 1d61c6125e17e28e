/* Seals one lot: see sealing.h. What is in the lot is gathered by sealing_gather.c. */
#include "sealer/sealing.h"

#include <stdlib.h>
#include <time.h>

#include "common/formats/container.h"
#include "common/formats/digest.h"
#include "common/values/log.h"
#include "sealer/sealing_internal.h"

void sealing_free(struct sealing *s)
{
    trust_free(s->trust);
    sibling_close(&s->seal);
    sibling_close(&s->stamp);
    store_close(&s->store);
}

/* While a sibling works, standbys must see that this sealer lives. */
static bool keep_alive(void *ctx)
{
    struct sealing *s = ctx;

    return store_ping(&s->store, NULL);
}

bool sealing_ask(struct sealing *s, struct sibling *who, enum message type, enum message answer_type, const struct buf *question, uint64_t lot,
                 struct slice *answer, struct err *e)
{
    const struct sibling_question q = {
        .type = (uint16_t)type,
        .body = buf_slice(question),
        .lot = lot,
        .answer_type = (uint16_t)answer_type,
        .deadline_ms = s->settings->sealer.deadline,
        .idle = keep_alive,
        .ctx = s,
    };

    return sibling_ask(s->self, who, &q, answer, e);
}

/* ---- the signature ------------------------------------------------------------------------- */

/* What seal wrote must be our lot; only its recipients may be those of an earlier try. */
static bool check_lot_xml(struct work_lot *w, struct slice lot_xml, struct err *e)
{
    struct lot said;
    struct buf again;
    bool same;

    if (!lot_read(lot_xml, &said, e))
        return err_prefix(e, "seal's lot.xml");
    w->lot.recipient_count = said.recipient_count;
    memcpy(w->lot.recipients, said.recipients, sizeof w->lot.recipients);
    lot_free(&said);
    buf_init(&again, LOT_XML_MAX);
    same = lot_write(&w->lot, &again, e) && slice_equal(buf_slice(&again), lot_xml);
    buf_free(&again);
    return same || err_set(e, ERR_DOUBT, "lot %llu: seal wrote another lot.xml", (unsigned long long)w->lot.number);
}

static bool draft_of(struct work_lot *w, const struct message_sealed *m, struct err *e)
{
    struct xades_digests files = {.has_previous = w->lot.number > 1};

    memcpy(files.previous, w->lot.previous_signatures, sizeof files.previous);
    if (!digest_sha256(m->lot_xml, files.lot, e) || !digest_sha256(buf_slice(&w->sums), files.sums, e) ||
        !digest_sha256(m->signature, w->value_digest, e))
        return false;
    w->draft = xades_begin(&files, m->certificates, m->certificate_count, m->signing_ms, m->algorithm, e);
    return w->draft != NULL && xades_set_value(w->draft, m->signature, e);
}

static bool ask_seal(struct sealing *s, struct work_lot *w, struct err *e)
{
    const struct message_seal request = {.lot = w->lot, .previous = buf_slice(&w->previous), .sums = buf_slice(&w->sums)};
    struct message_sealed m;
    struct slice answer;
    struct buf question;
    bool ok;

    buf_init(&question, ROLE_MESSAGE_MAX);
    ok = message_put_seal(&question, &request, e) && sealing_ask(s, &s->seal, MESSAGE_SEAL, MESSAGE_SEALED, &question, w->lot.number, &answer, e) &&
         message_get_sealed(answer, &m, e) && check_lot_xml(w, m.lot_xml, e) && draft_of(w, &m, e) &&
         buf_add_slice(&w->lot_xml, m.lot_xml, e);
    buf_free(&question);
    return ok;
}

/* ---- the time-stamp ------------------------------------------------------------------------ */

static bool ask_stamp(struct sealing *s, struct work_lot *w, struct err *e)
{
    struct message_stamp request = {.lot = w->lot.number, .not_before_ms = w->previous_sealed_ms};
    struct message_stamped m;
    struct slice answer;
    struct buf question;
    bool ok;

    buf_init(&question, 256);
    ok = xades_imprint(w->draft, request.imprint, e) && message_put_stamp(&question, &request, e) &&
         sealing_ask(s, &s->stamp, MESSAGE_STAMP, MESSAGE_STAMPED, &question, w->lot.number, &answer, e) && message_get_stamped(answer, &m, e) &&
         xades_finish(w->draft, m.token, &w->signatures, e);
    if (ok)
        w->sealed_ms = m.time_ms;
    buf_free(&question);
    return ok;
}

/* ---- the container ------------------------------------------------------------------------- */

/* Opens the finished container as anyone will, and verifies what is in it. */
static bool verify(struct sealing *s, struct work_lot *w, struct err *e)
{
    struct container c;
    struct xades_verdict v;
    struct xades_files files;

    if (!container_read(buf_slice(&w->container), &c, NULL, e))
        return false;
    files = (struct xades_files){c.lot, c.sums, c.previous};
    return xades_verify(c.signatures, &files, s->trust, &v, e) &&
           ((v.stamped_ms == w->sealed_ms && memcmp(v.value_digest, w->value_digest, sizeof v.value_digest) == 0) ||
            err_set(e, ERR_DOUBT, "its time or value is not the one that was given"));
}

static bool assemble(struct sealing *s, struct work_lot *w, struct err *e)
{
    const struct container c = {
        .signatures = buf_slice(&w->signatures),
        .lot = buf_slice(&w->lot_xml),
        .sums = buf_slice(&w->sums),
        .previous = w->lot.number > 1 ? buf_slice(&w->previous) : (struct slice){0},
    };

    buf_init(&w->container, container_length(&c));
    if (container_write(&c, &w->container, e) && verify(s, w, e))
        return true;
    if (e->code == ERR_INPUT)
        e->code = ERR_DOUBT;
    return err_prefix(e, "lot %llu does not verify, it is not stored", (unsigned long long)w->lot.number);
}

static bool store(struct sealing *s, struct work_lot *w, struct err *e)
{
    struct store_seal seal = {
        .lot = w->lot.number,
        .sealed_ms = w->sealed_ms,
        .container = buf_slice(&w->container),
        .signatures = buf_slice(&w->signatures),
        .container_crc32 = digest_crc32(0, buf_slice(&w->container)),
    };

    memcpy(seal.value_digest, w->value_digest, sizeof seal.value_digest);
    return digest_sha256(seal.container, seal.container_sha256, e) && store_write_seal(&s->store, &seal, e);
}

/* ---- one lot ------------------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(struct sealing *s, const struct work_lot *w, double began)
{
    s->sealed++;
    s->sealed_events += w->lot.count;
    s->last_seconds = seconds() - began;
    log_info("lot-sealed", "lot %llu, events %llu to %llu (%llu), closed by %s, %zu bytes, %.0f ms",
             (unsigned long long)w->lot.number, (unsigned long long)w->lot.first, (unsigned long long)w->lot.last,
             (unsigned long long)w->lot.count, lot_reason_text(w->lot.reason), w->container.len, s->last_seconds * 1000);
}

bool sealing_next(struct sealing *s, bool *found, struct err *e)
{
    double began = seconds();
    struct work_lot w;
    bool ok;

    work_lot_init(&w);
    ok = store_next_lot(&s->store, &w.lot, found, e);
    if (ok && *found) {
        ok = work_lot_gather(s, &w, e) && sealing_agree(s, w.lot.number, e) && ask_seal(s, &w, e) && ask_stamp(s, &w, e) && assemble(s, &w, e) && store(s, &w, e);
        if (ok)
            report(s, &w, began);
    }
    work_lot_free(&w);
    return ok;
}
