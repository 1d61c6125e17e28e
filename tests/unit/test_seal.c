/*
 * Roles seal and stamp as they run, each a process with keys in a real SoftHSM token; the test stands where their parent and work stand.
 * What must never be signed: a fork, a gap, a replay, a step back, whatever the store says. With --role it is a role of itself.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/formats/digest.h"
#include "common/formats/sums.h"
#include "common/system/role_internal.h"
#include "common/values/log.h"
#include "common/values/wire.h"
#include "sealer/health.h"
#include "sealer/memory.h"
#include "sealer/messages.h"
#include "sealer/roles.h"
#include "sealer/sibling.h"
#include "tests/unit/vault.h"

enum { PATIENCE_MS = 60000, MAX = 1 << 20 };

static struct vault vault;

/* ---- a daemon of its own: role asker stands for work ----------------------------------------- */

static int asker_run(struct role *self);

static const struct role_kind kinds[] = {
    {.name = "asker", .run = asker_run, .links = {"stamp"}},
    {.name = "stamp", .run = stamp_run, .drain_stage = 1},
    {.name = "seal", .run = seal_run, .drain_stage = 1},
};
static const struct daemon test_daemon = {.name = "test-sealer", .part = SETTINGS_SEALER, .kinds = kinds, .kind_count = 3};

/* ---- one role as a process ------------------------------------------------------------------- */

struct child {
    pid_t pid;
    struct channel *parent, *work;
};

static struct child seal, stamp;

/* What a parent says first: the configuration at the start and now. */
static void hand_settings(struct channel *to)
{
    static uint8_t text[64 << 10];
    FILE *in = fopen(vault.config, "re");
    struct wire_writer w;
    struct slice read;
    struct buf b;

    assert_non_null(in);
    read = slice_of(text, fread(text, 1, sizeof text, in));
    fclose(in);
    buf_init(&b, 2 * sizeof text + 64);
    w = wire_write(&b);
    wire_put_bytes(&w, read);
    wire_put_bytes(&w, read);
    wire_put_text(&w, SLICE_LITERAL("node"));
    assert_true(channel_send(to, PARENT_SETTINGS, buf_slice(&b), NULL));
    buf_free(&b);
}

static struct child start(const char *kind)
{
    struct child c = {0};
    int parent[2], work[2];
    struct buf link;
    struct wire_writer w;

    assert_true(channel_pair(parent, NULL) && channel_pair(work, NULL));
    fflush(NULL);
    c.pid = fork();
    if (c.pid == 0) {
        dup2(parent[1], ROLE_PARENT_FD);
        _exit(role_main(&test_daemon, kind, 0, vault.config));
    }
    close(parent[1]);
    c.parent = channel_open(parent[0], MAX, MAX);
    c.work = channel_open(work[0], MAX, MAX);
    hand_settings(c.parent);
    buf_init(&link, 64);
    w = wire_write(&link);
    wire_put_text(&w, SLICE_LITERAL("work"));
    wire_put_u32(&w, 0);
    assert_true(channel_send_fd(c.parent, PARENT_LINK, buf_slice(&link), work[1], NULL));
    close(work[1]);
    buf_free(&link);
    return c;
}

static void end(struct child *c)
{
    int status;

    kill(c->pid, SIGKILL);
    waitpid(c->pid, &status, 0);
    channel_free(c->parent);
    channel_free(c->work);
    *c = (struct child){0};
}

/* The next message that is of `wanted` type, or any but HEALTH when that is 0; its body in `out`. */
static uint16_t await(struct child *c, uint16_t wanted, struct buf *out)
{
    struct channel_message m;
    struct err e = {0};

    do
        assert_int_equal(channel_wait(c->work, &m, PATIENCE_MS, &e), CHANNEL_MESSAGE);
    while (wanted == 0 ? m.type == MESSAGE_HEALTH : m.type != wanted);
    buf_reset(out);
    assert_true(buf_add_slice(out, m.body, &e));
    return m.type;
}

/* The answer's type; its body in `out`. */
static uint16_t ask(struct child *c, enum message type, const struct buf *question, struct buf *out)
{
    struct err e = {0};

    assert_true(channel_send(c->work, (uint16_t)type, buf_slice(question), &e));
    return await(c, 0, out);
}

/* ---- lots ------------------------------------------------------------------------------------ */

/* A lot to be asked for; what a test changes in it before asking is the test. */
struct asked {
    struct message_seal m;
    struct buf sums, previous;
};

static void add_line(struct asked *a, uint64_t lot, uint64_t serial)
{
    char name[NAMES_MAX], line[SUMS_LINE_MAX];
    uint8_t digest[32];

    if (serial == 0)
        names_write_key(name, lot, 1);
    else
        names_write_event(name, lot, serial);
    assert_true(digest_sha256(slice_text(name), digest, NULL));
    assert_true(buf_add(&a->sums, line, sums_write_line(line, digest, name), NULL));
}

static void make_lot(struct asked *a, uint64_t number, uint64_t first, unsigned count, struct slice previous)
{
    struct lot *l = &a->m.lot;

    *a = (struct asked){0};
    buf_init(&a->sums, MAX);
    buf_init(&a->previous, MAX);
    *l = (struct lot){.number = number, .first = first, .last = first + count - 1, .count = count, .reason = LOT_AGE,
                      .opened_ms = (int64_t)number * 1000, .closed_ms = (int64_t)number * 1000 + 999, .recipient_count = 1};
    if (count > 0) {
        add_line(a, number, 0);
        assert_true(lot_add_type(l, SLICE_LITERAL("PASPMISE"), count, NULL));
    }
    for (unsigned i = 0; i < count; i++)
        add_line(a, number, first + i);
    assert_true(buf_add_slice(&a->previous, previous, NULL));
}

static void free_lot(struct asked *a)
{
    lot_free(&a->m.lot);
    buf_free(&a->sums);
    buf_free(&a->previous);
}

static uint16_t ask_seal(struct asked *a, struct buf *answer)
{
    struct buf question;
    uint16_t type;

    buf_init(&question, MAX);
    a->m.sums = buf_slice(&a->sums);
    a->m.previous = buf_slice(&a->previous);
    assert_true(message_put_seal(&question, &a->m, NULL));
    type = ask(&seal, MESSAGE_SEAL, &question, answer);
    buf_free(&question);
    return type;
}

/* Must be refused with a doubt whose text holds `why`. */
static void refused(struct asked *a, const char *why)
{
    struct err said = {0};
    struct buf answer;
    uint64_t lot;

    buf_init(&answer, MAX);
    assert_int_equal(ask_seal(a, &answer), MESSAGE_REFUSED);
    assert_true(message_get_refused(buf_slice(&answer), &lot, &said, NULL));
    assert_int_equal(said.code, ERR_DOUBT);
    if (strstr(said.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", said.text, why);
    buf_free(&answer);
}

static void signed_by_seal(struct asked *a, struct buf *answer)
{
    struct err said = {0};
    uint64_t lot;

    if (ask_seal(a, answer) == MESSAGE_SEALED)
        return;
    (void)!message_get_refused(buf_slice(answer), &lot, &said, NULL);
    fail_msg("refused: %s", said.text);
}

static struct trust *trust_of_vault(void)
{
    char *path = mem_printf("%s/ca.pem", vault.folder);
    char text[8192];
    FILE *f = fopen(path, "r");
    struct trust *t;

    assert_non_null(f);
    t = trust_new(slice_of(text, fread(text, 1, sizeof text, f)), NULL);
    assert_non_null(t);
    fclose(f);
    free(path);
    return t;
}

static void ask_token(const uint8_t imprint[32], struct buf *answer, struct message_stamped *out)
{
    struct message_stamp request = {.lot = 1};
    struct buf question;

    memcpy(request.imprint, imprint, 32);
    buf_init(&question, MAX);
    assert_true(message_put_stamp(&question, &request, NULL));
    assert_int_equal(ask(&stamp, MESSAGE_STAMP, &question, answer), MESSAGE_STAMPED);
    assert_true(message_get_stamped(buf_slice(answer), out, NULL));
    buf_free(&question);
}

/* Makes the whole signatures0.xml of a sealed lot, and verifies it. */
static void finish(const struct asked *a, const struct buf *sealed, struct buf *signatures)
{
    struct xades_digests files = {.has_previous = a->previous.len > 0};
    struct message_sealed m;
    struct message_stamped token;
    struct xades_verdict verdict;
    struct trust *t = trust_of_vault();
    struct buf answer;
    struct xades_draft *d;
    struct err e = {0};
    uint8_t imprint[32];

    buf_init(&answer, MAX);
    buf_init(signatures, MAX);
    assert_true(message_get_sealed(buf_slice(sealed), &m, &e));
    assert_true(digest_sha256(m.lot_xml, files.lot, &e) && digest_sha256(buf_slice(&a->sums), files.sums, &e) &&
                digest_sha256(buf_slice(&a->previous), files.previous, &e));
    d = xades_begin(&files, m.certificates, m.certificate_count, m.signing_ms, m.algorithm, &e);
    assert_non_null(d);
    assert_true(xades_set_value(d, m.signature, &e) && xades_imprint(d, imprint, &e));
    ask_token(imprint, &answer, &token);
    assert_true(xades_finish(d, token.token, signatures, &e));
    xades_free(d);
    if (!xades_verify(buf_slice(signatures),
                      &(struct xades_files){m.lot_xml, buf_slice(&a->sums), files.has_previous ? buf_slice(&a->previous) : (struct slice){0}},
                      t, &verdict, &e))
        fail_msg("%s", e.text);
    trust_free(t);
    buf_free(&answer);
}

/* ---- seal ------------------------------------------------------------------------------------ */

static struct asked one, two;
static struct buf sealed_one, sealed_two, signatures_one, signatures_two;

static void first_lot_follows_the_genesis(void **state)
{
    (void)state;
    make_lot(&one, 1, 1, 3, (struct slice){0});
    signed_by_seal(&one, &sealed_one);
    finish(&one, &sealed_one, &signatures_one);
}

static void same_question_gets_the_same_answer_even_after_a_crash(void **state)
{
    struct buf again;

    (void)state;
    buf_init(&again, MAX);
    for (int i = 0; i < 2; i++) {
        signed_by_seal(&one, &again);
        assert_true(slice_equal(buf_slice(&again), buf_slice(&sealed_one)));
        end(&seal);
        seal = start("seal");
    }
    one.m.lot.recipient_count = 2; /* a certificate renewed between the two tries */
    signed_by_seal(&one, &again);
    assert_true(slice_equal(buf_slice(&again), buf_slice(&sealed_one)));
    one.m.lot.recipient_count = 1;
    buf_free(&again);
}

static void another_lot_of_the_same_number_would_fork(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 1, 1, 4, (struct slice){0});
    refused(&other, "fork");
    free_lot(&other);
    make_lot(&other, 1, 1, 3, (struct slice){0});
    other.m.lot.closed_ms++;
    refused(&other, "fork");
    free_lot(&other);
}

static void gap_in_lots_is_refused(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 3, 4, 1, buf_slice(&signatures_one));
    refused(&other, "memory went back");
    free_lot(&other);
}

static void gap_in_serials_is_refused(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 5, 2, buf_slice(&signatures_one));
    refused(&other, "first serial");
    free_lot(&other);
    make_lot(&other, 2, 3, 2, buf_slice(&signatures_one));
    refused(&other, "first serial");
    free_lot(&other);
}

static void list_must_hold_exactly_the_serials(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    buf_reset(&other.sums);
    add_line(&other, 2, 0);
    add_line(&other, 2, 4);
    refused(&other, "serials end at 4");
    add_line(&other, 2, 6);
    refused(&other, "serial 6 where 5 is due");
    buf_reset(&other.sums);
    add_line(&other, 2, 5);
    refused(&other, "serial 5 where 4 is due");
    buf_reset(&other.sums);
    add_line(&other, 1, 4);
    refused(&other, "names lot 1");
    buf_reset(&other.sums);
    add_line(&other, 2, 4);
    add_line(&other, 2, 5);
    add_line(&other, 2, 0);
    refused(&other, "out of order");
    free_lot(&other);
}

static void counts_must_add_up(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    other.m.lot.types[0].count = 1;
    refused(&other, "lot 2");
    free_lot(&other);
}

/* Its own key signs lot 1 again elsewhere: well-formed, verifies, but not the one that is remembered. */
static void previous_lot_must_be_the_one_signed_here(void **state)
{
    char *text = mem_text(buf_slice(&signatures_one)), *value = strstr(text, "<ds:SignatureValue");
    struct asked other;

    (void)state;
    assert_non_null(value);
    value = strchr(value, '>') + 1;
    *value = *value == 'A' ? 'B' : 'A';
    make_lot(&other, 2, 4, 2, slice_text(text));
    refused(&other, "previous signature value");
    free_lot(&other);
    make_lot(&other, 2, 4, 2, SLICE_LITERAL("<not-signatures/>"));
    refused(&other, "previous signatures");
    free_lot(&other);
    free(text);
}

static void time_must_not_go_back(void **state)
{
    struct asked other;

    (void)state;
    make_lot(&other, 2, 4, 2, buf_slice(&signatures_one));
    other.m.lot.opened_ms = 1;
    other.m.lot.closed_ms = 2;
    refused(&other, "goes back");
    free_lot(&other);
}

static void next_lot_follows(void **state)
{
    (void)state;
    make_lot(&two, 2, 4, 2, buf_slice(&signatures_one));
    signed_by_seal(&two, &sealed_two);
    finish(&two, &sealed_two, &signatures_two);
}

/* The same key under another name, put there while no role seal ran, which would otherwise be the one that knows. */
static void another_name_than_the_last_lots_signs_nothing(void **state)
{
    struct pki_identity other = pki_issue(&vault.ca, "Un autre", PKI_SEAL, (int64_t)(time(NULL) - 86400) * 1000, 30);
    struct pki_identity holder = {vault.ca.key, other.cert}, right = {vault.ca.key, vault.seal.cert};
    struct asked next;

    (void)state;
    assert_true(X509_set_pubkey(other.cert, X509_get0_pubkey(vault.seal.cert)) == 1 && X509_sign(other.cert, vault.ca.key, EVP_sha256()) > 0);
    end(&seal);
    pki_save(&holder, vault.folder, "seal");
    seal = start("seal");
    make_lot(&next, 3, 6, 0, buf_slice(&signatures_two));
    next.m.lot.reason = LOT_IDLE;
    refused(&next, "subject is not that of lot 2's");
    free_lot(&next);
    end(&seal);
    pki_save(&right, vault.folder, "seal");
    seal = start("seal");
    pki_free(&other);
}

static void rewound_store_is_refused(void **state)
{
    struct asked other;

    (void)state;
    refused(&one, "database went back");
    make_lot(&other, 2, 4, 1, buf_slice(&signatures_one));
    refused(&other, "fork");
    free_lot(&other);
}

static void empty_lot_follows_and_an_idle_one_too(void **state)
{
    struct asked three;
    struct buf sealed, signatures;

    (void)state;
    buf_init(&sealed, MAX);
    make_lot(&three, 3, 6, 0, buf_slice(&signatures_two));
    three.m.lot.reason = LOT_IDLE;
    signed_by_seal(&three, &sealed);
    finish(&three, &sealed, &signatures);
    free_lot(&three);
    make_lot(&three, 4, 7, 0, buf_slice(&signatures));
    refused(&three, "first serial");
    free_lot(&three);
    buf_free(&sealed);
    buf_free(&signatures);
}

static void swap_memory(const char *to, const char *from)
{
    char *a = mem_printf("%s%s", vault.memory, to), *b = mem_printf("%s%s", vault.memory, from);

    assert_int_equal(rename(b, a), 0);
    free(a);
    free(b);
}

static void rewound_missing_or_foreign_memory_is_refused(void **state)
{
    struct memory old;
    struct asked four;

    (void)state;
    memory_init(&old);
    assert_true(memory_load(&old, vault.memory, NULL, NULL));
    make_lot(&four, 4, 6, 1, buf_slice(&signatures_two));
    swap_memory(".kept", "");
    refused(&four, "coffre-ceremony remember");
    old.number = 2;
    old.last = 5;
    assert_true(memory_store(&old, vault.memory, NULL));
    refused(&four, "its memory went back");
    old.number = 3;
    old.vault = 2;
    assert_true(memory_store(&old, vault.memory, NULL));
    refused(&four, "not of 4512-1");
    swap_memory("", ".kept");
    free_lot(&four);
    memory_free(&old);
}

/* ---- stamp ----------------------------------------------------------------------------------- */

static void stamp_refused(int64_t not_before_ms, const char *why)
{
    const struct message_stamp request = {.lot = 9, .not_before_ms = not_before_ms};
    struct err said = {0};
    struct buf question, answer;
    uint64_t lot;

    buf_init(&question, MAX);
    buf_init(&answer, MAX);
    assert_true(message_put_stamp(&question, &request, NULL));
    assert_int_equal(ask(&stamp, MESSAGE_STAMP, &question, &answer), MESSAGE_REFUSED);
    assert_true(message_get_refused(buf_slice(&answer), &lot, &said, NULL));
    assert_int_equal(lot, 9);
    assert_int_equal(said.code, ERR_DOUBT);
    if (strstr(said.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", said.text, why);
    buf_free(&question);
    buf_free(&answer);
}

static void write_time(const char *text)
{
    char *path = mem_printf("%s.time", vault.memory);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void clock_behind_the_last_token_stops_stamping(void **state)
{
    const uint8_t imprint[32] = {0};
    struct message_stamped token;
    struct buf answer;

    (void)state;
    stamp_refused(((int64_t)time(NULL) + 3600) * 1000, "already sealed");
    write_time("99999999999999\n");
    stamp_refused(0, "already sealed");
    write_time("yesterday\n");
    stamp_refused(0, "cannot be read");
    write_time("1\n");
    buf_init(&answer, MAX);
    ask_token(imprint, &answer, &token);
    buf_free(&answer);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

struct asker {
    struct sibling stamp;
    unsigned pings;
};

static void linked(void *ctx, const char *kind, unsigned index, struct channel *c)
{
    (void)kind;
    (void)index;
    sibling_link(&((struct asker *)ctx)->stamp, c);
}

static bool ping(void *ctx)
{
    ((struct asker *)ctx)->pings++;
    return true;
}

static bool ask_once(struct role *self, struct asker *a, struct err *e)
{
    const struct message_stamp request = {.lot = 5};
    struct slice answer;
    struct buf question;
    bool ok;

    buf_init(&question, 256);
    ok = message_put_stamp(&question, &request, e) &&
         sibling_ask(self, &a->stamp,
                     &(struct sibling_question){.type = MESSAGE_STAMP, .body = buf_slice(&question), .lot = 5,
                                                .answer_type = MESSAGE_STAMPED,
                                                .deadline_ms = role_settings(self)->sealer.deadline, .idle = ping, .ctx = a},
                     &answer, e);
    buf_free(&question);
    return ok;
}

/* The stamp's process, from the status file. */
static pid_t stamp_pid(const struct settings *s)
{
    char *path = mem_printf("%s/test-sealer.status", s->state_dir), line[400];
    FILE *f = fopen(path, "r");
    long pid = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)!sscanf(line, "role stamp 0 pid %ld", &pid);
    if (f != NULL)
        fclose(f);
    free(path);
    return (pid_t)pid;
}

static bool until_answered(struct role *self, struct asker *a)
{
    struct err e = {0};

    while (!ask_once(self, a, &e)) {
        err_clear(&e);
        if (!role_poll(self, 100))
            return false;
    }
    return true;
}

/* Runs as a role: a stamp that works, one that is stopped, one that was started again. */
static const char *ask_a_stopped_one(struct role *self, struct asker *a)
{
    struct err e = {0};
    pid_t stopped;

    if (!until_answered(self, a))
        return "never answered";
    stopped = stamp_pid(role_settings(self));
    if (stopped <= 0 || kill(stopped, SIGSTOP) != 0)
        return "no stamp to stop";
    if (ask_once(self, a, &e))
        return "answered although stopped";
    if (e.code != ERR_RETRY || strstr(e.text, "did not answer") == NULL)
        return e.code == ERR_RETRY ? "another reason" : "no retry";
    if (a->pings == 0)
        return "nothing else was done while waiting";
    if (!until_answered(self, a))
        return "never answered again";
    return stamp_pid(role_settings(self)) == stopped ? "not started again" : "good";
}

static int asker_run(struct role *self)
{
    static const struct role_events events = {.linked = linked};
    struct asker a = {.stamp = {.kind = "stamp"}};
    char *path = mem_printf("%s/result", role_settings(self)->state_dir);
    FILE *f;

    role_on(self, &events, &a);
    f = fopen(path, "w");
    if (f != NULL) {
        fputs(ask_a_stopped_one(self, &a), f);
        fclose(f);
    }
    free(path);
    sibling_close(&a.stamp);
    return ROLE_EXIT_CONFIG; /* ends this daemon */
}

static void stopped_role_is_killed_at_its_deadline_and_started_again(void **state)
{
    char *path = mem_printf("%s/state/result", vault.folder), text[100] = "";
    int status;
    FILE *f;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        /* The parent's settings say deadline 2s. */
        execl("/proc/self/exe", "test-sealer", "--config", vault.config, (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_string_equal(text, "good");
    fclose(f);
    free(path);
}

/* ---- health ---------------------------------------------------------------------------------- */

/* Waits until a role says this of the item. */
static void says(struct child *c, const char *item, bool ok)
{
    const struct health_item *said;
    struct health h;
    struct buf body;
    time_t until = time(NULL) + PATIENCE_MS / 1000;

    buf_init(&body, MAX);
    do {
        await(c, MESSAGE_HEALTH, &body);
        assert_true(health_read(buf_slice(&body), &h, NULL));
        said = health_find(&h, item);
        assert_non_null(said);
        assert_true(time(NULL) < until);
    } while (said->ok != ok);
    assert_true(ok || said->note[0] != '\0');
    buf_free(&body);
}

static void token_that_goes_away_is_told_and_the_clock_stays_good(void **state)
{
    char *tokens = mem_printf("%s/tokens", vault.folder), *aside = mem_printf("%s/aside", vault.folder);

    (void)state;
    says(&seal, "hsm", true);
    says(&stamp, "hsm", true);
    assert_int_equal(rename(tokens, aside), 0);
    says(&seal, "hsm", false);
    says(&stamp, "hsm", false);
    says(&stamp, "clock", true);
    assert_int_equal(rename(aside, tokens), 0);
    says(&seal, "hsm", true);
    says(&stamp, "hsm", true);
    free(tokens);
    free(aside);
}

/* A sibling linked to nobody who speaks. */
static struct sibling listened_to(const char *kind, int64_t heard_ms, bool ok)
{
    struct sibling s = {.kind = kind};
    int fds[2];

    assert_true(channel_pair(fds, NULL));
    sibling_link(&s, channel_open(fds[0], MAX, MAX));
    close(fds[1]);
    health_set(&s.health, "hsm", ok, ok ? "key at hand" : "gone");
    health_set(&s.health, "clock", true, "");
    s.heard_ms += heard_ms;
    return s;
}

static void who_is_away_silent_or_without_its_key_is_not_well(void **state)
{
    struct sibling good = listened_to("seal", 0, true), bad = listened_to("seal", 0, false), silent = listened_to("stamp", -6000, true),
                   away = {.kind = "stamp"}, stamps = listened_to("stamp", 0, true);
    struct health h;

    (void)state;
    h = sealer_health_of(&good, &stamps);
    assert_true(health_ok(&h) && h.count == 2);
    h = sealer_health_of(&bad, &stamps);
    assert_false(health_find(&h, "hsm")->ok);
    assert_string_equal(health_find(&h, "hsm")->note, "gone");
    assert_true(health_find(&h, "clock")->ok);
    h = sealer_health_of(&good, &silent);
    assert_false(health_find(&h, "hsm")->ok || health_find(&h, "clock")->ok);
    h = sealer_health_of(&good, &away);
    assert_string_equal(health_find(&h, "clock")->note, "process stamp is away");
    sibling_close(&good);
    sibling_close(&bad);
    sibling_close(&silent);
    sibling_close(&stamps);
}

/* ---- main ------------------------------------------------------------------------------------ */

static int make(void **state)
{
    (void)state;
    vault_make(&vault);
    assert_true(xades_init(NULL));
    buf_init(&sealed_one, MAX);
    buf_init(&sealed_two, MAX);
    seal = start("seal");
    stamp = start("stamp");
    return 0;
}

static int sweep(void **state)
{
    (void)state;
    end(&seal);
    end(&stamp);
    free_lot(&one);
    free_lot(&two);
    buf_free(&sealed_one);
    buf_free(&sealed_two);
    buf_free(&signatures_one);
    buf_free(&signatures_two);
    xades_shutdown();
    vault_remove(&vault);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_away_silent_or_without_its_key_is_not_well),
        cmocka_unit_test(first_lot_follows_the_genesis),
        cmocka_unit_test(same_question_gets_the_same_answer_even_after_a_crash),
        cmocka_unit_test(another_lot_of_the_same_number_would_fork),
        cmocka_unit_test(gap_in_lots_is_refused),
        cmocka_unit_test(gap_in_serials_is_refused),
        cmocka_unit_test(list_must_hold_exactly_the_serials),
        cmocka_unit_test(counts_must_add_up),
        cmocka_unit_test(previous_lot_must_be_the_one_signed_here),
        cmocka_unit_test(time_must_not_go_back),
        cmocka_unit_test(next_lot_follows),
        cmocka_unit_test(another_name_than_the_last_lots_signs_nothing),
        cmocka_unit_test(rewound_store_is_refused),
        cmocka_unit_test(empty_lot_follows_and_an_idle_one_too),
        cmocka_unit_test(rewound_missing_or_foreign_memory_is_refused),
        cmocka_unit_test(clock_behind_the_last_token_stops_stamping),
        cmocka_unit_test(token_that_goes_away_is_told_and_the_clock_stays_good),
        cmocka_unit_test(stopped_role_is_killed_at_its_deadline_and_started_again),
    };

    if (argc > 1)
        return daemon_main(&test_daemon, argc, argv);
    return cmocka_run_group_tests(tests, make, sweep);
}
