/*
 * What changes of bindings, overrides and operations are to say in the journal: rows of the store's outbox, made by the same transactions, whoever ran them. Each is journaled
 * until the journal has it on disk and the store knows: never lost, at worst more than once, and then with the same number in `record`.
 */
#include <stdlib.h>

#include "common/values/log.h"
#include "exporter/admin.h"

enum { LOCK_CLASS = 0x434f5842 /* "COXB" */, OUTBOX_FIELDS = 12 };

void admin_forget_outbox(struct admin *a)
{
    a->leads = false;
    a->written_count = 0;
}

/* Of all exporters' admin processes one journals: the lock is the session's, and goes with it. */
static bool lead(struct admin *a, struct err *e)
{
    const struct database_value v[] = {database_i32(LOCK_CLASS), database_i32((int32_t)role_settings(a->role)->vault.number)};
    PGresult *r;

    if (a->leads)
        return true;
    r = database_query(a->db, "SELECT pg_try_advisory_lock($1, $2)", v, 2, e);
    if (r == NULL)
        return false;
    a->leads = database_get_bool(r, 0, 0);
    PQclear(r);
    return true;
}

/* What is on disk needs no row any more; what may be lost is written again. */
static bool confirm(struct admin *a, uint64_t safe, struct err *e)
{
    char list[ADMIN_RECORDS_MAX * 21 + 3] = "{";
    size_t len = 1;
    const struct database_value v[] = {database_text(list)};
    unsigned kept = 0;
    PGresult *r;

    while (kept < a->written_count && a->numbers[kept] < safe)
        kept++;
    for (unsigned i = 0; i < kept; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%lld", i == 0 ? "" : ",", (long long)a->written[i]);
    snprintf(list + len, sizeof list - len, "}");
    r = database_query(a->db, "SELECT role_journaled($1::bigint[])", v, 1, e);
    if (r == NULL)
        return false;
    PQclear(r);
    if (kept < a->written_count)
        log_warning("outbox", "the journal has no room for %u records of role changes: they are written again", a->written_count - kept);
    a->records += kept;
    a->written_count = 0;
    return true;
}

/* Of a change: what it is about, who decided it (of a proposal: who made it), from where, and why. */
#define CHANGE_RECORDS \
    "SELECT o.id, o.event, o.id::text, c.id::text, c.profile, c.cn, c.ou, c.serial, c.san," \
    " CASE WHEN o.event = 'role-proposed' THEN c.author ELSE coalesce(c.decided_by, '') END," \
    " CASE WHEN o.event = 'role-proposed' THEN c.origin ELSE coalesce(c.decided_from, '') END," \
    " CASE WHEN o.event = 'role-refused' THEN coalesce(c.decided_why, '') ELSE c.reason END," \
    " c.author, CASE c.action WHEN 'quorum' THEN 'quorum ' || c.people ELSE c.action END FROM role_outbox o JOIN role_change c ON c.id = o.change WHERE o.journaled_at IS NULL"
#define OVERRIDE_RECORDS \
    "SELECT o.id, o.event, o.id::text, v.id::text, v.profile, to_char(v.until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '', '', ''," \
    " CASE WHEN o.event = 'override-set' THEN v.author ELSE coalesce(v.ended_by, '') END," \
    " CASE WHEN o.event = 'override-set' THEN v.origin ELSE coalesce(v.ended_from, '') END, v.reason, '', ''" \
    " FROM role_outbox o JOIN override v ON v.id = o.override WHERE o.journaled_at IS NULL"
#define OPERATION_RECORDS \
    "SELECT o.id, o.event, o.id::text, p.id::text, p.operation, CASE WHEN o.event = 'operation-done' THEN p.lot::text ELSE '' END, '', '', '', p.author, p.origin, p.reason, '', ''" \
    " FROM role_outbox o JOIN operation p ON p.id = o.operation WHERE o.journaled_at IS NULL"

static bool starts(struct slice event, const char *word)
{
    size_t len = strlen(word);

    return event.len > len && memcmp(event.at, word, len) == 0;
}

static void write_record(struct admin *a, const PGresult *r, int row)
{
    static const char *const of_change[] = {"record", "change", "profile", "cn", "ou", "serial", "san", "by", "from", "reason", "proposed_by", "action"},
                            *const of_override[] = {"record", "override", "profile", "until", NULL, NULL, NULL, "by", "from", "reason", NULL, NULL},
                            *const of_operation[] = {"record", "operation", "what", "lot", NULL, NULL, NULL, "by", "from", "reason", NULL, NULL};
    struct slice event = database_get_slice(r, row, 1);
    const char *const *names = starts(event, "role-") ? of_change : starts(event, "operation-") ? of_operation : of_override;
    struct journal_field fields[OUTBOX_FIELDS];
    char name[32];
    unsigned count = 0;

    for (int i = 0; i < OUTBOX_FIELDS; i++)
        if (names[i] != NULL)
            fields[count++] = (struct journal_field){names[i], database_get_slice(r, row, 2 + i)};
    snprintf(name, sizeof name, "%.*s", (int)event.len, (const char *)event.at);
    a->numbers[a->written_count] = journal_write(a->journal, name, fields, count);
    a->written[a->written_count++] = database_get_i64(r, row, 0);
}

static bool write_due(struct admin *a, struct err *e)
{
    const struct database_value v[] = {database_i64(ADMIN_RECORDS_MAX)};
    PGresult *r = database_query(a->db, CHANGE_RECORDS " UNION ALL " OVERRIDE_RECORDS " UNION ALL " OPERATION_RECORDS " ORDER BY 1 LIMIT $1", v, 1, e);

    if (r == NULL)
        return false;
    journal_watch(a->journal);
    for (int i = 0; i < PQntuples(r) && a->written_count < ADMIN_RECORDS_MAX; i++)
        write_record(a, r, i);
    PQclear(r);
    return true;
}

/* Also where proposals that nobody decided come to their end. */
static bool expire(struct admin *a, struct err *e)
{
    PGresult *r = database_query(a->db, "SELECT role_expire()", NULL, 0, e);

    PQclear(r);
    return r != NULL;
}

void admin_journal(struct admin *a)
{
    struct err e = {0};
    uint64_t safe;
    bool ok = lead(a, &e);

    if (ok && a->leads && a->written_count == 0)
        ok = expire(a, &e) && (journal_full(a->journal) || write_due(a, &e));
    else if (ok && a->leads && journal_settled(a->journal, &safe))
        ok = confirm(a, safe, &e);
    if (!ok)
        log_warning("outbox", "records of role changes wait: %s", e.text);
}
