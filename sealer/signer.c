/* The life of a role that holds one HSM key: see signer.h. */
#include "sealer/signer.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/system/hsm.h"
#include "common/values/health.h"
#include "common/values/log.h"
#include "sealer/messages.h"

enum { TICK_MS = 1000, ANSWER_MAX = 4 << 20, REOPEN_MIN_MS = 500, REOPEN_MAX_MS = 10000, PROBE_MS = 5000 };

static int64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- certificates ------------------------------------------------------------------------ */

static bool add_der(X509 *certificate, struct buf *out, struct err *e)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    bool ok;

    if (len <= 0)
        return err_set_openssl(e, ERR_FATAL, "certificate");
    buf_init(out, 64 * 1024);
    ok = buf_add(out, der, (size_t)len, e);
    OPENSSL_free(der);
    return ok;
}

bool signer_chain_load(const char *path, X509 **first, struct buf chain[XADES_CERTIFICATES_MAX], size_t *count, struct err *e)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *c;
    bool ok = true;

    *first = NULL;
    *count = 0;
    if (in == NULL)
        return err_set_openssl(e, ERR_INPUT, "%s", path);
    while (ok && (c = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        bool root = *first != NULL && X509_self_signed(c, 0) == 1;

        if (!root && *count == XADES_CERTIFICATES_MAX)
            ok = err_set(e, ERR_INPUT, "%s: more than %d certificates", path, XADES_CERTIFICATES_MAX);
        else if (!root)
            ok = add_der(c, &chain[(*count)++], e);
        if (*first == NULL)
            *first = c;
        else
            X509_free(c);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is an error to PEM_read_bio_X509 */
    return ok && (*first != NULL || err_set(e, ERR_INPUT, "%s: no certificate", path));
}

void signer_chain_free(X509 *first, struct buf chain[XADES_CERTIFICATES_MAX], size_t count)
{
    X509_free(first);
    for (size_t i = 0; i < count; i++)
        buf_free(&chain[i]);
}

/* ---- the key ----------------------------------------------------------------------------- */

static void close_key(struct signer *s)
{
    hsm_close(s->hsm);
    s->hsm = NULL;
    s->key = NULL;
    s->doubtful_key = false;
}

static bool open_key(struct signer *s, struct err *e)
{
    const struct hsm_token where = {s->settings->sealer.module, s->settings->sealer.token, s->settings->sealer.pin};

    if (s->hsm != NULL)
        return true;
    s->hsm = hsm_open(&where, s->key_label, e);
    if (s->hsm == NULL)
        return false;
    s->key = hsm_key(s->hsm);
    if (X509_check_private_key(s->certificate, s->key) == 1) {
        log_info("hsm-open", "key \"%s\" of token \"%s\" is at hand", s->key_label, where.label);
        return true;
    }
    err_set_openssl(e, ERR_FATAL, "%s is not the certificate of key \"%s\"", s->certificate_path, s->key_label);
    close_key(s);
    return false;
}

/* ---- questions --------------------------------------------------------------------------- */

static bool refuse(struct signer *s, uint64_t lot, const struct err *why, struct err *e)
{
    struct buf b;
    bool ok;

    log_write(why->code == ERR_RETRY ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "refused", NULL, "asked for lot %llu: %s",
              (unsigned long long)lot, why->text);
    buf_init(&b, 4096);
    ok = message_put_refused(&b, lot, why, e) && channel_send(s->work, MESSAGE_REFUSED, buf_slice(&b), e);
    buf_free(&b);
    return ok;
}

static bool answer(struct signer *s, const struct signer_duty *duty, const struct channel_message *m, struct err *e)
{
    struct err why = {0};
    uint64_t lot = 0;
    uint16_t type = 0;
    struct buf b;
    bool ok;

    buf_init(&b, ANSWER_MAX);
    if (open_key(s, &why) && duty->answer(s, m, &lot, &type, &b, &why))
        ok = channel_send(s->work, type, buf_slice(&b), e);
    else
        ok = refuse(s, lot, &why, e);
    buf_free(&b);
    if (s->doubtful_key) {
        snprintf(s->away, sizeof s->away, "the key failed: %.400s", why.text);
        close_key(s);
    }
    return ok;
}

static void drop_work(struct signer *s)
{
    channel_free(s->work);
    s->work = NULL;
}

static void serve(struct signer *s, const struct signer_duty *duty)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result got = CHANNEL_EMPTY;

    while (s->work != NULL && (got = channel_receive(s->work, &m, &e)) == CHANNEL_MESSAGE) {
        if (m.fd >= 0)
            close(m.fd);
        if (!answer(s, duty, &m, &e) || !channel_flush(s->work, &e)) {
            got = CHANNEL_CLOSED;
            break;
        }
    }
    if (got == CHANNEL_CLOSED)
        drop_work(s); /* the parent gives a new one when work is back */
}

/* ---- life -------------------------------------------------------------------------------- */

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct signer *s = ctx;

    (void)kind;
    (void)index;
    channel_free(s->work);
    s->work = c;
}

static void drain(void *ctx)
{
    ((struct signer *)ctx)->leaving = true;
}

/* A token that went away is noticed before a lot is due. */
static void probe_key(struct signer *s)
{
    const struct hsm_token where = {s->settings->sealer.module, s->settings->sealer.token, s->settings->sealer.pin};
    struct err e = {0};

    if (s->hsm == NULL || monotonic_ms() < s->probe_at)
        return;
    s->probe_at = monotonic_ms() + PROBE_MS;
    if (hsm_probe(&where, s->key_label, &e))
        return;
    log_error("hsm-away", "%s", e.text);
    snprintf(s->away, sizeof s->away, "%s", e.text);
    close_key(s);
}

/* Opens the key again, not more often than the pause says. */
static void reopen_key(struct signer *s, int64_t *next_open, int *pause_ms)
{
    struct err e = {0};

    if (s->hsm != NULL || monotonic_ms() < *next_open)
        return;
    if (open_key(s, &e)) {
        *pause_ms = REOPEN_MIN_MS;
        return;
    }
    log_error("hsm-away", "%s", e.text);
    snprintf(s->away, sizeof s->away, "%s", e.text);
    *pause_ms = *pause_ms * 2 > REOPEN_MAX_MS ? REOPEN_MAX_MS : *pause_ms * 2;
    *next_open = monotonic_ms() + *pause_ms;
}

static void tell_work(struct signer *s, const struct health *h)
{
    struct wire_writer w;
    struct buf b;

    if (s->work == NULL)
        return;
    buf_init(&b, 4096);
    w = wire_write(&b);
    health_put(&w, h);
    /* A work that reads nothing hears it again in a second. */
    if (!wire_ok(&w, "HEALTH", NULL) || !channel_send(s->work, MESSAGE_HEALTH, buf_slice(&b), NULL) || !channel_flush(s->work, NULL))
        log_debug("health-unsent", "work does not listen");
    buf_free(&b);
}

/* Tells the parent and work whether the duty can be done. */
static void tick(struct signer *s, const struct signer_duty *duty, int64_t *next_open, int *pause_ms)
{
    struct err e = {0};
    struct health h = {0};
    bool key, fit;

    probe_key(s);
    reopen_key(s, next_open, pause_ms);
    key = s->hsm != NULL;
    fit = duty->fit(s, &e);
    health_set(&h, "hsm", key, key ? "key at hand" : s->away);
    if (duty->item != NULL)
        health_set(&h, duty->item, fit, fit ? "trusted" : e.text);
    else if (key && !fit)
        health_set(&h, "hsm", false, e.text);
    tell_work(s, &h);
    role_ready(s->self, key && fit, "%s", !key ? s->away : fit ? "key at hand" : e.text);
}

static void loop(struct signer *s, const struct signer_duty *duty)
{
    int64_t next_tick = 0, next_open = 0;
    int pause_ms = REOPEN_MIN_MS;

    while (!s->leaving) {
        struct pollfd fds[2] = {{role_parent_fd(s->self), POLLIN, 0}, {-1, POLLIN, 0}};
        int64_t now = monotonic_ms();

        if (now >= next_tick) {
            tick(s, duty, &next_open, &pause_ms);
            next_tick = monotonic_ms() + TICK_MS;
            now = monotonic_ms();
        }
        if (s->work != NULL) {
            fds[1].fd = channel_fd(s->work);
            if (channel_queued(s->work) > 0)
                fds[1].events |= POLLOUT;
        }
        poll(fds, 2, (int)(next_tick > now ? next_tick - now : 0));
        if (!role_poll(s->self, 0))
            return;
        if (s->work != NULL && (fds[1].revents & POLLOUT) != 0 && !channel_flush(s->work, NULL))
            drop_work(s);
        serve(s, duty);
    }
}

int signer_run(struct role *self, const struct signer_duty *duty)
{
    static const struct role_events events = {.linked = linked, .drain = drain};
    struct signer s = {.self = self, .settings = role_settings(self), .key_label = duty->key_label,
                       .certificate_path = duty->certificate_path};
    struct err e = {0};
    int status = 0;

    role_on(self, &events, &s);
    if (signer_chain_load(duty->certificate_path, &s.certificate, s.chain, &s.chain_count, &e)) {
        loop(&s, duty);
    } else {
        status = role_unfit(self, &e);
    }
    channel_free(s.work);
    close_key(&s);
    signer_chain_free(s.certificate, s.chain, s.chain_count);
    return status;
}
