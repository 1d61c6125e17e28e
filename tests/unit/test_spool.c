/* Journal records on disk: in order, once, after a crash too; and as text: whatever a peer is called, a record is one line of JSON. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "common/journal/record.h"
#include "common/journal/spool.h"
#include "common/journal/tally.h"
#include "tests/unit/folder.h"

enum { MOST = 1 << 20 };


/* ---- the spool ------------------------------------------------------------------------------ */

static struct spool *open_spool(uint64_t most, struct spool_found *found)
{
    struct err e = {0};
    struct spool *s = spool_open(folder_path(), most, found, &e);

    if (s == NULL)
        print_error("%s\n", e.text);
    assert_non_null(s);
    return s;
}

static void append(struct spool *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char line[64];

        snprintf(line, sizeof line, "{\"n\":%u}", i);
        assert_true(spool_append(s, slice_text(line), 0));
    }
}

/* Reads one batch; its first number, and that the others follow. */
static unsigned next(struct spool *s, size_t most, struct spool_batch *batch)
{
    struct buf lines;
    char *text, *at;
    unsigned first = 0, n = 0;

    buf_init(&lines, MOST);
    assert_true(spool_next(s, most, &lines, batch, NULL));
    text = mem_text(buf_slice(&lines));
    for (at = text; *at != '\0'; at = strchr(at, '\n') + 1, n++) {
        if (n == 0)
            first = (unsigned)atoi(at + 5);
        assert_int_equal(atoi(at + 5), first + n);
    }
    assert_int_equal(batch->records, n);
    assert_int_equal(batch->bytes, lines.len);
    free(text);
    buf_free(&lines);
    return first;
}

/* Takes everything out, confirming it; how many there were, the first of them being `expected`. */
static unsigned empty(struct spool *s, unsigned expected)
{
    struct spool_batch b;
    unsigned records = 0;

    for (;;) {
        unsigned first = next(s, 700, &b);

        if (b.records == 0)
            return records;
        assert_int_equal(first, expected + records);
        records += (unsigned)b.records;
        spool_confirm(s, &b);
    }
}

static unsigned segments(void)
{
    DIR *dir = opendir(folder_path());
    const struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(dir)) != NULL)
        count += strstr(entry->d_name, ".ndjson") != NULL;
    closedir(dir);
    return count;
}

static void in_order_and_once(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);
    struct spool_batch b;

    (void)state;
    assert_int_equal(found.records + found.torn, 0);
    append(s, 0, 1000);
    assert_int_equal(spool_unsynced(s), 1000);
    next(s, 700, &b);
    assert_int_equal(b.records, 0); /* nothing is given out before it is on disk */
    assert_true(spool_sync(s, NULL));
    assert_int_equal(spool_records(s), 1000);
    assert_int_equal(empty(s, 0), 1000);
    assert_int_equal(spool_records(s), 0);
    assert_int_equal(spool_bytes(s), 0);
    append(s, 1000, 1010);
    assert_true(spool_sync(s, NULL));
    assert_int_equal(empty(s, 1000), 10);
    spool_close(s);
}

static void many_segments_go_one_by_one(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found); /* segments of 64 KiB */
    unsigned before;

    (void)state;
    append(s, 0, 30000);
    assert_true(spool_sync(s, NULL));
    before = segments();
    assert_true(before > 4);
    assert_int_equal(empty(s, 0), 30000);
    assert_int_equal(segments(), 1);
    spool_close(s);
}

static void what_was_not_confirmed_is_given_out_again(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);
    struct spool_batch a, b;

    (void)state;
    append(s, 0, 200);
    assert_true(spool_sync(s, NULL));
    assert_int_equal(next(s, 100, &a), 0);
    assert_int_equal(next(s, 100, &b), (unsigned)a.records);
    spool_confirm(s, &a);
    spool_rewind(s);
    assert_int_equal(next(s, 100, &b), (unsigned)a.records);
    spool_close(s);
    /* Another process begins before what the first has confirmed: twice, but never less. */
    s = open_spool(MOST, &found);
    assert_int_equal(found.records, 200);
    assert_int_equal(empty(s, 0), 200);
    spool_close(s);
    s = open_spool(MOST, &found);
    assert_int_equal(found.records, 0);
    spool_close(s);
}

static void what_was_not_synchronised_is_not_promised(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);

    (void)state;
    append(s, 0, 10);
    assert_true(spool_sync(s, NULL));
    append(s, 10, 20);
    spool_close(s);
    s = open_spool(MOST, &found);
    assert_int_equal(found.records, 10);
    spool_close(s);
}

static void it_ends_where_it_should(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(64 * 1024, &found);
    unsigned n = 0;
    char line[64];

    (void)state;
    for (;; n++) {
        snprintf(line, sizeof line, "{\"n\":%u}", n);
        if (!spool_append(s, slice_text(line), 0))
            break;
    }
    assert_true(spool_bytes(s) <= 64 * 1024 && spool_bytes(s) > 63 * 1024);
    assert_true(spool_sync(s, NULL));
    assert_false(spool_append(s, slice_text(line), 0));
    assert_int_equal(empty(s, 0), n);
    assert_true(spool_append(s, slice_text(line), 0));
    spool_close(s);
}

/* Until there is no room for one who may go so many eighths beyond; the bytes that this took. */
static uint64_t fill(struct spool *s, unsigned beyond, unsigned *n)
{
    uint64_t before = spool_bytes(s);
    char line[64];

    do
        snprintf(line, sizeof line, "{\"n\":%u}", *n);
    while (spool_append(s, slice_text(line), beyond) && ++*n != 0);
    return spool_bytes(s) - before;
}

/* Who has filled his part has left the others theirs. */
static void each_has_a_part(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);
    unsigned n = 0;

    (void)state;
    assert_in_range(fill(s, 0, &n), MOST - 32, MOST);
    assert_false(spool_has_room(s, 0));
    assert_true(spool_has_room(s, 1));
    assert_in_range(fill(s, 1, &n), MOST / 8 - 32, MOST / 8 + 32);
    assert_int_equal(fill(s, 0, &n), 0);
    assert_false(spool_has_room(s, 1));
    assert_in_range(fill(s, 2, &n), MOST / 8 - 32, MOST / 8 + 32);
    assert_true(spool_bytes(s) <= MOST / 4 * 5);
    assert_true(spool_sync(s, NULL));
    assert_false(spool_has_room(s, 2));
    assert_int_equal(empty(s, 0), n);
    assert_true(spool_has_room(s, 0));
    spool_close(s);
}

static void one_process_at_a_time(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);
    struct err e = {0};

    (void)state;
    assert_null(spool_open(folder_path(), MOST, &found, &e));
    assert_int_equal(e.code, ERR_RETRY);
    assert_non_null(strstr(e.text, "another process"));
    spool_close(s);
}

/* Whatever a crash leaves of the last write: what is whole is kept, in order, and nothing else. */
static void torn_files(void **state)
{
    static const char zeros[100];
    static const struct {
        const char *tail;
        size_t len;
    } torn[] = {{"{\"n\":5", 6}, {"{\"n\":5}", 7}, {zeros, sizeof zeros}, {"\n\n", 2}, {"{\"n\":\x01}\n", 9}, {"garbage\n{\"n\":", 13}};

    (void)state;
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        struct spool_found found;
        struct spool *s = open_spool(MOST, &found);
        char *path = mem_printf("%s/%016x.ndjson", folder_path(), 7);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        spool_close(s);
        assert_true(write(fd, "{\"n\":3}\n{\"n\":4}\n", 16) == 16 && write(fd, torn[i].tail, torn[i].len) == (ssize_t)torn[i].len);
        close(fd);
        s = open_spool(MOST, &found);
        assert_int_equal(found.records, 2);
        assert_int_equal(found.torn, torn[i].len);
        append(s, 5, 8);
        assert_true(spool_sync(s, NULL));
        spool_close(s);
        s = open_spool(MOST, &found);
        assert_int_equal(found.records, 5);
        assert_int_equal(found.torn, 0);
        assert_int_equal(empty(s, 3), 5);
        spool_close(s);
        free(path);
    }
}

#define RECORD(n) "{\"at\":\"" n "\"}\n"

/* What a disk has lost in the middle costs nothing behind it, and is counted; mending it moves nothing. */
static void damage_in_the_middle(void **state)
{
    static const char zeros[70];
    static char spaces[20000]; /* a line longer than any that mending leaves: a reader might have no room for it */
    static const struct {
        const char *damage;
        size_t len;
        unsigned lines;
    } damages[] = {{zeros, sizeof zeros, 1}, {"{\"at\":\"2", 8, 1}, {"garbage\n{\"at\":\n", 15, 2}, {"{\"at\":\"\x01\"}\n", 11, 1}, {"x\n\ny\n", 5, 2},
                   {" ", 1, 0}, /* the record is there, but at no line's beginning */ {"  \n   ", 6, 0}, {"   \n x \n  \n", 11, 1}, {spaces, sizeof spaces, 0}};

    (void)state;
    memset(spaces, ' ', sizeof spaces);
    spaces[sizeof spaces - 1] = '\n';
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct spool_found found;
        struct spool *s = open_spool(MOST, &found);
        char *path = mem_printf("%s/%016x.ndjson", folder_path(), 7);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        struct buf out, text;
        struct spool_batch b;
        struct stat before, after;

        spool_close(s);
        buf_init(&text, MOST);
        assert_true(buf_add(&text, RECORD("1"), 11, NULL) && buf_add(&text, damages[i].damage, damages[i].len, NULL) &&
                    buf_add(&text, RECORD("2") RECORD("3"), 22, NULL));
        assert_true(write(fd, text.data, text.len) == (ssize_t)text.len && fstat(fd, &before) == 0);
        close(fd);
        for (int again = 0; again < 3; again++) {
            s = open_spool(MOST, &found);
            assert_int_equal(found.records, 3);
            assert_int_equal(found.torn, 0);
            assert_int_equal(found.damaged, again < 2 ? damages[i].len : 0); /* said until it is mended: a crash before that forgets nothing */
            assert_int_equal(found.damaged_lines, again < 2 ? damages[i].lines : 0);
            if (again == 1)
                assert_true(spool_mend(s, NULL));
            assert_true(stat(path, &after) == 0 && after.st_size == before.st_size && after.st_ino == before.st_ino);
            if (again < 2)
                spool_close(s);
        }
        buf_init(&out, MOST);
        assert_true(spool_next(s, 64 * 1024, &out, &b, NULL));
        assert_int_equal(b.records, 3);
        assert_true(slice_equal(buf_slice(&out), SLICE_LITERAL(RECORD("1") RECORD("2") RECORD("3"))));
        spool_confirm(s, &b);
        assert_int_equal(spool_records(s), 0);
        spool_close(s);
        buf_free(&out);
        buf_free(&text);
        free(path);
    }
}

/* Wherever a crash stops the mending, what it leaves is damage again, and the record behind it is there: though nothing but a space of the half record remains. */
static void a_crash_in_the_middle_of_mending(void **state)
{
    static const char half[] = "{\"at\":\"2026-01-31T12:00:00.123Z\",\"reason\":\"a ";
    const size_t len = sizeof half - 1;

    (void)state;
    for (size_t mended = 0; mended < len; mended++) {
        struct spool_found found;
        struct spool *s = open_spool(MOST, &found);
        char *path = mem_printf("%s/%016x.ndjson", folder_path(), 7);
        char *text = mem_printf(RECORD("1") "%*s%s" RECORD("2"), (int)mended, "", half + mended);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        struct spool_batch b;
        struct buf out;

        spool_close(s);
        assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
        close(fd);
        s = open_spool(MOST, &found);
        assert_int_equal(found.records, 2);
        assert_true(spool_mend(s, NULL));
        buf_init(&out, MOST);
        assert_true(spool_next(s, 64 * 1024, &out, &b, NULL));
        assert_true(slice_equal(buf_slice(&out), SLICE_LITERAL(RECORD("1") RECORD("2"))));
        spool_confirm(s, &b);
        assert_int_equal(spool_records(s), 0);
        spool_close(s);
        buf_free(&out);
        free(text);
        free(path);
    }
}

/* A torn tail is cut off where it is: the file is the same one, so a full disk can take it. */
static void a_torn_tail_is_cut_off_in_place(void **state)
{
    struct spool_found found;
    struct spool *s = open_spool(MOST, &found);
    char *path = mem_printf("%s/%016x.ndjson", folder_path(), 7);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    struct stat before, after;

    (void)state;
    spool_close(s);
    assert_true(write(fd, RECORD("1") "{\"at\":", 18) == 18 && fstat(fd, &before) == 0);
    close(fd);
    spool_close(open_spool(MOST, &found));
    assert_int_equal(found.torn, 7);
    assert_true(stat(path, &after) == 0 && after.st_size == 11 && after.st_ino == before.st_ino);
    free(path);
}

/* ---- what was lost --------------------------------------------------------------------------- */

static void a_count_outlives_its_process_and_a_torn_write(void **state)
{
    const struct tally_count a = {1769860800123, 5, 9}, b = {1769860800123, 9, 9};
    struct tally_count found;
    struct tally t;
    struct err e = {0};
    char *path = folder_file("lost");
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(mkdir(folder_path(), 0700), 0);
    assert_true(tally_open(&t, path, &found, &e));
    assert_int_equal(found.most, 0);
    assert_true(stat(path, &st) == 0 && st.st_size == TALLY_SIZE); /* its room is taken from the beginning */
    assert_true(tally_write(&t, &a, &e) && tally_write(&t, &b, &e));
    tally_close(&t);
    assert_true(tally_open(&t, path, &found, &e));
    assert_true(found.since == b.since && found.sure == 9 && found.most == 9);
    tally_close(&t);
    assert_true(stat(path, &st) == 0 && st.st_size == TALLY_SIZE);
    /* The later of the two was being written: the earlier one holds. */
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\xff", 1, 30), 1);
    close(fd);
    assert_true(tally_open(&t, path, &found, &e));
    assert_true(found.sure == 5 && found.most == 9);
    tally_close(&t);
    free(path);
}

static void strange_files_are_left_alone(void **state)
{
    static const char *const names[] = {"1.ndjson", "000000000000000g.ndjson", "0000000000000001.ndjson.bak", "readme"};
    struct spool_found found;
    struct spool *s;

    (void)state;
    assert_int_equal(mkdir(folder_path(), 0700), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = folder_file(names[i]);

        close(open(path, O_WRONLY | O_CREAT, 0600));
        free(path);
    }
    s = open_spool(MOST, &found);
    assert_int_equal(found.records, 0);
    append(s, 0, 3);
    assert_true(spool_sync(s, NULL));
    assert_int_equal(empty(s, 0), 3);
    spool_close(s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = folder_file(names[i]);

        assert_int_equal(access(path, F_OK), 0);
        free(path);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static const struct record_origin origin = {"4512", "vault-1", "coffre-ingest", "front", 1};

/* Writes a record with one field, reads it as JSON, and gives the field's value; owned by the caller. */
static char *through(struct slice value)
{
    const struct journal_field field = {"peer", value};
    struct buf b;
    json_t *parsed;
    char *text;

    buf_init(&b, JOURNAL_RECORD_MAX);
    assert_true(record_write(&b, &origin, 1769860800123, "session-refused", &field, 1, NULL));
    assert_true(record_check(buf_slice(&b), &origin, NULL));
    assert_int_equal(record_time(buf_slice(&b)), 1769860800123);
    parsed = json_loadb((const char *)buf_slice(&b).at, b.len, 0, NULL);
    text = mem_strdup(json_string_value(json_object_get(json_object_get(parsed, "fields"), "peer")));
    json_decref(parsed);
    buf_free(&b);
    return text;
}

static void any_bytes_become_one_line_of_json(void **state)
{
    static const struct {
        const char *in, *out;
    } values[] = {
        {"192.0.2.7:50000", "192.0.2.7:50000"},
        {"a\"b\\c", "a\"b\\c"},
        {"line\nfeed\ttab", "line\nfeed\ttab"},
        {"Société", "Société"},
        {"\xe2\x80\xa8 \xc2\x85", "\xe2\x80\xa8 \xc2\x85"}, /* U+2028, U+0085: escaped, so that nobody takes them for line ends */
        {"\xff\xc3(\xed\xa0\x80", "\\xff\\xc3(\\xed\\xa0\\x80"}, /* not UTF-8: a surrogate too */
        {"\xc0\x80\xf4\x90\x80\x80", "\\xc0\\x80\\xf4\\x90\\x80\\x80"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char *got = through(slice_text(values[i].in));

        assert_string_equal(got, values[i].out);
        free(got);
    }
    /* Every byte, alone and at the end of what is there. */
    for (unsigned c = 0; c < 256; c++) {
        const uint8_t one[2] = {'x', (uint8_t)c};

        free(through(slice_of(one, 2)));
    }
    /* A zero is no text: whoever reads JSON into C strings or PostgreSQL could not take it. */
    char *zero = through(slice_of("a\0b", 3));

    assert_string_equal(zero, "a\\x00b");
    free(zero);
}

static void long_values_are_cut_and_leave_room_for_others(void **state)
{
    char *huge = mem_alloc(100000);
    struct journal_field fields[20];
    struct buf b;

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        memset(huge, kind == 0 ? 'a' : kind == 1 ? '\n' : 0xc3, 100000);
        for (unsigned i = 0; i < 20; i++)
            fields[i] = (struct journal_field){"field", slice_of(huge, 100000)};
        for (unsigned count = 1; count <= 20; count++) {
            static const char *const names[] = {"f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10",
                                                "f11", "f12", "f13", "f14", "f15", "f16", "f17", "f18", "f19", "f20"};
            json_t *parsed;

            fields[count - 1].name = names[count - 1];
            buf_init(&b, JOURNAL_RECORD_MAX);
            assert_true(record_write(&b, &origin, 0, "x", fields, count, NULL));
            assert_true(b.len <= JOURNAL_RECORD_MAX && b.len > JOURNAL_RECORD_MAX - 400);
            assert_true(record_check(buf_slice(&b), &origin, NULL));
            parsed = json_loadb((const char *)buf_slice(&b).at, b.len, 0, NULL);
            assert_int_equal(json_object_size(json_object_get(parsed, "fields")), count);
            assert_non_null(strstr(json_string_value(json_object_get(json_object_get(parsed, "fields"), "f1")), "…"));
            json_decref(parsed);
            buf_free(&b);
        }
    }
    free(huge);
}

#define AT "\"at\":\"2026-01-31T12:00:00.123Z\""
#define REST ",\"operator\":\"4512\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"front\",\"event\":\"x\",\"fields\":{}"

static void what_a_sibling_makes_up_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "{}", "[]", "null", "x", "{" AT REST, "{" AT REST "}}", "{" AT REST "}\n", " {" AT REST "}", "{" AT REST "} ", "{" AT REST ",\"more\":1}", "{" AT "," AT REST "}",
        "{\"at\":\"yesterday\"" REST "}", "{\"at\":1" REST "}",
        "{" AT ",\"operator\":\"9999\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"front\",\"event\":\"x\",\"fields\":{}}",
        "{" AT ",\"operator\":\"4512\",\"vault\":2,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"front\",\"event\":\"x\",\"fields\":{}}",
        "{" AT ",\"operator\":\"4512\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"admin\",\"event\":\"x\",\"fields\":{}}",
        "{" AT ",\"operator\":\"4512\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-sealer\",\"role\":\"front\",\"event\":\"x\",\"fields\":{}}",
        "{" AT ",\"operator\":\"4512\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"front\",\"event\":\"X Y\",\"fields\":{}}",
        "{" AT ",\"operator\":\"4512\",\"vault\":1,\"node\":\"vault-1\",\"daemon\":\"coffre-ingest\",\"role\":\"front\",\"event\":\"x\",\"fields\":[]}",
    };
    struct err e = {0};
    char *nest = mem_alloc(JOURNAL_RECORD_MAX + 1);

    (void)state;
    assert_true(record_check(SLICE_LITERAL("{" AT REST "}"), &origin, &e));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(record_check(slice_text(bad[i]), &origin, NULL));
    memset(nest, '[', JOURNAL_RECORD_MAX + 1);
    assert_false(record_check(slice_of(nest, JOURNAL_RECORD_MAX), &origin, NULL));
    assert_false(record_check(slice_of(nest, JOURNAL_RECORD_MAX + 1), &origin, NULL));
    free(nest);
}

/* ---- life ------------------------------------------------------------------------------------- */

/* Each begins without the folder, which the spool makes. */
#define TEST(f) cmocka_unit_test_setup(f, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_order_and_once),
        TEST(many_segments_go_one_by_one),
        TEST(what_was_not_confirmed_is_given_out_again),
        TEST(what_was_not_synchronised_is_not_promised),
        TEST(it_ends_where_it_should),
        TEST(each_has_a_part),
        TEST(one_process_at_a_time),
        TEST(torn_files),
        TEST(damage_in_the_middle),
        TEST(a_crash_in_the_middle_of_mending),
        TEST(a_torn_tail_is_cut_off_in_place),
        TEST(a_count_outlives_its_process_and_a_torn_write),
        TEST(strange_files_are_left_alone),
        cmocka_unit_test(any_bytes_become_one_line_of_json),
        cmocka_unit_test(long_values_are_cut_and_leave_room_for_others),
        cmocka_unit_test(what_a_sibling_makes_up_is_refused),
    };

    return cmocka_run_group_tests_name("spool", tests, folder_make, folder_remove);
}
