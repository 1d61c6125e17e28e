/* OCSP answers as the identity role keeps them: what takes the place of what, and when an answer is worth nothing any more. The test is the fetch role. */
#include "tests/unit/unit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/identity/identity_internal.h"
#include "tests/unit/folder.h"
#include "tests/unit/revocation.h"

#define URL "http://ocsp.example/"

static struct issued ca, leaf, responder, unchecked; /* `unchecked`: a responder whose issuer says that nobody need ask about it */
static struct identity *identity;
static struct channel *fetch;
static const struct identity_duty duty = {.offered = 1 << ROSTER_DEPOSITOR};

/* As a role that begins. */
static void begin_cache(void)
{
    identity->ocsp = identity_ocsp_new(identity);
    identity_ocsp_begin(identity->ocsp);
}

static int begin(void **state)
{
    char *text, *crl;
    const struct certificate_wanted ten = {.cn = "ten", .serial = 10};
    const struct certificate_wanted twenty = {.cn = "responder", .serial = 20, .extensions = {{NID_ext_key_usage, "OCSPSigning"}}};
    const struct certificate_wanted thirty = {.cn = "unchecked", .serial = 30,
                                              .extensions = {{NID_ext_key_usage, "OCSPSigning"}, {NID_id_pkix_OCSP_noCheck, "NULL"}}};
    int fds[2];
    struct err e = {0};

    if (folder_make(state) != 0)
        return -1;
    ca = revocation_authority("Operator", certificates_ec("P-256"));
    leaf = revocation_certificate(certificates_ec("P-256"), &ten, &ca);
    responder = revocation_certificate(certificates_ec("P-256"), &twenty, &ca);
    unchecked = revocation_certificate(certificates_ec("P-256"), &thirty, &ca);
    crl = folder_file("crl");
    assert_int_equal(mkdir(crl, 0700), 0);
    free(crl);
    identity = mem_zalloc(1, sizeof *identity);
    identity->duty = &duty;
    identity->name = "coffre-test";
    text = mem_printf("state_dir: %s\nrevocation:\n  ocsp_nonce: off\n  ocsp_reuse: 1s\n", folder_path());
    identity->settings = folder_settings(text, &e);
    if (identity->settings == NULL)
        fail_msg("%s", e.text);
    free(text);
    identity->lists = identity_lists_new(identity);
    identity->ask = identity_ask_new(identity);
    begin_cache();
    assert_true(channel_pair(fds, &e));
    identity_ask_link(identity->ask, channel_open(fds[0], 1 << 20, 1 << 20));
    fetch = channel_open(fds[1], 1 << 20, 1 << 20);
    return 0;
}

static int end(void **state)
{
    struct issued *all[] = {&ca, &leaf, &responder, &unchecked};

    identity_ocsp_free(identity->ocsp);
    identity_lists_free(identity->lists);
    identity_ask_free(identity->ask);
    settings_free(identity->settings);
    channel_free(fetch);
    free(identity);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        certificates_free(all[i]);
    return folder_remove(state);
}

/* Waits until the responder is asked, and answers with this status; as of `from`, until `until` (ms; 0: now; not said). */
static void answer_of(int status, const struct issued *by, int64_t from, int64_t until)
{
    const struct answer_wanted w = {.status = status, .revoked_at = status == V_OCSP_CERTSTATUS_REVOKED ? revocation_now() : 0, .this_update = from,
                                    .next_update = until};
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    struct identity_fetch asked;
    struct channel_message m;
    struct err e = {0};
    struct buf response;

    do {
        identity_ocsp_tick(identity->ocsp);
        identity_ask_flush(identity->ask);
    } while (channel_wait(fetch, &m, 20, &e) == CHANNEL_EMPTY);
    assert_int_equal(m.type, IDENTITY_FETCH);
    assert_true(identity_read_fetch(m.body, &asked, &e));
    revocation_answer_add(basic, leaf.certificate, ca.certificate, &w);
    response = revocation_response(basic, by, NULL, EVP_sha256(), 0);
    assert_true(identity_send_fetched(fetch, &(struct identity_fetched){.request = asked.request, .status = 200, .body = buf_slice(&response)}, &e));
    assert_true(channel_flush(fetch, &e));
    buf_free(&response);
    identity->review = false;
    while (!identity->review) {
        short events;
        struct pollfd p = {.fd = identity_ask_fd(identity->ask, &events), .events = POLLIN};

        poll(&p, 1, 1000);
        identity_ask_serve(identity->ask);
    }
}

static void answer(int status, const struct issued *by)
{
    answer_of(status, by, 0, 0);
}

static enum revocation_answer found(const struct identity_answer *a)
{
    struct identity_ocsp_view v;

    identity_ocsp_look(a, identity_wall(), &v);
    return v.found.answer;
}

static void test_unknown_ends_good(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "unknown");

    (void)state;
    answer(V_OCSP_CERTSTATUS_GOOD, &ca);
    assert_int_equal(found(a), REVOCATION_GOOD);
    answer(V_OCSP_CERTSTATUS_UNKNOWN, &ca);
    assert_int_equal(found(a), REVOCATION_UNKNOWN);
    assert_null(identity_ocsp_revokes(a));
    identity_ocsp_leave(identity->ocsp, a);
}

static void test_unknown_takes_no_revocation_back(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "revoked");
    int64_t now = revocation_now();

    (void)state;
    answer_of(V_OCSP_CERTSTATUS_REVOKED, &ca, now - 2000, 0);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    answer_of(V_OCSP_CERTSTATUS_UNKNOWN, &ca, now - 1000, 0);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    assert_non_null(identity_ocsp_revokes(a));
    answer(V_OCSP_CERTSTATUS_GOOD, &ca);
    assert_int_equal(found(a), REVOCATION_GOOD);
    identity_ocsp_leave(identity->ocsp, a);
}

static void list_serial(long serial, int64_t from)
{
    /* As identity_lists.c would, without its journal. */
    struct crl_set *set = (struct crl_set *)(uintptr_t)identity_lists_set(identity->lists);
    X509_CRL *crl = revocation_crl(&ca, from, from + HOUR_MS);
    STACK_OF(X509) *authorities = revocation_stack(ca.certificate, NULL);
    struct buf bytes;
    struct err e = {0};

    revocation_add(crl, serial, -1);
    bytes = revocation_signed(crl, &ca, EVP_sha256());
    if (!crl_set_take(set, "crl", buf_slice(&bytes), bytes.len, authorities, from, 0, &e))
        fail_msg("%s", e.text);
    buf_free(&bytes);
    sk_X509_free(authorities);
}

/* None yet. */
static void other_lists(void)
{
    identity_lists_free(identity->lists);
    identity->lists = identity_lists_new(identity);
}

static void test_responder_revoked(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "responder");

    (void)state;
    answer(V_OCSP_CERTSTATUS_GOOD, &responder);
    assert_int_equal(found(a), REVOCATION_GOOD);
    list_serial(20, revocation_now());
    identity->review = false;
    identity_ocsp_tick(identity->ocsp);
    assert_true(identity->review);
    assert_int_equal(found(a), REVOCATION_UNKNOWN);
    answer(V_OCSP_CERTSTATUS_GOOD, &responder); /* it goes on as if nothing were */
    assert_int_equal(found(a), REVOCATION_UNKNOWN);
    answer(V_OCSP_CERTSTATUS_GOOD, &ca);
    assert_int_equal(found(a), REVOCATION_GOOD);
    identity_ocsp_leave(identity->ocsp, a);
}

static void test_responder_not_to_be_checked(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "unchecked");

    (void)state;
    list_serial(30, revocation_now());
    answer(V_OCSP_CERTSTATUS_GOOD, &unchecked); /* id-pkix-ocsp-nocheck: its issuer answers for it */
    assert_int_equal(found(a), REVOCATION_GOOD);
    identity_ocsp_leave(identity->ocsp, a);
}

/* A "good" from before the revocation is played again: it is valid until its nextUpdate, and has no nonce. A newer one lifts a hold. */
static void test_older_answer_replaces_nothing(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "replayed");
    int64_t now = revocation_now();

    (void)state;
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now - HOUR_MS, now + HOUR_MS);
    assert_int_equal(found(a), REVOCATION_GOOD);
    answer_of(V_OCSP_CERTSTATUS_REVOKED, &ca, now - MINUTE_MS, now + MINUTE_MS);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now - HOUR_MS, now + HOUR_MS);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now - MINUTE_MS, now + HOUR_MS);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now - MINUTE_MS + 1000, now + HOUR_MS);
    assert_int_equal(found(a), REVOCATION_GOOD);
    answer_of(V_OCSP_CERTSTATUS_UNKNOWN, &ca, now - HOUR_MS, now + HOUR_MS);
    assert_int_equal(found(a), REVOCATION_GOOD);
    identity_ocsp_leave(identity->ocsp, a);
}

/* Nor over the end of the answer, that of the role, or at another responder. */
static void test_revocation_survives_restart(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "restart");
    int64_t now = revocation_now();

    (void)state;
    answer_of(V_OCSP_CERTSTATUS_REVOKED, &ca, now - 1000, now + 12000);
    assert_int_equal(found(a), REVOCATION_REVOKED);
    identity_ocsp_tick(identity->ocsp);
    identity_ocsp_free(identity->ocsp);
    begin_cache();
    while (identity_wall() <= now + 12000)
        usleep(10000);
    a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "another");
    assert_int_equal(found(a), REVOCATION_UNKNOWN); /* its time is over; no reason to let it in under an override */
    assert_non_null(identity_ocsp_revokes(a));
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now - HOUR_MS, now + HOUR_MS);
    assert_non_null(identity_ocsp_revokes(a));
    answer(V_OCSP_CERTSTATUS_GOOD, &ca);
    assert_int_equal(found(a), REVOCATION_GOOD);
    identity_ocsp_tick(identity->ocsp);
    identity_ocsp_free(identity->ocsp);
    begin_cache();
    a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "restart");
    assert_null(identity_ocsp_revokes(a));
    answer(V_OCSP_CERTSTATUS_GOOD, &ca);
    identity_ocsp_leave(identity->ocsp, a);
}

static void test_ended_list_still_revokes(void **state)
{
    struct revocation_finding f;
    int64_t before = revocation_now() - 2 * HOUR_MS;

    (void)state;
    other_lists();
    assert_false(identity_lists_revoke(identity->lists, leaf.certificate, ca.certificate, revocation_now(), &f));
    list_serial(10, before);
    assert_int_equal(crl_set_check(identity_lists_set(identity->lists), leaf.certificate, ca.certificate, revocation_now(), 0).answer, REVOCATION_UNKNOWN);
    assert_true(identity_lists_revoke(identity->lists, leaf.certificate, ca.certificate, revocation_now(), &f));
    assert_int_equal(f.answer, REVOCATION_REVOKED);
}

/* How the leaf stands with `either` when this answer is what it has. */
static enum identity_check standing_of(struct identity_answer *a, int64_t now)
{
    const struct identity_policy p = {.profile = ROSTER_DEPOSITOR, .offered = true, .revocation = REVOCATION_BY_EITHER};
    struct identity_standing s = {.chain = IDENTITY_PASSED, .path = revocation_stack(leaf.certificate, ca.certificate, NULL), .end = INT64_MAX, .answers = {a}};

    identity_standing_weigh(identity, &p, now, &s);
    sk_X509_free(s.path);
    return s.check;
}

/* One that has ended by then still tells more than an older "good" of the other kind: whoever silences a responder takes no revocation back. */
static void test_either_and_the_newer_of_two(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "either");
    int64_t now = revocation_now(), later = now + HOUR_MS / 2;

    (void)state;
    other_lists();
    answer_of(V_OCSP_CERTSTATUS_REVOKED, &ca, now - 1000, now + MINUTE_MS);
    list_serial(11, now - MINUTE_MS);
    assert_int_equal(standing_of(a, now), IDENTITY_REVOKED);
    assert_int_equal(standing_of(a, later), IDENTITY_REVOKED);
    list_serial(11, now); /* made after the answer: it knows better */
    assert_int_equal(standing_of(a, later), IDENTITY_PASSED);
    other_lists();
    answer_of(V_OCSP_CERTSTATUS_GOOD, &ca, now, now + 2 * HOUR_MS);
    list_serial(10, now - 2 * HOUR_MS); /* over since an hour */
    assert_int_equal(standing_of(a, later), IDENTITY_PASSED);
    other_lists();
    list_serial(10, now);
    assert_int_equal(standing_of(a, later), IDENTITY_REVOKED);
    assert_int_equal(standing_of(a, now + HOUR_MS + MINUTE_MS), IDENTITY_REVOKED);
    other_lists();
    identity_ocsp_leave(identity->ocsp, a);
}

/* No room when it is to be written: once there is some, it is. */
static void test_revocation_is_written_once_there_is_room(void **state)
{
    struct identity_answer *a = identity_ocsp_use(identity->ocsp, leaf.certificate, ca.certificate, URL "room");
    char *folder = folder_file("crl"), *aside = folder_file("aside"), *file = folder_file("crl/revoked-coffre-test");

    (void)state;
    unlink(file);
    assert_int_equal(rename(folder, aside), 0);
    answer(V_OCSP_CERTSTATUS_REVOKED, &ca);
    identity_ocsp_tick(identity->ocsp);
    assert_int_equal(rename(aside, folder), 0);
    for (int i = 0; access(file, F_OK) != 0; i++) {
        assert_true(i < 1200); /* so long that only a defect reaches it */
        identity_ocsp_tick(identity->ocsp);
        usleep(100000);
    }
    identity_ocsp_leave(identity->ocsp, a);
    free(folder);
    free(aside);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revocation_survives_restart), /* whose answer ends some seconds after the program's beginning */
        cmocka_unit_test(test_unknown_ends_good),
        cmocka_unit_test(test_unknown_takes_no_revocation_back),
        cmocka_unit_test(test_responder_revoked),
        cmocka_unit_test(test_responder_not_to_be_checked),
        cmocka_unit_test(test_older_answer_replaces_nothing),
        cmocka_unit_test(test_ended_list_still_revokes),
        cmocka_unit_test(test_either_and_the_newer_of_two),
        cmocka_unit_test(test_revocation_is_written_once_there_is_room),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
