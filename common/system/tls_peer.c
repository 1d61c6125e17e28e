/* Who the peer of a TLS stream is, and whether its certificate may be believed: see tls.h. A stranger wrote it all. */
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/system/tls_internal.h"

enum { RSA_BITS_MIN = 2048, EC_BITS_MIN = 256 };

static bool key_is_strong(X509 *certificate)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);

    if (key == NULL)
        return false;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA || EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA_PSS)
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) >= EC_BITS_MIN;
}

/* OpenSSL lets a certificate without any extended key usage do everything: here clientAuth must be there. */
static int client_usage_error(X509 *certificate)
{
    uint32_t flags = X509_get_extension_flags(certificate);

    if ((flags & EXFLAG_INVALID) != 0 || (flags & EXFLAG_XKUSAGE) == 0 ||
        (X509_get_extended_key_usage(certificate) & XKU_SSL_CLIENT) == 0)
        return X509_V_ERR_INVALID_PURPOSE;
    if ((flags & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE) == 0)
        return X509_V_ERR_INVALID_PURPOSE;
    return key_is_strong(certificate) ? X509_V_OK : X509_V_ERR_EE_KEY_TOO_SMALL;
}

/* Remembers the first error of the chain; returns whether all is well so far. */
static bool note(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *s = ssl == NULL ? NULL : SSL_get_app_data(ssl);
    int depth = X509_STORE_CTX_get_error_depth(store), error = ok ? X509_V_OK : X509_STORE_CTX_get_error(store);

    if (s == NULL) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return false;
    }
    if (ok && depth == 0)
        error = client_usage_error(X509_STORE_CTX_get_current_cert(store));
    if (error != X509_V_OK)
        X509_STORE_CTX_set_error(store, error);
    if (error != X509_V_OK && s->verify_error == X509_V_OK) {
        s->verify_error = error;
        s->verify_depth = depth;
        s->refused = X509_STORE_CTX_get0_cert(store);
        if (s->refused != NULL && X509_up_ref(s->refused) != 1)
            s->refused = NULL;
    }
    return error == X509_V_OK;
}

int tls_verify_required(int ok, X509_STORE_CTX *store)
{
    return note(ok, store) ? 1 : 0;
}

int tls_verify_reported(int ok, X509_STORE_CTX *store)
{
    note(ok, store);
    return 1;
}

bool tls_peer_verified(const struct tls_stream *s, struct err *e)
{
    long result = s->verify_error != X509_V_OK ? s->verify_error : SSL_get_verify_result(s->ssl);

    if (SSL_get0_peer_certificate(s->ssl) == NULL)
        return err_set(e, ERR_DENIED, "no certificate was presented");
    if (result != X509_V_OK)
        return err_set(e, ERR_DENIED, "certificate refused (depth %d): %s", s->verify_depth,
                       X509_verify_cert_error_string(result));
    return true;
}

X509 *tls_peer_certificate(const struct tls_stream *s)
{
    return SSL_get1_peer_certificate(s->ssl);
}

long tls_peer_fault(const struct tls_stream *s)
{
    return s->verify_error != X509_V_OK ? s->verify_error : SSL_get_verify_result(s->ssl);
}

X509 *tls_peer_root(const struct tls_stream *s)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(s->ssl);

    return s->verify_error != X509_V_OK || chain == NULL ? NULL : sk_X509_value(chain, sk_X509_num(chain) - 1);
}

/* Copies one attribute as UTF-8 into `out`; refuses what could be read two ways. */
static bool copy_attribute(X509_NAME_ENTRY *entry, const char *what, char *out, struct err *e)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    bool ok = len > 0 && len <= TLS_NAME_MAX;

    for (int i = 0; i < len && ok; i++)
        ok = utf8[i] >= 0x20 && utf8[i] != 0x7f;
    if (ok) {
        memcpy(out, utf8, (size_t)len);
        out[len] = '\0';
    } else {
        err_set(e, ERR_DENIED, "the subject's %s is not a text of 1 to %d bytes without control characters", what, TLS_NAME_MAX);
    }
    OPENSSL_free(utf8);
    return ok;
}

/* The only attribute of this kind; none is fine when `optional`. */
static bool only_attribute(X509_NAME *name, int nid, const char *what, bool optional, char *out, struct err *e)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);

    out[0] = '\0';
    if (at < 0)
        return optional || err_set(e, ERR_DENIED, "the subject has no %s", what);
    if (X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return err_set(e, ERR_DENIED, "the subject has more than one %s", what);
    return copy_attribute(X509_NAME_get_entry(name, at), what, out, e);
}

/* Empty when it is longer than the standard allows: nothing can be bound to it then. */
static void copy_serial(const ASN1_INTEGER *number, char *out)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(number, NULL);
    char *hex = n == NULL ? NULL : BN_bn2hex(n);
    const char *digits = hex == NULL ? "" : hex;
    const char *sign = *digits == '-' ? "-" : "";

    digits += strlen(sign);
    while (digits[0] == '0' && digits[1] != '\0') /* whole octets are written */
        digits++;
    out[0] = '\0';
    if (strlen(digits) <= TLS_SERIAL_MAX)
        snprintf(out, TLS_SERIAL_MAX + 2, "%s%s", sign, digits);
    OPENSSL_free(hex);
    BN_free(n);
}

/* One alternative name as text, into `out` of TLS_NAME_MAX + 1 bytes; false: of another kind, or not readable in one way only. */
static bool write_san(const GENERAL_NAME *name, char *out)
{
    int kind, n;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
    const char *prefix = kind == GEN_DNS ? "DNS:" : kind == GEN_EMAIL ? "email:" : kind == GEN_URI ? "URI:" : kind == GEN_IPADD ? "IP:" : NULL;
    const unsigned char *bytes;
    char address[INET6_ADDRSTRLEN];
    size_t used;

    if (prefix == NULL)
        return false;
    bytes = ASN1_STRING_get0_data(value);
    n = ASN1_STRING_length(value);
    if (kind == GEN_IPADD) {
        if ((n != 4 && n != 16) || inet_ntop(n == 4 ? AF_INET : AF_INET6, bytes, address, sizeof address) == NULL)
            return false;
        bytes = (const unsigned char *)address;
        n = (int)strlen(address);
    }
    used = strlen(prefix);
    if (n <= 0 || used + (size_t)n > TLS_NAME_MAX)
        return false;
    memcpy(out, prefix, used);
    for (int i = 0; i < n; i++) {
        if (bytes[i] <= 0x20 || bytes[i] >= 0x7f)
            return false;
        out[used++] = (char)(kind == GEN_DNS && bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] | 0x20 : bytes[i]);
    }
    out[used] = '\0';
    return true;
}

static void copy_sans(X509 *certificate, struct tls_subject *subject)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char text[TLS_NAME_MAX + 1];
    size_t used = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && subject->san_count < TLS_SANS_MAX; i++) {
        size_t len;

        if (!write_san(sk_GENERAL_NAME_value(names, i), text))
            continue;
        len = strlen(text) + 1;
        if (used + len > TLS_SAN_BYTES)
            continue;
        memcpy(subject->sans + used, text, len);
        subject->san_at[subject->san_count++] = (uint16_t)used;
        used += len;
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error(); /* an extension that cannot be read has no names */
}

bool tls_subject_of(X509 *certificate, struct tls_subject *subject, struct err *e)
{
    X509_NAME *name = X509_get_subject_name(certificate);

    *subject = (struct tls_subject){0};
    copy_serial(X509_get0_serialNumber(certificate), subject->serial);
    copy_sans(certificate, subject);
    return only_attribute(name, NID_commonName, "CN", false, subject->cn, e) &&
           only_attribute(name, NID_organizationalUnitName, "OU", true, subject->ou, e);
}

bool tls_peer_subject(const struct tls_stream *s, struct tls_subject *subject, struct err *e)
{
    X509 *certificate = SSL_get0_peer_certificate(s->ssl);

    if (certificate == NULL)
        certificate = s->refused;
    if (certificate == NULL)
        return err_set(e, ERR_DENIED, "no certificate was presented");
    return tls_subject_of(certificate, subject, e);
}

/* ---- the chain, for others to judge -------------------------------------------------------------------------------------- */

/* The peer's own certificate, then what it sent besides, which on the server's side is all that SSL_get_peer_cert_chain() gives. */
static X509 *presented(const struct tls_stream *s, unsigned i)
{
    return i == 0 ? SSL_get0_peer_certificate(s->ssl) : sk_X509_value(SSL_get_peer_cert_chain(s->ssl), (int)i - 1);
}

bool tls_peer_present(const struct tls_stream *s, struct tls_chain *chain, struct err *e)
{
    int others = sk_X509_num(SSL_get_peer_cert_chain(s->ssl));
    size_t total = 0;
    uint8_t *at;

    *chain = (struct tls_chain){0};
    if (SSL_get0_peer_certificate(s->ssl) == NULL)
        return err_set(e, ERR_DENIED, "no certificate was presented");
    if (others > TLS_CHAIN_MAX - 1)
        return err_set(e, ERR_DENIED, "%d certificates were presented, at most %d are looked at", others + 1, TLS_CHAIN_MAX);
    chain->count = 1 + (unsigned)(others < 0 ? 0 : others);
    for (unsigned i = 0; i < chain->count; i++) {
        int len = i2d_X509(presented(s, i), NULL);

        if (len <= 0 || len > TLS_CERTIFICATE_MAX)
            return err_set(e, ERR_DENIED, "a certificate of more than %d bytes was presented", TLS_CERTIFICATE_MAX);
        chain->der[i].len = (size_t)len;
        total += (size_t)len;
    }
    /* As they came there were no more: this is for those who count on it. */
    if (total > TLS_CHAIN_BYTES)
        return err_set(e, ERR_DENIED, "more than %d bytes of certificates were presented", TLS_CHAIN_BYTES);
    at = chain->bytes = mem_alloc(total);
    for (unsigned i = 0; i < chain->count; i++) {
        chain->der[i].at = at;
        i2d_X509(presented(s, i), &at);
    }
    return true;
}

/* The same certificate among those the peer's was verified with, which belong to the context; NULL: none. */
static X509 *same_of(const STACK_OF(X509) *verified, const X509 *x)
{
    for (int i = 1; i < sk_X509_num(verified); i++)
        if (X509_cmp(sk_X509_value(verified, i), x) == 0)
            return sk_X509_value(verified, i);
    return NULL;
}

void tls_peer_share(struct tls_stream *s)
{
    STACK_OF(X509) *sent = SSL_get_peer_cert_chain(s->ssl);
    const STACK_OF(X509) *verified = SSL_get0_verified_chain(s->ssl);

    for (int i = 0; verified != NULL && i < sk_X509_num(sent); i++) {
        X509 *own = sk_X509_value(sent, i), *shared = same_of(verified, own);

        if (shared == NULL || shared == own || X509_up_ref(shared) != 1)
            continue;
        sk_X509_set(sent, i, shared);
        X509_free(own);
    }
}

void tls_chain_free(struct tls_chain *chain)
{
    free(chain->bytes);
    *chain = (struct tls_chain){0};
}
