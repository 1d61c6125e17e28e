/* A folder in /tmp that is a test program's own: made once, and gone in the end with all that is in it. */
#ifndef COFFRE_TESTS_FOLDER_H
#define COFFRE_TESTS_FOLDER_H

/* Set-up and tear-down of a group: 0, or not when it failed. After the second, whatever the first made is gone. */
int folder_make(void **state);
int folder_remove(void **state);

/* Its path, and that of a file in it; the second is the caller's to free. */
const char *folder_path(void);
char *folder_file(const char *name);

/* Takes away a folder or a file, wherever, with all that is in it; links are not followed. 0 when nothing is left, -1 with errno. */
int folder_remove_all(const char *path);

#endif
