/* Status files as JSON: see daemons.h. Pure. */
#include "exporter/daemons.h"

/* The next word of a line, or nothing. */
static struct slice take_word(struct slice *line)
{
    const uint8_t *space = line->len == 0 ? NULL : memchr(line->at, ' ', line->len);
    struct slice word = slice_of(line->at, space == NULL ? line->len : (size_t)(space - line->at));

    line->at += word.len + (space == NULL ? 0 : 1);
    line->len -= word.len + (space == NULL ? 0 : 1);
    return word;
}

/* What is not UTF-8 becomes what is. */
static json_t *words(struct slice s)
{
    json_t *text = json_stringn(s.len == 0 ? "" : (const char *)s.at, s.len);

    return text != NULL ? text : json_string("(not readable)");
}

static json_t *number(struct slice s)
{
    json_int_t v = 0;

    if (s.len == 0 || s.len > 12)
        return json_null();
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return json_null();
        v = 10 * v + (s.at[i] - '0');
    }
    return json_integer(v);
}

/* "front 0 pid 17 ready serving, 3 connections" */
static json_t *read_role(struct slice line)
{
    json_t *role = json_object();

    json_object_set_new(role, "role", words(take_word(&line)));
    json_object_set_new(role, "index", number(take_word(&line)));
    (void)take_word(&line);
    json_object_set_new(role, "pid", number(take_word(&line)));
    json_object_set_new(role, "state", words(take_word(&line)));
    json_object_set_new(role, "note", words(line));
    return role;
}

static void read_line(struct slice line, json_t *daemon, json_t *roles, json_t *notes)
{
    struct slice rest = line, word = take_word(&rest);

    if (slice_is(word, "state"))
        json_object_set_new(daemon, "state", words(rest));
    else if (slice_is(word, "pid"))
        json_object_set_new(daemon, "pid", number(rest));
    else if (slice_is(word, "role"))
        json_array_append_new(roles, read_role(rest));
    else if (line.len != 0)
        json_array_append_new(notes, words(line));
}

json_t *daemons_read(const char *daemon, struct slice text, double age)
{
    json_t *o = json_object(), *roles = json_array(), *notes = json_array();

    json_object_set_new(o, "daemon", json_string(daemon));
    json_object_set_new(o, "state", json_string("unknown"));
    json_object_set_new(o, "age", json_real((double)(long long)(age * 1000) / 1000));
    json_object_set_new(o, "pid", json_null());
    while (text.len != 0) {
        const uint8_t *end = memchr(text.at, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.at), used = len + (end == NULL ? 0 : 1);

        read_line(slice_of(text.at, len), o, roles, notes);
        text.at += used;
        text.len -= used;
    }
    json_object_set_new(o, "roles", roles);
    json_object_set_new(o, "notes", notes);
    if (age > DAEMONS_SILENT_S)
        json_object_set_new(o, "state", json_string("silent"));
    return o;
}
