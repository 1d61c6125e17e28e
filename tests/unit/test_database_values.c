/* PostgreSQL's binary notation: rows of a COPY byte for byte, times in its own epoch. What needs a server is in tests/integration. */
#include "tests/unit/unit.h"

#include <string.h>

#include "common/system/database.h"
#include "common/values/wire.h"

static void rows_are_as_postgresql_documents_them(void **state)
{
    static const uint8_t expected[] = "PGCOPY\n\xff\r\n\0"          /* signature */
                                      "\0\0\0\0\0\0\0\0"            /* flags, extension */
                                      "\0\5"                        /* fields */
                                      "\0\0\0\4\xff\xff\xff\xfe"    /* integer -2 */
                                      "\0\0\0\x8\0\0\0\0\0\0\1\0"   /* bigint 256 */
                                      "\0\0\0\3abc"                 /* text */
                                      "\xff\xff\xff\xff"            /* NULL */
                                      "\0\0\0\x8\0\0\0\0\0\0\x3\xe8" /* 1 ms after 2000-01-01 */
                                      "\xff\xff";
    struct wire_writer w;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    w = wire_write(&b);
    database_copy_header(&w);
    database_copy_row(&w, 5);
    database_copy_i32(&w, -2);
    database_copy_i64(&w, 256);
    database_copy_bytes(&w, SLICE_LITERAL("abc"));
    database_copy_null(&w);
    database_copy_time(&w, 946684800001);
    database_copy_trailer(&w);
    assert_true(wire_ok(&w, "rows", NULL));
    assert_int_equal(b.len, sizeof expected - 1);
    assert_memory_equal(buf_slice(&b).at, expected, b.len);
    buf_free(&b);
}

static void an_overflow_is_noticed(void **state)
{
    struct wire_writer w;
    struct buf b;

    (void)state;
    buf_init(&b, 30);
    w = wire_write(&b);
    database_copy_header(&w);
    database_copy_row(&w, 1);
    database_copy_i64(&w, 1);
    assert_false(wire_ok(&w, "rows", NULL));
    buf_free(&b);
}

static void values_are_what_they_say(void **state)
{
    struct database_value v = database_i64(-1);

    (void)state;
    assert_int_equal(v.len, 8);
    assert_memory_equal(v.store, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    v = database_time(0); /* 1970 is before PostgreSQL's epoch */
    assert_memory_equal(v.store, "\xff\xfc\xa2\xfe\xc4\xc8\x20\x00", 8);
    v = database_bytes(slice_of(NULL, 0));
    assert_true(v.empty && v.len == 0); /* empty is not NULL */
    v = database_null();
    assert_true(!v.empty && v.len == 0 && v.at == NULL);
    v = database_text(NULL);
    assert_true(!v.empty && v.at == NULL);
}

/* Results made by hand, as libpq lets one. */
static void results_are_read_back(void **state)
{
    PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[5] = {{.name = (char[]){"a"}, .format = 1}, {.name = (char[]){"b"}, .format = 1},
                               {.name = (char[]){"c"}, .format = 1}, {.name = (char[]){"d"}, .format = 1},
                               {.name = (char[]){"e"}, .format = 1}};
    struct database_value before_2000 = database_time(123456789012);
    char time_bytes[8];

    (void)state;
    memcpy(time_bytes, before_2000.store, 8);
    assert_int_equal(PQsetResultAttrs(r, 5, columns), 1);
    assert_int_equal(PQsetvalue(r, 0, 0, (char[]){"\xff\xfe"}, 2), 1);
    assert_int_equal(PQsetvalue(r, 0, 1, (char[]){"\0\0\0\x7"}, 4), 1);
    assert_int_equal(PQsetvalue(r, 0, 2, time_bytes, 8), 1);
    assert_int_equal(PQsetvalue(r, 0, 3, NULL, -1), 1);
    assert_int_equal(PQsetvalue(r, 0, 4, (char[]){"nine byte"}, 9), 1);
    assert_int_equal(database_get_i64(r, 0, 0), -2);
    assert_int_equal(database_get_i64(r, 0, 1), 7);
    assert_true(database_get_time(r, 0, 2) == 123456789012);
    assert_true(database_is_null(r, 0, 3));
    assert_int_equal(database_get_i64(r, 0, 3), 0);
    assert_int_equal(database_get_time(r, 0, 3), 0);
    assert_int_equal(database_get_slice(r, 0, 3).len, 0);
    assert_int_equal(database_get_i64(r, 0, 4), 0); /* no integer is that long */
    PQclear(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_as_postgresql_documents_them),
        cmocka_unit_test(an_overflow_is_noticed),
        cmocka_unit_test(values_are_what_they_say),
        cmocka_unit_test(results_are_read_back),
    };

    return cmocka_run_group_tests_name("database values", tests, NULL, NULL);
}
