/*
 * The one spelling of signatures0.xml, shared by its writer and its reader. Elements that are digested (SignedInfo, SignatureValue,
 * SignedProperties) are in exclusive canonical form (W3C xml-exc-c14n) as they stand: namespaces declared where first used, attributes in order, no
 * empty-element tags, no line feeds.
 */
#ifndef COFFRE_XADES_INTERNAL_H
#define COFFRE_XADES_INTERNAL_H

#include "common/formats/container.h"
#include "common/formats/xades.h"

#define XADES_DS " xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\""
#define XADES_NS " xmlns:xades=\"http://uri.etsi.org/01903/v1.3.2#\""
#define XADES_EXC "http://www.w3.org/2001/10/xml-exc-c14n#"
#define XADES_SHA256 "http://www.w3.org/2001/04/xmlenc#sha256"

#define XADES_OPEN \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
    "<asic:XAdESSignatures xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\"><ds:Signature" XADES_DS " Id=\"seal\">"
#define XADES_INFO_OPEN \
    "<ds:SignedInfo" XADES_DS "><ds:CanonicalizationMethod Algorithm=\"" XADES_EXC "\"></ds:CanonicalizationMethod>" \
    "<ds:SignatureMethod Algorithm=\""
#define XADES_INFO_METHOD_END "\"></ds:SignatureMethod>"
#define XADES_DIGEST \
    "<ds:DigestMethod Algorithm=\"" XADES_SHA256 "\"></ds:DigestMethod><ds:DigestValue>"
#define XADES_DIGEST_END "</ds:DigestValue></ds:Reference>"
#define XADES_REFERENCE(id, uri) "<ds:Reference Id=\"" id "\" URI=\"" uri "\">" XADES_DIGEST
#define XADES_REFERENCE_LOT XADES_REFERENCE("seal-lot", CONTAINER_LOT)
#define XADES_REFERENCE_SUMS XADES_REFERENCE("seal-sums", CONTAINER_SUMS)
#define XADES_REFERENCE_PREVIOUS XADES_REFERENCE("seal-previous", CONTAINER_PREVIOUS)
#define XADES_REFERENCE_PROPERTIES \
    "<ds:Reference Type=\"http://uri.etsi.org/01903#SignedProperties\" URI=\"#seal-properties\"><ds:Transforms>" \
    "<ds:Transform Algorithm=\"" XADES_EXC "\"></ds:Transform></ds:Transforms>" XADES_DIGEST
#define XADES_INFO_CLOSE "</ds:SignedInfo>"

#define XADES_VALUE_OPEN "<ds:SignatureValue" XADES_DS " Id=\"seal-value\">"
#define XADES_VALUE_CLOSE "</ds:SignatureValue>"

#define XADES_KEY_OPEN "<ds:KeyInfo><ds:X509Data>"
#define XADES_CERTIFICATE_OPEN "<ds:X509Certificate>"
#define XADES_CERTIFICATE_CLOSE "</ds:X509Certificate>"
#define XADES_KEY_CLOSE \
    "</ds:X509Data></ds:KeyInfo><ds:Object><xades:QualifyingProperties" XADES_NS " Target=\"#seal\">"

#define XADES_PROPERTIES_OPEN \
    "<xades:SignedProperties" XADES_NS " Id=\"seal-properties\"><xades:SignedSignatureProperties><xades:SigningTime>"
#define XADES_PROPERTIES_CERTIFICATE \
    "</xades:SigningTime><xades:SigningCertificateV2><xades:Cert><xades:CertDigest>" \
    "<ds:DigestMethod" XADES_DS " Algorithm=\"" XADES_SHA256 "\"></ds:DigestMethod><ds:DigestValue" XADES_DS ">"
#define XADES_FORMAT(id, mime) \
    "<xades:DataObjectFormat ObjectReference=\"#" id "\"><xades:MimeType>" mime \
    "</xades:MimeType></xades:DataObjectFormat>"
#define XADES_PROPERTIES_FORMATS \
    "</ds:DigestValue></xades:CertDigest></xades:Cert></xades:SigningCertificateV2></xades:SignedSignatureProperties>" \
    "<xades:SignedDataObjectProperties>" XADES_FORMAT("seal-lot", CONTAINER_XML_MIME) \
        XADES_FORMAT("seal-sums", CONTAINER_TEXT_MIME)
#define XADES_FORMAT_PREVIOUS XADES_FORMAT("seal-previous", CONTAINER_XML_MIME)
#define XADES_PROPERTIES_CLOSE "</xades:SignedDataObjectProperties></xades:SignedProperties>"

#define XADES_TIME_OPEN \
    "<xades:UnsignedProperties><xades:UnsignedSignatureProperties><xades:SignatureTimeStamp Id=\"seal-time\">" \
    "<ds:CanonicalizationMethod Algorithm=\"" XADES_EXC "\"></ds:CanonicalizationMethod><xades:EncapsulatedTimeStamp>"
#define XADES_CLOSE \
    "</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp></xades:UnsignedSignatureProperties>" \
    "</xades:UnsignedProperties></xades:QualifyingProperties></ds:Object></ds:Signature></asic:XAdESSignatures>\n"

enum {
    XADES_CERTIFICATE_DER_MAX = 8192,
    XADES_DOCUMENT_MAX = CONTAINER_SIGNATURES_MAX,
};

/* URI of a signature method. */
const char *xades_algorithm_uri(enum xades_algorithm algorithm);

/* Verifies `signature` over `bytes` with the certificate's key. */
MUST_CHECK bool xades_check_value(X509 *signer, enum xades_algorithm algorithm, struct slice bytes,
                                  struct slice signature, struct err *e);

/* A certificate from DER with nothing behind it, or NULL. Owned. */
X509 *xades_certificate(struct slice der);

/* The second opinion: xmlsec over memory only. `x` has been read from `xml` by xades_read(). */
MUST_CHECK bool xades_check_xmlsec(struct slice xml, const struct xades_files *files, X509 *signer, struct err *e);

#endif
