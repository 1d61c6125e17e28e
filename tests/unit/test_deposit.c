/* coffre-deposit's pure parts: cutting files into events, adapting them, digests, latencies, generated events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/deposit/adapt.h"
#include "ingest/deposit/digest.h"
#include "ingest/deposit/histogram.h"
#include "ingest/deposit/made.h"
#include "ingest/deposit/split.h"

/* Feeds `text` in pieces of `step` bytes and writes the events found, "line:bytes|", then "end" or the error. */
static void cut(const char *text, size_t step, size_t max, struct buf *found)
{
    struct split s;
    struct split_event event;
    struct err e = {0};
    size_t len = strlen(text), fed = 0;
    enum split_result result;

    split_init(&s, max);
    buf_init(found, 1 << 20);
    while ((result = split_next(&s, fed == len, &event, &e)) == SPLIT_EVENT || (result == SPLIT_MORE && fed < len)) {
        if (result == SPLIT_EVENT) {
            assert_true(buf_printf(found, NULL, "%u:", event.line));
            assert_true(buf_add_slice(found, event.bytes, NULL));
            assert_true(buf_add(found, "|", 1, NULL));
            assert_memory_equal(text + event.offset, event.bytes.at, event.bytes.len);
        } else {
            size_t n = len - fed < step ? len - fed : step;

            assert_true(split_feed(&s, text + fed, n, &e));
            fed += n;
        }
    }
    assert_true(buf_printf(found, NULL, "%s", result == SPLIT_END ? "end" : e.text));
    split_free(&s);
}

/* The same whatever the pieces the bytes come in. */
static void expect_cut(const char *text, const char *expected)
{
    static const size_t steps[] = {1, 2, 3, 7, 64, 4096};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct buf found;

        cut(text, steps[i], 4096, &found);
        assert_true(buf_add(&found, "", 1, NULL));
        assert_string_equal((const char *)buf_slice(&found).at, expected);
        buf_free(&found);
    }
}

static void one_event(void **state)
{
    (void)state;
    expect_cut("<A><B>1</B></A>\n", "1:<A><B>1</B></A>|end");
    expect_cut("<A/>", "1:<A/>|end");
    expect_cut("\n\n  <A x='>'  y=\"/>\">é</A>", "3:<A x='>'  y=\"/>\">é</A>|end");
    expect_cut("", "end");
    expect_cut(" \n\t ", "end");
}

static void several_events_in_a_row(void **state)
{
    (void)state;
    expect_cut("<A>1</A>\n<B>2</B><C/>\n\n<D>\n</D>", "1:<A>1</A>|2:<B>2</B>|2:<C/>|4:<D>\n</D>|end");
    expect_cut("<A><A><A/></A></A><A/>", "1:<A><A><A/></A></A>|1:<A/>|end");
}

static void prologue_and_comments_are_left_out(void **state)
{
    (void)state;
    expect_cut("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A/>", "2:<A/>|end");
    expect_cut("\xef\xbb\xbf<?xml version='1.0'?><A/><?xml version='1.0' encoding='utf-8'?><B/>", "1:<A/>|1:<B/>|end");
    expect_cut("<!-- a > b </A> --><A><!-- </A> --><![CDATA[</A>]]><?pi </A>?></A><!-- end -->",
               "1:<A><!-- </A> --><![CDATA[</A>]]><?pi </A>?></A>|end");
}

static void errors_name_line_and_column(void **state)
{
    (void)state;
    expect_cut("<A>\n  <B></C>\n</A>", "line 2, column 6: </C> where </B> is expected");
    expect_cut("<A/>\nx", "1:<A/>|line 2, column 1: text outside of an event");
    expect_cut("<A><B>", "line 1, column 7: the text ends inside an event");
    expect_cut("<A><B", "line 1, column 4: the text ends inside a tag");
    expect_cut("<A><!-- ", "line 1, column 4: the text ends inside a comment");
    expect_cut("</A>", "line 1, column 1: an end tag without its start tag");
    expect_cut("<!DOCTYPE a [<!ENTITY x 'y'>]><A/>", "line 1, column 1: a DOCTYPE: events have none and the vault refuses it");
    expect_cut("<A><!DOCTYPE b></A>", "line 1, column 4: a declaration inside an event");
    expect_cut("<?xml version='1.0' encoding='ISO-8859-1'?><A/>",
               "line 1, column 1: the XML declaration names an encoding other than UTF-8: convert the file");
    expect_cut("<A b='<'/>", "line 1, column 1: '<' inside a tag");
    expect_cut("<A><b//></A>", "line 1, column 4: '/' inside a tag");
    expect_cut("<A></A/>", "line 1, column 4: '/' inside a tag");
    expect_cut("<A><b c/d='1'/></A>", "line 1, column 4: '/' inside a tag");
    expect_cut("<A b='/'/><C d=\"//\" />", "1:<A b='/'/>|1:<C d=\"//\" />|end");
}

static void limits_hold(void **state)
{
    struct buf text, found;

    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 0; i <= SPLIT_DEPTH_MAX; i++)
        assert_true(buf_add(&text, "<a>", 3, NULL));
    assert_true(buf_add(&text, "", 1, NULL));
    cut((const char *)buf_slice(&text).at, 4096, 4096, &found);
    assert_non_null(memmem(buf_slice(&found).at, found.len, "nested too deeply", 17));
    buf_free(&found);
    buf_reset(&text);
    assert_true(buf_add(&text, "<a>", 3, NULL));
    for (int i = 0; i < 300000; i++)
        assert_true(buf_add(&text, "x", 1, NULL));
    assert_true(buf_add(&text, "</a>", 5, NULL));
    cut((const char *)buf_slice(&text).at, 65536, 1000, &found);
    assert_non_null(memmem(buf_slice(&found).at, found.len, "larger than allowed", 19));
    buf_free(&found);
    buf_free(&text);
}

static void expect_adapted(const char *event, const char *expected)
{
    static const struct adapt_rules rules = {"4512", "1", true};
    struct buf out;
    struct err e = {0};

    buf_init(&out, 4096);
    if (adapt_event(slice_text(event), &rules, &out, &e)) {
        assert_true(buf_add(&out, "", 1, NULL));
        assert_string_equal((const char *)buf_slice(&out).at, expected);
    } else {
        assert_string_equal(e.text, expected);
    }
    buf_free(&out);
}

static void header_fields_are_rewritten(void **state)
{
    (void)state;
    expect_adapted("<E>\n <IDOper>9</IDOper><IDEvt>77</IDEvt><IDCoffre>2</IDCoffre><X> </X>\n</E>",
                   "<E>\n <IDOper>4512</IDOper><IDEvt><!--SAFE_ID--></IDEvt><IDCoffre>1</IDCoffre><X> </X>\n</E>");
    expect_adapted("<s6><a>9</a><d/><b/></s6>", "<s6><a>4512</a><d><!--SAFE_ID--></d><b>1</b></s6>");
    expect_adapted("<E><IDOper>9<i>8</i></IDOper><IDEvt><!-- x --></IDEvt><IDCoffre a='1'/></E>",
                   "<E><IDOper>4512</IDOper><IDEvt><!--SAFE_ID--></IDEvt><IDCoffre a='1'>1</IDCoffre></E>");
}

static void only_header_fields_are_rewritten(void **state)
{
    (void)state;
    expect_adapted("<E><IDOper>9</IDOper><IDCoffre>2</IDCoffre><IDEvt>3</IDEvt><J><IDOper>100</IDOper><d>1</d></J></E>",
                   "<E><IDOper>4512</IDOper><IDCoffre>1</IDCoffre><IDEvt><!--SAFE_ID--></IDEvt><J><IDOper>100</IDOper><d>1</d>"
                   "</J></E>");
    expect_adapted("<E><IDOper>9</IDOper><IDEvt>3</IDEvt></E>", "the event has no IDCoffre (or b)");
    expect_adapted("<E><IDOper>9</IDOper><IDCoffre>2</IDCoffre><J><IDEvt>3</IDEvt></J></E>",
                   "the event has no IDEvt (or d)");
}

static void placeholder_is_recognised(void **state)
{
    (void)state;
    assert_true(adapt_has_placeholder(slice_text("<E><IDEvt><!--SAFE_ID--></IDEvt></E>")));
    assert_true(adapt_has_placeholder(slice_text("<s6><d><!--SAFE_ID--></d></s6>")));
    assert_false(adapt_has_placeholder(slice_text("<E><IDEvt>12</IDEvt></E>")));
    assert_false(adapt_has_placeholder(slice_text("<E><IDEvt><!-- SAFE_ID --></IDEvt></E>")));
    assert_false(adapt_has_placeholder(slice_text("<E><X><!--SAFE_ID--></X></E>")));
    assert_false(adapt_has_placeholder(slice_text("")));
}

static void digests_are_as_sensors_write_them(void **state)
{
    struct digest d;
    struct err e = {0};
    char hex[DIGEST_HEX_MAX];

    (void)state;
    assert_true(digest_open(&d, "sha256", &e));
    assert_string_equal(d.name, "SHA-256");
    assert_true(digest_hex(&d, SLICE_LITERAL("abc"), hex, &e)); /* FIPS 180-2, B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(digest_hex(&d, SLICE_LITERAL(""), hex, &e));
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_close(&d);
    assert_true(digest_open(&d, "SHA-1", &e));
    assert_true(digest_hex(&d, SLICE_LITERAL("abc"), hex, &e));
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_close(&d);
    assert_false(digest_open(&d, "md5", &e));
}

static void percentiles_are_within_two_percent(void **state)
{
    static struct histogram h;

    (void)state;
    assert_int_equal(histogram_at(&h, 0.5), 0);
    for (uint64_t i = 1; i <= 1000000; i++)
        histogram_add(&h, i * 1000);
    for (int percent = 1; percent <= 100; percent++) {
        double exact = percent * 1e7, told = (double)histogram_at(&h, percent / 100.0);

        assert_true(told >= exact && told <= exact * 1.016);
    }
    histogram_add(&h, UINT64_MAX);
    assert_true(histogram_at(&h, 1) == UINT64_MAX);
}

static void generated_events_have_the_size_asked_for(void **state)
{
    struct made m = {.random = 1, .operator_number = "4512", .vault = "1"};
    struct err e = {0};

    (void)state;
    for (size_t size = 512; size < 3000; size += 61) {
        struct split s;
        struct split_event event;
        struct buf out;

        buf_init(&out, 8192);
        assert_true(made_event(&m, size, &out, &e));
        assert_int_equal(out.len, size);
        assert_true(adapt_has_placeholder(buf_slice(&out)));
        split_init(&s, 8192);
        assert_true(split_feed(&s, buf_slice(&out).at, out.len, &e));
        assert_int_equal(split_next(&s, true, &event, &e), SPLIT_EVENT);
        assert_int_equal(event.bytes.len, size);
        split_free(&s);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_event),
        cmocka_unit_test(several_events_in_a_row),
        cmocka_unit_test(prologue_and_comments_are_left_out),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(header_fields_are_rewritten),
        cmocka_unit_test(only_header_fields_are_rewritten),
        cmocka_unit_test(placeholder_is_recognised),
        cmocka_unit_test(digests_are_as_sensors_write_them),
        cmocka_unit_test(percentiles_are_within_two_percent),
        cmocka_unit_test(generated_events_have_the_size_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
