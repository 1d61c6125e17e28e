/* DER taken apart, times, names and strengths: what is exactly right is read, and nothing behind its end. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/x509.h>

#include "common/identity/pkix.h"

/* Tries an OCTET STRING in memory of exactly its size, so that a read past it is seen. */
static bool takes(const char *bytes, size_t len, size_t content_len, size_t left)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    struct slice rest = slice_of(copy, len), content, whole;
    bool ok;

    memcpy(copy, bytes, len);
    ok = pkix_take(&rest, PKIX_OCTETS, &content, &whole);
    if (ok) {
        assert_int_equal(content.len, content_len);
        assert_int_equal(rest.len, left);
        assert_ptr_equal(whole.at, copy);
        assert_int_equal(whole.len + left, len);
        assert_ptr_equal(content.at + content.len, rest.at);
    } else {
        assert_ptr_equal(rest.at, copy);
        assert_int_equal(rest.len, len);
    }
    free(copy);
    return ok;
}

#define BYTES(text) text, sizeof(text) - 1

static void der_elements_are_taken_whole(void **state)
{
    char long_one[300] = "\x04\x81\x80", longer[600] = "\x04\x82\x01";

    (void)state;
    assert_true(takes(BYTES("\x04\x00"), 0, 0));
    assert_true(takes(BYTES("\x04\x02" "ab" "c"), 2, 1));
    assert_true(takes(long_one, 3 + 128, 128, 0));
    assert_true(takes(longer, 4 + 256 + 7, 256, 7));
}

static void what_is_not_der_is_not_taken(void **state)
{
    char padded[400] = "\x04\x82\x00\x80", endless[400] = "\x04\x80", huge[] = "\x04\x85\x00\x00\x00\x00\x01z", five[] = "\x04\x85\x01\x00\x00\x00\x00z";

    (void)state;
    assert_false(takes(BYTES(""), 0, 0));
    assert_false(takes(BYTES("\x04"), 0, 0));
    assert_false(takes(BYTES("\x05\x00"), 0, 0)); /* another element */
    assert_false(takes(BYTES("\x04\x01"), 0, 0));
    assert_false(takes(BYTES("\x04\x03" "ab"), 0, 0));
    assert_false(takes(BYTES("\x04\x81"), 0, 0));
    assert_false(takes(BYTES("\x04\x82\x01"), 0, 0));
    assert_false(takes(BYTES("\x04\x84\xff\xff\xff\xff" "ab"), 0, 0));
    assert_false(takes(BYTES("\x04\x81\x02" "ab"), 0, 0)); /* one octet would do */
    assert_false(takes(padded, sizeof padded, 0, 0));
    assert_false(takes(endless, sizeof endless, 0, 0));
    assert_false(takes(huge, sizeof huge - 1, 0, 0));
    assert_false(takes(five, sizeof five - 1, 0, 0));
}

static bool integer(const char *bytes, size_t len)
{
    return pkix_integer_valid(slice_of(bytes, len));
}

static void integers_have_no_octet_too_many(void **state)
{
    (void)state;
    assert_true(integer(BYTES("\x00")) && integer(BYTES("\x00\x80")) && integer(BYTES("\x7f")) && integer(BYTES("\xff")) && integer(BYTES("\xff\x7f")));
    assert_false(integer(BYTES("")));
    assert_false(integer(BYTES("\x00\x7f")));
    assert_false(integer(BYTES("\xff\x80")));
}

static int64_t instant(enum pkix_tag tag, const char *text)
{
    int64_t ms;

    return pkix_time_of(pkix_time_digits(tag, slice_text(text)), &ms) ? ms : -1;
}

static void times_are_read_as_rfc_5280_writes_them(void **state)
{
    char text[PKIX_TIME_TEXT];

    (void)state;
    assert_true(instant(PKIX_UTC_TIME, "260131120000Z") == 1769860800000);
    assert_true(instant(PKIX_GENERAL_TIME, "20260131120000Z") == 1769860800000);
    assert_true(instant(PKIX_GENERAL_TIME, "99991231235959Z") == 253402300799000);
    assert_true(instant(PKIX_UTC_TIME, "491231235959Z") == 2524607999000);
    assert_true(instant(PKIX_UTC_TIME, "700101000000Z") == 0);
    assert_true(instant(PKIX_UTC_TIME, "000229000000Z") == 951782400000);
    assert_string_equal(pkix_time_text(text, 1769860800999), "2026-01-31T12:00:00Z");
}

static void other_times_are_not(void **state)
{
    static const char *const utc[] = {"", "Z", "2601311200Z", "260131120000", "260131120000z", "260131120000+0000", "26013112000 Z", "2601311200:0Z",
                                      "260132120000Z", "260229000000Z", "260131240000Z", "260131125960Z", "500101000000Z", "20260131120000Z"},
                             *const general[] = {"260131120000Z", "20260131120000.0Z", "20260131120000", "00000101000000Z", "19691231235959Z", "20260131120000-0100"};

    (void)state;
    for (size_t i = 0; i < sizeof utc / sizeof *utc; i++)
        assert_true(instant(PKIX_UTC_TIME, utc[i]) == -1);
    for (size_t i = 0; i < sizeof general / sizeof *general; i++)
        assert_true(instant(PKIX_GENERAL_TIME, general[i]) == -1);
}

static const char *serial(const char *decimal)
{
    static char text[PKIX_SERIAL_TEXT];
    X509 *x = X509_new();
    BIGNUM *n = NULL;
    ASN1_INTEGER *number;

    assert_true(BN_dec2bn(&n, decimal) > 0);
    number = BN_to_ASN1_INTEGER(n, NULL);
    assert_int_equal(X509_set_serialNumber(x, number), 1);
    (void)pkix_serial_text(text, x);
    ASN1_INTEGER_free(number);
    BN_free(n);
    X509_free(x);
    return text;
}

static void serial_numbers_are_hexadecimal(void **state)
{
    (void)state;
    assert_string_equal(serial("10"), "0A");
    assert_string_equal(serial("6683"), "1A1B");
    assert_string_equal(serial("-10"), "-0A");
    assert_string_equal(serial("0"), "00");
    assert_string_equal(serial("730750818665451459101842416358141509827966271487"), "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_true(strlen(serial("99999999999999999999999999999999999999999999999999999999999999999999999999999999")) < PKIX_SERIAL_TEXT);
}

static void names_are_cut_and_cannot_forge_lines(void **state)
{
    X509_NAME *name = X509_NAME_new();
    char text[PKIX_NAME_TEXT];

    (void)state;
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)"a\nlevel=info \xc3\xa9", -1, -1, 0);
    assert_string_equal(pkix_name_text(text, name), "CN=a\\0Alevel=info \\C3\\A9");
    for (int i = 0; i < 10; i++)
        X509_NAME_add_entry_by_NID(name, NID_organizationalUnitName, MBSTRING_UTF8, (const uint8_t *)"a unit of some length that does not end", -1, -1, 0);
    assert_int_equal(strlen(pkix_name_text(text, name)), PKIX_NAME_TEXT - 1);
    X509_NAME_free(name);
}

static void reasons_have_names(void **state)
{
    (void)state;
    assert_string_equal(pkix_reason_text(0), "unspecified");
    assert_string_equal(pkix_reason_text(6), "certificateHold");
    assert_string_equal(pkix_reason_text(10), "aACompromise");
    assert_string_equal(pkix_reason_text(7), "no known reason");
    assert_string_equal(pkix_reason_text(11), "no known reason");
}

static bool strong_key(EVP_PKEY *key)
{
    bool strong = pkix_key_strong(key);

    assert_non_null(key);
    EVP_PKEY_free(key);
    return strong;
}

static void keys_have_a_smallest_size(void **state)
{
    (void)state;
    assert_false(pkix_key_strong(NULL));
    assert_true(strong_key(EVP_RSA_gen(2048)));
    assert_false(strong_key(EVP_RSA_gen(1024)));
    assert_true(strong_key(EVP_EC_gen("P-256")));
    assert_false(strong_key(EVP_EC_gen("P-224")));
    assert_true(strong_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")));
    assert_true(strong_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED448")));
    assert_false(strong_key(EVP_PKEY_Q_keygen(NULL, NULL, "X25519")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(der_elements_are_taken_whole),
        cmocka_unit_test(what_is_not_der_is_not_taken),
        cmocka_unit_test(integers_have_no_octet_too_many),
        cmocka_unit_test(times_are_read_as_rfc_5280_writes_them),
        cmocka_unit_test(other_times_are_not),
        cmocka_unit_test(serial_numbers_are_hexadecimal),
        cmocka_unit_test(names_are_cut_and_cannot_forge_lines),
        cmocka_unit_test(reasons_have_names),
        cmocka_unit_test(keys_have_a_smallest_size),
    };

    return cmocka_run_group_tests_name("pkix", tests, NULL, NULL);
}
