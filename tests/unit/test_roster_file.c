/* What the roster role keeps through restarts, and how overrides end without the store. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/identity/identity.h"
#include "common/identity/overrides.h"
#include "common/values/wire.h"
#include "ingest/roster_file.h"
#include "tests/unit/folder.h"

static char *path;

static int make_folder(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    path = folder_file("roster");
    return 0;
}

static int remove_folder(void **state)
{
    free(path);
    return folder_remove(state);
}

static struct roster *one_binding(void)
{
    static const uint8_t body[] = {0, 0, 0, 1, 2, 0, 0, 0, 7, 0, 1, 'a', 0, 1, 'b', 0, 2, 'A', 'B', 0, 5, 'D', 'N', 'S', ':', 'c'};
    struct roster *r = roster_decode(slice_of(body, sizeof body), NULL);

    assert_non_null(r);
    return r;
}

/* Overrides of reader until 1000 and technical until 2000. */
static void two_overrides(struct buf *b)
{
    struct wire_writer w;

    buf_init(b, OVERRIDES_BODY_MAX);
    w = wire_write(b);
    wire_put_u8(&w, 2);
    for (unsigned i = 0; i < 2; i++) {
        wire_put_u8(&w, (uint8_t)(ROSTER_READER + i));
        wire_put_u64(&w, 1000 * (i + 1));
        wire_put_text(&w, SLICE_LITERAL("alice"));
        wire_put_text(&w, SLICE_LITERAL("panne"));
    }
    assert_true(wire_ok(&w, "", NULL));
}

static void write_bytes(struct slice bytes)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(bytes.at, 1, bytes.len, out), bytes.len);
    assert_int_equal(fclose(out), 0);
}

static void what_is_kept_comes_back(void **state)
{
    struct roster *r = one_binding(), *back;
    struct buf overrides, kept;
    struct err e = {0};

    (void)state;
    two_overrides(&overrides);
    buf_init(&kept, OVERRIDES_BODY_MAX);
    assert_null(roster_file_read(path, &kept, &e)); /* none yet */
    assert_true(roster_file_write(path, r, &overrides, &e));
    back = roster_file_read(path, &kept, &e);
    assert_non_null(back);
    assert_true(slice_equal(roster_body(back), roster_body(r)));
    assert_true(slice_equal(buf_slice(&kept), buf_slice(&overrides)));
    assert_true(slice_is(roster_at(back, 0)->serial, "AB") && slice_is(roster_at(back, 0)->san, "DNS:c"));
    roster_free(back);
    roster_free(r);
    buf_free(&overrides);
    buf_free(&kept);
}

static void a_damaged_file_is_no_file(void **state)
{
    struct roster *r = one_binding();
    struct buf overrides, kept, file;
    struct err e = {0};
    FILE *in;

    (void)state;
    two_overrides(&overrides);
    buf_init(&kept, OVERRIDES_BODY_MAX);
    buf_init(&file, 4096);
    assert_true(roster_file_write(path, r, &overrides, &e));
    in = fopen(path, "r");
    assert_non_null(in);
    buf_commit(&file, fread(buf_reserve(&file, 4096, &e), 1, 4096, in));
    fclose(in);
    for (size_t n = 0; n < file.len; n++) { /* cut anywhere */
        write_bytes(slice_of(buf_slice(&file).at, n));
        assert_null(roster_file_read(path, &kept, NULL));
    }
    write_bytes(roster_body(r)); /* as an earlier version kept them */
    assert_null(roster_file_read(path, &kept, NULL));
    file.data[file.start + 4]++; /* another format */
    write_bytes(buf_slice(&file));
    assert_null(roster_file_read(path, &kept, NULL));
    roster_free(r);
    buf_free(&overrides);
    buf_free(&kept);
    buf_free(&file);
}

static unsigned left_at(struct buf *b, int64_t now)
{
    static struct identity_overrides o;

    assert_true(overrides_prune(b, now, NULL));
    assert_true(identity_read_overrides(buf_slice(b), &o, NULL));
    return o.count;
}

static void overrides_end_at_their_time(void **state)
{
    struct buf b;

    (void)state;
    two_overrides(&b);
    assert_int_equal(left_at(&b, 999), 2);
    assert_int_equal(left_at(&b, 1000), 1);
    assert_int_equal(left_at(&b, 1999), 1);
    assert_int_equal(left_at(&b, 2000), 0);
    assert_int_equal(left_at(&b, 2001), 0);
    buf_free(&b);
    buf_init(&b, OVERRIDES_BODY_MAX);
    assert_int_equal(left_at(&b, 0), 0); /* nothing known is none */
    buf_free(&b);
}

static void what_is_no_list_of_overrides_lets_nobody_in(void **state)
{
    static struct identity_overrides o;
    struct buf b;

    (void)state;
    two_overrides(&b);
    b.len--;
    assert_false(overrides_prune(&b, 0, NULL));
    assert_true(identity_read_overrides(buf_slice(&b), &o, NULL));
    assert_int_equal(o.count, 0);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_comes_back),
        cmocka_unit_test(a_damaged_file_is_no_file),
        cmocka_unit_test(overrides_end_at_their_time),
        cmocka_unit_test(what_is_no_list_of_overrides_lets_nobody_in),
    };

    return cmocka_run_group_tests_name("roster file", tests, make_folder, remove_folder);
}
