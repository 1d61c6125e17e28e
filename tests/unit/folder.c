/* See folder.h. */
#include "tests/unit/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/buf.h"

static char folder[] = "/tmp/coffre-unit-XXXXXX";

int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

const char *folder_path(void)
{
    return folder;
}

char *folder_file(const char *name)
{
    return mem_printf("%s/%s", folder, name);
}

static int take_away(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

int folder_remove_all(const char *path)
{
    return nftw(path, take_away, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT ? 0 : -1;
}

int folder_remove(void **state)
{
    (void)state;
    return folder_remove_all(folder);
}
