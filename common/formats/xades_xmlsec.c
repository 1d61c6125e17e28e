/*
 * The second opinion on a seal: xmlsec verifies the same document, with every byte it asks for
 * served from memory. Its default readers (files, HTTP, FTP) are removed when it is started.
 */
#include <libxml/parser.h>
#include <openssl/evp.h>
#include <xmlsec/crypto.h>
#include <xmlsec/errors.h>
#include <xmlsec/io.h>
#include <xmlsec/openssl/evp.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmlsec.h>
#include <xmlsec/xmltree.h>

#include "common/formats/xades_internal.h"

/* xmlsec's callbacks have no context of their own: the files of the verification under way in this thread. */
static _Thread_local const struct xades_files *serving;

struct memory_file {
    struct slice rest;
};

static struct slice xades_file_named(const char *uri)
{
    if (serving != NULL && strcmp(uri, CONTAINER_LOT) == 0)
        return serving->lot;
    if (serving != NULL && strcmp(uri, CONTAINER_SUMS) == 0)
        return serving->sums.at == NULL ? SLICE_LITERAL("") : serving->sums;
    if (serving != NULL && strcmp(uri, CONTAINER_PREVIOUS) == 0)
        return serving->previous;
    return slice_of(NULL, 0);
}

static int memory_match(const char *uri)
{
    (void)uri;
    return 1; /* everything is ours: what is not there cannot be opened */
}

static void *memory_open(const char *uri)
{
    struct slice bytes = xades_file_named(uri);
    struct memory_file *f;

    if (bytes.at == NULL)
        return NULL;
    f = mem_alloc(sizeof(*f));
    f->rest = bytes;
    return f;
}

static int memory_read(void *context, char *out, int len)
{
    struct memory_file *f = context;
    size_t part = len < 0 ? 0 : f->rest.len < (size_t)len ? f->rest.len : (size_t)len;

    if (part > 0)
        memcpy(out, f->rest.at, part);
    f->rest.at += part;
    f->rest.len -= part;
    return (int)part;
}

static int memory_close(void *context)
{
    free(context);
    return 0;
}

static void xmlsec_silent(const char *file, int line, const char *func, const char *object, const char *subject,
                          int reason, const char *msg)
{
    (void)file, (void)line, (void)func, (void)object, (void)subject, (void)reason, (void)msg;
}

bool xades_init(struct err *e)
{
    xmlInitParser();
    if (xmlSecInit() < 0 || xmlSecCheckVersion() != 1 || xmlSecOpenSSLInit() < 0)
        return err_set(e, ERR_FATAL, "xmlsec does not start");
    xmlSecErrorsSetCallback(xmlsec_silent);
    xmlSecIOCleanupCallbacks();
    if (xmlSecIORegisterCallbacks(memory_match, memory_open, memory_read, memory_close) < 0)
        return err_set(e, ERR_FATAL, "xmlsec: its readers cannot be replaced");
    return true;
}

void xades_shutdown(void)
{
    (void)xmlSecOpenSSLShutdown();
    (void)xmlSecShutdown();
    xmlCleanupParser();
}

/* Every reference verified, and exactly those expected. */
static bool xmlsec_references_hold(xmlSecDSigCtx *ctx, size_t expected)
{
    if (xmlSecPtrListGetSize(&ctx->signedInfoReferences) != expected)
        return false;
    for (xmlSecSize i = 0; i < expected; i++) {
        xmlSecDSigReferenceCtx *ref = xmlSecPtrListGetItem(&ctx->signedInfoReferences, i);

        if (ref == NULL || ref->status != xmlSecDSigStatusSucceeded)
            return false;
    }
    return true;
}

static bool xmlsec_verify(xmlDoc *doc, xmlSecKeyData *value, size_t references)
{
    const xmlChar *ids[] = {BAD_CAST "Id", NULL};
    xmlNode *signature = xmlSecFindNode(xmlDocGetRootElement(doc), xmlSecNodeSignature, xmlSecDSigNs);
    xmlSecDSigCtx *ctx = xmlSecDSigCtxCreate(NULL);
    xmlSecKey *key = xmlSecKeyCreate();
    bool ok = signature != NULL && ctx != NULL && key != NULL && xmlSecKeySetValue(key, value) == 0;

    if (!ok && value != NULL && (key == NULL || xmlSecKeyGetValue(key) != value))
        xmlSecKeyDataDestroy(value);
    if (ok) {
        xmlSecAddIDs(doc, xmlDocGetRootElement(doc), ids);
        ctx->signKey = key; /* owned by ctx now */
        ok = xmlSecDSigCtxVerify(ctx, signature) == 0 && ctx->status == xmlSecDSigStatusSucceeded &&
             xmlsec_references_hold(ctx, references);
    } else if (key != NULL) {
        xmlSecKeyDestroy(key);
    }
    if (ctx != NULL)
        xmlSecDSigCtxDestroy(ctx);
    return ok;
}

bool xades_check_xmlsec(struct slice xml, const struct xades_files *files, X509 *signer, struct err *e)
{
    EVP_PKEY *pkey = X509_get_pubkey(signer); /* adopted by xmlsec when it succeeds */
    xmlSecKeyData *value = pkey == NULL ? NULL : xmlSecOpenSSLEvpKeyAdopt(pkey);
    xmlDoc *doc = xmlReadMemory((const char *)xml.at, (int)xml.len, NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    bool ok = false;

    if (value == NULL)
        EVP_PKEY_free(pkey);
    serving = files;
    if (doc != NULL && value != NULL)
        ok = xmlsec_verify(doc, value, files->previous.at == NULL ? 3 : 4);
    else if (value != NULL)
        xmlSecKeyDataDestroy(value);
    serving = NULL;
    xmlFreeDoc(doc);
    return ok || err_set(e, ERR_INPUT, "signature: xmlsec does not accept what our own check does");
}
