/* See folder.h. */
#include "tests/unit/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/values/buf.h"
#include "tests/unit/unit.h"

static char folder[32];

int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/coffre-unit-XXXXXX");
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

void folder_write(const char *name, const char *text)
{
    char *path = folder_file(name);
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    free(path);
}

struct settings *folder_settings(const char *text, struct err *e)
{
    char *path = folder_file("coffre.yml");
    struct settings *s;

    folder_write("coffre.yml", text);
    s = settings_load(path, 0, e);
    free(path);
    return s;
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
