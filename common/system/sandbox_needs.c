/* What a role's duty and libraries need of a sandbox: paths and ports from the settings, and what is better loaded before the door closes. See sandbox.h. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <libpq-fe.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "common/system/sandbox_internal.h"
#include "common/values/buf.h"

/* One by one, never /etc: keys live there too. A file replaced by another is seen when the role starts again. */
const char *const sandbox_resolver_files[] = {"/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf", "/etc/gai.conf",
                                              "/etc/host.conf",   "/etc/services", "/etc/protocols",     NULL};

/* ---- paths and ports ---------------------------------------------------------------------- */

static void add(struct sandbox *s, const char **list, const char *path)
{
    unsigned i = 0;

    if (path == NULL || *path == '\0')
        return;
    for (; i < SANDBOX_PATHS_MAX && list[i] != NULL; i++)
        if (strcmp(list[i], path) == 0)
            return;
    if (i == SANDBOX_PATHS_MAX)
        s->full = true;
    else
        list[i] = path;
}

void sandbox_read(struct sandbox *s, const char *path)
{
    add(s, s->read, path);
}

void sandbox_read_list(struct sandbox *s, const struct settings_list *paths)
{
    for (unsigned i = 0; i < paths->count; i++)
        add(s, s->read, paths->items[i]);
}

void sandbox_write(struct sandbox *s, const char *folder)
{
    add(s, s->write, folder);
}

void sandbox_connect(struct sandbox *s, uint64_t port)
{
    unsigned i = 0;

    while (i < SANDBOX_PORTS_MAX && s->ports[i] != 0 && s->ports[i] != port)
        i++;
    if (i == SANDBOX_PORTS_MAX || port == 0 || port > UINT16_MAX)
        s->full = true;
    else
        s->ports[i] = (uint16_t)port;
}

/* A path whose text is not the settings'; taken over. */
static const char *own(struct sandbox *s, char *path)
{
    unsigned i = 0;

    while (i < SANDBOX_PATHS_MAX && s->owned[i] != NULL)
        i++;
    if (i == SANDBOX_PATHS_MAX) {
        s->full = true;
        free(path);
        return NULL;
    }
    s->owned[i] = path;
    return path;
}

static void read_owned(struct sandbox *s, char *path)
{
    sandbox_read(s, own(s, path));
}

void sandbox_write_below(struct sandbox *s, const char *folder, const char *name)
{
    sandbox_write(s, own(s, mem_printf("%s/%s", folder, name)));
}

void sandbox_write_beside(struct sandbox *s, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash != NULL)
        sandbox_write(s, own(s, slash == path ? mem_strdup("/") : mem_text(slice_of(path, (size_t)(slash - path)))));
}

void sandbox_use(struct sandbox *s, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        sandbox_write(s, path);
    else
        sandbox_read(s, path);
}

void sandbox_free(struct sandbox *s)
{
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX; i++)
        free(s->owned[i]);
    *s = (struct sandbox){0};
}

char *sandbox_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (slash == NULL || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return mem_strdup(path);
    return slash == path ? mem_strdup("/") : mem_text(slice_of(path, (size_t)(slash - path)));
}

void sandbox_use_broker(struct sandbox *s, const struct settings *settings, const char *certificate, const char *key)
{
    s->permits |= SANDBOX_CONNECT;
    sandbox_connect(s, settings->rabbitmq.port);
    sandbox_read(s, settings->rabbitmq.ca);
    sandbox_read(s, certificate);
    sandbox_read(s, key);
}

/* ---- PostgreSQL ---------------------------------------------------------------------------- */

/* A list like "5432,5433"; false: not understood. */
static bool add_ports(struct sandbox *s, const char *text)
{
    char *end;
    unsigned long port;

    for (;;) {
        port = *text == ',' || *text == '\0' ? 5432 : strtoul(text, &end, 10);
        if (port == 0 || port > UINT16_MAX)
            return false;
        sandbox_connect(s, port);
        text = strchr(text, ',');
        if (text == NULL)
            return true;
        text++;
    }
}

static void add_option(struct sandbox *s, const PQconninfoOption *o)
{
    static const char *const files[] = {"sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "passfile", NULL};

    for (unsigned i = 0; files[i] != NULL; i++)
        if (strcmp(o->keyword, files[i]) == 0 && o->val != NULL && o->val[0] == '/')
            read_owned(s, mem_strdup(o->val));
}

/* Later connection strings win, as they do in database.c. The environment (PGPORT, PGSSLCERT, …) counts where none says anything. */
static bool add_connection_strings(struct sandbox *s, const char *first, const char *second)
{
    PQconninfoOption *all[3] = {PQconndefaults(), PQconninfoParse(first, NULL), PQconninfoParse(second, NULL)};
    char *port = NULL;
    bool known = true;

    for (unsigned i = 0; i < 3; i++)
        for (const PQconninfoOption *o = all[i]; o != NULL && o->keyword != NULL; o++) {
            add_option(s, o);
            if (strcmp(o->keyword, "port") == 0 && o->val != NULL) {
                free(port);
                port = mem_strdup(o->val);
            } else if (strcmp(o->keyword, "service") == 0 && o->val != NULL && *o->val != '\0') {
                known = false; /* what it stands for is in a file */
            }
        }
    known = known && add_ports(s, port == NULL ? "" : port);
    free(port);
    for (unsigned i = 0; i < 3; i++)
        PQconninfoFree(all[i]);
    return known;
}

void sandbox_use_database(struct sandbox *s, const struct settings *settings, const char *extra)
{
    const char *home = getenv("HOME");

    s->permits |= SANDBOX_CONNECT;
    if (home != NULL && *home == '/')
        read_owned(s, mem_printf("%s/.postgresql/", home));
    if (!add_connection_strings(s, settings->postgresql.conninfo, extra == NULL ? "" : extra))
        memset(s->ports, 0, sizeof s->ports);
}

/* ---- before the door closes ------------------------------------------------------------------ */

/*
 * Name service modules are libraries that the C library loads at the first question: no file may become code later. Those that
 * are not there, or not wanted, are no error: resolving goes on with the next one.
 */
static void load_name_services(void)
{
    FILE *in = fopen("/etc/nsswitch.conf", "re");
    char line[512], *word, *rest;

    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        if (strncmp(line, "hosts:", 6) != 0)
            continue;
        for (word = strtok_r(line + 6, " \t\n", &rest); word != NULL && *word != '#'; word = strtok_r(NULL, " \t\n", &rest)) {
            char *name = mem_printf("libnss_%s.so.2", word);

            if (*word != '[' && strchr(word, '/') == NULL)
                (void)dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
            free(name);
        }
    }
    if (in != NULL)
        fclose(in);
}

void sandbox_prepare(unsigned permits)
{
    unsigned char random;

    tzset(); /* gmtime_r() looks for /etc/localtime the first time */
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_LOAD_CONFIG, NULL);
    if (RAND_bytes(&random, 1) != 1) /* opens whatever it needs; who needs random bytes finds out again */
        ERR_clear_error();
    if ((permits & (SANDBOX_CONNECT | SANDBOX_MODULE)) != 0)
        load_name_services();
}
