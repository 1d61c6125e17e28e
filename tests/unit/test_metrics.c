/* Metrics of several daemons as one text, and their status files as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exporter/daemons.h"
#include "exporter/metrics.h"
#include "exporter/states.h"

static struct metrics_source source(const char *daemon, const char *text)
{
    struct metrics_source s = {.text = slice_text(text), .age = 0.5};

    snprintf(s.daemon, sizeof s.daemon, "%s", daemon);
    return s;
}

/* What follows the lines about the sources. Owned. */
static char *merged(struct metrics_source *sources, unsigned count)
{
    struct err e = {0};
    struct buf out;
    char *text, *rest;
    const char *about;

    buf_init(&out, 1 << 20);
    assert_true(metrics_merge(sources, count, &out, &e));
    text = mem_text(buf_slice(&out));
    buf_free(&out);
    about = strstr(text, "# TYPE coffre_metrics_left_out gauge\n");
    assert_non_null(about);
    for (unsigned i = 0; i <= count; i++)
        about = strchr(about, '\n') + 1;
    rest = mem_strdup(about);
    free(text);
    return rest;
}

static void names_stand_together_and_daemons_apart(void **state)
{
    struct metrics_source both[] = {
        source("coffre-a", "coffre_x 1\ncoffre_y_total{role=\"r\"} 2\ncoffre_x{role=\"s\",index=\"0\",} 3.5e1\n"),
        source("coffre-b", "# TYPE coffre_x histogram\n\ncoffre_y_total{} NaN\ncoffre_x{a=\"q\\\"\\\\\\n\"} +Inf"),
    };
    char *text = merged(both, 2);

    (void)state;
    assert_string_equal(text, "# TYPE coffre_x gauge\n"
                              "coffre_x{daemon=\"coffre-a\"} 1\n"
                              "coffre_x{daemon=\"coffre-a\",role=\"s\",index=\"0\"} 3.5e1\n"
                              "coffre_x{daemon=\"coffre-b\",a=\"q\\\"\\\\\\n\"} +Inf\n"
                              "# TYPE coffre_y_total counter\n"
                              "coffre_y_total{daemon=\"coffre-a\",role=\"r\"} 2\n"
                              "coffre_y_total{daemon=\"coffre-b\"} NaN\n");
    free(text);
}

static void what_is_no_sample_is_counted(void **state)
{
    static const char *const lines[] = {"x", "x ", " x 1", "1x 1", "x  1", "x 1 ", "x 1 2", "x one", "x 0x1p3", "x{ 1", "x{a} 1", "x{a=} 1", "x{a=\"} 1", "x{a=\"\\t\"} 1",
                                        "x{a=\"b\"c=\"d\"} 1", "x{a=\"b\"}1", "x{daemon=\"coffre-b\"} 1", "x{a:b=\"c\"} 1", "x{a=\"\x01\"} 1", "x{a=\"\xc3\xa9\"} 1", "x{,} 1", "\x80 1",
                                        "x{a=\"b\",a=\"c\"} 1", "coffre_metrics_age_seconds{x=\"y\"} 1", "coffre_metrics_left_out 1",
                                        "x{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\",g=\"\",h=\"\",i=\"\",j=\"\",k=\"\",l=\"\",m=\"\",n=\"\",o=\"\",p=\"\",q=\"\"} 1"};
    struct err e = {0};
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct metrics_source one = source("a", lines[i]);
        char *text;

        buf_init(&out, 4096);
        assert_true(metrics_merge(&one, 1, &out, &e));
        text = mem_text(buf_slice(&out));
        if (strstr(text, "coffre_metrics_left_out{daemon=\"a\"} 1\n") == NULL || strstr(text, "\nx") != NULL || strstr(text, "x=") != NULL)
            fail_msg("%s: %s", lines[i], text);
        free(text);
        buf_free(&out);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    struct metrics_source one = source("a", "x 1\n"), many[METRICS_SOURCES_MAX + 1];
    struct err e = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_false(metrics_merge(&one, 1, &out, &e));
    buf_free(&out);
    for (unsigned i = 0; i <= METRICS_SOURCES_MAX; i++)
        many[i] = one;
    buf_init(&out, 1 << 20);
    assert_false(metrics_merge(many, METRICS_SOURCES_MAX + 1, &out, &e));
    assert_true(metrics_merge(many, METRICS_SOURCES_MAX, &out, &e));
    buf_free(&out);
}

static void a_daemon_that_says_too_much_hides_nobody_else(void **state)
{
    struct metrics_source both[] = {source("a", "x 1\n"), source("b", "y 1\ny 2\ny 3\ny 4\ny 5\ny 6\ny 7\ny 8\n")};
    struct err e = {0};
    struct buf out;
    char *text;

    (void)state;
    buf_init(&out, 512);
    assert_true(metrics_merge(both, 2, &out, &e));
    text = mem_text(buf_slice(&out));
    assert_non_null(strstr(text, "\nx{daemon=\"a\"} 1\n"));
    assert_non_null(strstr(text, "\ncoffre_metrics_left_out{daemon=\"a\"} 0\ncoffre_metrics_left_out{daemon=\"b\"} -1\n"));
    assert_null(strstr(text, "\ny"));
    free(text);
    buf_free(&out);
}

static void names_of_daemons_need_no_quoting(void **state)
{
    static const char *const good[] = {"coffre-ingest", "coffre-ingest@2", "a"}, *const bad[] = {"", ".", "a b", "a\"", "a/b", "\xc3\xa9", "a\n",
                                                                                               "0123456789012345678901234567890123456789012345678"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(metrics_is_daemon(slice_text(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(metrics_is_daemon(slice_text(bad[i])));
}

/* ---- status files ------------------------------------------------------------------------------------- */

static void expect_daemon(const char *text, double age, const char *json)
{
    json_t *o = daemons_read("coffre-a", slice_text(text), age);
    char *got = json_dumps(o, JSON_COMPACT);

    assert_string_equal(got, json);
    free(got);
    json_decref(o);
}

static void a_status_file_is_told_whatever_is_in_it(void **state)
{
    (void)state;
    expect_daemon("state ready\npid 7\nrole front 0 pid 8 ready serving, 3 connections\nrole keys 1 pid 0 down \nreload x refused\n", 0.25,
                  "{\"daemon\":\"coffre-a\",\"state\":\"ready\",\"age\":0.25,\"pid\":7,\"roles\":[{\"role\":\"front\",\"index\":0,\"pid\":8,\"state\":\"ready\","
                  "\"note\":\"serving, 3 connections\"},{\"role\":\"keys\",\"index\":1,\"pid\":0,\"state\":\"down\",\"note\":\"\"}],\"notes\":[\"reload x refused\"]}");
    expect_daemon("", 0, "{\"daemon\":\"coffre-a\",\"state\":\"unknown\",\"age\":0.0,\"pid\":null,\"roles\":[],\"notes\":[]}");
    expect_daemon("state ready\n", DAEMONS_SILENT_S + 1, "{\"daemon\":\"coffre-a\",\"state\":\"silent\",\"age\":11.0,\"pid\":null,\"roles\":[],\"notes\":[]}");
    expect_daemon("role\n\npid 99999999999999\n\xff\xfe", 0,
                  "{\"daemon\":\"coffre-a\",\"state\":\"unknown\",\"age\":0.0,\"pid\":null,\"roles\":[{\"role\":\"\",\"index\":null,\"pid\":null,\"state\":\"\",\"note\":\"\"}],"
                  "\"notes\":[\"(not readable)\"]}");
}

/* ---- what states tells query --------------------------------------------------------------------------- */

static struct states_file written(const char *daemon, const char *line, size_t times)
{
    struct states_file w = {.age = 0.5};

    snprintf(w.daemon, sizeof w.daemon, "%s", daemon);
    buf_init(&w.text, 1 << 20);
    while (times-- != 0)
        assert_true(buf_add(&w.text, line, strlen(line), NULL));
    return w;
}

static void states_of_daemons_come_as_they_were_told(void **state)
{
    struct states_folder f = {.count = METRICS_SOURCES_MAX};
    struct err e = {0};
    struct buf out;
    json_t *list;

    (void)state;
    /* Each at its maximum, of characters that become six: two fit, and the names of all others. */
    for (unsigned i = 0; i < f.count; i++)
        f.at[i] = written("coffre-a", "\xc3\xa9", DAEMONS_TEXT_MAX / 2);
    buf_free(&f.at[3].text);
    f.at[3] = written("coffre-b", "state ready\n", 1);
    buf_init(&out, STATES_DAEMONS_MAX);
    assert_true(states_write_daemons(&f, &out, &e));
    list = states_read_daemons(buf_slice(&out));
    assert_int_equal(json_array_size(list), METRICS_SOURCES_MAX);
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "notes")), 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 15), "notes")), 0);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 3), "state")), "ready");
    json_decref(list);
    buf_free(&out);
    states_free_folder(&f);
}

static void what_is_no_array_of_daemons_is_refused(void **state)
{
    static const char *const bad[] = {"", "x", "{}", "[1]", "[{}] x", "[{}", "[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]"};
    json_t *none = states_read_daemons(slice_text("[]"));

    (void)state;
    assert_true(json_is_array(none));
    json_decref(none);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(states_read_daemons(slice_text(bad[i])));
}

static void metrics_that_are_too_many_are_left_out_by_file(void **state)
{
    struct states_folder f = {.count = 3, .at = {written("a", "x 1\n", 1), written("b", "y 1\n", METRICS_TEXT_MAX / 4), written("c", "z 1\n", 1)}};
    struct err e = {0};
    struct buf out;
    char *text;

    (void)state;
    f.at[2].large = true;
    buf_init(&out, STATES_METRICS_MAX);
    assert_true(states_write_metrics(&f, &out, &e));
    text = mem_text(buf_slice(&out));
    assert_non_null(strstr(text, "left_out{daemon=\"a\"} 0\ncoffre_metrics_left_out{daemon=\"b\"} -1\ncoffre_metrics_left_out{daemon=\"c\"} -1\n# TYPE x gauge\nx{daemon=\"a\"} 1\n"));
    assert_null(strstr(text, "\nz"));
    free(text);
    buf_free(&out);
    states_free_folder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_stand_together_and_daemons_apart), cmocka_unit_test(what_is_no_sample_is_counted), cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_daemon_that_says_too_much_hides_nobody_else),
        cmocka_unit_test(states_of_daemons_come_as_they_were_told), cmocka_unit_test(what_is_no_array_of_daemons_is_refused),
        cmocka_unit_test(metrics_that_are_too_many_are_left_out_by_file),
        cmocka_unit_test(names_of_daemons_need_no_quoting),       cmocka_unit_test(a_status_file_is_told_whatever_is_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
