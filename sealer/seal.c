/*
 * Role seal: holds the sealing key and nothing else. What it signs it builds itself from the fields of a lot; work's
 * bytes are judged as a stranger's (succession.h). What it is about to say is remembered on disk before it is said.
 */
#include <string.h>
#include <unistd.h>

#include "common/formats/digest.h"
#include "common/values/log.h"
#include "sealer/clock.h"
#include "sealer/roles.h"
#include "sealer/signer.h"
#include "sealer/succession.h"

static bool own_memory(const struct settings *s, struct memory *m, struct err *e)
{
    if (!memory_load(m, s->sealer.memory, NULL, e))
        return false;
    if (strcmp(m->operator_id, s->vault.operator_id) == 0 && m->vault == s->vault.number)
        return true;
    return err_set(e, ERR_DOUBT, "%s: is of vault %s-%u, not of %s-%llu", s->sealer.memory, m->operator_id, m->vault,
                   s->vault.operator_id, (unsigned long long)s->vault.number);
}

/* Verifiers take a lot that is sealed in another name for another vault's, and no lot is ever signed again: a certificate that was replaced while nobody ran is held against the last lot's. */
static bool keeps_name(const struct memory *m, X509 *fresh, struct err *e)
{
    struct message_sealed last;
    const uint8_t *at;
    X509 *before;
    bool same;

    if (m->answer.len == 0)
        return true; /* none yet, or none that is remembered */
    if (!message_get_sealed(buf_slice(&m->answer), &last, e) || last.certificate_count == 0)
        return err_set(e, ERR_DOUBT, "seal's memory: the last lot's certificate is not in it");
    at = last.certificates[0].at;
    before = d2i_X509(NULL, &at, (long)last.certificates[0].len);
    same = before != NULL && X509_NAME_cmp(X509_get_subject_name(before), X509_get_subject_name(fresh)) == 0;
    X509_free(before);
    return same || err_set(e, ERR_DOUBT, "the sealing certificate's subject is not that of lot %llu's: put the right one in its place and restart the daemon",
                           (unsigned long long)m->number);
}

static bool sign_info(struct signer *s, struct slice info, uint8_t *signature, size_t *len, struct err *e)
{
    EVP_MD_CTX *ctx = credentials_sign_with(s->now.what, s->now.key);
    bool ok = ctx != NULL && EVP_DigestSign(ctx, signature, len, info.at, info.len) == 1;

    EVP_MD_CTX_free(ctx);
    if (!ok) {
        s->doubtful_key = true;
        return err_set_openssl(e, ERR_RETRY, "sealing key");
    }
    return true;
}

/* Signs SignedInfo and lets the draft check it with the certificate. */
static bool sign_draft(struct signer *s, struct xades_draft *d, struct buf *signature, struct err *e)
{
    uint8_t bytes[XADES_SIGNATURE_MAX];
    size_t len = sizeof bytes;

    if (!sign_info(s, xades_signed_info(d), bytes, &len, e))
        return false;
    s->doubtful_key = !xades_set_value(d, slice_of(bytes, len), e);
    return !s->doubtful_key && buf_add(signature, bytes, len, e);
}

static bool write_answer(struct signer *s, const struct succession_lot *l, struct slice lot_xml, int64_t now_ms,
                         struct slice signature, struct buf *out, struct err *e)
{
    const struct credentials *c = s->now.what;
    struct message_sealed m = {.lot = l->lot.number, .signing_ms = now_ms, .algorithm = c->algorithm,
                               .lot_xml = lot_xml, .certificate_count = c->chain_count, .signature = signature};

    for (size_t i = 0; i < c->chain_count; i++)
        m.certificates[i] = buf_slice(&c->chain[i]);
    return message_put_sealed(out, &m, e);
}

/* Signs lot.xml as it stands; fills `m` with what is to be remembered. */
static bool sign_lot(struct signer *s, struct succession_lot *l, int64_t now_ms, struct memory *m, struct err *e)
{
    const struct credentials *c = s->now.what;
    struct slice chain[XADES_CERTIFICATES_MAX];
    struct xades_draft *d = NULL;
    struct buf xml, signature;
    bool ok;

    buf_init(&xml, LOT_XML_MAX);
    buf_init(&signature, XADES_SIGNATURE_MAX);
    for (size_t i = 0; i < c->chain_count; i++)
        chain[i] = buf_slice(&c->chain[i]);
    ok = lot_write(&l->lot, &xml, e) && digest_sha256(buf_slice(&xml), l->files.lot, e) &&
         (d = xades_begin(&l->files, chain, c->chain_count, now_ms, c->algorithm, e)) != NULL &&
         sign_draft(s, d, &signature, e);
    xades_free(d);
    buf_reset(&m->answer);
    ok = ok && write_answer(s, l, buf_slice(&xml), now_ms, buf_slice(&signature), &m->answer, e) &&
         digest_sha256(buf_slice(&signature), m->value, e);
    m->number = l->lot.number;
    m->last = l->lot.last;
    m->closed_ms = l->lot.closed_ms;
    m->signed_ms = now_ms;
    memcpy(m->request, l->identity, sizeof m->request);
    buf_free(&xml);
    buf_free(&signature);
    return ok;
}

static bool sign_and_remember(struct signer *s, struct succession_lot *l, struct memory *m, struct err *e)
{
    const struct settings *set = s->settings;
    enum clock_source source;
    int64_t now_us;

    return clock_source_parse(set->sealer.clock_source, &source, e) &&
           clock_trusted(source, set->sealer.clock_max_error, m->signed_ms, &now_us, e) &&
           keeps_name(m, s->now.what->certificate, e) &&
           /* What is remembered is said again for ever: never with a certificate that verifiers refuse. */
           credentials_check(s->now.what, now_us / 1000, e) && sign_lot(s, l, now_us / 1000, m, e) && memory_store(m, set->sealer.memory, e);
}

/* With the memory locked. */
static bool seal_locked(struct signer *s, struct message_seal *request, struct memory *m, struct err *e)
{
    struct succession_lot l;
    enum succession what;
    bool ok;

    if (!own_memory(s->settings, m, e) || !succession_judge(m, request, &l, &what, e))
        return false;
    ok = what == SUCCESSION_REPEAT || sign_and_remember(s, &l, m, e);
    lot_free(&l.lot);
    return ok;
}

static bool seal(struct signer *s, struct message_seal *request, struct buf *out, struct err *e)
{
    int lock = memory_lock(s->settings->sealer.memory, e);
    struct memory m;
    bool ok;

    if (lock < 0)
        return false;
    memory_init(&m);
    ok = seal_locked(s, request, &m, e) && buf_add_slice(out, buf_slice(&m.answer), e);
    memory_free(&m);
    close(lock);
    return ok;
}

static bool answer(struct signer *s, const struct channel_message *m, uint64_t *lot, uint16_t *type, struct buf *out,
                   struct err *e)
{
    struct message_seal request;
    bool ok;

    if (m->type != MESSAGE_SEAL)
        return err_set(e, ERR_FATAL, "seal: message %u makes no sense", m->type);
    if (!message_get_seal(m->body, &request, e))
        return false;
    *lot = request.lot.number;
    *type = MESSAGE_SEALED;
    ok = seal(s, &request, out, e);
    lot_free(&request.lot);
    return ok;
}

/* Ready when what was signed last is known; the clock is stamp's to report. */
static bool fit(struct signer *s, struct err *e)
{
    int lock = memory_lock(s->settings->sealer.memory, e);
    struct memory m;
    bool ok;

    if (lock < 0)
        return false;
    memory_init(&m);
    ok = own_memory(s->settings, &m, e) && (s->now.what == NULL || keeps_name(&m, s->now.what->certificate, e));
    memory_free(&m);
    close(lock);
    return ok;
}

/* The genesis names the certificate of lot 1. */
static bool may_change(struct signer *s, struct err *e)
{
    struct memory m;
    bool ok;

    memory_init(&m);
    ok = own_memory(s->settings, &m, e) && (m.number > 0 || err_set(e, ERR_INPUT, "lot 1 is not sealed yet, and is sealed with the certificate in genesis.xml"));
    memory_free(&m);
    return ok;
}

int seal_run(struct role *self)
{
    static const struct signer_duty duty = {CREDENTIALS_SEAL, answer, fit, NULL, may_change};

    return signer_run(self, &duty);
}
