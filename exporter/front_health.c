/* What front tells about itself and what it depends on: /readyz and the journal. See front.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "common/journal/omitted.h"
#include "exporter/front.h"

enum {
    STORE_OLD_S = 30,     /* what a query said about HSM and clock */
    IDENTITY_OLD_S = 10,
};

/* ---- items ----------------------------------------------------------------------------------------- */

/* One item as another process tells it; without its word it is not well. */
static void take(struct health *h, const struct health *from, const char *name, const char *silence)
{
    const struct health_item *said = health_find(from, name);

    if (silence != NULL || said == NULL)
        health_set(h, name, false, silence != NULL ? silence : "not known yet");
    else
        health_set(h, name, said->ok, said->note);
}

struct health front_health(const struct front *f)
{
    const struct health nothing = {0};
    const char *broker = journal_fd(f->journal) < 0 ? "the journal process is away" : journal_trouble(f->journal), *store,
               *old = f->store_at + STORE_OLD_S < f->seconds ? "nothing has been known for 30 s" : NULL,
               *silent = f->identity.channel == NULL            ? "the identity process is away"
                         : f->identity.silent >= IDENTITY_OLD_S ? "the identity process says nothing"
                                                                : NULL;
    const struct health *identity = f->identity.spoke ? &f->identity.health : &nothing;
    struct health h = {0};
    bool stored = front_has_store(f, &store);

    health_set(&h, "rabbitmq", broker == NULL, broker == NULL ? "takes records" : broker);
    health_set(&h, "postgresql", stored, stored ? "is read" : store);
    take(&h, &f->store, "hsm", old);
    take(&h, &f->store, "clock", old);
    take(&h, identity, "crl", silent);
    take(&h, identity, "certificates", silent);
    return h;
}

bool front_write_health(const struct front *f, bool whole, struct buf *out)
{
    const struct health h = front_health(f);
    const char *why;
    bool ready = health_ok(&h) && front_is_ready(f, &why);
    json_t *body = json_pack("{s:s}", "status", ready ? "ready" : "not ready"), *items = json_array();
    char *text;

    for (unsigned i = 0; whole && i < h.count; i++)
        json_array_append_new(items, json_pack("{s:s, s:b, s:s%}", "name", h.items[i].name, "ok", (int)h.items[i].ok, "note", h.items[i].note,
                                               strlen(h.items[i].note)));
    if (whole)
        json_object_set(body, "items", items);
    text = json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!buf_printf(out, NULL, "%s\n", text == NULL ? "{\"status\":\"not ready\"}" : text))
        ready = false;
    free(text);
    json_decref(items);
    json_decref(body);
    return ready;
}

/* ---- the journal's channel --------------------------------------------------------------------------- */

static void watch_journal(struct front *f);

static void journal_is_readable(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;
    (void)what;
    journal_serve(f->journal);
    watch_journal(f);
}

/* The event follows the channel, which may end in any call. */
static void watch_journal(struct front *f)
{
    int fd = journal_fd(f->journal);

    if (f->journal_readable != NULL && event_get_fd(f->journal_readable) == fd)
        return;
    if (f->journal_readable != NULL)
        event_free(f->journal_readable);
    f->journal_readable = fd < 0 ? NULL : event_new(f->base, fd, EV_READ | EV_PERSIST, journal_is_readable, f);
    if (f->journal_readable != NULL)
        event_add(f->journal_readable, NULL);
}

void front_link_journal(struct front *f, struct channel *c)
{
    if (f->journal_readable != NULL)
        event_free(f->journal_readable);
    f->journal_readable = NULL;
    journal_link(f->journal, c);
    watch_journal(f);
}

void front_tend_journal(struct front *f)
{
    front_record_omitted(f, false);
    journal_serve(f->journal);
    watch_journal(f);
}

/* ---- records ----------------------------------------------------------------------------------------- */

enum { FIELDS_MAX = 10 };

struct fields {
    struct journal_field at[FIELDS_MAX];
    unsigned count;
};

static void add(struct fields *list, const char *name, const char *text)
{
    if (list->count < FIELDS_MAX && text[0] != '\0')
        list->at[list->count++] = (struct journal_field)JOURNAL_TEXT(name, text);
}

static struct fields about(const struct front_connection *c)
{
    const struct front_peer *p = &c->peer;
    struct fields list = {0};

    add(&list, "peer", p->address);
    add(&list, "cn", p->subject.cn);
    add(&list, "ou", p->subject.ou);
    add(&list, "serial", p->subject.serial);
    return list;
}

static void record(struct front *f, const char *event, const struct fields *list)
{
    journal_write(f->journal, event, list->at, list->count);
    watch_journal(f);
}

static void write_profiles(char *text, size_t size, unsigned profiles)
{
    size_t len = 0;

    text[0] = '\0';
    for (unsigned p = ROSTER_READER; p <= ROSTER_FUNCTIONAL; p++)
        if ((profiles & 1u << p) != 0 && len < size)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len == 0 ? "" : " ", roster_profile_name((enum roster_profile)p));
}

void front_record_opened(struct front_connection *c, unsigned profiles)
{
    struct fields list = about(c);
    char text[64];

    if (c->held == 0) {
        write_profiles(text, sizeof text, profiles);
        add(&list, "profile", text);
        record(c->front, "session-opened", &list);
    }
    c->held = profiles;
}

void front_record_closed(struct front_connection *c, const char *why)
{
    struct fields list = about(c);

    if (c->held == 0)
        return;
    c->held = 0;
    add(&list, "reason", why);
    record(c->front, "session-closed", &list);
}

void front_record_cut(struct front_connection *c, const char *code, const char *why)
{
    struct fields list = about(c);
    char line[512] = "";

    log_field(line, sizeof line, "peer", slice_text(c->peer.address));
    log_field(line, sizeof line, "cn", slice_text(c->peer.subject.cn));
    log_field(line, sizeof line, "check", slice_text(code));
    log_write(LOG_LEVEL_WARNING, "session-cut", line, "%s", why);
    c->held = 0;
    add(&list, "check", code);
    add(&list, "reason", why);
    record(c->front, "session-cut", &list);
}

/* Of a refused certificate log and journal learn more than its holder. */
void front_record_refusal(struct front_connection *c, const struct api_refusal *no)
{
    struct front *f = c->front;
    bool address = strcmp(no->code, validate_code(IDENTITY_ADDRESS)) == 0;
    const char *why = address && c->peer.allowed != 0 ? c->peer.host : no->status == 401 || address ? c->peer.reason : no->reason;
    struct fields list = about(c);
    char line[512] = "", status[8];

    if (no->status < 400 || no->status > 499 || no->status == 408)
        return;
    log_field(line, sizeof line, "peer", slice_text(c->peer.address));
    log_field(line, sizeof line, "cn", slice_text(c->peer.subject.cn));
    log_field(line, sizeof line, "refused", slice_text(no->code));
    log_write(LOG_LEVEL_WARNING, "request-refused", line, "%u: %s", no->status, why);
    if (!refusals_take(f->refusals, f->seconds * 1000, slice_text(c->peer.host), slice_text(c->peer.subject.serial), no->code))
        return;
    snprintf(status, sizeof status, "%u", no->status % 1000);
    add(&list, "status", status);
    add(&list, "code", no->code);
    add(&list, "target", c->has_head ? c->head.path : "-");
    add(&list, "reason", why);
    record(f, "request-refused", &list);
}

void front_record_handshake(struct front_connection *c, const char *why)
{
    struct front *f = c->front;
    long fault = tls_peer_fault(c->tls);
    const char *check = validate_code(fault == X509_V_OK ? IDENTITY_MISSING : validate_fault(fault));
    struct fields list;

    if (!tls_peer_subject(c->tls, &c->peer.subject, NULL))
        c->peer.subject = (struct tls_subject){0};
    f->refused++;
    if (!refusals_take(f->refusals, f->seconds * 1000, slice_text(c->peer.host), slice_text(c->peer.subject.serial), check))
        return;
    list = about(c);
    add(&list, "check", check);
    add(&list, "reason", why);
    record(f, "session-refused", &list);
}

void front_record_omitted(struct front *f, bool all)
{
    static const struct omitted_form form = {"refusals-omitted", {"peer", "serial", "code"}};

    omitted_tell(f->journal, &form, f->refusals, f->seconds * 1000, all);
}
