/*
 * Whose queues are to be seen to, and when: those of every depositor in the roster, one after the other, when a session begins and when one is new; again when an answer
 * is not confirmed or leads nowhere; of who was revoked before it could be answered; and of those that do not answer now and then. See ledger_queues.c and ledger_silence.c.
 */
#include "ingest/ledger/ledger_internal.h"

static bool is_declared(const struct ledger *l, uint32_t depositor)
{
    for (unsigned i = 0; i < l->declared_count; i++)
        if (l->declared[i] == depositor)
            return true;
    return false;
}

static bool is_being_seen_to(const struct ledger *l, uint32_t depositor)
{
    return l->providing.state != LEDGER_PROVIDE_NOTHING && l->providing.depositor == depositor;
}

void ledger_roster_again(struct ledger *l, uint32_t depositor)
{
    l->roster_next = 0;
    if (is_being_seen_to(l, depositor))
        return;
    for (unsigned i = 0; i < l->declared_count; i++)
        if (l->declared[i] == depositor)
            l->declared[i] = l->declared[--l->declared_count];
}

static bool has_message(const struct ledger *l, uint32_t depositor)
{
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].depositor == depositor)
            return true;
    return false;
}

bool ledger_may_send(const struct ledger *l, const struct ledger_message *m)
{
    if (m->depositor == LEDGER_PARKED)
        return true;
    if (ledger_silence_holds(l, m->depositor) || is_being_seen_to(l, m->depositor))
        return false;
    return is_declared(l, m->depositor);
}

void ledger_roster_wants(struct ledger *l, uint32_t depositor)
{
    if (!is_declared(l, depositor))
        l->roster_next = 0;
}

/* Of depositors whose queues have not been seen to, one, for whom something waits if there is one; 0: all have. */
static bool next_undeclared(struct ledger *l, uint32_t *depositor, struct err *e)
{
    PGresult *r = database_query(l->look, "SELECT id FROM role WHERE profile = 'depositor' AND revoked_at IS NULL ORDER BY id",
                                 NULL, 0, e);

    *depositor = 0;
    for (int i = 0; r != NULL && (*depositor == 0 || !has_message(l, *depositor)) && i < PQntuples(r); i++) {
        uint32_t id = (uint32_t)database_get_i64(r, i, 0);

        if (!is_declared(l, id) && (*depositor == 0 || has_message(l, id)))
            *depositor = id;
    }
    PQclear(r);
    return r != NULL;
}

/* Who is not in the roster any more and is still to be answered: what is sent to a queue that does not answer holds up everybody, whosever it was. 0: nobody. */
static uint32_t next_revoked(const struct ledger *l)
{
    for (unsigned i = 0; i < l->message_count; i++)
        if (l->messages[i].depositor != LEDGER_PARKED && !is_declared(l, l->messages[i].depositor))
            return l->messages[i].depositor;
    return 0;
}

bool ledger_roster_is_due(const struct ledger *l)
{
    return l->looking == NULL && l->providing.state == LEDGER_PROVIDE_NOTHING && (ledger_now() >= l->roster_next || ledger_silence_due(l) != 0);
}

static bool look_at_roster(struct ledger *l, uint32_t *depositor, struct err *e)
{
    if (!next_undeclared(l, depositor, e))
        return false;
    if (*depositor == 0)
        *depositor = next_revoked(l);
    if (*depositor != 0) {
        l->declared = mem_realloc(l->declared, (l->declared_count + 1) * sizeof(*l->declared));
        l->declared[l->declared_count++] = *depositor;
        return true;
    }
    l->roster_next = ledger_now() + LEDGER_ROSTER_MS;
    return true;
}

/* One depositor at a time, between other work; those whose queue does not answer last. */
bool ledger_roster(struct ledger *l, struct err *e)
{
    uint32_t depositor = 0, silent;

    if (l->looking == NULL && l->providing.state != LEDGER_PROVIDE_NOTHING && !ledger_queues_go_on(l, e))
        return false;
    if (!ledger_roster_is_due(l))
        return true;
    if (ledger_now() >= l->roster_next && !look_at_roster(l, &depositor, e))
        return false;
    if (depositor != 0)
        return ledger_queues_begin(l, depositor, false, e);
    silent = ledger_silence_due(l);
    if (silent != 0)
        return ledger_queues_begin(l, silent, true, e);
    ledger_queues_done(l);
    return true;
}
