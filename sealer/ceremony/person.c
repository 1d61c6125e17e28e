/*
 * Who holds a ceremony, as the kernel says: the user this runs as, and the one who logged in (the audit login uid, kept across su and sudo). Nothing of it
 * is taken from the environment, which the caller writes. See ceremony.h.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sealer/ceremony/ceremony.h"

enum { NOBODY_LOGGED_IN = -1 };

static void name_user(char out[CEREMONY_USER_MAX + 1], uid_t uid)
{
    const struct passwd *entry = getpwuid(uid);

    if (entry != NULL)
        snprintf(out, CEREMONY_USER_MAX + 1, "%.64s", entry->pw_name);
    else
        snprintf(out, CEREMONY_USER_MAX + 1, "uid %lu", (unsigned long)uid);
}

/* proc(5), /proc/pid/loginuid; NOBODY_LOGGED_IN where the kernel has none, or the process was started by no login. */
static uid_t login_user(void)
{
    FILE *in = fopen("/proc/self/loginuid", "re");
    unsigned long uid = (uid_t)NOBODY_LOGGED_IN;

    if (in == NULL)
        return (uid_t)NOBODY_LOGGED_IN;
    if (fscanf(in, "%10lu", &uid) != 1)
        uid = (uid_t)NOBODY_LOGGED_IN;
    fclose(in);
    return (uid_t)uid;
}

void ceremony_who(struct ceremony_person *p)
{
    uid_t login = login_user();
    char own[CEREMONY_USER_MAX + 1], logged[CEREMONY_USER_MAX + 1] = "", host[65] = "";

    name_user(own, getuid());
    if (login != (uid_t)NOBODY_LOGGED_IN)
        name_user(logged, login);
    if (login == (uid_t)NOBODY_LOGGED_IN)
        snprintf(p->by, sizeof p->by, "%s (without login)", own);
    else if (login == getuid())
        snprintf(p->by, sizeof p->by, "%s", own);
    else
        snprintf(p->by, sizeof p->by, "%s (as %s)", logged, own);
    snprintf(p->identity, sizeof p->identity, "user %s", *logged == '\0' ? own : logged);
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown host");
    snprintf(p->host, sizeof p->host, "%s", host);
}
