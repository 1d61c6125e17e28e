/* See input.h: ZIP files here, folders in input_folder.c. */
#include "exporter/verify/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/values/buf.h"

enum { WINDOW = 256 * 1024 };

/* Two places of the file are read at once: contents and central directory. */
struct window {
    uint8_t *bytes; /* owned */
    uint64_t offset;
    size_t len;
};

struct input {
    char *path; /* owned */
    int fd;     /* -1 for a folder */
    struct folder *folder;
    uint64_t size, first_lot;
    struct window windows[2];
    unsigned last; /* window used last */
    struct zip_reader zip;
    enum zip_fault opening;
    struct err opening_err;
    bool crc_wrong;
};

static bool window_fill(struct input *in, struct window *w, uint64_t offset, struct err *e)
{
    size_t want = in->size - offset < WINDOW ? (size_t)(in->size - offset) : WINDOW, have = 0;

    while (have < want) {
        ssize_t got = pread(in->fd, w->bytes + have, want - have, (off_t)(offset + have));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set_errno(e, ERR_RETRY, "%s: reading at byte %" PRIu64, in->path, offset + have);
        have += (size_t)got;
    }
    w->offset = offset;
    w->len = have;
    return true;
}

static bool input_read_at(void *ctx, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    struct input *in = ctx;

    while (len > 0) {
        struct window *w = NULL;
        size_t part;

        for (unsigned i = 0; i < 2; i++)
            if (offset >= in->windows[i].offset && offset - in->windows[i].offset < in->windows[i].len)
                w = &in->windows[in->last = i];
        if (w == NULL) {
            in->last = 1 - in->last;
            w = &in->windows[in->last];
            if (!window_fill(in, w, offset, e))
                return false;
        }
        part = w->len - (size_t)(offset - w->offset);
        part = part < len ? part : len;
        memcpy(out, w->bytes + (offset - w->offset), part);
        out += part;
        offset += part;
        len -= part;
    }
    return true;
}

/* The segment's first lot stands behind README and certificates: a few names to look at. */
static void input_look_ahead(struct input *in)
{
    struct zip_reader zip = in->zip;
    const struct zip_entry *entry;

    for (int i = 0; i < 16 && in->first_lot == 0 && zip_next(&zip, &entry, NULL) == ZIP_ENTRY; i++) {
        in->first_lot = names_read(entry->name).lot;
        zip_skip(&zip);
    }
}

static bool input_open_zip(struct input *in, struct err *e)
{
    struct zip_source source = {input_read_at, in, in->size};

    if (lseek(in->fd, 0, SEEK_CUR) < 0)
        return err_set(e, ERR_INPUT, "%s: a segment must be a file, not a pipe", in->path);
    for (unsigned i = 0; i < 2; i++)
        in->windows[i].bytes = mem_alloc(WINDOW);
    if (!zip_open(&in->zip, &source, ZIP_SEGMENT, &in->opening_err)) {
        in->opening = in->zip.fault;
        if (in->opening == ZIP_FAULT_READ)
            return err_set(e, ERR_RETRY, "%s", in->opening_err.text);
        zip_open_truncated(&in->zip, &source, ZIP_SEGMENT);
    }
    input_look_ahead(in);
    return true;
}

struct input *input_open(const char *path, struct err *e)
{
    struct input *in = mem_zalloc(1, sizeof(*in));
    struct stat st;
    bool ok;

    in->path = mem_strdup(path);
    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0 || fstat(in->fd, &st) != 0) {
        ok = err_set_errno(e, ERR_RETRY, "%s", path);
    } else if (S_ISDIR(st.st_mode)) {
        in->folder = folder_open(path, e);
        ok = in->folder != NULL;
        in->first_lot = ok ? folder_first_lot(in->folder) : 0;
    } else {
        in->size = (uint64_t)st.st_size;
        ok = input_open_zip(in, e);
    }
    if (ok)
        return in;
    input_free(in);
    return NULL;
}

void input_free(struct input *in)
{
    if (in == NULL)
        return;
    if (in->fd >= 0)
        (void)close(in->fd);
    folder_free(in->folder);
    for (unsigned i = 0; i < 2; i++)
        free(in->windows[i].bytes);
    free(in->path);
    free(in);
}

const char *input_path(const struct input *in)
{
    return in->path;
}

uint64_t input_size(const struct input *in)
{
    return in->size;
}

uint64_t input_first_lot(const struct input *in)
{
    return in->first_lot;
}

bool input_is_zip(const struct input *in)
{
    return in->folder == NULL;
}

enum zip_fault input_opening_fault(const struct input *in, const char **text)
{
    *text = in->opening_err.text;
    return in->opening;
}

bool input_crc_wrong(const struct input *in)
{
    return in->crc_wrong;
}

enum input_result input_next(struct input *in, struct input_file *file, enum zip_fault *fault, struct err *e)
{
    const struct zip_entry *entry;

    *fault = ZIP_FAULT_NONE;
    if (in->folder != NULL)
        return folder_next(in->folder, file, e);
    in->crc_wrong = false;
    switch (zip_next(&in->zip, &entry, e)) {
    case ZIP_END:
        return INPUT_END;
    case ZIP_BAD:
        *fault = in->zip.fault;
        return in->zip.fault == ZIP_FAULT_READ ? INPUT_FAILED : INPUT_DAMAGED;
    case ZIP_ENTRY:
        break;
    }
    memset(file, 0, sizeof(*file));
    memcpy(file->name, entry->name.at, entry->name.len);
    file->entry = names_read(entry->name);
    file->size = entry->size;
    return INPUT_FILE;
}

bool input_read(struct input *in, uint8_t *out, size_t len, size_t *got, enum zip_fault *fault, struct err *e)
{
    struct err zip_err = {0};

    *fault = ZIP_FAULT_NONE;
    if (in->folder != NULL) {
        *fault = ZIP_FAULT_READ;
        return folder_read(in->folder, out, len, got, e);
    }
    if (zip_read(&in->zip, out, len, got, &zip_err))
        return true;
    *fault = in->zip.fault;
    if (in->zip.fault != ZIP_FAULT_CRC)
        return err_set(e, ERR_INPUT, "%s", zip_err.text);
    in->crc_wrong = true;
    return true;
}
