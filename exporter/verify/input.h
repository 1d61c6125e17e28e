/*
 * What is verified: a segment (ZIP file) or a folder it was extracted to, read once from
 * beginning to end in the order a segment has. Everything in it is a stranger's.
 */
#ifndef COFFRE_VERIFY_INPUT_H
#define COFFRE_VERIFY_INPUT_H

#include "common/formats/names.h"
#include "common/formats/zip.h"

struct input; /* owned */

struct input_file {
    struct names_entry entry;
    char name[ZIP_NAME_MAX + 1]; /* NUL-terminated */
    uint64_t size;               /* bytes */
};

enum input_result { INPUT_FILE, INPUT_END, INPUT_DAMAGED, INPUT_FAILED };

/* NULL and ERR_INPUT or ERR_RETRY when it cannot be opened. */
struct input *input_open(const char *path, struct err *e);
void input_free(struct input *in);

const char *input_path(const struct input *in);
uint64_t input_size(const struct input *in);  /* bytes of a ZIP file; 0 for a folder */
uint64_t input_first_lot(const struct input *in); /* smallest lot of a folder, first lot of a ZIP file; 0: none */
bool input_is_zip(const struct input *in);

/* Why a ZIP could not be opened as it should; ZIP_FAULT_NONE if it could. Its files are read as far as they go. */
enum zip_fault input_opening_fault(const struct input *in, const char **text);

/* INPUT_DAMAGED: `fault` says how, nothing more can be read. INPUT_FAILED: the system's fault (e). */
enum input_result input_next(struct input *in, struct input_file *file, enum zip_fault *fault, struct err *e);

/*
 * Bytes of the file just named; *got is 0 at its end. A wrong CRC-32 is not an error here but input_crc_wrong(). False: `fault` as above,
 * or ZIP_FAULT_READ.
 */
MUST_CHECK bool input_read(struct input *in, uint8_t *out, size_t len, size_t *got, enum zip_fault *fault, struct err *e);
bool input_crc_wrong(const struct input *in);

/* Folder part, input_folder.c. */
struct folder;
struct folder *folder_open(const char *path, struct err *e);
void folder_free(struct folder *f);
uint64_t folder_first_lot(const struct folder *f);
enum input_result folder_next(struct folder *f, struct input_file *file, struct err *e);
MUST_CHECK bool folder_read(struct folder *f, uint8_t *out, size_t len, size_t *got, struct err *e);

#endif
