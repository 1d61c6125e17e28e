/* Who holds a ceremony, as the operating system says: see ceremony.h. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sealer/ceremony/ceremony.h"

/* sudo's word is taken from root only: anyone else could have set it to be a second person. What root says of itself, only the host's own records contradict. */
static const char *behind_root(void)
{
    const char *user = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    size_t len = user == NULL ? 0 : strlen(user);

    return len == 0 || len > CEREMONY_USER_MAX || strspn(user, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") != len ||
                   strcmp(user, "root") == 0
               ? NULL
               : user;
}

void ceremony_who(struct ceremony_person *p)
{
    const struct passwd *entry = getpwuid(getuid());
    const char *user = behind_root();
    char own[CEREMONY_USER_MAX + 1], host[65] = "";

    if (entry != NULL)
        snprintf(own, sizeof own, "%.64s", entry->pw_name);
    else
        snprintf(own, sizeof own, "uid %lu", (unsigned long)getuid());
    if (user == NULL)
        snprintf(p->by, sizeof p->by, "%s", own);
    else
        snprintf(p->by, sizeof p->by, "%s (as %s)", user, own);
    snprintf(p->identity, sizeof p->identity, "user %s", user == NULL ? own : user);
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown host");
    snprintf(p->host, sizeof p->host, "%s", host);
}
