/*
 * An event's XML, read with libxml2's SAX2 interface: no tree, no DTD, no entity, no network. The parser's context is
 * reused: setting one up costs more than an event. Hostile bytes end here.
 */
#include "ingest/ledger/event_internal.h"

#include <strings.h>

#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>

enum {
    DICTIONARY_MAX = 256 << 10, /* bytes of names kept from earlier events before the context is renewed */
    TEXT_MAX = 64 << 20,        /* bytes of an event, more than any configuration allows */
    DECLARATION_MAX = 200,      /* bytes of an XML declaration */
    ATTRIBUTES_MAX = 128,       /* of one element: the library compares each with each */
    ATTRIBUTES_LOOKED_FOR = 2 << 10, /* shorter events cannot hold so many that it matters */
    NAME_SPACES_MAX = 64,       /* declared in an event: the library goes through those in force for every prefix */
};

static struct event_checker *checker(void *ctx)
{
    return ((xmlParserCtxtPtr)ctx)->_private;
}

static void refuse_and_stop(struct event_checker *c, const char *reason)
{
    event_refuse(c->verdict, "%s (line %d)", reason, c->xml->input == NULL ? 0 : c->xml->input->line);
    xmlStopParser(c->xml);
}

/* --- header fields
 * ------------------------------------------------------------------------------------------------------- */

static enum event_field field_named(struct event_checker *c, const char *name)
{
    c->short_names = c->short_names || (name[0] != '\0' && name[1] == '\0' && strchr("abd", name[0]) != NULL);
    if (strcmp(name, "IDOper") == 0 || strcmp(name, "a") == 0)
        return EVENT_OPERATOR;
    if (strcmp(name, "IDCoffre") == 0 || strcmp(name, "b") == 0)
        return EVENT_VAULT;
    if (strcmp(name, "IDEvt") == 0 || strcmp(name, "d") == 0)
        return EVENT_ID;
    return EVENT_NO_FIELD;
}

/* The field's text without XML's white space around it. */
static struct slice field_value(const struct event_checker *c)
{
    struct slice s = slice_of(c->value, c->value_len > EVENT_VALUE_MAX ? 0 : c->value_len);

    while (s.len != 0 && strchr(" \t\r\n", s.at[0]) != NULL) {
        s.at++;
        s.len--;
    }
    while (s.len != 0 && strchr(" \t\r\n", s.at[s.len - 1]) != NULL)
        s.len--;
    return s;
}

/* xs:nonNegativeInteger of at most 18 digits. */
static bool number_is(struct slice s, uint64_t expected)
{
    uint64_t v = 0;

    if (s.len == 0 || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.at[i] - '0');
    }
    return v == expected;
}

static void end_field(struct event_checker *c)
{
    struct slice value = field_value(c);

    if (c->field == EVENT_OPERATOR && (c->has_element || !slice_is(value, c->limits.operator_id)))
        refuse_and_stop(c, "operator-mismatch: IDOper is not this vault's operator");
    if (c->field == EVENT_VAULT && (c->has_element || !number_is(value, c->limits.vault)))
        refuse_and_stop(c, "vault-mismatch: IDCoffre is not this vault's number");
    c->field = EVENT_NO_FIELD;
}

/* --- what the parser says
 * ------------------------------------------------------------------------------------------------ */

static void on_root(struct event_checker *c, const char *name, bool prefixed, const char *name_space)
{
    struct slice s = slice_text(name);

    if (prefixed || !lot_type_is_valid(s)) {
        refuse_and_stop(c, "type: the root element's name is not an event's type");
        return;
    }
    memcpy(c->verdict->type, s.at, s.len);
    c->verdict->type[s.len] = '\0';
    if (!event_schema_begin(c, name, name_space))
        xmlStopParser(c->xml);
}

static void on_start(void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int namespaces,
                     const xmlChar **declared, int attributes, int defaulted, const xmlChar **values)
{
    struct event_checker *c = checker(ctx);

    c->name_spaces += namespaces > 0 ? (unsigned)namespaces : 0;
    if (++c->depth > c->limits.depth) {
        refuse_and_stop(c, "depth: too many elements inside each other");
    } else if (c->name_spaces > NAME_SPACES_MAX) {
        refuse_and_stop(c, "name-spaces: too many are declared");
    } else if (c->depth == 1) {
        on_root(c, (const char *)local, prefix != NULL, (const char *)uri);
    } else if (c->depth == 2) {
        c->field = prefix == NULL ? field_named(c, (const char *)local) : EVENT_NO_FIELD;
        c->value_len = 0;
        c->has_element = false;
        if (c->field != EVENT_NO_FIELD && ++c->seen[c->field] > 1)
            refuse_and_stop(c, c->field == EVENT_ID ? "placeholder-repeated: several IDEvt"
                                                    : "header-repeated: several IDOper or IDCoffre");
    } else {
        c->has_element = true;
    }
    if (c->schema != NULL && c->verdict->valid)
        event_schema_start(c, &(struct event_tag){local, prefix, uri, namespaces, declared, attributes, defaulted, values});
}

static void on_end(void *ctx, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
    struct event_checker *c = checker(ctx);

    if (c->depth == 2 && c->field != EVENT_NO_FIELD)
        end_field(c);
    if (c->schema != NULL && c->verdict->valid)
        event_schema_end(c, &(struct event_tag){.name = local, .prefix = prefix, .uri = uri});
    c->depth--;
}

static void on_text(void *ctx, const xmlChar *text, int len)
{
    struct event_checker *c = checker(ctx);

    if (len > 0 && c->schema != NULL)
        event_schema_text(c, slice_of(text, (size_t)len));
    if (c->depth != 2 || c->field == EVENT_NO_FIELD || len <= 0)
        return;
    if (c->value_len + (size_t)len <= EVENT_VALUE_MAX)
        memcpy(c->value + c->value_len, text, (size_t)len);
    c->value_len = c->value_len + (size_t)len > EVENT_VALUE_MAX ? EVENT_VALUE_MAX + 1 : c->value_len + (size_t)len;
}

/* Offset of what the parser has not read yet, from the body's first byte. */
static size_t consumed(const struct event_checker *c)
{
    long at = xmlByteConsumed(c->xml);

    return at < 0 ? 0 : (size_t)at;
}

static void on_comment(void *ctx, const xmlChar *text)
{
    struct event_checker *c = checker(ctx);

    if (strcmp((const char *)text, "SAFE_ID") != 0)
        return;
    if (++c->placeholders > 1) {
        refuse_and_stop(c, "placeholder-repeated: several comments SAFE_ID");
        return;
    }
    if (c->depth == 2 && c->field == EVENT_ID) {
        c->placeholder_end = consumed(c);
        if (c->schema != NULL)
            event_schema_placeholder(c);
    }
}

static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    refuse_and_stop(checker(ctx), "doctype: document type declarations are not allowed");
}

static void refuse_entity(struct event_checker *c)
{
    refuse_and_stop(c, "entity: only the five predefined entities and character references are allowed");
}

static xmlEntityPtr on_entity(void *ctx, const xmlChar *name)
{
    (void)name;
    refuse_entity(checker(ctx));
    return NULL;
}

static void on_reference(void *ctx, const xmlChar *name)
{
    (void)name;
    refuse_entity(checker(ctx));
}

static xmlParserInputPtr on_external(void *ctx, const xmlChar *external, const xmlChar *system)
{
    (void)external, (void)system;
    refuse_entity(checker(ctx));
    return NULL;
}

/* The library's message may quote the event: only its number and place are told. */
static void on_error(void *ctx, xmlErrorPtr error)
{
    struct event_checker *c = checker(ctx);

    if (error->level >= XML_ERR_ERROR || error->domain == XML_FROM_NAMESPACE)
        event_refuse(c->verdict, "not-well-formed: line %d, column %d (libxml2 error %d)", error->line, error->int2,
                     error->code);
}

static void set_handlers(xmlSAXHandler *sax)
{
    *sax = (xmlSAXHandler){
        .initialized = XML_SAX2_MAGIC,
        .startElementNs = on_start,
        .endElementNs = on_end,
        .characters = on_text,
        .cdataBlock = on_text,
        .ignorableWhitespace = on_text,
        .comment = on_comment,
        .internalSubset = on_doctype,
        .externalSubset = on_doctype,
        .getEntity = on_entity,
        .getParameterEntity = on_entity,
        .resolveEntity = on_external,
        .reference = on_reference,
        .serror = on_error,
    };
}

/* --- the whole document
 * -------------------------------------------------------------------------------------------------- */

bool event_xml_open(struct event_checker *c, struct err *e)
{
    c->xml = xmlNewParserCtxt();
    if (c->xml == NULL)
        return err_set(e, ERR_FATAL, "event: no XML parser");
    buf_init_secret(&c->text, TEXT_MAX);
    set_handlers(c->xml->sax);
    c->xml->_private = c;
    return true;
}

void event_xml_close(struct event_checker *c)
{
    if (c->xml != NULL)
        xmlFreeParserCtxt(c->xml);
    c->xml = NULL;
    buf_free(&c->text);
}

/* Names of earlier events stay in the context's dictionary: a stranger must not fill it. */
static bool renew_context(struct event_checker *c, struct err *e)
{
    if (xmlDictGetUsage(c->xml->dict) <= DICTIONARY_MAX)
        return true;
    event_xml_close(c);
    return event_xml_open(c, e);
}

/* The quoted value of a pseudo-attribute of the XML declaration; empty when it is not there. */
static struct slice declared(struct slice declaration, const char *name)
{
    const uint8_t *end = declaration.at + declaration.len;
    const uint8_t *at = memmem(declaration.at, declaration.len, name, strlen(name));
    const uint8_t *close;

    if (at == NULL)
        return slice_of(NULL, 0);
    for (at += strlen(name); at < end && strchr(" \t\r\n=", *at) != NULL && *at != '\0'; at++)
        continue;
    if (at == end || (*at != '"' && *at != '\''))
        return slice_of(NULL, 0);
    close = memchr(at + 1, *at, (size_t)(end - at) - 1);
    return close == NULL ? slice_of(NULL, 0) : slice_of(at + 1, (size_t)(close - at) - 1);
}

/* XML 1.0 2.8: sensors send no declaration; one that says XML 1.0 and UTF-8 does no harm. */
static bool check_declaration(struct slice body, struct event_verdict *v)
{
    struct slice head = slice_of(body.at, body.len < DECLARATION_MAX ? body.len : DECLARATION_MAX);
    const uint8_t *end;
    struct slice encoding;

    if (head.len >= 3 && memcmp(head.at, "\xef\xbb\xbf", 3) == 0)
        head = slice_of(head.at + 3, head.len - 3);
    if (head.len < 6 || memcmp(head.at, "<?xml", 5) != 0 || strchr(" \t\r\n", head.at[5]) == NULL)
        return true;
    end = memmem(head.at, head.len, "?>", 2);
    if (end == NULL)
        return event_refuse(v, "encoding: the XML declaration is over %d bytes", (int)DECLARATION_MAX);
    head.len = (size_t)(end - head.at);
    if (!slice_is(declared(head, "version"), "1.0"))
        return event_refuse(v, "encoding: the XML declaration does not say version 1.0");
    encoding = declared(head, "encoding");
    if (encoding.len == 0 && memmem(head.at, head.len, "encoding", 8) == NULL)
        return true;
    if (encoding.len != 5 || strncasecmp((const char *)encoding.at, "UTF-8", 5) != 0)
        return event_refuse(v, "encoding: the XML declaration does not say UTF-8");
    return true;
}

/* Behind the next `mark`, or the end. */
static const uint8_t *skip_past(const uint8_t *at, const uint8_t *end, const char *mark)
{
    const uint8_t *found = memmem(at, (size_t)(end - at), mark, strlen(mark));

    return found == NULL ? end : found + strlen(mark);
}

/* Behind a tag's attributes, which are counted: each has a quoted value, and nothing else in a tag is quoted. */
static const uint8_t *skip_tag(const uint8_t *at, const uint8_t *end, unsigned *attributes)
{
    for (*attributes = 0; at < end && *at != '>'; at++) {
        if (*at != '"' && *at != '\'')
            continue;
        ++*attributes;
        at = memchr(at + 1, *at, (size_t)(end - at) - 1);
        if (at == NULL)
            return end;
    }
    return at;
}

/*
 * The library's time grows with the square of an element's attributes, and nothing can stop it inside a tag: they are
 * counted before. Exact as far as the event is well-formed, and the library reads no further than that.
 */
static bool check_attributes(struct slice body, struct event_verdict *v)
{
    const uint8_t *end = body.at + body.len, *at = body.at;

    if (body.len < ATTRIBUTES_LOOKED_FOR)
        return true;
    while ((at = memchr(at, '<', (size_t)(end - at))) != NULL) {
        size_t left = (size_t)(end - at);
        unsigned attributes = 0;

        if (left >= 4 && memcmp(at, "<!--", 4) == 0)
            at = skip_past(at + 4, end, "-->");
        else if (left >= 9 && memcmp(at, "<![CDATA[", 9) == 0)
            at = skip_past(at + 9, end, "]]>");
        else if (left >= 2 && at[1] == '?')
            at = skip_past(at + 2, end, "?>");
        else
            at = skip_tag(at + 1, end, &attributes);
        if (attributes > ATTRIBUTES_MAX)
            return event_refuse(v, "attributes: an element has more than %d", (int)ATTRIBUTES_MAX);
    }
    return true;
}

static bool check_bytes(struct slice body, struct event_verdict *v)
{
    size_t good;

    if (body.len == 0)
        return event_refuse(v, "empty: there is no event");
    if (body.len >= TEXT_MAX)
        return event_refuse(v, "too-large: %zu bytes", body.len);
    good = event_utf8_length(body);
    if (good != body.len)
        return event_refuse(v, "encoding: not UTF-8 at byte %zu", good);
    if (memchr(body.at, 0, body.len) != NULL)
        return event_refuse(v, "encoding: byte zero");
    return check_declaration(body, v) && check_attributes(body, v);
}

static bool check_header(const struct event_checker *c, struct slice body, struct event_verdict *v)
{
    if (c->seen[EVENT_OPERATOR] == 0)
        return event_refuse(v, "operator-missing: no IDOper in the header");
    if (c->seen[EVENT_VAULT] == 0)
        return event_refuse(v, "vault-missing: no IDCoffre in the header");
    if (c->placeholder_end < EVENT_PLACEHOLDER_SIZE ||
        !event_placeholder_is_at(body, c->placeholder_end - EVENT_PLACEHOLDER_SIZE))
        return event_refuse(v, "placeholder-missing: the header holds no <IDEvt><!--SAFE_ID--></IDEvt>");
    v->placeholder = (uint32_t)(c->placeholder_end - EVENT_PLACEHOLDER_SIZE);
    return true;
}

/*
 * Gives the parser the whole text at once: an input without the library's buffering (which costs a third of the time),
 * so it needs the zero byte behind it that the library takes for the end.
 */
static bool parse(struct event_checker *c, struct slice body, struct err *e)
{
    /* Declared encodings were checked before; ignoring them keeps the library from converting, so that offsets are the
     * body's. */
    const int options = XML_PARSE_NONET | XML_PARSE_IGNORE_ENC;
    uint8_t *text = buf_reserve(&c->text, body.len + 1, e);
    xmlParserInputPtr input;

    if (text == NULL)
        return false;
    memcpy(text, body.at, body.len);
    text[body.len] = '\0';
    buf_commit(&c->text, body.len + 1);
    xmlCtxtReset(c->xml);
    if (xmlCtxtUseOptions(c->xml, options) != 0)
        return err_set(e, ERR_FATAL, "event: the XML parser does not know its options");
    input = xmlNewInputStream(c->xml);
    if (input == NULL)
        return err_set(e, ERR_FATAL, "event: no XML input");
    input->base = input->cur = text;
    input->end = text + body.len;
    if (inputPush(c->xml, input) < 0)
        return err_set(e, ERR_FATAL, "event: no XML input");
    xmlParseDocument(c->xml);
    xmlFreeInputStream(inputPop(c->xml));
    return true;
}

static void conclude(const struct event_checker *c, struct slice body, struct event_verdict *v)
{
    if (v->valid && (c->xml->wellFormed != 1 || c->xml->nsWellFormed != 1))
        event_refuse(v, "not-well-formed: libxml2 error %d", c->xml->errNo);
    if (v->valid)
        check_header(c, body, v);
}

bool event_xml_check(struct event_checker *c, struct slice body, struct event_verdict *v, struct err *e)
{
    bool ok;

    if (!check_bytes(body, v))
        return true;
    if (!renew_context(c, e))
        return false;
    c->verdict = v;
    c->depth = 0;
    c->field = EVENT_NO_FIELD;
    memset(c->seen, 0, sizeof(c->seen));
    c->placeholders = c->name_spaces = 0;
    c->placeholder_end = 0;
    c->trouble = (struct err){0};
    ok = parse(c, body, e);
    buf_reset(&c->text);
    c->verdict = NULL;
    if (ok && c->trouble.code != ERR_NONE)
        ok = err_set(e, c->trouble.code, "%s", c->trouble.text);
    if (ok)
        conclude(c, body, v);
    event_schema_finish(c, v);
    return ok;
}
