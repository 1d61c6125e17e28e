/* See digest.h. */
#include "common/formats/digest.h"

#include <openssl/evp.h>

#include "common/values/crc.h"

bool digest_sha256(struct slice bytes, uint8_t out[DIGEST_LEN], struct err *e)
{
    unsigned len = 0;

    if (EVP_Digest(bytes.len == 0 ? (const void *)"" : bytes.at, bytes.len, out, &len, EVP_sha256(), NULL) != 1 ||
        len != DIGEST_LEN)
        return err_set_openssl(e, ERR_FATAL, "SHA-256");
    return true;
}

uint32_t digest_crc32(uint32_t crc, struct slice bytes)
{
    return crc_update(crc, bytes);
}
