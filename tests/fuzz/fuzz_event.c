/*
 * Fuzz target: the rules of one deposit, as inspect runs them. The first byte chooses what is tried: 0, everything but
 * the body is right; otherwise ClientId, Digest and DigestAlgo come from the input too. A verdict must be one the
 * ledger would believe.
 */
#include <stdlib.h>

#include "ingest/ledger/digest.h"
#include "ingest/ledger/event.h"

static const struct event_limits LIMITS = {"4512", 1, 16};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* What the ledger checks of a verdict, and that two judgements of the same are the same. */
static void judge(struct event_checker *c, const struct pack_deposit *d)
{
    struct event_verdict v, again;

    check(event_check(c, d, &v, NULL) && event_check(c, d, &again, NULL));
    check(v.valid == again.valid && v.placeholder == again.placeholder && strcmp(v.reason, again.reason) == 0);
    if (!v.valid) {
        check(v.reason[0] != '\0' && v.placeholder == 0 && strchr(v.reason, ':') != NULL);
        for (const char *at = v.reason; *at != '\0'; at++)
            check(*at >= 0x20 && *at < 0x7f);
        return;
    }
    check(v.reason[0] == '\0' && lot_type_is_valid(slice_text(v.type)));
    check(event_placeholder_is_at(d->body, v.placeholder));
    /* The two things no valid event may hold. */
    check(memchr(d->body.at, 0, d->body.len) == NULL);
}

/* Takes up to a line of the input. */
static struct slice line(struct slice *rest)
{
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->at, '\n', rest->len);
    struct slice s = slice_of(rest->at, end == NULL ? rest->len : (size_t)(end - rest->at));

    rest->at += s.len + (end != NULL);
    rest->len -= s.len + (end != NULL);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_checker *checker;
    static struct digester *digester;
    struct pack_deposit d = {.client_id = SLICE_LITERAL("C:1"), .digest_algo = SLICE_LITERAL("SHA-256")};
    uint8_t digest[DIGEST_SIZE_MAX];
    char hex[DIGEST_HEX_MAX];
    struct slice rest;
    size_t len;

    if (size == 0)
        return 0;
    if (checker == NULL) {
        checker = event_checker_new(&LIMITS, NULL);
        digester = digest_new(NULL);
    }
    check(checker != NULL && digester != NULL);
    rest = slice_of(data + 1, size - 1);
    if (data[0] != '0') {
        d.client_id = line(&rest);
        d.digest = line(&rest);
        d.digest_algo = line(&rest);
        d.body = rest;
        judge(checker, &d);
        return 0;
    }
    d.body = rest;
    check(digest_compute(digester, DIGEST_SHA256, &d.body, 1, digest, &len, NULL));
    digest_to_hex(digest, len, hex);
    d.digest = slice_of(hex, 2 * len);
    judge(checker, &d);
    return 0;
}
