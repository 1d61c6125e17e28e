/* Routes, rights, extraction requests, and what front and query say to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "exporter/ask.h"

static struct http_request request;
static struct api_call call;
static struct api_refusal no;

static bool route(const char *method, const char *target)
{
    static char text[500]; /* the request borrows from it */
    struct http_scan scan = {0};
    struct http_refusal why;
    size_t used;

    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s\r\n", method, target,
             strcmp(method, "POST") == 0 ? "Content-Length: 2\r\n" : "");
    assert_int_equal(http_read_head(slice_text(text), &scan, &request, &used, &why), HTTP_DONE);
    memset(&no, 0, sizeof no);
    return api_route(&request, &call, &no);
}

static void expect_route(const char *target, enum api_resource resource, uint64_t a, uint64_t b)
{
    assert_true(route("GET", target));
    assert_int_equal(call.resource, resource);
    assert_int_equal(call.a, a);
    assert_int_equal(call.b, b);
}

static void expect_refused(const char *method, const char *target, unsigned status)
{
    assert_false(route(method, target));
    assert_int_equal(no.status, status);
}

static void every_path_leads_somewhere_or_nowhere(void **state)
{
    (void)state;
    expect_route("/check", API_CHECK, 0, 0);
    expect_route("/v1/status", API_STATUS, 0, 0);
    expect_route("/v1/lots", API_LOTS, 0, 0);
    assert_int_equal(call.limit, API_LIMIT_DEFAULT);
    expect_route("/v1/lots?after=7&limit=20", API_LOTS, 7, 0);
    assert_int_equal(call.limit, 20);
    expect_route("/v1/lots/42", API_LOT, 42, 0);
    expect_route("/v1/events/9223372036854775807", API_EVENT, INT64_MAX, 0);
    expect_route("/v1/extractions/3/segments/4", API_SEGMENT, 3, 4);
    assert_true(route("POST", "/v1/extractions"));
    assert_int_equal(call.resource, API_EXTRACT);
    expect_route("/v1/metrics", API_METRICS, 0, 0);
    expect_route("/v1/operations?after=9&limit=3", API_OPERATIONS, 9, 0);
    expect_route("/v1/operations/9", API_OPERATION, 9, 0);
    assert_true(route("POST", "/v1/operations"));
    assert_int_equal(call.resource, API_OPERATE);
    assert_false(api_is_admin(API_OPERATE));
    expect_refused("GET", "/v1/metrics?limit=1", 400);
    expect_refused("POST", "/v1/metrics", 405);
    expect_refused("POST", "/v1/operations/9", 405);
    expect_refused("GET", "/", 404);
    expect_refused("GET", "/v1/lots/", 404);
    expect_refused("GET", "/v1/lots/0", 404);
    expect_refused("GET", "/v1/lots/042", 404);
    expect_refused("GET", "/v1/lots/-1", 404);
    expect_refused("GET", "/v1/lots/9223372036854775808", 404);
    expect_refused("GET", "/v1/lots/1/2", 404);
    expect_refused("GET", "/checks", 404);
    expect_refused("GET", "/check?x=1", 400);
    expect_refused("GET", "/v1/lots?limit=0", 400);
    expect_refused("GET", "/v1/lots?limit=1001", 400);
    expect_refused("GET", "/v1/lots?after=1&after=1", 400);
    expect_refused("GET", "/v1/lots?after", 400);
    expect_refused("POST", "/v1/lots", 405);
    assert_string_equal(no.allow, "GET, HEAD");
    expect_refused("DELETE", "/v1/extractions", 405);
    assert_string_equal(no.allow, "GET, HEAD, POST");
}

static void expect_post(const char *target, enum api_resource resource, uint64_t a)
{
    assert_true(route("POST", target));
    assert_int_equal(call.resource, resource);
    assert_int_equal(call.a, a);
    assert_true(api_is_admin(resource));
}

static void paths_of_the_administration_lead_there(void **state)
{
    (void)state;
    expect_route("/v1/admin/roles", API_ROLES, 0, 0);
    assert_false(call.all);
    expect_route("/v1/admin/roles?all=true&after=3&limit=2", API_ROLES, 3, 0);
    assert_true(call.all);
    assert_int_equal(call.limit, 2);
    expect_route("/v1/admin/roles?all=false", API_ROLES, 0, 0);
    assert_false(call.all);
    expect_route("/v1/admin/changes?after=9", API_CHANGES, 9, 0);
    expect_route("/v1/admin/changes/9", API_CHANGE, 9, 0);
    expect_post("/v1/admin/roles", API_BIND, 0);
    expect_post("/v1/admin/roles/7/revocation", API_REVOKE, 7);
    expect_post("/v1/admin/changes/8/approval", API_APPROVE, 8);
    expect_post("/v1/admin/changes/8/refusal", API_REFUSE, 8);
    expect_refused("GET", "/v1/admin", 404);
    expect_refused("GET", "/v1/admin/roles/7", 404);
    expect_refused("GET", "/v1/admin/roles?all=1", 400);
    expect_refused("GET", "/v1/admin/roles?all=true&all=true", 400);
    expect_refused("GET", "/v1/admin/changes?all=true", 400);
    expect_refused("POST", "/v1/admin/roles?after=1", 400);
    expect_refused("POST", "/v1/admin/roles/0/revocation", 404);
    expect_refused("GET", "/v1/admin/roles/7/revocation", 405);
    assert_string_equal(no.allow, "POST");
    expect_refused("DELETE", "/v1/admin/roles", 405);
    assert_string_equal(no.allow, "GET, HEAD, POST");
    expect_refused("POST", "/v1/admin/changes/8", 405);
    assert_false(api_is_admin(API_SEGMENT));
}

static void profiles_have_their_rights_and_no_others(void **state)
{
    (void)state;
    for (int r = API_CHECK; r < API_RESOURCES; r++) {
        enum api_resource resource = (enum api_resource)r;
        bool open = resource == API_LIVEZ || resource == API_READYZ, admin = resource >= API_ROLES;
        bool list = resource == API_CHECK || resource == API_STATUS || resource == API_LOTS;
        bool technical = resource == API_METRICS || resource == API_OPERATIONS || resource == API_OPERATE || resource == API_OPERATION;

        assert_int_equal(api_is_open(resource), open);
        assert_int_equal(api_allowed(resource, API_READER), !admin && !technical);
        assert_int_equal(api_allowed(resource, API_TECHNICAL), open || list || technical);
        assert_int_equal(api_allowed(resource, API_FUNCTIONAL), open || list || admin || resource == API_LOT);
        assert_int_equal(api_allowed(resource, 0), open);
        assert_int_equal(api_allowed(resource, 1 << 1), open); /* depositor */
    }
}

static bool extraction(const char *body)
{
    assert_true(route("POST", "/v1/extractions"));
    memset(&no, 0, sizeof no);
    return api_read_extraction(&request, slice_text(body), &call, &no);
}

static void extraction_requests_are_read(void **state)
{
    (void)state;
    assert_true(extraction("{\"serials\":{\"first\":3,\"last\":9}}"));
    assert_int_equal(call.range, API_BY_SERIAL);
    assert_int_equal(call.a, 3);
    assert_int_equal(call.b, 9);
    assert_true(call.overlap);
    assert_true(extraction("{\"overlap\":false,\"lots\":{\"last\":2,\"first\":2}}"));
    assert_int_equal(call.range, API_BY_LOT);
    assert_false(call.overlap);
    assert_true(extraction("{\"dates\":{\"from\":\"1970-01-01T00:00:01Z\",\"to\":\"2000-02-29T12:00:00.250Z\"}}"));
    assert_int_equal(call.a, 1000);
    assert_int_equal(call.b, 951825600250);
}

static void wrong_extraction_requests_say_what_is_wrong(void **state)
{
    static const struct {
        const char *body, *code;
    } cases[] = {
        {"", "json"}, {"{", "json"}, {"[]", "json-object"}, {"{}", "range-missing"}, {"null", "json"},
        {"{\"lots\":1}", "range-object"}, {"{\"lots\":{\"first\":1}}", "range-bound"},
        {"{\"lots\":{\"first\":0,\"last\":1}}", "range-number"}, {"{\"lots\":{\"first\":\"1\",\"last\":1}}", "range-number"},
        {"{\"lots\":{\"first\":1.0,\"last\":1}}", "range-number"}, {"{\"lots\":{\"first\":-1,\"last\":1}}", "range-number"},
        {"{\"lots\":{\"first\":2,\"last\":1}}", "range-empty"}, {"{\"lots\":{\"first\":1,\"last\":2,\"x\":1}}", "range-unknown"},
        {"{\"lots\":{\"first\":1,\"last\":2},\"serials\":{\"first\":1,\"last\":2}}", "range-several"},
        {"{\"lots\":{\"first\":1,\"last\":2},\"lots\":{\"first\":1,\"last\":2}}", "json"},
        {"{\"lots\":{\"first\":1,\"last\":2},\"overlap\":1}", "overlap"}, {"{\"x\":1}", "member-unknown"},
        {"{\"dates\":{\"from\":\"2026-13-01T00:00:00Z\",\"to\":\"2027-01-01T00:00:00Z\"}}", "range-date"},
        {"{\"dates\":{\"from\":\"2026-02-29T00:00:00Z\",\"to\":\"2027-01-01T00:00:00Z\"}}", "range-date"},
        {"{\"dates\":{\"from\":\"2026-01-01T00:00:00+01:00\",\"to\":\"2027-01-01T00:00:00Z\"}}", "range-date"},
        {"{\"dates\":{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-01T00:00:00Z\"}}", "range-empty"},
        {"{\"lots\":{\"first\":1,\"last\":99999999999999999999}}", "json"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(extraction(cases[i].body));
        assert_int_equal(no.status, 400);
        if (strcmp(no.code, cases[i].code) != 0)
            fail_msg("%s: %s, expected %s", cases[i].body, no.code, cases[i].code);
    }
}

static void changes_of_role_bindings_are_read(void **state)
{
    static char body[] = "{\"profile\":\"reader\",\"cn\":\"l'agent \\u00e9 \\\" ; DROP\",\"ou\":\"\",\"serial\":\"00ab\",\"san\":\"DNS:A.b\",\"reason\":\"arrivee\"}";
    struct api_change c;

    (void)state;
    if (!api_read_change(API_BIND, slice_text(body), &c, &no))
        fail_msg("%s", no.reason);
    assert_string_equal(c.profile, "reader");
    assert_string_equal(c.cn, "l'agent \xc3\xa9 \" ; DROP");
    assert_string_equal(c.ou, "");
    assert_string_equal(c.serial, "AB");
    assert_string_equal(c.san, "DNS:a.b");
    assert_string_equal(c.reason, "arrivee");
    assert_true(api_read_change(API_REVOKE, SLICE_LITERAL("{\"reason\":\"depart\"}"), &c, &no));
    assert_string_equal(c.reason, "depart");
    assert_string_equal(c.cn, "");
    assert_true(api_read_change(API_APPROVE, SLICE_LITERAL(""), &c, &no));
    assert_true(api_read_change(API_APPROVE, SLICE_LITERAL("{}"), &c, &no));
    assert_true(api_read_change(API_REFUSE, SLICE_LITERAL("{\"reason\":\"non\"}"), &c, &no));
}

#define NAME "\"profile\":\"reader\",\"cn\":\"a\",\"ou\":\"b\""

static void wrong_changes_say_what_is_wrong(void **state)
{
    static const struct {
        enum api_resource resource;
        const char *body, *code;
    } cases[] = {
        {API_BIND, "", "json"}, {API_BIND, "[]", "json-object"}, {API_BIND, "{}", "member-missing"}, {API_BIND, "{" NAME "}", "reason"},
        {API_BIND, "{" NAME ",\"reason\":\"\"}", "reason"}, {API_BIND, "{" NAME ",\"reason\":1}", "member-text"},
        {API_BIND, "{" NAME ",\"reason\":\"x\",\"cn\":\"c\"}", "json"}, {API_BIND, "{" NAME ",\"reason\":\"a\\nb\"}", "reason"},
        {API_BIND, "{" NAME ",\"reason\":\"a\\u009b2Kb\"}", "reason"},
        {API_BIND, "{" NAME ",\"reason\":\"a\\u0000b\"}", "json"}, {API_BIND, "{" NAME ",\"reason\":\"x\",\"id\":\"1\"}", "member-unknown"},
        {API_BIND, "{" NAME ",\"reason\":\"x\",\"serial\":\"0x1\"}", "serial"}, {API_BIND, "{" NAME ",\"reason\":\"x\",\"san\":\"host\"}", "san"},
        {API_BIND, "{\"profile\":\"root\",\"cn\":\"a\",\"ou\":\"b\",\"reason\":\"x\"}", "profile"},
        {API_BIND, "{\"profile\":\"reader\",\"cn\":\"\",\"ou\":\"b\",\"reason\":\"x\"}", "member-missing"},
        {API_BIND, "{\"profile\":\"reader\",\"cn\":\"a\",\"reason\":\"x\"}", "member-missing"},
        {API_BIND, "{\"profile\":\"reader\",\"cn\":\"a\\u001b[2J\",\"ou\":\"b\",\"reason\":\"x\"}", "cn"},
        {API_REVOKE, "", "json"}, {API_REVOKE, "{}", "reason"}, {API_REVOKE, "{" NAME ",\"reason\":\"x\"}", "member-unknown"},
        {API_REFUSE, "{}", "reason"}, {API_APPROVE, "{\"quorum\":\"1\"}", "member-unknown"}, {API_APPROVE, "{\"reason\":null}", "member-text"},
    };
    struct api_change c;
    char text[API_REASON_MAX + 100];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(api_read_change(cases[i].resource, slice_text(cases[i].body), &c, &no));
        assert_int_equal(no.status, 400);
        if (strcmp(no.code, cases[i].code) != 0)
            fail_msg("%s: %s, expected %s", cases[i].body, no.code, cases[i].code);
    }
    snprintf(text, sizeof text, "{\"reason\":\"%0*d\"}", API_REASON_MAX, 1);
    assert_true(api_read_change(API_REVOKE, slice_text(text), &c, &no));
    snprintf(text, sizeof text, "{\"reason\":\"%0*d\"}", API_REASON_MAX + 1, 1);
    assert_false(api_read_change(API_REVOKE, slice_text(text), &c, &no));
}

static void content_is_judged_by_its_resource(void **state)
{
    (void)state;
    assert_true(route("POST", "/v1/admin/roles/7/revocation"));
    assert_true(api_read_content(&request, SLICE_LITERAL("{\"reason\":\"depart\"}"), &call, &no));
    assert_false(api_read_content(&request, SLICE_LITERAL("{\"lots\":{\"first\":1,\"last\":2}}"), &call, &no));
    assert_true(route("POST", "/v1/extractions"));
    assert_true(api_read_content(&request, SLICE_LITERAL("{\"lots\":{\"first\":1,\"last\":2}}"), &call, &no));
    assert_int_equal(call.b, 2);
    assert_true(route("GET", "/v1/status"));
    assert_true(api_read_content(&request, SLICE_LITERAL(""), &call, &no));
}

static void too_much_content_is_refused(void **state)
{
    static const char text[] = "POST /v1/admin/roles HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 16385\r\n\r\n";
    struct http_scan scan = {0};
    struct http_refusal why;
    size_t used;

    (void)state;
    assert_int_equal(http_read_head(slice_text(text), &scan, &request, &used, &why), HTTP_DONE);
    assert_false(api_route(&request, &call, &no));
    assert_int_equal(no.status, 413);
}

static void content_of_another_type_is_refused(void **state)
{
    static const char text[] = "POST /v1/extractions HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    struct http_scan scan = {0};
    struct http_refusal why;
    size_t used;

    (void)state;
    assert_int_equal(http_read_head(slice_text(text), &scan, &request, &used, &why), HTTP_DONE);
    assert_false(api_read_extraction(&request, SLICE_LITERAL("{}"), &call, &no));
    assert_int_equal(no.status, 415);
}

/* ---- messages --------------------------------------------------------------------------------- */

struct pair {
    struct channel *a, *b;
};

static struct pair open_pair(void)
{
    int fds[2];
    struct err e = {0};

    assert_true(channel_pair(fds, &e));
    return (struct pair){channel_open(fds[0], 1 << 21, 1 << 22), channel_open(fds[1], 1 << 21, 1 << 22)};
}

static void operations_are_read(void **state)
{
    struct api_operation o;

    (void)state;
    assert_true(api_read_operation(SLICE_LITERAL("{\"operation\":\"close-lot\",\"reason\":\"fin d'exercice\"}"), &o, &no));
    assert_string_equal(o.name, "close-lot");
    assert_string_equal(o.reason, "fin d'exercice");
    assert_string_equal(o.key, "");
    assert_true(api_read_operation(SLICE_LITERAL("{\"key\":\"a-B_c.9:\",\"reason\":\"x\",\"operation\":\"close-lot\"}"), &o, &no));
    assert_string_equal(o.key, "a-B_c.9:");
}

static void wrong_operations_say_what_is_wrong(void **state)
{
    static const struct {
        const char *body, *code;
    } cases[] = {
        {"", "json"}, {"{", "json"}, {"[]", "json-object"}, {"{}", "member-missing"}, {"{\"reason\":\"x\"}", "member-missing"},
        {"{\"operation\":\"close-lot\"}", "reason"}, {"{\"operation\":\"close-lot\",\"reason\":\" \"}", "reason"},
        {"{\"operation\":\"close-lot\",\"reason\":\"a\\nb\"}", "reason"}, {"{\"operation\":\"halt\",\"reason\":\"x\"}", "operation"},
        {"{\"operation\":\"\",\"reason\":\"x\"}", "operation"}, {"{\"operation\":null,\"reason\":\"x\"}", "member-text"},
        {"{\"operation\":\"close-lot\",\"operation\":\"close-lot\",\"reason\":\"x\"}", "json"},
        {"{\"operation\":\"close-lot\",\"reason\":\"x\",\"key\":\"\"}", "key"}, {"{\"operation\":\"close-lot\",\"reason\":\"x\",\"key\":\"a b\"}", "key"},
        {"{\"operation\":\"close-lot\",\"reason\":\"x\",\"lot\":\"1\"}", "member-unknown"},
    };
    struct api_operation o;
    char text[API_REASON_MAX + 100];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(api_read_operation(slice_text(cases[i].body), &o, &no));
        assert_int_equal(no.status, 400);
        if (strcmp(no.code, cases[i].code) != 0)
            fail_msg("%s: %s, expected %s", cases[i].body, no.code, cases[i].code);
    }
    for (int more = 0; more < 2; more++) {
        snprintf(text, sizeof text, "{\"operation\":\"close-lot\",\"reason\":\"x\",\"key\":\"%0*d\"}", API_KEY_MAX + more, 1);
        assert_int_equal(api_read_operation(slice_text(text), &o, &no), more == 0);
    }
}

static struct slice pass(struct pair p, enum ask_type type)
{
    struct channel_message m;
    struct err e = {0};

    assert_true(channel_flush(p.a, &e));
    assert_int_equal(channel_wait(p.b, &m, 1000, &e), CHANNEL_MESSAGE);
    assert_int_equal(m.type, type);
    return m.body;
}

static void messages_arrive_as_they_were_sent(void **state)
{
    struct pair p = open_pair();
    struct ask_question q = {.request = 7,
                             .call = {API_BIND, 3, 4, 100, API_BY_DATE, true, true},
                             .profiles = API_TECHNICAL | API_READER,
                             .reader = SLICE_LITERAL("CN=r, OU=l"),
                             .client = {SLICE_LITERAL("r"), SLICE_LITERAL("l"), SLICE_LITERAL("0A"), SLICE_LITERAL("CN=ca"), SLICE_LITERAL("::1")},
                             .content = SLICE_LITERAL("{}")}, q2;
    struct ask_answer a = {.request = 7, .status = 200, .streamed = true, .length = 1ull << 40, .type = "t", .etag = "\"e\"",
                           .file = "f", .location = "/l"}, a2;
    struct err e = {0};
    struct slice body;

    (void)state;
    assert_true(ask_send_question(p.a, &q, &e));
    assert_true(ask_read_question(pass(p, ASK_QUESTION), &q2, &e));
    assert_memory_equal(&q.call, &q2.call, sizeof q.call);
    assert_int_equal(q.profiles, q2.profiles);
    assert_true(slice_equal(q.reader, q2.reader));
    assert_true(slice_equal(q.client.cn, q2.client.cn) && slice_equal(q.client.ou, q2.client.ou));
    assert_true(slice_equal(q.client.serial, q2.client.serial) && slice_equal(q.client.issuer, q2.client.issuer));
    assert_true(slice_equal(q.client.address, q2.client.address) && slice_equal(q.content, q2.content));
    assert_true(ask_send_answer(p.a, &a, &e));
    body = pass(p, ASK_ANSWER);
    assert_true(ask_read_answer(body, &a2, &e));
    assert_int_equal(a2.length, 1ull << 40);
    assert_string_equal(a2.etag, "\"e\"");
    /* Cut anywhere, it is refused. */
    for (size_t i = 0; i < body.len; i++)
        assert_false(ask_read_answer(slice_of(body.at, i), &a2, NULL));
    channel_free(p.a);
    channel_free(p.b);
}

static void messages_out_of_bounds_are_refused(void **state)
{
    struct pair p = open_pair();
    struct ask_question q = {.request = 7, .call = {.resource = API_SEGMENT, .a = UINT64_MAX, .limit = 100}, .reader = SLICE_LITERAL("r")}, q2;
    struct ask_answer a = {.request = 7, .status = 200, .length = 5, .type = "t"}, a2;
    struct err e = {0};

    (void)state;
    assert_true(ask_send_question(p.a, &q, &e));
    assert_false(ask_read_question(pass(p, ASK_QUESTION), &q2, &e));
    q.call.a = 1;
    q.client.cn = SLICE_LITERAL("a\nb"); /* a line of its own in a log */
    assert_true(ask_send_question(p.a, &q, &e));
    assert_false(ask_read_question(pass(p, ASK_QUESTION), &q2, &e));
    q.client.cn = SLICE_LITERAL("a");
    q.call.resource = (enum api_resource)API_RESOURCES;
    assert_true(ask_send_question(p.a, &q, &e));
    assert_false(ask_read_question(pass(p, ASK_QUESTION), &q2, &e));
    q.call.resource = API_SEGMENT;
    q.profiles = 1; /* nobody's */
    assert_true(ask_send_question(p.a, &q, &e));
    assert_false(ask_read_question(pass(p, ASK_QUESTION), &q2, &e));
    assert_true(ask_send_answer(p.a, &a, &e)); /* length without content */
    assert_false(ask_read_answer(pass(p, ASK_ANSWER), &a2, &e));
    a = (struct ask_answer){.request = 7, .status = 200, .type = "a\r\nb"};
    assert_true(ask_send_answer(p.a, &a, &e));
    assert_false(ask_read_answer(pass(p, ASK_ANSWER), &a2, &e));
    a = (struct ask_answer){.request = 7, .status = 200, .streamed = true, .length = 1}; /* no entity-tag */
    assert_true(ask_send_answer(p.a, &a, &e));
    assert_false(ask_read_answer(pass(p, ASK_ANSWER), &a2, &e));
    channel_free(p.a);
    channel_free(p.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_leads_somewhere_or_nowhere),
        cmocka_unit_test(paths_of_the_administration_lead_there),
        cmocka_unit_test(profiles_have_their_rights_and_no_others),
        cmocka_unit_test(extraction_requests_are_read),
        cmocka_unit_test(wrong_extraction_requests_say_what_is_wrong),
        cmocka_unit_test(changes_of_role_bindings_are_read),
        cmocka_unit_test(wrong_changes_say_what_is_wrong),
        cmocka_unit_test(operations_are_read),
        cmocka_unit_test(wrong_operations_say_what_is_wrong),
        cmocka_unit_test(content_is_judged_by_its_resource),
        cmocka_unit_test(too_much_content_is_refused),
        cmocka_unit_test(content_of_another_type_is_refused),
        cmocka_unit_test(messages_arrive_as_they_were_sent),
        cmocka_unit_test(messages_out_of_bounds_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
