/*
 * Role stamp: holds the time-stamping key and judges the clock. It never gives a time that is doubtful or before one it gave
 * already, which it remembers in a file of its own beside the seal's memory.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/system/durable.h"
#include "common/values/log.h"
#include "sealer/clock.h"
#include "sealer/messages.h"
#include "sealer/roles.h"
#include "sealer/signer.h"
#include "sealer/token.h"

enum { LAST_MAX = 32 /* bytes of the file */, WARN_EVERY_S = 3600 };

/* <memory>.time: ms since 1970 of the last token, decimal. No file: none yet. */
static bool read_last(const char *path, int64_t *ms, struct err *e)
{
    struct err why = {0};
    struct buf b;
    bool missing = false, ok;
    char *end = NULL;

    buf_init(&b, LAST_MAX);
    *ms = 0;
    ok = durable_read(path, &b, &missing, &why);
    if (ok && b.len > 1 && b.len < LAST_MAX) {
        char *text = mem_text(buf_slice(&b));

        *ms = strtoll(text, &end, 10);
        ok = *ms > 0 && *end == '\n';
        free(text);
    } else if (ok) {
        ok = false;
    }
    buf_free(&b);
    return ok || missing || err_set(e, ERR_DOUBT, "%s: the time of the last token cannot be read%s%s", path,
                                    why.code == ERR_NONE ? "" : ": ", why.text);
}

static bool write_last(const char *path, int64_t ms, struct err *e)
{
    char text[LAST_MAX];
    int len = snprintf(text, sizeof text, "%lld\n", (long long)ms);

    return durable_write(path, slice_of(text, (size_t)len), 0600, e);
}

static bool trusted_now(struct signer *s, int64_t not_before_ms, int64_t *now_us, struct err *e)
{
    enum clock_source source;

    return clock_source_parse(s->settings->sealer.clock_source, &source, e) &&
           clock_trusted(source, s->settings->sealer.clock_max_error, not_before_ms, now_us, e);
}

/* With the file locked: a standby on this host shares it. */
static bool stamp_locked(struct signer *s, const char *path, const struct message_stamp *request, int64_t *now_us,
                         struct buf *token, struct err *e)
{
    const struct credentials *c = s->now.what;
    const struct token_maker maker = {c->certificate, c->chain, c->chain_count, s->now.key, c->policy};
    int64_t last;

    if (!read_last(path, &last, e))
        return false;
    if (request->not_before_ms > last)
        last = request->not_before_ms;
    if (!trusted_now(s, last, now_us, e) || !credentials_check(c, *now_us / 1000, e))
        return false;
    if (!token_make(&maker, request->imprint, *now_us, token, e)) {
        s->doubtful_key = true;
        return false;
    }
    return write_last(path, *now_us / 1000, e);
}

static bool stamp(struct signer *s, const struct message_stamp *request, struct buf *out, struct err *e)
{
    char *path = mem_printf("%s.time", s->settings->sealer.memory);
    int lock = durable_lock(path, e);
    int64_t now_us = 0;
    struct buf token;
    bool ok;

    buf_init(&token, TIMESTAMP_TOKEN_MAX);
    ok = lock >= 0 && stamp_locked(s, path, request, &now_us, &token, e);
    if (ok) {
        const struct message_stamped m = {request->lot, now_us / 1000, buf_slice(&token)};

        ok = message_put_stamped(out, &m, e);
    }
    buf_free(&token);
    if (lock >= 0)
        close(lock);
    free(path);
    return ok;
}

static bool answer(struct signer *s, const struct channel_message *m, uint64_t *lot, uint16_t *type, struct buf *out,
                   struct err *e)
{
    struct message_stamp request;

    if (m->type != MESSAGE_STAMP)
        return err_set(e, ERR_FATAL, "stamp: message %u makes no sense", m->type);
    if (!message_get_stamp(m->body, &request, e))
        return false;
    *lot = request.lot;
    *type = MESSAGE_STAMPED;
    return stamp(s, &request, out, e);
}

static void warn_of_development(const struct signer *s)
{
    static time_t warned;
    struct timespec now;
    enum clock_source source;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!clock_source_parse(s->settings->sealer.clock_source, &source, NULL) || source != CLOCK_SOURCE_LOCAL_TRUSTED)
        return;
    if (warned != 0 && now.tv_sec - warned < WARN_EVERY_S)
        return;
    warned = now.tv_sec;
    log_warning("clock-unchecked", "sealer.clock.source is local-trusted: the local clock is believed without any check. "
                                   "FOR DEVELOPMENT ONLY: time-stamps made so prove nothing");
}

static bool fit(struct signer *s, struct err *e)
{
    static bool doubted;
    char *path = mem_printf("%s.time", s->settings->sealer.memory);
    int64_t last, now_us = 0;
    bool ok = read_last(path, &last, e) && trusted_now(s, last, &now_us, e);
    char metrics[200];

    free(path);
    warn_of_development(s);
    if (!ok && !doubted)
        log_error("clock-doubt", "sealing waits: %s", e == NULL ? "" : e->text);
    else if (ok && doubted)
        log_info("clock-good", "the clock can be trusted again");
    doubted = !ok;
    snprintf(metrics, sizeof metrics, "coffre_clock_trusted %d\n", ok);
    role_metrics(s->self, metrics);
    return ok;
}

/* The genesis names the certificate of lot 1's time-stamp. */
static bool may_change(struct signer *s, struct err *e)
{
    char *path = mem_printf("%s.time", s->settings->sealer.memory);
    int64_t last = 0;
    bool ok = read_last(path, &last, e) && (last > 0 || err_set(e, ERR_INPUT, "lot 1 is not sealed yet, and is time-stamped with the certificate in genesis.xml"));

    free(path);
    return ok;
}

int stamp_run(struct role *self)
{
    static const struct signer_duty duty = {CREDENTIALS_STAMP, answer, fit, "clock", may_change};

    return signer_run(self, &duty);
}
