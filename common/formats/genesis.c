/* genesis.xml, what lot 1 follows. See lot.h. */
#include <inttypes.h>

#include "common/formats/date.h"
#include "common/formats/hex.h"
#include "common/formats/lot.h"
#include "common/formats/text_reader.h"

#define GENESIS_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Genese xmlns=\"urn:coffre:genesis:1\"><IDOper>"

bool genesis_write(const struct genesis *g, struct buf *out, struct err *e)
{
    char date[DATE_LEN + 1], seal[65], tsa[65], salt[65];

    date_write(date, g->date_ms);
    hex_write(seal, slice_of(g->seal, 32));
    hex_write(tsa, slice_of(g->tsa, 32));
    hex_write(salt, slice_of(g->random, 32));
    return buf_printf(out, e, GENESIS_HEAD "%s</IDOper><IDCoffre>%" PRIu32 "</IDCoffre><Date>%s</Date>", g->operator_id,
                      g->vault, date) &&
           buf_printf(out, e, "<CertificatScellement>%s</CertificatScellement><CertificatHorodatage>%s"
                      "</CertificatHorodatage><Alea>%s</Alea></Genese>\n", seal, tsa, salt);
}

bool genesis_read(struct slice xml, struct genesis *g, struct err *e)
{
    struct text_reader r = text_read(xml, "genesis.xml", e);
    struct slice operator_id;

    memset(g, 0, sizeof(*g));
    (void)text_expect(&r, GENESIS_HEAD);
    operator_id = text_until(&r, "</IDOper><IDCoffre>", 4);
    for (size_t i = 0; i < 4; i++)
        if (operator_id.len != 4 || operator_id.at[i] < '0' || operator_id.at[i] > '9')
            return text_fail(&r, "four digits");
    memcpy(g->operator_id, operator_id.at, 4);
    g->vault = (uint32_t)text_number(&r, "</IDCoffre><Date>", 999);
    g->date_ms = text_date(&r, "</Date><CertificatScellement>");
    text_digest(&r, "</CertificatScellement><CertificatHorodatage>", g->seal);
    text_digest(&r, "</CertificatHorodatage><Alea>", g->tsa);
    text_digest(&r, "</Alea></Genese>\n", g->random);
    return text_end(&r);
}
