/* Making a signatures0.xml, without any private key. See xades.h. */
#include <openssl/x509.h>
#include <stdlib.h>

#include "common/formats/date.h"
#include "common/formats/digest.h"
#include "common/formats/hex.h"
#include "common/formats/xades_internal.h"

struct xades_draft {
    enum xades_algorithm algorithm;
    X509 *signer;         /* owned */
    size_t info_start;    /* of SignedInfo in head; it ends where head ends */
    struct buf head;      /* up to </ds:SignedInfo> */
    struct buf value;     /* the ds:SignatureValue element; empty until set */
    struct buf tail;      /* KeyInfo up to </xades:SignedProperties> */
};

static bool put(struct buf *out, const char *text, struct err *e)
{
    return buf_add_slice(out, slice_text(text), e);
}

static bool put_base64(struct buf *out, const char *before, struct slice bytes, const char *after, struct err *e)
{
    return put(out, before, e) && base64_write(out, bytes, e) && put(out, after, e);
}

/* SignedProperties in canonical form. */
static bool xades_put_properties(struct buf *out, struct slice signer, int64_t signing_ms, bool has_previous,
                                 struct err *e)
{
    char date[DATE_LEN + 1];
    uint8_t digest[32];

    date_write(date, signing_ms);
    return digest_sha256(signer, digest, e) && put(out, XADES_PROPERTIES_OPEN, e) && put(out, date, e) &&
           put_base64(out, XADES_PROPERTIES_CERTIFICATE, slice_of(digest, 32), XADES_PROPERTIES_FORMATS, e) &&
           (!has_previous || put(out, XADES_FORMAT_PREVIOUS, e)) && put(out, XADES_PROPERTIES_CLOSE, e);
}

static bool xades_put_tail(struct xades_draft *d, const struct slice *certificates, size_t count, int64_t signing_ms,
                           bool has_previous, uint8_t properties[32], struct err *e)
{
    bool ok = put(&d->tail, XADES_KEY_OPEN, e);
    size_t start;
    struct slice whole;

    for (size_t i = 0; ok && i < count; i++)
        ok = put_base64(&d->tail, XADES_CERTIFICATE_OPEN, certificates[i], XADES_CERTIFICATE_CLOSE, e);
    if (!ok || !put(&d->tail, XADES_KEY_CLOSE, e))
        return false;
    start = d->tail.len;
    if (!xades_put_properties(&d->tail, certificates[0], signing_ms, has_previous, e))
        return false;
    whole = buf_slice(&d->tail);
    return digest_sha256(slice_of(whole.at + start, whole.len - start), properties, e);
}

/* One reference: SHA-256 in base64. */
static bool put_reference(struct buf *out, const char *open, const uint8_t digest[32], struct err *e)
{
    return put_base64(out, open, slice_of(digest, 32), XADES_DIGEST_END, e);
}

static bool xades_put_head(struct xades_draft *d, const struct xades_digests *files, const uint8_t properties[32],
                           struct err *e)
{
    if (!put(&d->head, XADES_OPEN, e))
        return false;
    d->info_start = d->head.len;
    return put(&d->head, XADES_INFO_OPEN, e) && put(&d->head, xades_algorithm_uri(d->algorithm), e) &&
           put(&d->head, XADES_INFO_METHOD_END, e) && put_reference(&d->head, XADES_REFERENCE_LOT, files->lot, e) &&
           put_reference(&d->head, XADES_REFERENCE_SUMS, files->sums, e) &&
           (!files->has_previous || put_reference(&d->head, XADES_REFERENCE_PREVIOUS, files->previous, e)) &&
           put_reference(&d->head, XADES_REFERENCE_PROPERTIES, properties, e) && put(&d->head, XADES_INFO_CLOSE, e);
}

struct xades_draft *xades_begin(const struct xades_digests *files, const struct slice *certificates, size_t count,
                                int64_t signing_ms, enum xades_algorithm algorithm, struct err *e)
{
    struct xades_draft *d = mem_zalloc(1, sizeof(*d));
    uint8_t properties[32];

    d->algorithm = algorithm;
    buf_init(&d->head, XADES_DOCUMENT_MAX);
    buf_init(&d->value, XADES_DOCUMENT_MAX);
    buf_init(&d->tail, XADES_DOCUMENT_MAX);
    for (size_t i = 0; i < count; i++)
        if (certificates[i].len > XADES_CERTIFICATE_DER_MAX)
            count = 0;
    if (count < 1 || count > XADES_CERTIFICATES_MAX || (d->signer = xades_certificate(certificates[0])) == NULL)
        (void)err_set(e, ERR_INPUT, "xades: 1 to %d certificates of at most %d bytes, the signer's first",
                      XADES_CERTIFICATES_MAX, XADES_CERTIFICATE_DER_MAX);
    else if (xades_put_tail(d, certificates, count, signing_ms, files->has_previous, properties, e) &&
             xades_put_head(d, files, properties, e))
        return d;
    xades_free(d);
    return NULL;
}

void xades_free(struct xades_draft *d)
{
    if (d == NULL)
        return;
    X509_free(d->signer);
    buf_free(&d->head);
    buf_free(&d->value);
    buf_free(&d->tail);
    free(d);
}

struct slice xades_signed_info(const struct xades_draft *d)
{
    struct slice head = buf_slice(&d->head);

    return slice_of(head.at + d->info_start, head.len - d->info_start);
}

bool xades_set_value(struct xades_draft *d, struct slice signature, struct err *e)
{
    if (signature.len > XADES_SIGNATURE_MAX)
        return err_set(e, ERR_INPUT, "xades: a signature of %zu bytes", signature.len);
    buf_reset(&d->value);
    return xades_check_value(d->signer, d->algorithm, xades_signed_info(d), signature, e) &&
           put_base64(&d->value, XADES_VALUE_OPEN, signature, XADES_VALUE_CLOSE, e);
}

struct slice xades_value_element(const struct xades_draft *d)
{
    return buf_slice(&d->value);
}

bool xades_imprint(const struct xades_draft *d, uint8_t imprint[32], struct err *e)
{
    if (d->value.len == 0)
        return err_set(e, ERR_FATAL, "xades: nothing signed yet to be time-stamped");
    return digest_sha256(buf_slice(&d->value), imprint, e);
}

bool xades_finish(const struct xades_draft *d, struct slice token, struct buf *out, struct err *e)
{
    if (d->value.len == 0)
        return err_set(e, ERR_FATAL, "xades: not signed yet");
    if (token.len == 0 || token.len > TIMESTAMP_TOKEN_MAX)
        return err_set(e, ERR_INPUT, "xades: a time-stamp token of %zu bytes", token.len);
    return buf_add_slice(out, buf_slice(&d->head), e) && buf_add_slice(out, buf_slice(&d->value), e) &&
           buf_add_slice(out, buf_slice(&d->tail), e) && put_base64(out, XADES_TIME_OPEN, token, XADES_CLOSE, e);
}
