/*
 * The `keys` role: holds a TLS private key, for a minute the one before too, and signs what fronts need for handshakes (see remote_key.h).
 * Fronts parse strangers' bytes and may have been taken over: only blocks that look like a TLS signature's are signed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "common/system/remote_key.h"
#include "common/system/secret.h"
#include "common/values/log.h"
#include "common/values/wire.h"

enum {
    KEYS_LOOK_MS = 1000, /* between two looks at the file because of a key that is not known */
    KEYS_WANTED_MS = 10000, /* so long after a front has asked for a key that is not held, this role is not what is needed */
    KEYS_UNTAKEN_MAX = 64 * 1024, /* bytes of answers that a front has not taken: it is asked nothing more */
    KEYS_TURN_MAX = 64, /* answers to one front before others, and what is due, have their turn */
};

static bool input_is_right(EVP_PKEY *key, uint8_t kind, struct slice input, struct err *e)
{
    int type = EVP_PKEY_get_base_id(key);

    if (kind == REMOTE_KEY_RSA && type == EVP_PKEY_RSA) {
        if (input.len != (size_t)EVP_PKEY_get_size(key))
            return err_set(e, ERR_INPUT, "SIGN: a block of %zu bytes for a key of %d", input.len, EVP_PKEY_get_size(key));
        return remote_key_is_signature_block(input) || err_set(e, ERR_INPUT, "SIGN: the block is no signature's (RFC 8017 9)");
    }
    if (kind == REMOTE_KEY_ECDSA && type == EVP_PKEY_EC)
        return input.len == 32 || input.len == 48 || input.len == 64 ||
               err_set(e, ERR_INPUT, "SIGN: a digest of %zu bytes", input.len);
    return err_set(e, ERR_INPUT, "SIGN: kind %u does not fit the key", kind);
}

static bool sign(EVP_PKEY *key, uint8_t kind, struct slice input, uint8_t *out, size_t *len, struct err *e)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
              (kind != REMOTE_KEY_RSA || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1) &&
              EVP_PKEY_sign(ctx, out, len, input.at, input.len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok || err_set_openssl(e, ERR_FATAL, "SIGN: the key cannot sign");
}

static EVP_PKEY *find(const struct keys_held *held, struct slice name, struct err *e)
{
    for (unsigned i = 0; i < held->count; i++)
        if (slice_equal(name, slice_of(held->at[i].name, REMOTE_KEY_ID)))
            return held->at[i].key;
    err_set(e, ERR_DENIED, "SIGN: no such key is held");
    return NULL;
}

bool keys_answer(const struct keys_held *held, struct slice request, struct buf *answer, struct err *e)
{
    struct wire_reader in = wire_read(request);
    uint32_t number = wire_get_u32(&in);
    struct slice name = wire_get_fixed(&in, REMOTE_KEY_ID);
    uint8_t kind = wire_get_u8(&in), signature[REMOTE_KEY_INPUT_MAX];
    struct slice input = wire_get_bytes(&in);
    size_t len = sizeof signature;
    struct wire_writer w = wire_write(answer);
    EVP_PKEY *key;

    if (!wire_end(&in, "SIGN", e))
        return false;
    key = find(held, name, e);
    if (key == NULL || !input_is_right(key, kind, input, e) || !sign(key, kind, input, signature, &len, e))
        return false;
    wire_put_u32(&w, number);
    wire_put_u8(&w, 1);
    wire_put_bytes(&w, slice_of(signature, len));
    return wire_ok(&w, "SIGNED", e);
}

/* ---- keys before and after a reload -------------------------------------------------------------------------------------- */

static void remove_at(struct keys_held *held, unsigned i)
{
    EVP_PKEY_free(held->at[i].key);
    held->count--;
    memmove(&held->at[i], &held->at[i + 1], (held->count - i) * sizeof held->at[0]);
}

void keys_expire(struct keys_held *held, uint64_t now)
{
    for (unsigned i = held->count; i-- > 1;)
        if (held->at[i].until <= now)
            remove_at(held, i);
}

void keys_free(struct keys_held *held)
{
    while (held->count != 0)
        remove_at(held, held->count - 1);
}

bool keys_put(struct keys_held *held, EVP_PKEY *key, uint64_t now, struct err *e)
{
    uint8_t name[REMOTE_KEY_ID];

    if (!remote_key_name(key, name, e)) {
        EVP_PKEY_free(key);
        return false;
    }
    if (held->count != 0 && memcmp(held->at[0].name, name, sizeof name) == 0) {
        EVP_PKEY_free(key);
        return true;
    }
    if (held->count != 0)
        held->at[0].until = now + KEYS_KEPT_MS;
    for (unsigned i = held->count; i-- > 0;)
        if (memcmp(held->at[i].name, name, sizeof name) == 0 || i == KEYS_HELD_MAX - 1) /* one that comes back, or the oldest */
            remove_at(held, i);
    memmove(&held->at[1], &held->at[0], held->count * sizeof held->at[0]);
    held->count++;
    held->at[0].key = key;
    held->at[0].until = 0;
    memcpy(held->at[0].name, name, sizeof name);
    return true;
}

/* ---- the role ------------------------------------------------------------------------------------------------------------- */

struct keys {
    struct role *role;
    const char *(*path)(const struct settings *s);
    struct event_base *base;
    struct keys_held held;
    char *file;          /* owned: the key's, as configured now */
    uint64_t looked_at;  /* when it was read last, ms */
    uint64_t said_at;    /* when a refusal was logged, ms; 0: never */
    uint64_t wanted_at;  /* when a front asked for a key that is not held, ms; 0: never */
    struct keys_peer *peers;
    uint64_t signatures, refusals;
};

/* One front. */
struct keys_peer {
    struct keys *keys;
    struct channel *channel;
    struct event *readable, *writable;
    char kind[32];
    unsigned index;
    struct keys_peer *next;
};

static EVP_PKEY *load_key(const char *path, struct err *e)
{
    FILE *in;
    EVP_PKEY *key = NULL;

    if (!secret_check_file(path, e))
        return NULL;
    in = fopen(path, "re");
    if (in != NULL) {
        key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
        fclose(in);
    }
    if (key == NULL)
        err_set_openssl(e, ERR_INPUT, "%s: no private key", path);
    return key;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Reads the key's file; what is held stays when it cannot be read. */
static bool look(struct keys *k, struct err *e)
{
    EVP_PKEY *key = load_key(k->file, e);

    k->looked_at = now_ms();
    return key != NULL && keys_put(&k->held, key, k->looked_at, e);
}

/*
 * The certificate is another role's to read: it may be in force before we are told to reload. Once a second at most, whatever
 * fronts ask.
 */
static bool answer_after_look(struct keys *k, struct slice request, struct buf *answer, struct err *why)
{
    struct err e = {0};

    if (keys_answer(&k->held, request, answer, why))
        return true;
    if (why->code != ERR_DENIED || now_ms() - k->looked_at < KEYS_LOOK_MS || !look(k, &e))
        return false;
    buf_reset(answer);
    err_clear(why);
    return keys_answer(&k->held, request, answer, why);
}

static void drop_peer(struct keys_peer *p)
{
    struct keys_peer **at = &p->keys->peers;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    event_free(p->readable);
    event_free(p->writable);
    channel_free(p->channel);
    free(p);
}

/* Once a second at most, however much a front that was taken over asks for. */
static void say_refused(const struct keys_peer *p, const char *why)
{
    struct keys *k = p->keys;

    if (k->said_at != 0 && now_ms() - k->said_at < KEYS_LOOK_MS)
        return;
    k->said_at = now_ms();
    log_warning("keys-refused", "%s %u: %s (%llu refused in all)", p->kind, p->index, why, (unsigned long long)k->refusals);
}

static bool answer_one(struct keys_peer *p, const struct channel_message *m, struct err *e)
{
    struct keys *k = p->keys;
    struct wire_reader in = wire_read(m->body);
    struct wire_writer w;
    struct err why = {0};
    struct buf answer;
    bool ok;

    if (m->fd >= 0 || m->type != REMOTE_KEY_SIGN || m->body.len > REMOTE_KEY_MESSAGE_MAX)
        return err_set(e, ERR_INPUT, "message %u of %zu bytes makes no sense", m->type, m->body.len);
    buf_init(&answer, REMOTE_KEY_MESSAGE_MAX);
    if (answer_after_look(k, m->body, &answer, &why)) {
        k->signatures++;
    } else {
        k->refusals++;
        if (why.code == ERR_DENIED)
            k->wanted_at = now_ms();
        say_refused(p, why.text);
        buf_reset(&answer);
        w = wire_write(&answer);
        wire_put_u32(&w, wire_get_u32(&in));
        wire_put_u8(&w, 0);
        wire_put_bytes(&w, slice_of(NULL, 0));
    }
    ok = channel_send(p->channel, REMOTE_KEY_SIGNED, buf_slice(&answer), e);
    buf_free(&answer);
    return ok;
}

/* Answers some of what is asked, until answers wait; `more`: it has perhaps asked more. False: the front is gone, or talks nonsense. */
static bool answer_some(struct keys_peer *p, bool *more, struct err *e)
{
    struct channel_message m;
    enum channel_result r = CHANNEL_MESSAGE;

    for (unsigned n = 0; n < KEYS_TURN_MAX && channel_queued(p->channel) < KEYS_UNTAKEN_MAX && (r = channel_receive(p->channel, &m, e)) == CHANNEL_MESSAGE; n++)
        if (!answer_one(p, &m, e))
            return false;
    *more = r == CHANNEL_MESSAGE;
    return r != CHANNEL_CLOSED && channel_flush(p->channel, e);
}

/* While answers wait, no new question is looked at: the front takes first what it asked for. */
static void serve(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval at_once = {0, 0};
    struct keys_peer *p = arg;
    struct err e = {0};
    bool more = false;

    (void)fd;
    (void)what;
    if (!channel_flush(p->channel, &e) || (channel_queued(p->channel) == 0 && !answer_some(p, &more, &e))) {
        log_info("keys-unlinked", "%s %u: %s", p->kind, p->index, e.text);
        drop_peer(p);
    } else if (channel_queued(p->channel) != 0) {
        event_del(p->readable);
        event_add(p->writable, NULL);
    } else
        event_add(p->readable, more ? &at_once : NULL);
}

/* One of the same name has ended, or was given up for another by the front. */
static void drop_namesake(struct keys *k, const char *kind, unsigned index)
{
    struct keys_peer *p = k->peers;

    while (p != NULL && (p->index != index || strcmp(p->kind, kind) != 0))
        p = p->next;
    if (p != NULL)
        drop_peer(p);
}

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    struct keys *k = ctx;
    struct keys_peer *p = mem_zalloc(1, sizeof *p);

    drop_namesake(k, kind, index);
    channel_limit(c, REMOTE_KEY_MESSAGE_MAX);
    *p = (struct keys_peer){.keys = k, .channel = c, .index = index, .next = k->peers};
    snprintf(p->kind, sizeof p->kind, "%s", kind);
    p->readable = event_new(k->base, channel_fd(c), EV_READ | EV_PERSIST, serve, p);
    p->writable = event_new(k->base, channel_fd(c), EV_WRITE, serve, p);
    k->peers = p;
    event_add(p->readable, NULL);
}

static void drain(void *ctx)
{
    struct keys *k = ctx;

    event_base_loopbreak(k->base);
}

static void reload(void *ctx, const struct settings *fresh)
{
    struct keys *k = ctx;
    struct err e = {0};

    free(k->file);
    k->file = mem_strdup(k->path(fresh));
    if (!look(k, &e)) {
        log_error("key-unreadable", "the old key stays: %s", e.text);
        role_reload_refused(k->role, "%s", e.text);
    }
}

static void ticked(evutil_socket_t fd, short what, void *arg)
{
    struct keys *k = arg;
    char text[200];

    (void)fd;
    (void)what;
    keys_expire(&k->held, now_ms());
    if (k->wanted_at != 0 && now_ms() - k->wanted_at < KEYS_WANTED_MS)
        role_ready(k->role, false, "a certificate is shown, or is to be shown, whose key is not in %s", k->file);
    else
        role_ready(k->role, true, "key loaded");
    snprintf(text, sizeof text, "coffre_keys_signatures_total %llu\ncoffre_keys_refusals_total %llu\ncoffre_keys_held %u\n",
             (unsigned long long)k->signatures, (unsigned long long)k->refusals, k->held.count);
    role_metrics(k->role, text);
}

int keys_role_run(struct role *self, const char *(*path)(const struct settings *s))
{
    static const struct role_events events = {.linked = linked, .drain = drain, .reload = reload};
    struct keys k = {.role = self, .path = path};
    struct timeval second = {1, 0};
    struct event *tick;
    struct err e = {0};

    secret_open_heap();
    k.file = mem_strdup(path(role_settings(self)));
    if (!look(&k, &e)) {
        free(k.file);
        return role_unfit(self, &e);
    }
    k.base = event_base_new();
    if (k.base == NULL)
        return 1;
    role_on(self, &events, &k);
    role_attach(self, k.base);
    tick = event_new(k.base, -1, EV_PERSIST, ticked, &k);
    event_add(tick, &second);
    ticked(-1, 0, &k);
    event_base_dispatch(k.base);
    while (k.peers != NULL)
        drop_peer(k.peers);
    event_free(tick);
    keys_free(&k.held);
    free(k.file);
    /* The parent's event is freed by the role with its base still there. */
    return 0;
}
