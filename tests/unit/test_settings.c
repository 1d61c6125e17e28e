/* The configuration: every error names file and line, every value is within bounds, printing is reading. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/system/settings.h"
#include "common/values/buf.h"

static const char minimal[] = "vault:\n"                                        /* 1 */
                              "  operator: \"4512\"\n"                          /* 2 */
                              "  number: 1\n"                                   /* 3 */
                              "state_dir: state\n"                              /* 4 */
                              "rabbitmq:\n"                                     /* 5 */
                              "  host: localhost\n"                             /* 6 */
                              "  ca: /abs/ca.pem\n"                             /* 7 */
                              "postgresql:\n"                                   /* 8 */
                              "  conninfo: host=/tmp\n"                         /* 9 */
                              "operator:\n"                                     /* 10 */
                              "  ca: pki/op.pem\n"                              /* 11 */
                              "regulator:\n"                                    /* 12 */
                              "  {ca: pki/rca.pem, recipients: [pki/r1.pem, pki/r2.pem]}\n" /* 13 */
                              "ingest:\n"                                       /* 14 */
                              "  certificate: c\n  key: k\n"                    /* 15, 16 */
                              "  rabbitmq_certificate: rc\n  rabbitmq_key: rk\n"/* 17, 18 */
                              "  pack_keys: [p]\n  dedup_key: d\n";             /* 19, 20 */

static char path[64];

static void put(const char *text, size_t len)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

/* Loads the minimal text with `extra` behind it. */
static struct settings *load(const char *extra, struct err *e)
{
    char *text = mem_printf("%s%s", minimal, extra);
    struct settings *s;

    put_text(text);
    free(text);
    s = settings_load(path, SETTINGS_INGEST, e);
    return s;
}

static void refused(const char *extra, const char *why)
{
    struct err e = {0};
    struct settings *s = load(extra, &e);

    if (s != NULL)
        print_error("accepted: %s\n", extra);
    assert_null(s);
    assert_int_equal(e.code, ERR_INPUT);
    if (strstr(e.text, why) == NULL)
        print_error("\"%s\" does not say \"%s\"\n", e.text, why);
    assert_non_null(strstr(e.text, why));
    assert_non_null(strstr(e.text, path));
}

static void defaults_and_relative_paths(void **state)
{
    struct err e = {0};
    struct settings *s = load("", &e);
    char *queue;

    (void)state;
    assert_non_null(s);
    assert_int_equal(s->vault.number, 1);
    assert_string_equal(s->vault.operator_id, "4512");
    assert_string_equal(s->state_dir, "/tmp/state");
    assert_string_equal(s->rabbitmq.ca, "/abs/ca.pem");
    assert_int_equal(s->rabbitmq.port, 5671);
    assert_int_equal(s->regulator.recipients.count, 2);
    assert_string_equal(s->regulator.recipients.items[1], "/tmp/pki/r2.pem");
    assert_int_equal(s->lot.age, 60000);
    assert_int_equal(s->lot.idle, 86400000);
    assert_int_equal(s->lot.bytes, 256 << 20);
    assert_int_equal(s->ingest.listen.count, 1);
    assert_true(s->sealer.close_at_shutdown);
    assert_string_equal(s->sealer.seal_key, "seal");
    queue = settings_queue(s, "Event", "In");
    assert_string_equal(queue, "Event.1.In");
    free(queue);
    settings_free(s);
}

static void values_given_are_taken(void **state)
{
    struct settings *s = load("  listen:\n    - 127.0.0.1:1\n    - \"[::1]:2\"\n  limits:\n    connections: 7\n"
                              "    body_bytes: 2KiB\n  timeouts: {drain: 1500ms}\nlot:\n  age: 5m\nlog: {level: debug}\n",
                              NULL);

    (void)state;
    assert_non_null(s);
    assert_int_equal(s->ingest.listen.count, 2);
    assert_string_equal(s->ingest.listen.items[1], "[::1]:2");
    assert_int_equal(s->ingest.limits.connections, 7);
    assert_int_equal(s->ingest.limits.body_bytes, 2048);
    assert_int_equal(s->ingest.timeouts.drain, 1500);
    assert_int_equal(s->lot.age, 300000);
    assert_int_equal(settings_log_level(s), LOG_LEVEL_DEBUG);
    settings_free(s);
}

static void errors_name_file_and_line(void **state)
{
    (void)state;
    refused("  colour: red\n", ":21: unknown key ingest.colour");
    refused("lot:\n  age: 5\n", ":22: lot.age: \"5\" is not a duration");
    refused("lot:\n  age: 5parsecs\n", ":22: lot.age");
    refused("lot:\n  age: 999ms\n", ":22: lot.age: 999ms is out of bounds");
    refused("lot:\n  count: -1\n", ":22: lot.count: \"-1\" is not a natural number");
    refused("lot:\n  count: 99999999999999999999\n", ":22: lot.count");
    refused("lot:\n  bytes: 18446744073709551615GiB\n", ":22: lot.bytes");
    refused("lot:\n  age: 60s\n  age: 61s\n", ":23: lot.age: given twice");
    refused("lot:\n  age: [60s]\n", ":22: lot.age: one value expected");
    refused("  listen: 0.0.0.0:1\n", ":21: ingest.listen: a list expected");
    refused("sealer:\n  close_at_shutdown: maybe\n", ":22: sealer.close_at_shutdown");
    refused("  listen: [\"0.0.0.0:99999\"]\n", ":21: ingest.listen: an entry is not address:port");
    refused("  listen: [\"0.0.0.0\"]\n", ":21: ingest.listen: an entry");
    refused("  listen: []\n", ":21: ingest.listen: nothing is in this list");
    refused("  listen: [\"0.0.0.0:1\"]\n  listen: [\"0.0.0.0:2\"]\n", ":22: ingest.listen: given twice");
    refused("log:\n  level: loud\n", ":22: log.level: none of");
    refused("sealer:\n  clock:\n    source: sundial\n", ":23: sealer.clock.source");
    refused("  limits:\n    body_bytes: 16MiB\n", "ingest.limits.transaction_bytes");
    refused("  limits: {pending_bytes: 1MiB}\n", ":21: ingest.limits.pending_bytes: less than");
    refused("lot: *anchor\n", ":21:");
    refused("lot: {age: 60s\n", ":");
    refused("- a\n", ":");
    refused("lot:\n  {a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}}\n", ":");
}

static void what_is_needed_must_be_there(void **state)
{
    struct err e = {0};
    const char *shorter = "vault:\n  operator: \"4512\"\n";

    (void)state;
    put_text(shorter);
    assert_null(settings_load(path, SETTINGS_INGEST, &e));
    assert_non_null(strstr(e.text, "vault.number is missing"));
    err_clear(&e);
    put_text("vault:\n  operator: 45\n  number: 1\n");
    assert_null(settings_load(path, 0, &e));
    assert_non_null(strstr(e.text, ":2: vault.operator: not four digits"));
    err_clear(&e);
    put_text("vault:\n  operator:\n");
    assert_null(settings_load(path, SETTINGS_INGEST, &e));
    assert_non_null(strstr(e.text, ":2: vault.operator: is empty"));
    err_clear(&e);
    assert_null(settings_load("/nonexistent/coffre.yml", SETTINGS_INGEST, &e));
    assert_non_null(strstr(e.text, "/nonexistent/coffre.yml: cannot be read"));
}

static void a_message_about_a_file_says_where_it_is_named(void **state)
{
    struct settings *s = load("log:\n  level: info\nsealer:\n  pin: /nowhere/pin\n", NULL);
    struct err e = {0};

    (void)state;
    assert_non_null(s);
    err_set(&e, ERR_INPUT, "/nowhere/pin: No such file or directory");
    assert_false(settings_locate(s, &e));
    assert_non_null(strstr(e.text, ":24: sealer.pin: /nowhere/pin: No such file"));
    err_clear(&e);
    err_set(&e, ERR_INPUT, "/nowhere/pin2: No such file or directory");
    assert_false(settings_locate(s, &e));
    assert_string_equal(e.text, "/nowhere/pin2: No such file or directory");
    err_clear(&e);
    err_set(&e, ERR_INPUT, "log.level: not like this");
    assert_false(settings_locate(s, &e));
    assert_non_null(strstr(e.text, ":22: log.level: not like this"));
    settings_free(s);
}

static void hostile_files_are_refused(void **state)
{
    struct err e = {0};
    char *nest = mem_alloc(10000);

    (void)state;
    put_text("vault:\n  operator: \"45\\0\"\n");
    assert_null(settings_load(path, 0, &e));
    err_clear(&e);
    put("\xff\xfe\x00\x01", 4);
    assert_null(settings_load(path, SETTINGS_INGEST, &e));
    err_clear(&e);
    memset(nest, '{', 10000);
    put(nest, 10000);
    assert_null(settings_load(path, SETTINGS_INGEST, &e));
    memset(nest, 'k', 10000);
    nest[9998] = ':';
    nest[9999] = '\n';
    err_clear(&e);
    put(nest, 10000);
    assert_null(settings_load(path, SETTINGS_INGEST, &e));
    free(nest);
}

/* What --print-config writes is a configuration again, with the same values. */
static void printing_is_reading(void **state)
{
    struct settings *s = load("lot: {age: 7s}\n", NULL), *again;
    char *first = NULL, *second = NULL;
    size_t n = 0;
    FILE *out;

    (void)state;
    assert_non_null(s);
    out = open_memstream(&first, &n);
    settings_print(s, out);
    fclose(out);
    put(first, n);
    again = settings_load(path, 0, NULL);
    assert_non_null(again);
    out = open_memstream(&second, &n);
    settings_print(again, out);
    fclose(out);
    assert_string_equal(first, second);
    free(first);
    free(second);
    settings_free(s);
    settings_free(again);
}

static void words_of_the_identity_are_checked(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"expiry: {warn: soon}\n", ":21: expiry.warn: "},
        {"expiry: {warn: 1d 2d 3d 4d 5d 6d 7d 8d 9d}\n", "expiry.warn: "},
        {"expiry: {warn: \" \"}\n", "expiry.warn: "},
        {"expiry: {warn: 0s}\n", "expiry.warn: "},
        {"profiles: {reader: {revocation: crl ocsp}}\n", ":21: profiles.reader.revocation: "},
        {"profiles: {functional: {digests: sha1}}\n", "profiles.functional.digests: "},
        {"profiles: {functional: {digests: \"\"}}\n", "profiles.functional.digests: "},
        {"profiles: {depositor: {ocsp: file:///etc/passwd}}\n", "profiles.depositor.ocsp: "},
        {"revocation: {ocsp_nonce: always}\n", "revocation.ocsp_nonce: "},
        {"revocation: {fetch: [http://a/b, gopher://c]}\n", "revocation.fetch: "},
    };
    struct err e = {0};
    struct settings *s;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err_clear(&e);
        assert_null(load(bad[i].text, &e));
        if (strstr(e.text, bad[i].said) == NULL)
            print_error("%s\n", e.text);
        assert_non_null(strstr(e.text, bad[i].said));
    }
    s = load("expiry: {warn: 60d}\nprofiles: {reader: {revocation: either, digests: sha512 sha256}}\n", NULL);
    assert_non_null(s);
    settings_free(s);
}

/* What only a start changes stays, by name; all else is new. */
static void a_reload_keeps_what_only_a_start_changes(void **state)
{
    struct settings *before = load("log: {level: info}\n", NULL), *fresh = load("log: {level: debug}\nsealer: {token: other, clock: {max_error: 7ms}}\n", NULL),
                    *again = load("exporter: {listen: [\"[::1]:1\", \"[::1]:2\"]}\n", NULL);
    char changed[200], little[12];

    (void)state;
    assert_true(settings_keep(fresh, before, changed, sizeof changed));
    assert_string_equal(changed, "sealer.token, sealer.clock.max_error");
    assert_string_equal(fresh->log_level, "debug");
    assert_string_equal(fresh->sealer.token, before->sealer.token);
    assert_int_equal(fresh->sealer.clock_max_error, before->sealer.clock_max_error);
    assert_false(settings_keep(fresh, before, changed, sizeof changed));
    assert_string_equal(changed, "");
    assert_true(settings_keep(again, before, little, sizeof little)); /* what does not fit is not named, and nothing is written beyond */
    assert_int_equal(again->exporter.listen.count, before->exporter.listen.count);
    assert_string_equal(again->exporter.listen.items[0], before->exporter.listen.items[0]);
    settings_free(before);
    settings_free(fresh);
    settings_free(again);
}

static void gather(void *ctx, const char *name)
{
    char *all = ctx;

    strcat(strcat(all, name), "\n");
}

static void files_are_those_of_the_daemon(void **state)
{
    struct settings *s = load("sealer: {pin: /s/pin, memory: /s/memory}\nrevocation: {crls: [/crls]}\n", NULL);
    char all[4096] = "";

    (void)state;
    settings_files(s, SETTINGS_INGEST, gather, all);
    assert_non_null(strstr(all, "/abs/ca.pem\n"));
    assert_non_null(strstr(all, "/pki/r2.pem\n"));
    assert_non_null(strstr(all, "/crls\n"));
    assert_null(strstr(all, "/s/"));
    assert_null(strstr(all, "/state\n"));
    *all = '\0';
    settings_files(s, SETTINGS_SEALER, gather, all);
    assert_non_null(strstr(all, "/s/pin\n"));
    assert_null(strstr(all, "/s/memory"));
    settings_free(s);
}

static void a_path_is_absolute_and_its_links_stay(void **state)
{
    char *absolute = settings_path("/x/../y"), *relative = settings_path("here.yml"), *folder = getcwd(NULL, 0), *expected = mem_printf("%s/here.yml", folder);

    (void)state;
    assert_string_equal(absolute, "/x/../y");
    assert_string_equal(relative, expected);
    free(absolute);
    free(relative);
    free(folder);
    free(expected);
}

static int make_file(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof path, "/tmp/coffre-settings-XXXXXX");
    fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_relative_paths), cmocka_unit_test(values_given_are_taken),
        cmocka_unit_test(errors_name_file_and_line),   cmocka_unit_test(what_is_needed_must_be_there),
        cmocka_unit_test(hostile_files_are_refused),   cmocka_unit_test(printing_is_reading),
        cmocka_unit_test(a_message_about_a_file_says_where_it_is_named),
        cmocka_unit_test(words_of_the_identity_are_checked), cmocka_unit_test(a_reload_keeps_what_only_a_start_changes),
        cmocka_unit_test(files_are_those_of_the_daemon),     cmocka_unit_test(a_path_is_absolute_and_its_links_stay),
    };

    return cmocka_run_group_tests_name("settings", tests, make_file, remove_file);
}
