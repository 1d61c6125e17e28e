/* The rules of a deposit: a table of good and hostile documents, and the digests sensors announce. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "ingest/ledger/digest.h"
#include "ingest/ledger/event.h"

static const struct event_limits LIMITS = {"4512", 1, 8};

#define HEAD "<IDOper>4512</IDOper><DateEvt>260131120000</DateEvt>"
#define ID "<IDEvt><!--SAFE_ID--></IDEvt>"
#define VAULT "<IDCoffre>1</IDCoffre>"
#define GOOD HEAD ID VAULT

/* `reason` NULL: valid, of type `type`; else the stable word. */
struct document {
    const char *name, *body, *reason, *type;
};

static const struct document DOCUMENTS[] = {
    {"plain", "<MISE>" GOOD "<Mise>1.50</Mise></MISE>", NULL, "MISE"},
    {"white space between elements", "<MISE>\n  " HEAD "\n  " ID "\r\n\t" VAULT "\n</MISE>\n", NULL, "MISE"},
    {"short codes", "<s6><a>4512</a><b>1</b><e>1</e><d><!--SAFE_ID--></d></s6>", NULL, "s6"},
    {"mixed codes", "<MISE><a>4512</a>" ID "<b>1</b></MISE>", NULL, "MISE"},
    {"only the number is short", "<MISE>" HEAD "<d><!--SAFE_ID--></d>" VAULT "</MISE>", NULL, "MISE"},
    {"declaration", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><MISE>" GOOD "</MISE>", NULL, "MISE"},
    {"declaration in other words", "<?xml version='1.0' encoding='utf-8' standalone='yes'?>\n<MISE>" GOOD "</MISE>", NULL, "MISE"},
    {"declaration without encoding", "<?xml version=\"1.0\"?><MISE>" GOOD "</MISE>", NULL, "MISE"},
    {"byte order mark", "\xef\xbb\xbf<MISE>" GOOD "</MISE>", NULL, "MISE"},
    {"byte order mark and declaration", "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"UTF-8\"?><MISE>" GOOD "</MISE>", NULL, "MISE"},
    {"accents before the number", "<MISE><Nom>\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xb0</Nom>" GOOD "</MISE>", NULL, "MISE"},
    {"predefined entities", "<MISE>" GOOD "<N>&lt;&gt;&amp;&quot;&apos;</N></MISE>", NULL, "MISE"},
    {"character references", "<MISE>" GOOD "<N>&#233;&#x20AC;</N></MISE>", NULL, "MISE"},
    {"references in the operator", "<MISE><IDOper>45&#49;2</IDOper>" ID VAULT "</MISE>", NULL, "MISE"},
    {"CDATA in the operator", "<MISE><IDOper><![CDATA[4512]]></IDOper>" ID VAULT "</MISE>", NULL, "MISE"},
    {"comment in the operator", "<MISE><IDOper>45<!-- -->12</IDOper>" ID VAULT "</MISE>", NULL, "MISE"},
    {"spaces around the operator", "<MISE><IDOper> 4512\n</IDOper>" ID VAULT "</MISE>", NULL, "MISE"},
    {"leading zero in the vault", "<MISE>" HEAD ID "<IDCoffre>001</IDCoffre></MISE>", NULL, "MISE"},
    {"attributes", "<POJEU test=\"true\" retransmission='false'>" GOOD "</POJEU>", NULL, "POJEU"},
    {"other operators deeper", "<POJEU>" GOOD "<Joueurs><Joueur><IDOper>0099</IDOper></Joueur></Joueurs></POJEU>", NULL, "POJEU"},
    {"other numbers deeper", "<POJEU>" GOOD "<J><IDEvt>5</IDEvt><d>6</d><b>7</b></J></POJEU>", NULL, "POJEU"},
    {"placeholder as data too", "<M>" GOOD "<N>&lt;!--SAFE_ID--&gt;</N></M>", NULL, "M"},
    {"placeholder in CDATA too", "<M><N><![CDATA[<IDEvt><!--SAFE_ID--></IDEvt>]]></N>" GOOD "</M>", NULL, "M"},
    {"placeholder in an attribute too", "<M n='--SAFE_ID--&gt;'>" GOOD "</M>", NULL, "M"},
    {"other comments", "<!-- a --><M><!-- SAFE_ID -->" GOOD "</M><!-- b -->", NULL, "M"},
    {"processing instruction", "<?app x?><M>" GOOD "</M>", NULL, "M"},
    {"name of all sorts", "<_a-B.9>" GOOD "</_a-B.9>", NULL, "_a-B.9"},
    {"default name space", "<M xmlns='urn:x'>" GOOD "</M>", NULL, "M"},
    {"as deep as allowed", "<M>" GOOD "<a2><a3><a4><a5><a6><a7><a8/></a7></a6></a5></a4></a3></a2></M>", NULL, "M"},

    {"too deep", "<M>" GOOD "<a2><a3><a4><a5><a6><a7><a8><a9/></a8></a7></a6></a5></a4></a3></a2></M>", "depth", "M"},
    {"empty", "", "empty", ""},
    {"only white space", "  \n", "not-well-formed", ""},
    {"only text", "hello", "not-well-formed", ""},
    {"not closed", "<MISE>" GOOD, "not-well-formed", NULL},
    {"cut in the middle of a tag", "<MISE>" GOOD "</MI", "not-well-formed", NULL},
    {"wrong end tag", "<MISE>" GOOD "</MISES>", "not-well-formed", NULL},
    {"two documents", "<MISE>" GOOD "</MISE><MISE>" GOOD "</MISE>", "not-well-formed", NULL},
    {"text behind", "<MISE>" GOOD "</MISE>x", "not-well-formed", NULL},
    {"text before", "x<MISE>" GOOD "</MISE>", "not-well-formed", NULL},
    {"attribute twice", "<MISE a='1' a='2'>" GOOD "</MISE>", "not-well-formed", NULL},
    {"attribute without quotes", "<MISE a=1>" GOOD "</MISE>", "not-well-formed", NULL},
    {"less-than in an attribute", "<MISE a='<'>" GOOD "</MISE>", "not-well-formed", NULL},
    {"bare ampersand", "<MISE>" GOOD "<N>a & b</N></MISE>", "not-well-formed", NULL},
    {"control character", "<MISE>" GOOD "<N>\x01</N></MISE>", "not-well-formed", NULL},
    {"reference to a control character", "<MISE>" GOOD "<N>&#1;</N></MISE>", "not-well-formed", NULL},
    {"end of CDATA in text", "<MISE>" GOOD "<N>]]></N></MISE>", "not-well-formed", NULL},
    {"double hyphen in a comment", "<MISE>" GOOD "<!-- a -- b --></MISE>", "not-well-formed", NULL},
    {"undeclared prefix", "<MISE>" GOOD "<x:N/></MISE>", "not-well-formed", NULL},
    {"declaration not first", " <?xml version=\"1.0\"?><MISE>" GOOD "</MISE>", "not-well-formed", NULL},

    {"Latin-1 bytes", "<MISE>" GOOD "<N>caf\xe9</N></MISE>", "encoding", ""},
    {"overlong", "<MISE>" GOOD "<N>\xc0\xbc</N></MISE>", "encoding", ""},
    {"surrogate", "<MISE>" GOOD "<N>\xed\xa0\x80</N></MISE>", "encoding", ""},
    {"beyond Unicode", "<MISE>" GOOD "<N>\xf4\x90\x80\x80</N></MISE>", "encoding", ""},
    {"cut in a character", "<MISE>" GOOD "</MISE>\xe2\x82", "encoding", ""},
    {"Latin-1 declared", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><MISE>" GOOD "</MISE>", "encoding", ""},
    {"UTF-7 declared", "<?xml version='1.0' encoding='UTF-7'?><MISE>" GOOD "</MISE>", "encoding", ""},
    {"UTF-16 declared", "<?xml version='1.0'  encoding = 'UTF-16'?><MISE>" GOOD "</MISE>", "encoding", ""},
    {"XML 1.1", "<?xml version=\"1.1\" encoding=\"UTF-8\"?><MISE>" GOOD "</MISE>", "encoding", ""},
    {"endless declaration", "<?xml version=\"1.0\" <MISE>" GOOD "</MISE>", "encoding", ""},

    {"document type", "<!DOCTYPE MISE><MISE>" GOOD "</MISE>", "doctype", ""},
    {"external document type", "<!DOCTYPE MISE SYSTEM \"http://127.0.0.1/x.dtd\"><MISE>" GOOD "</MISE>", "doctype", ""},
    {"billion laughs", "<!DOCTYPE M [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><M>" GOOD "&b;</M>", "doctype", ""},
    {"external entity", "<!DOCTYPE M [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><M>" GOOD "&x;</M>", "doctype", ""},
    {"parameter entity", "<!DOCTYPE M [<!ENTITY % x SYSTEM \"http://127.0.0.1/\">%x;]><M>" GOOD "</M>", "doctype", ""},
    {"undeclared entity", "<M>" GOOD "<N>&eacute;</N></M>", "entity", NULL},
    {"undeclared entity in an attribute", "<M n='&nbsp;'>" GOOD "</M>", "entity", NULL},
    {"document type late", "<M>" GOOD "</M><!DOCTYPE M>", "not-well-formed", NULL},

    {"prefixed root", "<x:M xmlns:x='urn:x'>" GOOD "</x:M>", "type", ""},
    {"root outside ASCII", "<\xc3\x89V>" GOOD "</\xc3\x89V>", "type", ""},
    {"root name of 65 characters",
     "<a2345678901234567890123456789012345678901234567890123456789012345>" GOOD
     "</a2345678901234567890123456789012345678901234567890123456789012345>", "type", ""},

    {"no operator", "<M>" ID VAULT "</M>", "operator-missing", "M"},
    {"another operator", "<M><IDOper>4513</IDOper>" ID VAULT "</M>", "operator-mismatch", "M"},
    {"operator longer", "<M><IDOper>45120</IDOper>" ID VAULT "</M>", "operator-mismatch", "M"},
    {"operator empty", "<M><IDOper/>" ID VAULT "</M>", "operator-mismatch", "M"},
    {"operator in an element", "<M><IDOper><x>4512</x></IDOper>" ID VAULT "</M>", "operator-mismatch", "M"},
    {"operator with an element", "<M><IDOper>4512<x/></IDOper>" ID VAULT "</M>", "operator-mismatch", "M"},
    {"operator only deeper", "<M><H>" HEAD "</H>" ID VAULT "</M>", "operator-missing", "M"},
    {"operator in a name space", "<M xmlns:x='urn:x'><x:IDOper>4512</x:IDOper>" ID VAULT "</M>", "operator-missing", "M"},
    {"operator twice", "<M>" GOOD "<IDOper>4512</IDOper></M>", "header-repeated", "M"},
    {"operator long and short", "<M>" GOOD "<a>4512</a></M>", "header-repeated", "M"},
    {"operator far too long", "<M><IDOper>4512                                                                       </IDOper>" ID VAULT "</M>",
     "operator-mismatch", "M"},
    {"no vault", "<M>" HEAD ID "</M>", "vault-missing", "M"},
    {"another vault", "<M>" HEAD ID "<IDCoffre>2</IDCoffre></M>", "vault-mismatch", "M"},
    {"vault not a number", "<M>" HEAD ID "<IDCoffre>1a</IDCoffre></M>", "vault-mismatch", "M"},
    {"vault negative", "<M>" HEAD ID "<IDCoffre>-1</IDCoffre></M>", "vault-mismatch", "M"},
    {"vault of many digits", "<M>" HEAD ID "<IDCoffre>18446744073709551617</IDCoffre></M>", "vault-mismatch", "M"},
    {"vault twice", "<M>" GOOD "<b>1</b></M>", "header-repeated", "M"},

    {"no placeholder", "<M>" HEAD VAULT "</M>", "placeholder-missing", "M"},
    {"a number already", "<M>" HEAD "<IDEvt>17</IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"empty number", "<M>" HEAD "<IDEvt></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"number closed at once", "<M>" HEAD "<IDEvt/>" VAULT "</M>", "placeholder-missing", "M"},
    {"spaces in the comment", "<M>" HEAD "<IDEvt><!-- SAFE_ID --></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"spaces around the comment", "<M>" HEAD "<IDEvt> <!--SAFE_ID--></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"text behind the comment", "<M>" HEAD "<IDEvt><!--SAFE_ID-->1</IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"attribute on the number", "<M>" HEAD "<IDEvt a='1'><!--SAFE_ID--></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"space in the end tag", "<M>" HEAD "<IDEvt><!--SAFE_ID--></IDEvt >" VAULT "</M>", "placeholder-missing", "M"},
    {"comment in CDATA", "<M>" HEAD "<IDEvt><![CDATA[<!--SAFE_ID-->]]></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"comment in an attribute only", "<M n='!--SAFE_ID--'>" HEAD VAULT "</M>", "placeholder-missing", "M"},
    {"whole element in a comment", "<M>" HEAD VAULT "<!-- <IDEvt> SAFE_ID </IDEvt> --></M>", "placeholder-missing", "M"},
    {"comment of a longer name", "<M>" HEAD "<IDEvt><!--SAFE_ID2--></IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"comment elsewhere only", "<M><!--SAFE_ID-->" HEAD "<IDEvt>1</IDEvt>" VAULT "</M>", "placeholder-missing", "M"},
    {"element deeper only", "<M>" HEAD VAULT "<N>" ID "</N></M>", "placeholder-missing", "M"},
    {"before the root", "<!--SAFE_ID--><M>" HEAD VAULT "</M>", "placeholder-missing", "M"},
    {"two comments in the number", "<M>" HEAD "<IDEvt><!--SAFE_ID--><!--SAFE_ID--></IDEvt>" VAULT "</M>", "placeholder-repeated", "M"},
    {"two numbers", "<M>" GOOD ID "</M>", "placeholder-repeated", "M"},
    {"long and short number", "<M>" GOOD "<d><!--SAFE_ID--></d></M>", "placeholder-repeated", "M"},
    {"a number and the placeholder", "<M><IDEvt>5</IDEvt>" HEAD "<d><!--SAFE_ID--></d>" VAULT "</M>", "placeholder-repeated", "M"},
    {"second comment behind the root", "<M>" GOOD "</M><!--SAFE_ID-->", "placeholder-repeated", "M"},
    {"second comment deeper", "<M>" GOOD "<N><!--SAFE_ID--></N></M>", "placeholder-repeated", "M"},
};

enum { DOCUMENT_COUNT = sizeof(DOCUMENTS) / sizeof(DOCUMENTS[0]) };

static struct event_checker *checker;
static struct digester *digester;

static int setup(void **state)
{
    (void)state;
    checker = event_checker_new(&LIMITS, NULL);
    digester = digest_new(NULL);
    return checker == NULL || digester == NULL;
}

static int teardown(void **state)
{
    (void)state;
    event_checker_free(checker);
    digest_free(digester);
    return 0;
}

static void check(struct slice body, enum digest_algorithm algorithm, const char *name, struct event_verdict *v)
{
    char hex[DIGEST_HEX_MAX];
    uint8_t digest[DIGEST_SIZE_MAX];
    size_t len;
    struct pack_deposit d = {.client_id = SLICE_LITERAL("C:1"), .digest_algo = slice_text(name), .body = body};
    struct err e = {0};

    assert_true(digest_compute(digester, algorithm, &body, 1, digest, &len, &e));
    digest_to_hex(digest, len, hex);
    d.digest = slice_of(hex, 2 * len);
    assert_true(event_check(checker, &d, v, &e));
}

static bool says(const struct event_verdict *v, const char *word)
{
    size_t len = strlen(word);

    return !v->valid && strncmp(v->reason, word, len) == 0 && v->reason[len] == ':';
}

static void judge(const struct document *doc)
{
    struct slice body = slice_text(doc->body);
    struct event_verdict v;
    const char *at;

    check(body, DIGEST_SHA256, "SHA-256", &v);
    if (doc->reason != NULL) {
        if (!says(&v, doc->reason))
            fail_msg("%s: \"%s\" instead of %s", doc->name, v.reason, doc->reason);
        assert_int_equal(v.placeholder, 0);
        if (doc->type != NULL)
            assert_string_equal(v.type, doc->type);
        return;
    }
    if (!v.valid)
        fail_msg("%s: refused with \"%s\"", doc->name, v.reason);
    assert_string_equal(v.reason, "");
    assert_string_equal(v.type, doc->type);
    assert_true(event_placeholder_is_at(body, v.placeholder));
    /* Where it stands twice, the real one is the last. */
    for (at = strstr(doc->body, EVENT_PLACEHOLDER); strstr(at + 1, EVENT_PLACEHOLDER) != NULL;)
        at = strstr(at + 1, EVENT_PLACEHOLDER);
    assert_int_equal(v.placeholder, at - doc->body);
}

/* Twice over, forwards and backwards: nothing of one event may linger in the reused parser. */
static void documents_are_judged(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DOCUMENT_COUNT; i++)
        judge(&DOCUMENTS[i]);
    for (unsigned i = DOCUMENT_COUNT; i-- > 0;)
        judge(&DOCUMENTS[i]);
}

static void zero_bytes_are_refused(void **state)
{
    struct event_verdict v;

    (void)state;
    check(SLICE_LITERAL("<M>" GOOD "<N>\0</N></M>"), DIGEST_SHA1, "SHA-1", &v);
    assert_true(says(&v, "encoding"));
    check(SLICE_LITERAL("<M>" GOOD "</M>\0"), DIGEST_SHA1, "SHA-1", &v);
    assert_true(says(&v, "encoding"));
    check(SLICE_LITERAL("<\0M\0/\0>\0"), DIGEST_SHA1, "SHA-1", &v);
    assert_true(says(&v, "encoding"));
    check(SLICE_LITERAL("\xff\xfe<\0M\0/\0>\0"), DIGEST_SHA1, "SHA-1", &v);
    assert_true(says(&v, "encoding"));
}

/* What a stranger wrote never comes back in a reason that may be logged. */
static void reasons_never_quote_the_event(void **state)
{
    static const char *const LEAKY[] = {
        "<M>" GOOD "<N>&SECRET;</N></M>",
        "<M>" GOOD "<SECRET></M>",
        "<M>" GOOD "<SECRET:N/></M>",
        "<M SECRET='1' SECRET='2'>" GOOD "</M>",
        "<M><IDOper>SECRET</IDOper>" ID VAULT "</M>",
        "<!DOCTYPE SECRET><M>" GOOD "</M>",
        "<M>" HEAD "<IDEvt>SECRET</IDEvt>" VAULT "</M>",
        "<?xml version='SECRET'?><M>" GOOD "</M>",
    };
    struct event_verdict v;

    (void)state;
    for (unsigned i = 0; i < sizeof(LEAKY) / sizeof(LEAKY[0]); i++) {
        check(slice_text(LEAKY[i]), DIGEST_SHA256, "SHA-256", &v);
        assert_false(v.valid);
        assert_null(strstr(v.reason, "SECRET"));
    }
}

static void every_algorithm_and_its_names(void **state)
{
    static const struct {
        enum digest_algorithm algorithm;
        const char *name;
    } NAMES[] = {
        {DIGEST_SHA1, "SHA-1"},     {DIGEST_SHA1, "SHA1"},      {DIGEST_SHA1, "sha-1"},
        {DIGEST_SHA256, "SHA-256"}, {DIGEST_SHA256, "sha256"},  {DIGEST_SHA384, "SHA-384"},
        {DIGEST_SHA384, "SHA384"},  {DIGEST_SHA512, "SHA-512"}, {DIGEST_SHA512, "SHA512"},
        {DIGEST_SHA1, "http://www.w3.org/2000/09/xmldsig#sha1"},
        {DIGEST_SHA256, "http://www.w3.org/2001/04/xmlenc#sha256"},
        {DIGEST_SHA384, "http://www.w3.org/2001/04/xmldsig-more#sha384"},
        {DIGEST_SHA512, "http://www.w3.org/2001/04/xmlenc#sha512"},
    };
    struct event_verdict v;

    (void)state;
    for (unsigned i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        check(SLICE_LITERAL("<M>" GOOD "</M>"), NAMES[i].algorithm, NAMES[i].name, &v);
        assert_true(v.valid);
    }
    assert_int_equal(digest_parse_algorithm(SLICE_LITERAL("MD5")), DIGEST_NONE);
    assert_int_equal(digest_parse_algorithm(SLICE_LITERAL("SHA-224")), DIGEST_NONE);
    assert_int_equal(digest_parse_algorithm(SLICE_LITERAL("SHA-2567")), DIGEST_NONE);
    assert_int_equal(digest_parse_algorithm(SLICE_LITERAL("")), DIGEST_NONE);
}

/* SHA-256 of "abc" (FIPS 180-4 example), in both cases, and wrong in every way. */
static void digests_are_compared_as_bytes(void **state)
{
    static const char ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char UPPER[] = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
    struct slice abc = SLICE_LITERAL("abc");
    uint8_t digest[DIGEST_SIZE_MAX];
    size_t len;
    char wrong[65];

    (void)state;
    assert_true(digest_compute(digester, DIGEST_SHA256, &abc, 1, digest, &len, NULL));
    assert_true(digest_matches(digest, len, slice_text(ABC)));
    assert_true(digest_matches(digest, len, slice_text(UPPER)));
    assert_false(digest_matches(digest, len, slice_of(ABC, 63)));
    for (size_t i = 0; i < 64; i++) {
        memcpy(wrong, ABC, sizeof(wrong));
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        assert_false(digest_matches(digest, len, slice_of(wrong, 64)));
        wrong[i] = 'g';
        assert_false(digest_matches(digest, len, slice_of(wrong, 64)));
    }
}

static void headers_are_required(void **state)
{
    struct pack_deposit good = {.client_id = SLICE_LITERAL("C"), .digest = SLICE_LITERAL("00"),
                                .digest_algo = SLICE_LITERAL("SHA-1"), .body = SLICE_LITERAL("<M/>")};
    struct pack_deposit d = good;
    struct event_verdict v;
    char long_id[EVENT_CLIENT_ID_MAX + 1];

    (void)state;
    d.client_id.len = 0;
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "client-id-missing"));
    d.client_id = SLICE_LITERAL("a\nb");
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "client-id-invalid"));
    d.client_id = SLICE_LITERAL("a\xff");
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "client-id-invalid"));
    memset(long_id, 'a', sizeof(long_id));
    d.client_id = slice_of(long_id, sizeof(long_id));
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "client-id-invalid"));
    d = good;
    d.digest.len = 0;
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "digest-missing"));
    d = good;
    d.digest_algo.len = 0;
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "digest-algorithm"));
    d.digest_algo = SLICE_LITERAL("MD5");
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "digest-algorithm"));
    d = good;
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "digest-mismatch"));
    d.digest = SLICE_LITERAL("0000000000000000000000000000000000000000");
    assert_true(event_check(checker, &d, &v, NULL) && says(&v, "digest-mismatch"));
}

/* Names of strangers must not pile up in the reused parser. */
static void many_different_names_are_survived(void **state)
{
    char body[4000];
    struct event_verdict v;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        size_t n = (size_t)snprintf(body, sizeof(body), "<M>%s", GOOD);

        for (unsigned j = 0; j < 50; j++)
            n += (size_t)snprintf(body + n, sizeof(body) - n, "<name-%u-%u-of-some-length/>", i, j);
        n += (size_t)snprintf(body + n, sizeof(body) - n, "</M>");
        check(slice_of(body, n), DIGEST_SHA1, "SHA-1", &v);
        assert_true(v.valid);
    }
}

/* One element with `count` attributes, each `start`, a number and `end`, behind `before`. */
static void judge_attributes(const char *before, const char *start, const char *end, unsigned count, struct event_verdict *v)
{
    size_t size = 4096 + count * 24, n;
    char *body = malloc(size);

    assert_non_null(body);
    n = (size_t)snprintf(body, size, "<M>%s%s<T", GOOD, before);
    for (unsigned i = 0; i < count; i++)
        n += (size_t)snprintf(body + n, size - n, "%s%05u%s", start, i, end);
    n += (size_t)snprintf(body + n, size - n, "/></M>");
    assert_true(n < size);
    check(slice_of(body, n), DIGEST_SHA1, "SHA-1", v);
    free(body);
}

/* libxml2 compares each attribute of an element with each: a hundred thousand held the reader for ten seconds. */
static void attributes_are_bounded(void **state)
{
    struct event_verdict v;

    (void)state;
    judge_attributes("", " attribute-", "='>'", 128, &v);
    assert_true(v.valid);
    judge_attributes("", " attribute-", "='>'", 129, &v);
    assert_true(says(&v, "attributes"));
    judge_attributes("<!-- \" --><N><![CDATA[<a ']]></N><?p '?>l'apostrophe", " attribute-", "='>'", 129, &v);
    assert_true(says(&v, "attributes"));
    judge_attributes("", " xmlns:a", "='u:a'", 64, &v);
    assert_true(v.valid);
    judge_attributes("", " xmlns:a", "='u:a'", 65, &v);
    assert_true(says(&v, "name-spaces"));
    judge_attributes("", " a", "", 100000, &v);
    assert_true(says(&v, "not-well-formed"));
    judge_attributes("", " a", "='", 1001, &v);
    assert_false(v.valid);
}

/* The ledger checks the offset again: no offset outside or elsewhere may pass. */
static void only_the_right_offset_is_a_placeholder(void **state)
{
    struct slice body = SLICE_LITERAL("<M>" GOOD "</M>");
    unsigned found = 0;

    (void)state;
    for (size_t i = 0; i < body.len + 20; i++)
        found += event_placeholder_is_at(body, i);
    assert_int_equal(found, 1);
    assert_false(event_placeholder_is_at(body, SIZE_MAX));
    assert_false(event_placeholder_is_at(SLICE_LITERAL("<!--SAFE_ID-->"), 0));
    assert_false(event_placeholder_is_at(slice_of(NULL, 0), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_judged),
        cmocka_unit_test(zero_bytes_are_refused),
        cmocka_unit_test(reasons_never_quote_the_event),
        cmocka_unit_test(every_algorithm_and_its_names),
        cmocka_unit_test(digests_are_compared_as_bytes),
        cmocka_unit_test(headers_are_required),
        cmocka_unit_test(many_different_names_are_survived),
        cmocka_unit_test(attributes_are_bounded),
        cmocka_unit_test(only_the_right_offset_is_a_placeholder),
    };

    return cmocka_run_group_tests_name("event", tests, setup, teardown);
}
