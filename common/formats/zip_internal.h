/* What zip_write.c and zip_read.c share; nobody else includes it. */
#ifndef COFFRE_ZIP_INTERNAL_H
#define COFFRE_ZIP_INTERNAL_H

#include "common/formats/zip.h"

#define ZIP_LOCAL_MAGIC 0x04034b50U
#define ZIP_CENTRAL_MAGIC 0x02014b50U
#define ZIP_EOCD_MAGIC 0x06054b50U
#define ZIP_EOCD64_MAGIC 0x06064b50U
#define ZIP_LOCATOR_MAGIC 0x07064b50U

enum {
    ZIP_LOCAL_FIXED = 30,
    ZIP_CENTRAL_FIXED = 46,
    ZIP_EXTRA = 12, /* ZIP64 extra field with an offset */
    ZIP_EOCD = 22,
    ZIP_EOCD64 = 56,
    ZIP_LOCATOR = 20,
};

#endif
