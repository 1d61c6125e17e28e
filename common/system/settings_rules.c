/* Rules about settings that their table cannot express, as far as words and numbers go: files and networks are judged by whoever reads them. See settings_internal.h. */
#include "common/system/settings_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 128 };

/* A rule broken by the value of `key`: says where it was given, or that it is the default. */
static bool broken(const struct settings *s, struct err *e, const char *key, const char *rule)
{
    for (size_t i = 0; i < settings_rows; i++)
        if (strcmp(settings_table[i].key, key) == 0 && s->lines[i] != 0)
            return err_set(e, ERR_INPUT, "%s:%zu: %s: %s", s->file, s->lines[i], key, rule);
    return err_set(e, ERR_INPUT, "%s: %s (by default): %s", s->file, key, rule);
}

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    unsigned long port = len > 0 && len < 6 && text[len] == '\0' ? strtoul(text, NULL, 10) : 0;

    return port > 0 && port < 65536;
}

static bool check_listen(const struct settings *s, const char *key, const struct settings_list *list, struct err *e)
{
    for (unsigned i = 0; i < list->count; i++) {
        const char *colon = strrchr(list->items[i], ':');

        if (colon == NULL || !is_port(colon + 1))
            return broken(s, e, key, "an entry is not address:port, with a port from 1 to 65535");
    }
    return true;
}

/* Words separated by spaces, each one of `known` (NULL-terminated), at least one. */
static bool are_words(const char *text, const char *const *known)
{
    size_t len;
    bool any = false;

    for (text += strspn(text, " "); *text != '\0'; text += len, text += strspn(text, " ")) {
        const char *const *k = known;

        len = strcspn(text, " ");
        while (*k != NULL && (strlen(*k) != len || strncmp(*k, text, len) != 0))
            k++;
        if (*k == NULL)
            return false;
        any = true;
    }
    return any;
}

static bool is_url(const char *text)
{
    return (strncmp(text, "http://", 7) == 0 && text[7] != '\0') || (strncmp(text, "https://", 8) == 0 && text[8] != '\0');
}

static bool are_distances(const char *text)
{
    unsigned count = 0;

    while (*(text += strspn(text, " ")) != '\0') {
        char one[32];
        size_t len = strcspn(text, " ");
        uint64_t ms;

        if (len >= sizeof one || ++count > 8)
            return false;
        snprintf(one, sizeof one, "%.*s", (int)len, text);
        if (!settings_parse_integer(DURATION, one, &ms) || ms == 0)
            return false;
        text += len;
    }
    return count > 0;
}

static bool check_profile(const struct settings *s, const char *name, const struct settings_profile *p, struct err *e)
{
    static const char *const digests[] = {"sha256", "sha384", "sha512", NULL}, *const rules[] = {"none", "crl", "ocsp", "either", "both", NULL};
    char key[KEY_MAX];

    snprintf(key, sizeof key, "profiles.%s.digests", name);
    if (!are_words(p->digests, digests))
        return broken(s, e, key, "not a list of sha256, sha384, sha512");
    snprintf(key, sizeof key, "profiles.%s.revocation", name);
    if (strchr(p->revocation, ' ') != NULL || !are_words(p->revocation, rules))
        return broken(s, e, key, "none of none, crl, ocsp, either, both");
    snprintf(key, sizeof key, "profiles.%s.ocsp", name);
    return *p->ocsp == '\0' || is_url(p->ocsp) || broken(s, e, key, "not an http: or https: URL");
}

/* What profiles ask of certificates, as far as words go; files and networks are judged by whoever reads them. */
static bool check_identity(const struct settings *s, struct err *e)
{
    static const char *const names[] = {"depositor", "reader", "technical", "functional"}, *const nonces[] = {"off", "optional", "required", NULL};

    for (unsigned i = 0; i < 4; i++)
        if (!check_profile(s, names[i], &s->profiles[i + 1], e))
            return false;
    if (strchr(s->revocation.ocsp_nonce, ' ') != NULL || !are_words(s->revocation.ocsp_nonce, nonces))
        return broken(s, e, "revocation.ocsp_nonce", "none of off, optional, required");
    for (unsigned i = 0; i < s->revocation.fetch.count; i++)
        if (!is_url(s->revocation.fetch.items[i]))
            return broken(s, e, "revocation.fetch", "an entry is not an http: or https: URL");
    return are_distances(s->expiry.warn) || broken(s, e, "expiry.warn", "not one to eight durations, such as 60d 30d 7d 1d");
}

static bool check_schemas(const struct settings *s, struct err *e)
{
    static const char *const policies[] = {"off", "record", "refuse", NULL};
    const struct {
        const char *key, *value;
    } rows[] = {{"ingest.schema_policy", s->ingest.schema_policy}, {"ingest.schema_unknown", s->ingest.schema_unknown}};

    for (unsigned i = 0; i < 2; i++)
        if (strchr(rows[i].value, ' ') != NULL || !are_words(rows[i].value, policies))
            return broken(s, e, rows[i].key, "none of off, record, refuse");
    return true;
}

bool settings_check_rules(const struct settings *s, unsigned parts, struct err *e)
{
    enum log_level level;

    if (*s->vault.operator_id != '\0' &&
        (strlen(s->vault.operator_id) != 4 || strspn(s->vault.operator_id, "0123456789") != 4))
        return broken(s, e, "vault.operator", "not four digits");
    if (!log_level_parse(s->log_level, &level))
        return broken(s, e, "log.level", "none of error, warning, info, debug");
    if (strcmp(s->sealer.algorithm, "rsa-sha256") != 0 && strcmp(s->sealer.algorithm, "rsa-pss-sha256") != 0)
        return broken(s, e, "sealer.algorithm", "neither rsa-sha256 nor rsa-pss-sha256");
    if (strcmp(s->sealer.clock_source, "kernel") != 0 && strcmp(s->sealer.clock_source, "local-trusted") != 0)
        return broken(s, e, "sealer.clock.source", "neither kernel nor local-trusted");
    if (s->ingest.limits.transaction_bytes < s->ingest.limits.body_bytes)
        return broken(s, e, "ingest.limits.transaction_bytes", "less than ingest.limits.body_bytes");
    if (s->ingest.limits.pending_bytes < s->ingest.limits.transaction_bytes)
        return broken(s, e, "ingest.limits.pending_bytes", "less than ingest.limits.transaction_bytes");
    return check_identity(s, e) && check_schemas(s, e) && ((parts & SETTINGS_INGEST) == 0 || check_listen(s, "ingest.listen", &s->ingest.listen, e)) &&
           ((parts & SETTINGS_EXPORTER) == 0 || check_listen(s, "exporter.listen", &s->exporter.listen, e));
}
