/* Event schemas, compiled and applied with libxml2: see schema.h. */
#include "ingest/ledger/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/hash.h>
#include <libxml/parserInternals.h>
#include <libxml/schemasInternals.h>
#include <libxml/uri.h>
#include <libxml/xmlschemas.h>
#include <libxml/xmlschemastypes.h>

#include "common/values/buf.h"

enum { RENEW_AFTER = 1024 /* events: names that strangers choose stay in a context's dictionary */ };

struct schema {
    xmlSchemaPtr compiled;         /* owned */
    xmlSchemaValidCtxtPtr context; /* owned; reused, renewed now and then */
    xmlSchemaSAXPlugPtr plug;      /* while an event is judged */
    xmlSAXHandlerPtr sax;          /* the library's judges of elements and texts, and what they want to be called with */
    void *sax_data;
    struct buf text; /* what came since the last tag: in one piece, because the library's time grows with the square of the pieces */
    unsigned used, elements;
    size_t work; /* bytes of values so far */
    int fault;
};

/* --- compiling
 * ------------------------------------------------------------------------------------------------------------ */

/* The library's loader of external entities has no context but the process's: this is set while a schema is compiled. */
static struct loading {
    const struct schema_source *source;
    struct err *e;
    unsigned files;
    size_t bytes;
} *loading;

/* As a message: one line of printable ASCII and UTF-8, as much as fits. */
static void refuse_schema(struct err *e, const char *file, int line, const char *message)
{
    char text[300];
    size_t n = 0;

    for (; message != NULL && *message != '\0' && n + 1 < sizeof(text); message++)
        text[n++] = (unsigned char)*message < 0x20 || *message == 0x7f ? ' ' : *message;
    while (n != 0 && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
    if (file != NULL && line > 0)
        err_set(e, ERR_INPUT, "%s:%d: %s", file, line, text);
    else
        err_set(e, ERR_INPUT, "%s: %s", file == NULL ? "schema" : file, text);
}

/* err_set() keeps the first: the one that the others follow from. */
static void on_compile_error(void *ctx, xmlErrorPtr error)
{
    /* A pattern's own error has no place; the one of the element around it, which follows, has. */
    if (error->level >= XML_ERR_ERROR && error->domain != XML_FROM_REGEXP)
        refuse_schema(ctx, error->file, error->line, error->message);
}

/* XML 1.0 4.3.3: what is in an encoding that the library would need another library for. */
static bool check_encoding(struct slice bytes, const char *path, struct err *e)
{
    static const char *const known[] = {"UTF-8", "ISO-8859-1"};
    size_t head = bytes.len < 256 ? bytes.len : 256;
    const uint8_t *end = memmem(bytes.at, head, "?>", 2), *at;
    char name[32] = "";

    if (bytes.len < 4 || bytes.at[0] == 0 || bytes.at[1] == 0 || bytes.at[0] >= 0xfe)
        return err_set(e, ERR_INPUT, "%s: neither UTF-8 nor ISO-8859-1", path);
    if (end == NULL || (at = memmem(bytes.at, (size_t)(end - bytes.at), "encoding", 8)) == NULL)
        return true;
    for (at += 8; at < end && strchr(" \t\r\n=\"'", *at) != NULL; at++)
        continue;
    for (size_t n = 0; at < end && n + 1 < sizeof(name) && *at != '"' && *at != '\'' && *at > 0x20 && *at < 0x7f; at++)
        name[n++] = (char)*at;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcasecmp(name, known[i]) == 0)
            return true;
    return err_set(e, ERR_INPUT, "%s: says it is in %s: neither UTF-8 nor ISO-8859-1", path, name);
}

static bool open_file(struct loading *l, const char *path, struct slice *bytes)
{
    if (++l->files > SCHEMA_FILES_MAX)
        return err_set(l->e, ERR_INPUT, "%s: more than %d files", path, (int)SCHEMA_FILES_MAX);
    if (!l->source->open(l->source->ctx, path, bytes, l->e))
        return false;
    l->bytes += bytes->len;
    if (bytes->len > SCHEMA_FILE_BYTES || l->bytes > SCHEMA_FAMILY_BYTES)
        return err_set(l->e, ERR_INPUT, "%s: over %d bytes, or over %d with those before", path, (int)SCHEMA_FILE_BYTES, (int)SCHEMA_FAMILY_BYTES);
    return check_encoding(*bytes, path, l->e);
}

/* Every file that the library wants, whatever it calls it: those of the source, else none. No catalogue, no network. */
static xmlParserInputPtr load(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
    char *path = loading == NULL || url == NULL ? NULL : xmlURIUnescapeString(url, 0, NULL);
    xmlParserInputBufferPtr buffer = NULL;
    xmlParserInputPtr input = NULL;
    struct slice bytes;

    (void)id;
    if (path != NULL && open_file(loading, path, &bytes))
        buffer = xmlParserInputBufferCreateMem((const char *)bytes.at, (int)bytes.len, XML_CHAR_ENCODING_NONE);
    if (buffer != NULL)
        input = xmlNewIOInputStream(ctxt, buffer, XML_CHAR_ENCODING_NONE);
    if (input != NULL)
        input->filename = (const char *)xmlStrdup((const xmlChar *)path);
    else if (buffer != NULL)
        xmlFreeParserInputBuffer(buffer);
    xmlFree(path);
    return input;
}

static xmlSchemaPtr compile(const char *entry, struct err *e)
{
    xmlChar *url = xmlURIEscapeStr((const xmlChar *)entry, (const xmlChar *)"/");
    xmlSchemaParserCtxtPtr parser = url == NULL ? NULL : xmlSchemaNewParserCtxt((const char *)url);
    xmlSchemaPtr s = NULL;

    if (parser == NULL) {
        err_set(e, ERR_FATAL, "schema: no parser");
    } else {
        xmlSchemaSetParserStructuredErrors(parser, on_compile_error, e);
        s = xmlSchemaParse(parser);
        xmlSchemaFreeParserCtxt(parser);
    }
    xmlFree(url);
    return s;
}

struct schema *schema_compile(const char *entry, const struct schema_source *source, struct err *e)
{
    struct err first = {0};
    struct loading now = {.source = source, .e = &first};
    struct schema *s = mem_zalloc(1, sizeof(*s));
    xmlExternalEntityLoader before = xmlGetExternalEntityLoader();

    loading = &now;
    xmlSetExternalEntityLoader(load);
    /* Errors of the XML inside schemas go here and not to the schema parser's. */
    xmlSetStructuredErrorFunc(&first, on_compile_error);
    s->compiled = compile(entry, &first);
    xmlSetStructuredErrorFunc(NULL, NULL);
    xmlSetExternalEntityLoader(before);
    loading = NULL;
    buf_init_secret(&s->text, SCHEMA_VALUE_MAX);
    /* A file that was refused may have been one that the library can do without: an operator would not expect that. */
    if (s->compiled == NULL || first.code != ERR_NONE) {
        err_set(e, first.code == ERR_NONE ? ERR_INPUT : first.code, "%s", first.code == ERR_NONE ? "schema: not compiled" : first.text);
        schema_free(s);
        return NULL;
    }
    return s;
}

void schema_free(struct schema *s)
{
    if (s == NULL)
        return;
    schema_finish(s);
    xmlSchemaFreeValidCtxt(s->context);
    xmlSchemaFree(s->compiled);
    buf_free(&s->text);
    free(s);
}

bool schema_declares(const struct schema *s, const char *name, const char *name_space)
{
    return xmlStrEqual(s->compiled->targetNamespace, (const xmlChar *)name_space) == 1 &&
           xmlHashLookup(s->compiled->elemDecl, (const xmlChar *)name) != NULL;
}

bool schema_knows(const struct schema *s, const char *name)
{
    return xmlDictExists(s->compiled->dict, (const xmlChar *)name, -1) != NULL;
}

unsigned schema_types(const struct schema *s)
{
    int n = s->compiled->elemDecl == NULL ? 0 : xmlHashSize(s->compiled->elemDecl);

    return n < 0 ? 0 : (unsigned)n;
}

/* --- judging
 * -------------------------------------------------------------------------------------------------------------- */

static void on_fault(void *ctx, xmlErrorPtr error)
{
    struct schema *s = ctx;

    if (s->fault == 0 && error->level >= XML_ERR_ERROR)
        s->fault = error->code == 0 ? XML_SCHEMAV_INTERNAL : error->code;
}

bool schema_fail(struct schema *s, int code)
{
    if (s->fault == 0)
        s->fault = code;
    return false;
}

bool schema_begin(struct schema *s, struct err *e)
{
    s->fault = 0;
    s->elements = 0;
    s->work = 0;
    buf_reset(&s->text);
    if (s->context == NULL || s->used++ >= RENEW_AFTER) {
        xmlSchemaFreeValidCtxt(s->context);
        s->used = 0;
        s->context = xmlSchemaNewValidCtxt(s->compiled);
        if (s->context == NULL)
            return err_set(e, ERR_FATAL, "schema: no validation context");
        xmlSchemaSetValidStructuredErrors(s->context, on_fault, s);
    }
    s->sax = NULL;
    s->sax_data = NULL;
    s->plug = xmlSchemaSAXPlug(s->context, &s->sax, &s->sax_data);
    return s->plug != NULL || err_set(e, ERR_FATAL, "schema: no validation");
}

/* Bytes that the library is given to compare and match. */
static bool spend(struct schema *s, size_t bytes)
{
    s->work += bytes;
    return (bytes <= SCHEMA_VALUE_MAX && s->work <= SCHEMA_WORK_MAX) || schema_fail(s, SCHEMA_VALUE_TOO_LONG);
}

static bool flush(struct schema *s)
{
    struct slice all = buf_slice(&s->text);

    if (all.len != 0)
        s->sax->characters(s->sax_data, all.at, (int)all.len);
    buf_reset(&s->text);
    return s->fault == 0;
}

bool schema_start(struct schema *s, const unsigned char *name, const unsigned char *prefix, const unsigned char *uri, int name_spaces,
                  const unsigned char **declared, int attributes, int defaulted, const unsigned char **values)
{
    if (!flush(s))
        return false;
    if (++s->elements > SCHEMA_ELEMENTS_MAX)
        return schema_fail(s, SCHEMA_TOO_MANY_ELEMENTS);
    /* SAX2: five pointers for each attribute, the last two around its value. */
    for (int i = 0; i < attributes; i++)
        if (!spend(s, (size_t)(values[5 * i + 4] - values[5 * i + 3])))
            return false;
    s->sax->startElementNs(s->sax_data, name, prefix, uri, name_spaces, declared, attributes, defaulted, values);
    return s->fault == 0;
}

bool schema_text(struct schema *s, struct slice text)
{
    return spend(s, text.len) && (buf_add_slice(&s->text, text, NULL) || schema_fail(s, SCHEMA_VALUE_TOO_LONG));
}

bool schema_end(struct schema *s, const unsigned char *name, const unsigned char *prefix, const unsigned char *uri)
{
    if (!flush(s))
        return false;
    s->sax->endElementNs(s->sax_data, name, prefix, uri);
    return s->fault == 0;
}

int schema_finish(struct schema *s)
{
    if (s->plug != NULL)
        xmlSchemaSAXUnplug(s->plug);
    s->plug = NULL;
    buf_reset(&s->text);
    return s->fault;
}

const char *schema_fault(int code)
{
    static const struct {
        int code;
        const char *words;
    } known[] = {
        {SCHEMA_VALUE_TOO_LONG, "a value, or all of them, too long to be compared with a schema"},
        {SCHEMA_TOO_MANY_ELEMENTS, "too many elements to be compared with a schema"},
        {SCHEMA_TOO_SLOW, "takes too long to be compared with a schema"},
        {XML_SCHEMAV_ELEMENT_CONTENT, "an element is missing or not expected here"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_2_1, "must be empty"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_2_2, "must not hold elements"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_2_3, "must not hold text between its elements"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_2_4, "an element is missing or not expected here"},
        {XML_SCHEMAV_CVC_TYPE_3_1_1, "must have no attributes"},
        {XML_SCHEMAV_CVC_TYPE_3_1_2, "must not hold elements"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_3_1, "an attribute's value does not fit"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_3_2_1, "an attribute is not expected here"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_3_2_2, "an attribute is not expected here"},
        {XML_SCHEMAV_CVC_COMPLEX_TYPE_4, "an attribute is missing"},
        {XML_SCHEMAV_CVC_AU, "an attribute's value is not the fixed one"},
        {XML_SCHEMAV_CVC_ELT_1, "an element is not declared"},
        {XML_SCHEMAV_CVC_ELT_2, "an element is abstract"},
        {XML_SCHEMAV_CVC_ELT_3_1, "must not be nil"},
        {XML_SCHEMAV_CVC_ELT_3_2_1, "is nil and holds something"},
        {XML_SCHEMAV_CVC_ELT_5_2_2_2_1, "the value is not the fixed one"},
        {XML_SCHEMAV_CVC_ELT_5_2_2_2_2, "the value is not the fixed one"},
        {XML_SCHEMAV_CVC_DATATYPE_VALID_1_2_1, "the value is not of its type"},
        {XML_SCHEMAV_CVC_DATATYPE_VALID_1_2_2, "the list is not of its type"},
        {XML_SCHEMAV_CVC_DATATYPE_VALID_1_2_3, "the value is of none of its types"},
        {XML_SCHEMAV_CVC_FACET_VALID, "the value is not allowed"},
        {XML_SCHEMAV_CVC_LENGTH_VALID, "the value has another length"},
        {XML_SCHEMAV_CVC_MINLENGTH_VALID, "the value is too short"},
        {XML_SCHEMAV_CVC_MAXLENGTH_VALID, "the value is too long"},
        {XML_SCHEMAV_CVC_MININCLUSIVE_VALID, "the value is too small"},
        {XML_SCHEMAV_CVC_MAXINCLUSIVE_VALID, "the value is too large"},
        {XML_SCHEMAV_CVC_MINEXCLUSIVE_VALID, "the value is too small"},
        {XML_SCHEMAV_CVC_MAXEXCLUSIVE_VALID, "the value is too large"},
        {XML_SCHEMAV_CVC_TOTALDIGITS_VALID, "the value has too many digits"},
        {XML_SCHEMAV_CVC_FRACTIONDIGITS_VALID, "the value has too many decimals"},
        {XML_SCHEMAV_CVC_PATTERN_VALID, "the value does not match its pattern"},
        {XML_SCHEMAV_CVC_ENUMERATION_VALID, "the value is none of those listed"},
        {XML_SCHEMAV_CVC_IDC, "a key is missing, repeated or refers to nothing"},
        {XML_SCHEMAV_INTERNAL, "the library could not compare it"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (known[i].code == code)
            return known[i].words;
    return "does not fit its declaration";
}
