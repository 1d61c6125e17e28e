/*
 * An event and the schemas: which family judges it, and what is said of one that does not fit. Called by event_xml.c while it reads the event, so that one
 * reading serves both. Names are only repeated when the schema has them.
 */
#include "ingest/ledger/event_internal.h"

#include <stdio.h>

/* What the vault's serial looks like to the schema, where the placeholder stands: any number is one. */
#define STAND_IN "1"

void event_checker_use_schemas(struct event_checker *c, const struct event_schemas *schemas)
{
    for (unsigned i = 0; i < c->schemas.count; i++)
        schema_free(c->schemas.families[i]);
    c->schemas = *schemas;
}

void event_checker_spare_schemas(struct event_checker *c, bool spare)
{
    c->spared = spare;
}

void event_checker_watch(struct event_checker *c, bool (*in_time)(void *ctx), void *ctx)
{
    c->in_time = in_time;
    c->in_time_ctx = ctx;
}

static bool in_use(const struct event_schemas *s)
{
    return s->count != 0 && (s->policy != EVENT_SCHEMA_OFF || s->unknown != EVENT_SCHEMA_OFF);
}

bool event_schema_begin(struct event_checker *c, const char *name, const char *name_space)
{
    c->fit = in_use(&c->schemas) ? EVENT_UNKNOWN : EVENT_UNJUDGED;
    c->schema = NULL;
    c->short_names = false;
    c->remark[0] = '\0';
    for (unsigned i = 0; c->fit == EVENT_UNKNOWN && i < c->schemas.count; i++) {
        if (!schema_declares(c->schemas.families[i], name, name_space))
            continue;
        c->fit = c->schemas.policy == EVENT_SCHEMA_OFF ? EVENT_UNJUDGED : EVENT_FITS;
        if (c->fit == EVENT_UNJUDGED)
            break;
        if (c->spared) {
            c->fit = EVENT_UNFIT;
            snprintf(c->remark, sizeof(c->remark), "schema: not compared: it takes too long, or this depositor's have");
            break;
        }
        if (!schema_begin(c->schemas.families[i], &c->trouble))
            return false;
        c->schema = c->schemas.families[i];
    }
    return true;
}

/* "/LOJIMISE/Desc/Nom": the elements open, from the root; names from elsewhere are "?". Cut at the front when it is long. */
static void put_path(const struct event_checker *c, char *out, size_t size)
{
    size_t used = 0, len;
    unsigned from = c->depth;

    for (len = 0; from > 0; from--) {
        size_t one = strlen((const char *)c->path[from - 1]) + 1;

        if (len + one + 4 >= size)
            break;
        len += one;
    }
    out[0] = '\0';
    if (from > 0)
        used = (size_t)snprintf(out, size, "...");
    for (unsigned i = from; i < c->depth; i++) {
        const char *name = (const char *)c->path[i];
        bool ours = lot_type_is_valid(slice_text(name)) && schema_knows(c->schema, name);

        used += (size_t)snprintf(out + used, size - used, "/%s", ours ? name : "?");
    }
}

/* The first fault ends the comparison: what follows would only be its consequence, and costs. */
static void take_fault(struct event_checker *c)
{
    char path[EVENT_REASON_MAX / 2];
    int code, line = c->xml->input == NULL ? 0 : c->xml->input->line;

    put_path(c, path, sizeof(path));
    code = schema_finish(c->schema);
    c->schema = NULL;
    c->fit = EVENT_UNFIT;
    snprintf(c->remark, sizeof(c->remark), "schema: %s (line %d): %s [%d]", path, line, schema_fault(code), code);
}

static bool in_time(struct event_checker *c)
{
    return c->in_time == NULL || c->in_time(c->in_time_ctx) || schema_fail(c->schema, SCHEMA_TOO_SLOW);
}

void event_schema_start(struct event_checker *c, const struct event_tag *t)
{
    c->path[c->depth - 1] = t->name;
    if (!in_time(c) || !schema_start(c->schema, t->name, t->prefix, t->uri, t->name_spaces, t->declared, t->attributes, t->defaulted, t->values))
        take_fault(c);
}

void event_schema_end(struct event_checker *c, const struct event_tag *t)
{
    if (!in_time(c) || !schema_end(c->schema, t->name, t->prefix, t->uri))
        take_fault(c);
}

void event_schema_text(struct event_checker *c, struct slice text)
{
    if (!in_time(c) || !schema_text(c->schema, text))
        take_fault(c);
}

void event_schema_placeholder(struct event_checker *c)
{
    event_schema_text(c, SLICE_LITERAL(STAND_IN));
}

/* What the policy makes of the comparison. Short codes are another vocabulary: no schema covers it. */
static void conclude(struct event_checker *c, struct event_verdict *v)
{
    enum event_schema_policy policy = c->fit == EVENT_UNKNOWN ? c->schemas.unknown : c->schemas.policy;

    if (c->fit != EVENT_UNJUDGED && c->short_names)
        c->fit = EVENT_NOT_COVERED;
    if (c->fit == EVENT_UNKNOWN)
        snprintf(c->remark, sizeof(c->remark), "schema-unknown: no schema declares this type");
    v->fit = c->fit;
    if ((c->fit != EVENT_UNFIT && c->fit != EVENT_UNKNOWN) || policy == EVENT_SCHEMA_OFF)
        return;
    if (policy == EVENT_SCHEMA_REFUSE)
        event_refuse(v, "%s", c->remark);
    else
        memcpy(v->remark, c->remark, sizeof(v->remark));
}

void event_schema_finish(struct event_checker *c, struct event_verdict *v)
{
    if (c->schema != NULL && schema_finish(c->schema) != 0)
        c->fit = EVENT_UNFIT; /* an event that is not well-formed: nobody asks */
    c->schema = NULL;
    if (v->valid)
        conclude(c, v);
    c->fit = EVENT_UNJUDGED;
}
