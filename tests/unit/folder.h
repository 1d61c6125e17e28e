/* A folder in /tmp that is a test's own, and gone in the end with all that is in it. */
#ifndef COFFRE_TESTS_FOLDER_H
#define COFFRE_TESTS_FOLDER_H

#include "common/system/settings.h"

/* Set-up and tear-down of a group, or of each of its tests: 0, or not when it failed. */
int folder_make(void **state);
int folder_remove(void **state);

/* Its path, and that of a file in it; the second is the caller's to free. */
const char *folder_path(void);
char *folder_file(const char *name);

/* Writes a file in it, which is empty before. Ends the test when it cannot. */
void folder_write(const char *name, const char *text);

/* A configuration of this text, read from such a file; NULL with the reason. The caller's to free. */
struct settings *folder_settings(const char *text, struct err *e);

/* Takes away a folder or a file, wherever, with all that is in it; links are not followed. 0 when nothing is left, -1 with errno. */
int folder_remove_all(const char *path);

#endif
