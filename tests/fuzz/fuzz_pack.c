/*
 * Fuzz target: packs and the records inside. The first byte chooses: 0, the rest is opened as a pack (it can hardly be
 * one: headers and tags are tried); otherwise the rest is a pack's plaintext. What decodes must encode to the same
 * bytes.
 */
#include <stdlib.h>

#include "common/formats/pack.h"

static const uint8_t KEY[PACK_KEY_SIZE] = "the fuzzer's own key, 32 bytes..";

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void open_pack(struct slice in, enum pack_kind kind)
{
    static struct pack_reader *reader;
    struct slice key = slice_of(KEY, sizeof(KEY));
    struct buf plain;
    struct err e = {0};

    if (reader == NULL)
        reader = pack_reader_new(&key, 1, "4512/1", NULL);
    check(reader != NULL);
    buf_init_secret(&plain, 1 << 20);
    if (!pack_open(reader, in, kind, &plain, &e))
        check(plain.len == 0 && e.code != ERR_NONE && e.text[0] != '\0');
    buf_free(&plain);
}

/* Sealed and opened again, the plaintext is the same; with a byte changed it is nothing. */
static void round_trip(struct slice plain, size_t flip)
{
    static struct pack_writer *writer;
    static struct pack_reader *reader;
    struct slice key = slice_of(KEY, sizeof(KEY));
    struct buf pack, back;

    if (writer == NULL) {
        writer = pack_writer_new(key, "4512/1", NULL);
        reader = pack_reader_new(&key, 1, "4512/1", NULL);
    }
    check(writer != NULL && reader != NULL);
    buf_init(&pack, 1 << 20);
    buf_init_secret(&back, 1 << 20);
    check(pack_seal(writer, PACK_DEPOSITS, plain, &pack, NULL) && pack.len <= plain.len + PACK_OVERHEAD);
    check(pack_open(reader, buf_slice(&pack), PACK_DEPOSITS, &back, NULL) && slice_equal(buf_slice(&back), plain));
    pack.data[flip % pack.len] ^= 1;
    check(!pack_open(reader, buf_slice(&pack), PACK_DEPOSITS, &back, NULL));
    buf_free(&pack);
    buf_free(&back);
}

static void decode_deposits(struct slice in)
{
    struct wire_reader r = wire_read(in);
    struct slice record;

    while (pack_next(&r, &record)) {
        struct pack_deposit d;
        struct buf again;
        struct wire_writer w = wire_write(&again);

        if (!pack_get_deposit(record, &d, NULL))
            continue;
        buf_init(&again, record.len + 4);
        pack_put_deposit(&w, &d);
        check(wire_ok(&w, "deposit", NULL) && again.len == record.len + 4);
        check(memcmp(again.data + 4, record.at, record.len) == 0);
        buf_free(&again);
    }
}

static void decode_answers(struct slice in)
{
    struct wire_reader r = wire_read(in);
    struct slice record;

    while (pack_next(&r, &record)) {
        struct pack_answer a;
        struct buf again;
        struct wire_writer w = wire_write(&again);

        if (!pack_get_answer(record, &a, NULL))
            continue;
        check(pack_status_name(a.status) != NULL);
        buf_init(&again, record.len + 4);
        pack_put_answer(&w, &a);
        check(wire_ok(&w, "answer", NULL) && again.len == record.len + 4);
        check(memcmp(again.data + 4, record.at, record.len) == 0);
        buf_free(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in;
    struct pack_archive notice;

    if (size < 2)
        return 0;
    in = slice_of(data + 2, size - 2);
    switch (data[0] % 4) {
    case 0:
        open_pack(in, data[1] % 2 == 0 ? PACK_DEPOSITS : PACK_ANSWERS);
        break;
    case 1:
        round_trip(in, data[1]);
        break;
    case 2:
        decode_deposits(in);
        break;
    default:
        decode_answers(in);
        check(!pack_get_archive(in, &notice, NULL) || in.len == 32);
    }
    return 0;
}
