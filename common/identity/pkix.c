/* DER, times, names and signatures of PKIX: see pkix.h. */
#include "common/identity/pkix.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdio.h>

#include "common/formats/date.h"

enum { DIGEST_BITS_MIN = 256, RSA_BITS_MIN = 2048, EC_BITS_MIN = 256 };

/* Length octets (X.690 8.1.3, 10.1). Returns how many there are, 0: not DER, or more than the 32 bits that anything here has. */
static size_t take_length(struct slice s, size_t *len)
{
    size_t octets;

    if (s.len == 0)
        return 0;
    *len = s.at[0];
    if (s.at[0] < 0x80)
        return 1;
    octets = s.at[0] & 0x7f;
    if (octets == 0 || octets > 4 || octets >= s.len || s.at[1] == 0)
        return 0;
    *len = 0;
    for (size_t i = 1; i <= octets; i++)
        *len = *len << 8 | s.at[i];
    return *len < 0x80 ? 0 : octets + 1;
}

bool pkix_is(struct slice rest, enum pkix_tag tag)
{
    return rest.len != 0 && rest.at[0] == tag;
}

bool pkix_take(struct slice *rest, enum pkix_tag tag, struct slice *content, struct slice *whole)
{
    size_t head, len;

    if (!pkix_is(*rest, tag))
        return false;
    head = take_length(slice_of(rest->at + 1, rest->len - 1), &len);
    if (head == 0 || len > rest->len - 1 - head)
        return false;
    head++;
    *content = slice_of(rest->at + head, len);
    if (whole != NULL)
        *whole = slice_of(rest->at, head + len);
    *rest = slice_of(rest->at + head + len, rest->len - head - len);
    return true;
}

bool pkix_integer_valid(struct slice content)
{
    if (content.len < 2)
        return content.len == 1;
    return !(content.at[0] == 0 && content.at[1] < 0x80) && !(content.at[0] == 0xff && content.at[1] >= 0x80);
}

uint64_t pkix_time_digits(enum pkix_tag tag, struct slice content)
{
    uint64_t digits = 0;
    size_t count = tag == PKIX_UTC_TIME ? 12 : 14;

    if (content.len != count + 1 || content.at[count] != 'Z')
        return 0;
    for (size_t i = 0; i < count; i++) {
        unsigned digit = (unsigned)content.at[i] - '0';

        if (digit > 9)
            return 0;
        digits = digits * 10 + digit;
    }
    if (tag == PKIX_UTC_TIME) /* RFC 5280 4.1.2.5.1: 50 to 99 are years of the last century */
        digits += (digits >= 500000000000 ? 19u : 20u) * (uint64_t)1000000000000;
    return digits;
}

bool pkix_time_of(uint64_t digits, int64_t *ms)
{
    char plain[32], text[DATE_LEN + 1] = "0000-00-00T00:00:00.000Z";
    static const uint8_t place[14] = {0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18};

    if (snprintf(plain, sizeof plain, "%014llu", (unsigned long long)digits) != 14)
        return false;
    for (size_t i = 0; i < sizeof place; i++)
        text[place[i]] = plain[i];
    return date_read(slice_of(text, DATE_LEN), ms);
}

bool pkix_time(const ASN1_TIME *time, int64_t *ms)
{
    enum pkix_tag tag = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? PKIX_UTC_TIME : PKIX_GENERAL_TIME;

    return pkix_time_of(pkix_time_digits(tag, slice_of(ASN1_STRING_get0_data(time), (size_t)ASN1_STRING_length(time))), ms);
}

const char *pkix_time_text(char out[PKIX_TIME_TEXT], int64_t ms)
{
    char text[DATE_LEN + 1];

    date_write(text, ms);
    snprintf(out, PKIX_TIME_TEXT, "%.19sZ", text);
    return out;
}

const char *pkix_serial_text(char out[PKIX_SERIAL_TEXT], X509 *certificate)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    const uint8_t *at = ASN1_STRING_get0_data(serial);
    int len = ASN1_STRING_length(serial);
    size_t used = (size_t)snprintf(out, PKIX_SERIAL_TEXT, "%s%s", ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? "-" : "", len == 0 ? "00" : "");

    for (int i = 0; i < len && used + 2 < PKIX_SERIAL_TEXT; i++)
        used += (size_t)snprintf(out + used, PKIX_SERIAL_TEXT - used, "%02X", at[i]);
    return out;
}

const char *pkix_name_text(char out[PKIX_NAME_TEXT], const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = 0;

    /* Multi-byte characters are escaped: cutting them in the middle would not be noticed. */
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(bio, out, PKIX_NAME_TEXT - 1);
    out[len > 0 ? len : 0] = '\0';
    BIO_free(bio);
    return out;
}

const char *pkix_reason_text(unsigned reason)
{
    static const char *const names[] = {"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded",
                                        "cessationOfOperation", "certificateHold", NULL, "removeFromCRL", "privilegeWithdrawn", "aACompromise"};

    return reason < sizeof names / sizeof *names && names[reason] != NULL ? names[reason] : "no known reason";
}

/* The digest that RSASSA-PSS names; left out, it is SHA-1 (RFC 4055 3.1). */
static int pss_digest(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *hash = NULL;
    const void *value;
    int type, nid = NID_sha1;
    RSA_PSS_PARAMS *params = NULL;

    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    if (type == V_ASN1_SEQUENCE)
        params = ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
    if (params != NULL && params->hashAlgorithm != NULL) {
        X509_ALGOR_get0(&hash, NULL, NULL, params->hashAlgorithm);
        nid = OBJ_obj2nid(hash);
    }
    RSA_PSS_PARAMS_free(params);
    ERR_clear_error();
    return nid;
}

bool pkix_signature_strong(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object;
    const EVP_MD *digest;
    int nid;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    nid = OBJ_obj2nid(object);
    if (nid == NID_ED25519 || nid == NID_ED448)
        return true;
    if (nid == NID_rsassaPss)
        nid = pss_digest(algorithm);
    else if (OBJ_find_sigid_algs(nid, &nid, NULL) != 1)
        return false;
    digest = EVP_get_digestbynid(nid);
    return digest != NULL && EVP_MD_get_size(digest) * 8 >= DIGEST_BITS_MIN;
}

bool pkix_key_strong(const EVP_PKEY *key)
{
    if (key == NULL)
        return false;
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS: return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    case EVP_PKEY_EC: return EVP_PKEY_get_bits(key) >= EC_BITS_MIN;
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448: return true;
    default: return false;
    }
}
