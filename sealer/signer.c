/* The life of a role that holds one HSM key: see signer.h. */
#include "sealer/signer.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

/* ---- the key ----------------------------------------------------------------------------- */

void signer_close(struct signer *s)
{
    EVP_PKEY_free(s->now.key);
    EVP_PKEY_free(s->next.key);
    s->now.key = s->next.key = NULL;
    hsm_close(s->hsm);
    s->hsm = NULL;
    s->doubtful_key = false;
}

static struct hsm_token token_of(const struct signer *s)
{
    return (struct hsm_token){s->settings->sealer.module, s->settings->sealer.token, s->pin, &s->guard.hsm};
}

static bool find_key(struct signer *s, struct err *e)
{
    const struct hsm_token where = token_of(s);

    if (s->hsm != NULL) {
        s->now.key = hsm_find_key(s->hsm, s->now.what->label, e);
        return s->now.key != NULL;
    }
    s->hsm = hsm_open(&where, s->now.what->label, e);
    if (s->hsm == NULL || EVP_PKEY_up_ref(hsm_key(s->hsm)) != 1)
        return false;
    s->now.key = hsm_key(s->hsm);
    return true;
}

bool signer_open(struct signer *s, struct err *e)
{
    if (s->hsm != NULL && s->now.key != NULL)
        return true;
    if (s->now.what == NULL)
        s->now.what = credentials_load(s->duty->credentials, s->settings, e);
    if (s->now.what == NULL)
        return false;
    if (find_key(s, e) && credentials_check_key(s->now.what, s->now.key, e)) {
        log_info("hsm-open", "key \"%s\" of token \"%s\" is at hand", s->now.what->label, s->settings->sealer.token);
        return true;
    }
    signer_close(s);
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

static void put_mark(uint8_t out[MESSAGE_MARK], const struct signer_key *k)
{
    if (k->what != NULL)
        memcpy(out, k->what->mark, MESSAGE_MARK);
}

static bool stand(struct signer *s, const struct channel_message *m, uint64_t *lot, struct buf *out, struct err *e)
{
    struct message_stand asked;
    struct message_stands said;

    if (!message_get_stand(m->body, &asked, e))
        return false;
    *lot = asked.lot;
    signer_take(s, asked.take);
    said = (struct message_stands){.lot = asked.lot};
    put_mark(said.now, &s->now);
    put_mark(said.next, &s->next);
    return message_put_stands(out, &said, e);
}

/* Fills `type` and `out`. */
static bool work_out(struct signer *s, const struct channel_message *m, uint64_t *lot, uint16_t *type, struct buf *out, struct err *e)
{
    *type = MESSAGE_STANDS;
    return m->type == MESSAGE_STAND ? stand(s, m, lot, out, e) : signer_open(s, e) && s->duty->answer(s, m, lot, type, out, e);
}

static bool answer(struct signer *s, const struct channel_message *m, struct err *e)
{
    struct err why = {0};
    uint64_t lot = 0;
    uint16_t type = 0;
    struct buf b;
    bool ok;

    buf_init(&b, ANSWER_MAX);
    if (work_out(s, m, &lot, &type, &b, &why))
        ok = channel_send(s->work, type, buf_slice(&b), e);
    else
        ok = refuse(s, lot, &why, e);
    buf_free(&b);
    if (s->doubtful_key) {
        snprintf(s->away, sizeof s->away, "the key failed: %.400s", why.text);
        signer_close(s);
    }
    return ok;
}

static void drop_work(struct signer *s)
{
    channel_free(s->work);
    s->work = NULL;
}

static void serve(struct signer *s)
{
    struct channel_message m;
    struct err e = {0};
    enum channel_result got = CHANNEL_EMPTY;

    while (s->work != NULL && (got = channel_receive(s->work, &m, &e)) == CHANNEL_MESSAGE) {
        if (m.fd >= 0)
            close(m.fd);
        if (!answer(s, &m, &e) || !channel_flush(s->work, &e)) {
            got = CHANNEL_CLOSED;
            break;
        }
    }
    if (got == CHANNEL_CLOSED)
        drop_work(s); /* the parent gives a new one when work is back */
}

/* ---- where the library's files are ------------------------------------------------------------ */

/* Landlock knows folders by what they are, not by their names: one that is not there yet, or is another by now, is out of reach for as long as this process lives. */
static bool note_paths(struct signer *s, struct err *e)
{
    const struct settings_list *paths = &s->settings->sealer.module_paths;
    struct stat st;

    for (unsigned i = 0; i < paths->count; i++) {
        if (stat(paths->items[i], &st) != 0)
            return err_set_errno(e, ERR_RETRY, "sealer.module_paths: %s", paths->items[i]);
        s->paths[i] = st.st_ino;
        s->folders[i] = S_ISDIR(st.st_mode);
    }
    return true;
}

static bool paths_changed(const struct signer *s)
{
    const struct settings_list *paths = &s->settings->sealer.module_paths;
    struct stat st;

    for (unsigned i = 0; i < paths->count; i++)
        if (s->folders[i] && stat(paths->items[i], &st) == 0 && st.st_ino != s->paths[i])
            return true;
    return false;
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

static void lose(struct signer *s, const struct err *why)
{
    log_error("hsm-away", "%s", why->text);
    snprintf(s->away, sizeof s->away, "%s", why->text);
}

/* A token that went away is noticed before a lot is due. */
static void probe_key(struct signer *s)
{
    const struct hsm_token where = token_of(s);
    struct err e = {0};

    if (s->hsm == NULL || s->now.key == NULL || monotonic_ms() < s->probe_at)
        return;
    s->probe_at = monotonic_ms() + PROBE_MS;
    if (hsm_probe(&where, s->now.what->label, &e))
        return;
    lose(s, &e);
    signer_close(s);
}

/* Opens the key again, not more often than the pause says. */
static void reopen_key(struct signer *s)
{
    struct err e = {0};

    if ((s->hsm != NULL && s->now.key != NULL) || monotonic_ms() < s->next_open)
        return;
    if (signer_open(s, &e)) {
        s->pause_ms = REOPEN_MIN_MS;
        return;
    }
    lose(s, &e);
    if (paths_changed(s)) {
        log_warning("library-moved", "a folder of the HSM's library is another one now: this process starts again");
        s->status = 1;
        s->leaving = true;
    }
    s->pause_ms = s->pause_ms * 2 > REOPEN_MAX_MS ? REOPEN_MAX_MS : s->pause_ms * 2;
    s->next_open = monotonic_ms() + s->pause_ms;
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

/* The key is there, and its certificate in date, trusted and for this. */
static bool key_is_fit(struct signer *s, struct err *e)
{
    if (s->hsm == NULL || s->now.key == NULL)
        return err_set(e, ERR_RETRY, "%s", s->away);
    return credentials_check(s->now.what, (int64_t)time(NULL) * 1000, e);
}

static void tell_parent(struct signer *s, bool ready, const char *why)
{
    const char *unconfined = s->settings->sealer.module_paths.count == 0 ? "; its library may open any file (sealer.module_paths is empty)" : "";

    if (ready)
        role_ready(s->self, true, "key at hand%s%s", s->next.what != NULL ? ", another certificate is ready for the next lot" : "", unconfined);
    else
        role_ready(s->self, false, "%s", why);
}

/* Tells the parent and work whether the duty can be done. */
static void tick(struct signer *s)
{
    struct err unfit = {0}, keyless = {0};
    struct health h = {0};
    bool key, fit;

    probe_key(s);
    reopen_key(s);
    key = key_is_fit(s, &keyless);
    fit = s->duty->fit(s, &unfit);
    health_set(&h, "hsm", key, key ? "key at hand" : keyless.text);
    if (s->duty->item != NULL)
        health_set(&h, s->duty->item, fit, fit ? "trusted" : unfit.text);
    else if (key && !fit)
        health_set(&h, "hsm", false, unfit.text);
    tell_work(s, &h);
    tell_parent(s, key && fit, !key ? keyless.text : unfit.text);
}

static void loop(struct signer *s)
{
    int64_t next_tick = 0;

    while (!s->leaving) {
        struct pollfd fds[2] = {{role_parent_fd(s->self), POLLIN, 0}, {-1, POLLIN, 0}};
        int64_t now = monotonic_ms();

        if (now >= next_tick) {
            tick(s);
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
        serve(s);
    }
}

/* The library and what it brings, before the door closes: it stays loaded. What is wrong with it is said when the token is opened. */
static void load_library(const struct signer *s)
{
    if (dlopen(s->settings->sealer.module, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) == NULL)
        log_debug("library", "%s", dlerror());
}

int signer_run(struct role *self, const struct signer_duty *duty)
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = signer_reload};
    struct signer s = {.self = self, .settings = role_settings(self), .duty = duty, .pause_ms = REOPEN_MIN_MS};
    struct err e = {0};

    if (!note_paths(&s, &e)) {
        log_error("hsm-away", "%s", e.text);
        return 1; /* the parent tries again */
    }
    s.pin = mem_strdup(s.settings->sealer.pin);
    pin_guard_init(&s.guard, s.settings->sealer.memory, s.pin);
    load_library(&s);
    role_on(self, &events, &s);
    loop(&s);
    channel_free(s.work);
    signer_close(&s);
    signer_forget(&s.now);
    signer_forget(&s.next);
    pin_guard_free(&s.guard);
    free(s.pin);
    return s.status;
}
