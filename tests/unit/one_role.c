/* See one_role.h. */
#include "tests/unit/one_role.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/system/role_internal.h"
#include "common/values/wire.h"
#include "tests/unit/unit.h"
#include "tests/unit/vault.h"

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
    wire_put_u32(&w, 0);
    assert_true(channel_send(to, PARENT_SETTINGS, buf_slice(&b), NULL));
    buf_free(&b);
}

struct one_role one_role_start(const struct daemon *daemon, const char *kind)
{
    struct one_role r = {0};
    int parent[2], work[2];
    struct buf link;
    struct wire_writer w;

    assert_true(channel_pair(parent, NULL) && channel_pair(work, NULL));
    fflush(NULL);
    r.pid = fork();
    if (r.pid == 0) {
        dup2(parent[1], ROLE_PARENT_FD);
        _exit(role_main(daemon, kind, 0, vault.config));
    }
    close(parent[1]);
    r.parent = channel_open(parent[0], ONE_ROLE_MAX, ONE_ROLE_MAX);
    r.work = channel_open(work[0], ONE_ROLE_MAX, ONE_ROLE_MAX);
    hand_settings(r.parent);
    buf_init(&link, 64);
    w = wire_write(&link);
    wire_put_text(&w, SLICE_LITERAL("work"));
    wire_put_u32(&w, 0);
    assert_true(channel_send_fd(r.parent, PARENT_LINK, buf_slice(&link), work[1], NULL));
    close(work[1]);
    buf_free(&link);
    return r;
}

void one_role_end(struct one_role *r)
{
    int status;

    kill(r->pid, SIGKILL);
    waitpid(r->pid, &status, 0);
    channel_free(r->parent);
    channel_free(r->work);
    *r = (struct one_role){0};
}

uint16_t one_role_await(struct one_role *r, uint16_t wanted, struct buf *out)
{
    struct channel_message m;
    struct err e = {0};

    do
        assert_int_equal(channel_wait(r->work, &m, ONE_ROLE_PATIENCE_MS, &e), CHANNEL_MESSAGE);
    while (wanted == 0 ? m.type == MESSAGE_HEALTH : m.type != wanted);
    buf_reset(out);
    assert_true(buf_add_slice(out, m.body, &e));
    return m.type;
}

uint16_t one_role_ask(struct one_role *r, enum message type, const struct buf *question, struct buf *out)
{
    struct err e = {0};

    assert_true(channel_send(r->work, (uint16_t)type, buf_slice(question), &e));
    return one_role_await(r, 0, out);
}

uint64_t one_role_refused(uint16_t type, const struct buf *answer, const char *why)
{
    struct err said = {0};
    uint64_t lot;

    assert_int_equal(type, MESSAGE_REFUSED);
    assert_true(message_get_refused(buf_slice(answer), &lot, &said, NULL));
    assert_int_equal(said.code, ERR_DOUBT);
    if (strstr(said.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", said.text, why);
    return lot;
}
