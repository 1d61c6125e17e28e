/* Journal records as JSON: see record.h. */
#include "common/journal/record.h"

#include <string.h>

#include <jansson.h>

#include "common/formats/date.h"

enum { CUT_LEN = 3 /* "…" */, ESCAPE_MAX = 7 /* "\\\\xNN" or "\\uNNNN" */, CLOSE_LEN = 3 /* "}}" and room */ };

/* Bytes of the UTF-8 character at `s` (RFC 3629 4); 0: none is there. A zero byte is none: C strings and PostgreSQL's JSON cannot hold it. */
static size_t character(struct slice s)
{
    const uint8_t *p = s.at;
    size_t len = p[0] == 0 ? 0 : p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

    if (len == 0 || s.len < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* What would end a line, or is invisible to whoever reads it: C0, DEL, C1, U+2028, U+2029. */
static unsigned control(const uint8_t *p, size_t len)
{
    if (len == 1)
        return p[0] < 0x20 || p[0] == 0x7f ? p[0] : 0x10000;
    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0)
        return p[1];
    if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
        return 0x2000u + (p[2] & 0x3fu);
    return 0x10000;
}

/* Writes one character as it stands in a JSON string; returns how many bytes of `s` it was. */
static size_t escape(char out[ESCAPE_MAX + 1], struct slice s)
{
    size_t len = character(s);

    if (len == 0) {
        snprintf(out, ESCAPE_MAX + 1, "\\\\x%02x", s.at[0]);
        return 1;
    }
    if (control(s.at, len) < 0x10000)
        snprintf(out, ESCAPE_MAX + 1, "\\u%04x", control(s.at, len));
    else if (s.at[0] == '"' || s.at[0] == '\\')
        snprintf(out, ESCAPE_MAX + 1, "\\%c", s.at[0]);
    else
        snprintf(out, ESCAPE_MAX + 1, "%.*s", (int)len, (const char *)s.at);
    return len;
}

/* A JSON string of at most `most` bytes between its quotes (at least CUT_LEN). */
static bool add_string(struct buf *out, struct slice value, size_t most, struct err *e)
{
    char text[JOURNAL_RECORD_MAX], one[ESCAPE_MAX + 1];
    size_t used = 0, safe = 0; /* `safe`: where a cut would still fit */

    most = most > sizeof text ? sizeof text : most;
    for (size_t i = 0; i < value.len;) {
        size_t taken = escape(one, slice_of(value.at + i, value.len - i)), len = strlen(one);

        if (used + len > most) {
            memcpy(text + safe, "…", CUT_LEN);
            used = safe + CUT_LEN;
            break;
        }
        memcpy(text + used, one, len);
        used += len;
        i += taken;
        if (used + CUT_LEN <= most)
            safe = used;
    }
    return buf_add(out, "\"", 1, e) && buf_add(out, text, used, e) && buf_add(out, "\"", 1, e);
}

/* Each value may have its share of what is left, so that a long one never costs the others their place. */
static bool add_fields(struct buf *out, size_t begin, const struct journal_field *fields, unsigned count, struct err *e)
{
    bool ok = true, first = true;

    for (unsigned i = 0; i < count && ok; i++) {
        size_t left = JOURNAL_RECORD_MAX - CLOSE_LEN - (out->len - begin), name = strlen(fields[i].name) + 8,
               share = left / (count - i);

        if (share < name + CUT_LEN)
            continue;
        ok = buf_printf(out, e, "%s\"%s\":", first ? "" : ",", fields[i].name) && add_string(out, fields[i].value, share - name, e);
        first = false;
    }
    return ok;
}

bool record_write(struct buf *out, const struct record_origin *origin, int64_t at, const char *event,
                  const struct journal_field *fields, unsigned count, struct err *e)
{
    char when[DATE_LEN + 1];
    size_t begin = out->len;

    date_write(when, at);
    return buf_printf(out, e, "{\"at\":\"%s\",\"operator\":\"%.4s\",\"vault\":%llu,\"node\":", when, origin->operator_id,
                      (unsigned long long)origin->vault) &&
           add_string(out, slice_text(origin->node), 255, e) &&
           buf_printf(out, e, ",\"daemon\":\"%.32s\",\"role\":\"%.32s\",\"event\":\"%.64s\",\"fields\":{", origin->daemon, origin->role, event) &&
           add_fields(out, begin, fields, count, e) && buf_add(out, "}}", 2, e);
}

static bool is_text(const json_t *record, const char *name, const char *value)
{
    const json_t *member = json_object_get(record, name);

    return json_is_string(member) && (value == NULL || strcmp(json_string_value(member), value) == 0);
}

static bool is_word(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz-");

    return len > 0 && len <= 64 && text[len] == '\0';
}

static bool check_members(const json_t *record, const struct record_origin *expected, struct err *e)
{
    const json_t *at = json_object_get(record, "at"), *fields = json_object_get(record, "fields");
    int64_t ms;

    if (!json_is_object(record) || json_object_size(record) != 8)
        return err_set(e, ERR_INPUT, "journal: not an object of eight members");
    if (!json_is_string(at) || !date_read(slice_text(json_string_value(at)), &ms))
        return err_set(e, ERR_INPUT, "journal: \"at\" is no time");
    if (!is_text(record, "operator", expected->operator_id) || !json_is_integer(json_object_get(record, "vault")) ||
        (uint64_t)json_integer_value(json_object_get(record, "vault")) != expected->vault)
        return err_set(e, ERR_INPUT, "journal: of another vault");
    if (!is_text(record, "node", expected->node) || !is_text(record, "daemon", expected->daemon) || !is_text(record, "role", expected->role))
        return err_set(e, ERR_INPUT, "journal: written in another's name");
    if (!is_text(record, "event", NULL) || !is_word(json_string_value(json_object_get(record, "event"))) || !json_is_object(fields))
        return err_set(e, ERR_INPUT, "journal: no event with its fields");
    return true;
}

bool record_check(struct slice record, const struct record_origin *expected, struct err *e)
{
    json_error_t why;
    json_t *parsed;
    bool ok;

    if (record.len == 0 || record.len > JOURNAL_RECORD_MAX)
        return err_set(e, ERR_INPUT, "journal: a record of %zu bytes, 1 to %d", record.len, JOURNAL_RECORD_MAX);
    for (size_t i = 0; i < record.len; i++)
        if (record.at[i] < 0x20)
            return err_set(e, ERR_INPUT, "journal: not one line");
    /* The spool knows a record by its first byte and its last: JSON would take spaces before and behind. */
    if (record.at[0] != '{' || record.at[record.len - 1] != '}')
        return err_set(e, ERR_INPUT, "journal: not an object and nothing else");
    parsed = json_loadb((const char *)record.at, record.len, JSON_REJECT_DUPLICATES, &why);
    if (parsed == NULL)
        return err_set(e, ERR_INPUT, "journal: not JSON (RFC 8259)");
    ok = check_members(parsed, expected, e);
    json_decref(parsed);
    return ok;
}

int64_t record_time(struct slice record)
{
    static const char before[] = "{\"at\":\"";
    int64_t ms;

    if (record.len < sizeof before - 1 + DATE_LEN || memcmp(record.at, before, sizeof before - 1) != 0 ||
        !date_read(slice_of(record.at + sizeof before - 1, DATE_LEN), &ms))
        return 0;
    return ms;
}
