/* The seal's memory on disk: whole or refused, never half; missing is told from damaged. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/system/durable.h"
#include "sealer/memory.h"
#include "tests/unit/folder.h"

static char *path;

static int make(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    path = folder_file("memory");
    return 0;
}

static int sweep(void **state)
{
    free(path);
    return folder_remove(state);
}

static void fill(struct memory *m, uint64_t number)
{
    memory_init(m);
    memcpy(m->operator_id, "4512", 5);
    m->vault = 1;
    m->number = number;
    m->last = number * 10;
    m->closed_ms = 1234567;
    m->signed_ms = 1234568;
    memset(m->genesis, 1, 32);
    memset(m->value, 2, 32);
    memset(m->request, 3, 32);
    assert_true(buf_add(&m->answer, "the answer", 10, NULL));
}

static void what_was_stored_is_loaded(void **state)
{
    struct memory m, n;
    struct err e = {0};

    (void)state;
    fill(&m, 42);
    memory_init(&n);
    assert_true(memory_store(&m, path, &e));
    assert_true(memory_load(&n, path, NULL, &e));
    assert_int_equal(n.number, 42);
    assert_int_equal(n.last, 420);
    assert_int_equal(n.closed_ms, 1234567);
    assert_int_equal(n.signed_ms, 1234568);
    assert_string_equal(n.operator_id, "4512");
    assert_memory_equal(n.value, m.value, 32);
    assert_memory_equal(n.request, m.request, 32);
    assert_true(slice_is(buf_slice(&n.answer), "the answer"));
    memory_free(&m);
    memory_free(&n);
}

static void missing_is_doubt_with_advice(void **state)
{
    struct memory m;
    struct err e = {0};
    bool missing = false;

    (void)state;
    memory_init(&m);
    assert_false(memory_load(&m, "/tmp/coffre-memory-none/x", &missing, &e));
    assert_true(missing);
    assert_int_equal(e.code, ERR_DOUBT);
    assert_non_null(strstr(e.text, "coffre-ceremony"));
    memory_free(&m);
}

/* Every shorter file, and every file with one flipped byte. */
static void torn_or_changed_is_doubt(void **state)
{
    struct memory m, n;
    struct buf b;
    uint8_t *copy;

    (void)state;
    fill(&m, 7);
    buf_init(&b, 4096);
    assert_true(memory_write(&m, &b, NULL));
    copy = mem_alloc(b.len);
    for (size_t len = 0; len < b.len; len++) {
        struct err e = {0};

        memory_init(&n);
        assert_false(memory_read(&n, slice_of(buf_slice(&b).at, len), &e));
        assert_int_equal(e.code, ERR_DOUBT);
        memory_free(&n);
    }
    for (size_t i = 0; i < b.len; i++) {
        struct err e = {0};

        memcpy(copy, buf_slice(&b).at, b.len);
        copy[i] ^= 0x20;
        memory_init(&n);
        assert_false(memory_read(&n, slice_of(copy, b.len), &e));
        assert_int_equal(e.code, ERR_DOUBT);
        memory_free(&n);
    }
    free(copy);
    buf_free(&b);
    memory_free(&m);
}

static void missing_file_is_told_from_a_damaged_one(void **state)
{
    struct memory m;
    struct err e = {0};
    bool missing = true;

    (void)state;
    assert_true(durable_write(path, SLICE_LITERAL("garbage, but long enough to hold a digest of thirty-two bytes"), 0600, &e));
    memory_init(&m);
    assert_false(memory_load(&m, path, &missing, &e));
    assert_false(missing);
    assert_int_equal(e.code, ERR_DOUBT);
    memory_free(&m);
}

/* A file half-written by a crash has another name: the old one stays in force. */
static void half_written_file_changes_nothing(void **state)
{
    struct memory m, n;
    struct err e = {0};
    char *fresh = mem_printf("%s.new", path);
    FILE *f;

    (void)state;
    fill(&m, 9);
    assert_true(memory_store(&m, path, &e));
    f = fopen(fresh, "w");
    assert_non_null(f);
    fputs("CFSM", f);
    fclose(f);
    memory_init(&n);
    assert_true(memory_load(&n, path, NULL, &e));
    assert_int_equal(n.number, 9);
    m.number = 10;
    assert_true(memory_store(&m, path, &e));
    memory_free(&n);
    memory_init(&n);
    assert_true(memory_load(&n, path, NULL, &e));
    assert_int_equal(n.number, 10);
    memory_free(&m);
    memory_free(&n);
    free(fresh);
}

static void one_holder_at_a_time(void **state)
{
    struct err e = {0};
    int first = memory_lock(path, &e), second;

    (void)state;
    assert_true(first >= 0);
    second = memory_lock(path, &e);
    assert_int_equal(second, -1);
    assert_int_equal(e.code, ERR_RETRY);
    close(first);
    err_clear(&e);
    second = memory_lock(path, &e);
    assert_true(second >= 0);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_is_loaded),
        cmocka_unit_test(missing_is_doubt_with_advice),
        cmocka_unit_test(torn_or_changed_is_doubt),
        cmocka_unit_test(missing_file_is_told_from_a_damaged_one),
        cmocka_unit_test(half_written_file_changes_nothing),
        cmocka_unit_test(one_holder_at_a_time),
    };

    return cmocka_run_group_tests(tests, make, sweep);
}
