/* Answers and archive notices during a load, on a connection of their own. See load_internal.h. */
#include "ingest/deposit/load_internal.h"

#include <stdio.h>
#include <stdlib.h>

static bool subscribe(struct load *l, const char *id, const char *queue, struct err *e)
{
    struct stomp_writer w;
    char name[64];

    snprintf(name, sizeof name, "/queue/%s.%s.Out", queue, l->options->vault);
    stomp_open(&w, &l->follow.link.out, STOMP_1_2, STOMP_SUBSCRIBE);
    stomp_add(&w, STOMP_ID, slice_text(id));
    stomp_add(&w, STOMP_DESTINATION, slice_text(name));
    stomp_add(&w, STOMP_ACK_HEADER, SLICE_LITERAL("client"));
    return stomp_close(&w, slice_of(NULL, 0), e);
}

static void take_answer(struct load *l, const struct stomp_frame *f)
{
    struct load_follow *w = &l->follow;
    struct slice client_id = stomp_get(f, STOMP_CLIENT_ID), status = stomp_get(f, STOMP_CFJL_STATUS);
    struct slice reason = stomp_get(f, STOMP_CFJL_REASON);
    size_t len = strlen(l->run_name);
    uint64_t serial = 0;

    if (client_id.len <= len || memcmp(client_id.at, l->run_name, len) != 0) {
        w->others++;
        return;
    }
    if (slice_is(status, "CFJL_OK"))
        w->ok++;
    else if (slice_is(status, "CFJL_DUPLICATE_EVENT"))
        w->duplicates++;
    else if (w->invalid++ == 0)
        snprintf(w->reason, sizeof w->reason, "%.*s", (int)(reason.len > 200 ? 200 : reason.len),
                 reason.at == NULL ? "" : (const char *)reason.at);
    if (!number_parse(stomp_get(f, STOMP_CFJL_SERIAL), &serial) || serial == 0)
        return;
    if (serial > w->highest_serial)
        w->highest_serial = serial;
    if (w->lowest_serial == 0 || serial < w->lowest_serial)
        w->lowest_serial = serial;
}

static void take_archive(struct load *l, const struct stomp_frame *f)
{
    struct load_follow *w = &l->follow;
    uint64_t last = 0, now = link_now_ns();

    if (!number_parse(stomp_get(f, STOMP_CFJL_LAST_SERIAL), &last) || last <= w->archived_serial)
        return;
    w->before_serial = w->archived_serial;
    w->before_at = w->archived_at;
    w->archived_serial = last;
    w->archived_at = now;
    w->lots++;
    /* Notices of lots that were sealed before this run's first event may have waited for us. */
    if (now < l->measured_from || w->first_at == 0 || w->lowest_serial == 0 || last < w->lowest_serial) {
        w->first_serial = last;
        w->first_at = now;
    }
    if (l->stopped_at == 0) {
        w->last_serial = last;
        w->last_at = now;
    }
}

static bool on_frame(void *context, const struct stomp_frame *f, struct err *e)
{
    struct load *l = context;
    int which = slice_is(stomp_get(f, STOMP_SUBSCRIPTION), "1") ? 1 : 0;

    if (f->command == STOMP_ERROR)
        return link_take_error(&l->follow.link, f, e);
    if (f->command != STOMP_MESSAGE)
        return err_set(e, ERR_RETRY, "an unexpected %s frame", stomp_command_text(f->command));
    if (which == 1)
        take_archive(l, f);
    else
        take_answer(l, f);
    l->moved_at = link_now_ms();
    free(l->follow.last_ack[which]);
    l->follow.last_ack[which] = mem_text(stomp_get(f, STOMP_ACK_HEADER));
    return true;
}

/* One cumulative ACK for everything read in this turn. */
static bool acknowledge(struct load *l, struct err *e)
{
    for (int i = 0; i < 2; i++) {
        struct stomp_writer w;
        char *id = l->follow.last_ack[i];

        if (id == NULL)
            continue;
        stomp_open(&w, &l->follow.link.out, STOMP_1_2, STOMP_ACK);
        stomp_add(&w, STOMP_ID, slice_text(id));
        free(id);
        l->follow.last_ack[i] = NULL;
        if (!stomp_close(&w, slice_of(NULL, 0), e))
            return false;
    }
    return true;
}

void load_follow_turn(struct load *l, short revents)
{
    struct load_follow *w = &l->follow;
    struct err e = {0};
    bool ok = true;

    if (!w->open && link_now_ms() < w->retry_at)
        return;
    if (!w->open) {
        ok = link_open(&w->link, &l->target, &e);
        w->open = ok;
        w->subscribed = false;
    } else {
        ok = link_turn(&w->link, revents, on_frame, l);
        if (ok && w->link.state == LINK_READY && !w->subscribed) {
            w->subscribed = true;
            w->wait = (struct load_wait){0};
            ok = subscribe(l, "0", "Event", &e) &&
                 (l->options->follow != FOLLOW_ARCHIVED || subscribe(l, "1", "Archive", &e));
        }
        ok = ok && acknowledge(l, &e) && link_flush(&w->link);
    }
    if (ok)
        return;
    load_lost(l, &w->wait, &w->link, &e);
    if (w->open)
        link_close(&w->link);
    w->open = false;
    w->retry_at = link_now_ms() + LOAD_RETRY_MS;
}

bool load_follow_done(const struct load *l)
{
    const struct load_follow *w = &l->follow;

    if (l->options->follow == FOLLOW_NONE)
        return true;
    if (w->ok + w->duplicates + w->invalid < l->confirmed)
        return false;
    return l->options->follow != FOLLOW_ARCHIVED || w->archived_serial >= w->highest_serial;
}

void load_follow_free(struct load *l)
{
    if (l->follow.open)
        link_close(&l->follow.link);
    free(l->follow.last_ack[0]);
    free(l->follow.last_ack[1]);
}
