/* Reading a signatures0.xml, in the one spelling that xades_write.c has. See xades.h. */
#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/formats/text_reader.h"
#include "common/formats/xades_internal.h"

enum { BASE64_DIGEST = 44 };

static const struct {
    enum xades_algorithm algorithm;
    const char *uri;
} algorithms[] = {
    {XADES_RSA_SHA256, "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"},
    {XADES_RSA_PSS_SHA256, "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"},
};

const char *xades_algorithm_uri(enum xades_algorithm algorithm)
{
    return algorithms[algorithm].uri;
}

X509 *xades_certificate(struct slice der)
{
    const uint8_t *at = der.at;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);

    if (cert != NULL && at != der.at + der.len) {
        X509_free(cert);
        cert = NULL;
    }
    return cert;
}

static void get_digest(struct text_reader *r, const char *open, const char *close, uint8_t out[32])
{
    uint8_t room[36];
    struct buf b = {room, 0, 0, sizeof(room), sizeof(room), false}; /* never grows: 44 characters are 33 bytes at most */
    struct slice text;

    memset(out, 0, 32);
    (void)text_expect(r, open);
    text = text_until(r, close, BASE64_DIGEST);
    if (r->failed || text.len != BASE64_DIGEST || !base64_read(text, &b, NULL) || b.len != 32)
        (void)text_fail(r, "SHA-256 in base64");
    else
        memcpy(out, room, 32);
}

static void get_bytes(struct text_reader *r, const char *close, size_t max, struct buf *out)
{
    struct slice text = text_until(r, close, (max + 2) / 3 * 4);

    buf_init(out, max);
    if (r->failed || text.len == 0 || !base64_read(text, out, NULL))
        (void)text_fail(r, "base64");
}

static void get_algorithm(struct text_reader *r, struct xades *x)
{
    struct slice uri = text_until(r, XADES_INFO_METHOD_END, 80);

    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        if (slice_is(uri, algorithms[i].uri)) {
            x->algorithm = algorithms[i].algorithm;
            return;
        }
    }
    (void)text_fail(r, "a known SignatureMethod");
}

/* What was consumed since `from`. */
static struct slice taken(const struct text_reader *r, const uint8_t *from)
{
    return slice_of(from, (size_t)(r->rest.at - from));
}

static void get_signed_info(struct text_reader *r, struct xades *x)
{
    const uint8_t *from = r->rest.at;

    (void)text_expect(r, XADES_INFO_OPEN);
    get_algorithm(r, x);
    get_digest(r, XADES_REFERENCE_LOT, XADES_DIGEST_END, x->files.lot);
    get_digest(r, XADES_REFERENCE_SUMS, XADES_DIGEST_END, x->files.sums);
    x->files.has_previous = text_peek(r, XADES_REFERENCE_PREVIOUS);
    if (x->files.has_previous)
        get_digest(r, XADES_REFERENCE_PREVIOUS, XADES_DIGEST_END, x->files.previous);
    get_digest(r, XADES_REFERENCE_PROPERTIES, XADES_DIGEST_END, x->properties_digest);
    (void)text_expect(r, XADES_INFO_CLOSE);
    x->signed_info = taken(r, from);
}

static void get_value(struct text_reader *r, struct xades *x)
{
    const uint8_t *from = r->rest.at;

    (void)text_expect(r, XADES_VALUE_OPEN);
    get_bytes(r, XADES_VALUE_CLOSE, XADES_SIGNATURE_MAX, &x->value);
    x->value_element = taken(r, from);
}

static void get_certificates(struct text_reader *r, struct xades *x)
{
    (void)text_expect(r, XADES_KEY_OPEN);
    do {
        (void)text_expect(r, XADES_CERTIFICATE_OPEN);
        get_bytes(r, XADES_CERTIFICATE_CLOSE, XADES_CERTIFICATE_DER_MAX, &x->certificates[x->certificate_count++]);
    } while (x->certificate_count < XADES_CERTIFICATES_MAX && text_peek(r, XADES_CERTIFICATE_OPEN));
    (void)text_expect(r, XADES_KEY_CLOSE);
}

static void get_properties(struct text_reader *r, struct xades *x)
{
    const uint8_t *from = r->rest.at;

    (void)text_expect(r, XADES_PROPERTIES_OPEN);
    if (!r->failed && r->rest.len >= DATE_LEN && date_read(slice_of(r->rest.at, DATE_LEN), &x->signing_ms)) {
        r->rest.at += DATE_LEN;
        r->rest.len -= DATE_LEN;
    } else {
        (void)text_fail(r, "SigningTime");
    }
    get_digest(r, XADES_PROPERTIES_CERTIFICATE, XADES_PROPERTIES_FORMATS, x->certificate_digest);
    if (x->files.has_previous)
        (void)text_expect(r, XADES_FORMAT_PREVIOUS);
    (void)text_expect(r, XADES_PROPERTIES_CLOSE);
    x->signed_properties = taken(r, from);
}

bool xades_read(struct slice xml, struct xades *x, struct err *e)
{
    struct text_reader r = text_read(xml, "signatures0.xml", e);

    memset(x, 0, sizeof(*x));
    if (xml.len > XADES_DOCUMENT_MAX)
        return err_set(e, ERR_INPUT, "signatures0.xml: over %d bytes", XADES_DOCUMENT_MAX);
    (void)text_expect(&r, XADES_OPEN);
    get_signed_info(&r, x);
    get_value(&r, x);
    get_certificates(&r, x);
    get_properties(&r, x);
    (void)text_expect(&r, XADES_TIME_OPEN);
    get_bytes(&r, XADES_CLOSE, TIMESTAMP_TOKEN_MAX, &x->token);
    if (text_end(&r))
        return true;
    xades_clear(x);
    return false;
}

void xades_clear(struct xades *x)
{
    buf_free(&x->value);
    buf_free(&x->token);
    for (size_t i = 0; i < XADES_CERTIFICATES_MAX; i++)
        buf_free(&x->certificates[i]);
}
