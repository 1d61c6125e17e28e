/* See keeper.h. */
#include "tests/unit/keeper.h"

#include "common/values/wire.h"
#include "tests/unit/unit.h"

static void refuse(struct slice request, struct buf *answer)
{
    struct wire_reader in = wire_read(request);
    struct wire_writer w = wire_write(answer);

    buf_reset(answer);
    wire_put_u32(&w, wire_get_u32(&in));
    wire_put_u8(&w, 0);
    wire_put_bytes(&w, slice_of(NULL, 0));
}

static void *keep(void *arg)
{
    struct keeper *k = arg;
    struct channel_message m;
    struct buf answer;

    buf_init(&answer, REMOTE_KEY_MESSAGE_MAX);
    while (channel_wait(k->channel, &m, -1, NULL) == CHANNEL_MESSAGE) {
        bool ok;

        if (k->manner == KEEPER_SILENT)
            continue;
        buf_reset(&answer);
        pthread_mutex_lock(&k->lock);
        ok = keys_answer(&k->held, m.body, &answer, NULL);
        pthread_mutex_unlock(&k->lock);
        if (!ok) /* as the role does */
            refuse(m.body, &answer);
        if (k->manner == KEEPER_LYING)
            answer.data[answer.start + answer.len - 1] ^= 1;
        if (!channel_send(k->channel, REMOTE_KEY_SIGNED, buf_slice(&answer), NULL) || !channel_flush(k->channel, NULL))
            break;
        k->answers += ok;
    }
    buf_free(&answer);
    channel_free(k->channel);
    return NULL;
}

void keeper_hold(struct keeper *k, EVP_PKEY *key)
{
    assert_int_equal(EVP_PKEY_up_ref(key), 1);
    pthread_mutex_lock(&k->lock);
    assert_true(keys_put(&k->held, key, 0, NULL));
    pthread_mutex_unlock(&k->lock);
}

void keeper_begin(struct keeper *k, EVP_PKEY *key, enum keeper_manner manner)
{
    int fds[2];

    *k = (struct keeper){.manner = manner, .lock = PTHREAD_MUTEX_INITIALIZER, .line = remote_line_new()};
    assert_true(channel_pair(fds, NULL));
    k->channel = channel_open(fds[0], REMOTE_KEY_MESSAGE_MAX, 1 << 16);
    remote_line_link(k->line, channel_open(fds[1], REMOTE_KEY_MESSAGE_MAX, 1 << 16));
    remote_line_set_deadline(k->line, manner == KEEPER_SILENT ? 50 : 60000);
    keeper_hold(k, key);
    assert_int_equal(pthread_create(&k->thread, NULL, keep, k), 0);
}

void keeper_end(struct keeper *k)
{
    remote_line_link(k->line, NULL);
    assert_int_equal(pthread_join(k->thread, NULL), 0);
    remote_line_free(k->line);
    keys_free(&k->held);
}
