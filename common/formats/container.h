/*
 * A sealed lot's ASiC-E container (ETSI EN 319 162-1): bytes from parts, parts from bytes.
 * Deterministic: the same parts give the same bytes for ever, and no other bytes are accepted. Pure.
 */
#ifndef COFFRE_CONTAINER_H
#define COFFRE_CONTAINER_H

#include "common/formats/zip.h"
#include "common/values/buf.h"

#define CONTAINER_MIME "application/vnd.etsi.asic-e+zip"
#define CONTAINER_SIGNATURES "META-INF/signatures0.xml"
#define CONTAINER_LOT "lot.xml"
#define CONTAINER_SUMS "SHA256SUMS"
#define CONTAINER_PREVIOUS "previous-signatures.xml"

/* Media types, in manifest.xml and in the signature's DataObjectFormat. */
#define CONTAINER_XML_MIME "text/xml"
#define CONTAINER_TEXT_MIME "text/plain"

enum { CONTAINER_SIGNATURES_MAX = 1 << 20 /* bytes of signatures0.xml */ };

struct container {
    struct slice signatures; /* META-INF/signatures0.xml */
    struct slice lot;        /* lot.xml */
    struct slice sums;       /* SHA256SUMS */
    struct slice previous;   /* previous-signatures.xml; at == NULL in lot 1 */
};

/* Exact size of what container_write() appends. */
size_t container_length(const struct container *c);

/* Appends the container's bytes. */
MUST_CHECK bool container_write(const struct container *c, struct buf *out, struct err *e);

/*
 * The parts of a container, borrowed from `bytes`. ERR_INPUT unless `bytes` is exactly what container_write() makes
 * of them; `fault` (may be NULL) says how the ZIP is wrong (ZIP_FAULT_HEADER for a wrong file list, mimetype or manifest).
 */
MUST_CHECK bool container_read(struct slice bytes, struct container *c, enum zip_fault *fault, struct err *e);

#endif
