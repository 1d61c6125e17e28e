/* lot.xml and genesis.xml: a golden text, nothing else read, and the rules of one lot after another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/formats/lot.h"

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "3333333333333333333333333333333333333333333333333333333333333333"
#define D4 "4444444444444444444444444444444444444444444444444444444444444444"

static const char golden[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<Lot xmlns=\"urn:coffre:lot:1\"><IDOper>4512</IDOper><IDCoffre>1</IDCoffre><IDLot>42</IDLot><PremierEvt>4201</PremierEvt>"
    "<DernierEvt>4300</DernierEvt><NbEvt>100</NbEvt><Ouverture>2026-01-31T12:00:00.123Z</Ouverture>"
    "<Cloture>2026-01-31T12:01:00.000Z</Cloture><MotifCloture>age</MotifCloture><Precedent><IDLot>41</IDLot><Signatures>" D1
    "</Signatures><SignatureValue>" D2 "</SignatureValue></Precedent><Destinataire>" D3 "</Destinataire>"
    "<Comptes><Compte type=\"CPTEALIM\">43</Compte><Compte type=\"PASPMISE\">57</Compte></Comptes><Racine>" D4
    "</Racine></Lot>\n";

static struct lot sample(void)
{
    struct lot l = {.operator_id = "4512", .vault = 1, .number = 42, .first = 4201, .last = 4300, .count = 100,
                    .opened_ms = 1769860800123, .closed_ms = 1769860860000, .reason = LOT_AGE, .previous_lot = 41,
                    .recipient_count = 1};

    memset(l.previous_signatures, 0x11, 32);
    memset(l.previous_value, 0x22, 32);
    memset(l.recipients[0], 0x33, 32);
    memset(l.root, 0x44, 32);
    assert_true(lot_add_type(&l, SLICE_LITERAL("PASPMISE"), 50, NULL));
    assert_true(lot_add_type(&l, SLICE_LITERAL("CPTEALIM"), 43, NULL));
    assert_true(lot_add_type(&l, SLICE_LITERAL("PASPMISE"), 7, NULL));
    return l;
}

static void golden_text(void **state)
{
    struct lot l = sample(), back;
    struct buf out;

    (void)state;
    buf_init(&out, LOT_XML_MAX);
    assert_true(lot_check(&l, NULL));
    assert_true(lot_write(&l, &out, NULL));
    assert_true(slice_is(buf_slice(&out), golden));
    assert_true(lot_read(buf_slice(&out), &back, NULL));
    assert_int_equal(back.type_count, 2);
    assert_string_equal(back.types[0].name, "CPTEALIM");
    assert_memory_equal(back.root, l.root, 32);
    assert_true(back.opened_ms == l.opened_ms && back.last == 4300 && back.reason == LOT_AGE);
    buf_reset(&out);
    assert_true(lot_write(&back, &out, NULL));
    assert_true(slice_is(buf_slice(&out), golden));
    lot_free(&l);
    lot_free(&back);
    buf_free(&out);
}

static void first_lot_names_its_genesis(void **state)
{
    struct lot l = sample(), back;
    struct buf out;

    (void)state;
    buf_init(&out, LOT_XML_MAX);
    l.number = 1;
    l.previous_lot = 0;
    memset(l.genesis, 0x55, 32);
    assert_true(lot_check(&l, NULL) && lot_write(&l, &out, NULL));
    assert_non_null(memmem(buf_slice(&out).at, out.len, "<Precedent><Genese>5555", 23));
    assert_true(lot_read(buf_slice(&out), &back, NULL));
    assert_memory_equal(back.genesis, l.genesis, 32);
    lot_free(&l);
    lot_free(&back);
    buf_free(&out);
}

/* Any byte changed, added or taken away is either refused or read as something else. */
static void every_byte_counts(void **state)
{
    const size_t len = sizeof(golden) - 1;
    uint8_t bent[sizeof(golden) + 1];
    struct buf out;
    struct lot l;

    (void)state;
    buf_init(&out, LOT_XML_MAX);
    for (size_t i = 0; i < len; i++) {
        memcpy(bent, golden, len);
        bent[i] ^= 1;
        if (lot_read(slice_of(bent, len), &l, NULL)) {
            buf_reset(&out);
            assert_true(lot_write(&l, &out, NULL));
            assert_true(slice_equal(buf_slice(&out), slice_of(bent, len))); /* what is read is what is there */
            lot_free(&l);
        }
        assert_false(lot_read(slice_of(golden, i), &l, NULL));
        memcpy(bent, golden, i);
        bent[i] = ' ';
        memcpy(bent + i + 1, golden + i, len - i);
        assert_false(lot_read(slice_of(bent, len + 1), &l, NULL));
    }
    buf_free(&out);
}

static void replaced(const char *old, const char *fresh)
{
    const char *at = strstr(golden, old);
    char *text;
    struct lot l;
    struct err e = {0};

    assert_non_null(at);
    text = mem_printf("%.*s%s%s", (int)(at - golden), golden, fresh, at + strlen(old));
    assert_false(lot_read(slice_text(text), &l, &e));
    assert_int_equal(e.code, ERR_INPUT);
    free(text);
}

static void other_spellings_are_refused(void **state)
{
    (void)state;
    replaced("<IDLot>42<", "<IDLot>042<");
    replaced("<IDLot>42<", "<IDLot>+42<");
    replaced("<IDLot>42<", "<IDLot>99999999999999999999<");
    replaced("<IDLot>42<", "<IDLot>18446744073709551616<");
    replaced("4512", "45123");
    replaced("4512", "45a2");
    replaced("<IDCoffre>1<", "<IDCoffre>1000<");
    replaced(">age<", ">vieux<");
    replaced("12:00:00.123Z", "12:00:00Z");
    replaced("<Compte type=\"CPTEALIM\">43</Compte>", "<Compte type=\"ZZ\">43</Compte>"); /* order */
    replaced("CPTEALIM", "PASPMISE");                                                      /* twice */
    replaced("CPTEALIM", "CPTE&amp;");
    replaced("CPTEALIM", "");
    replaced("\"UTF-8\"", "'UTF-8'");
    replaced("urn:coffre:lot:1", "urn:coffre:lot:2");
    replaced("<Precedent><IDLot>41</IDLot><Signatures>" D1 "</Signatures><SignatureValue>" D2 "</SignatureValue></Precedent>",
             "<Precedent><Genese>" D1 "</Genese></Precedent>");
    replaced("<Precedent><IDLot>41<", "<Precedent><IDLot>0<");
    replaced("</Lot>\n", "</Lot>");
    replaced("</Lot>\n", "</Lot>\n\n");
    replaced(D4, "44");
    replaced("<Lot ", "<!DOCTYPE Lot><Lot ");
}

#define REFUSED(change) \
    do { \
        struct lot l = sample(); \
        struct err e = {0}; \
        change; \
        assert_false(lot_check(&l, &e)); \
        assert_int_equal(e.code, ERR_INPUT); \
        lot_free(&l); \
    } while (0)

static void a_lot_agrees_with_itself(void **state)
{
    (void)state;
    REFUSED(l.count = 101);
    REFUSED(l.last = 4299);
    REFUSED(l.first = 0);
    REFUSED(l.number = 0);
    REFUSED(l.previous_lot = 40);
    REFUSED(l.closed_ms = l.opened_ms - 1);
    REFUSED(l.recipient_count = 0);
    REFUSED(l.types[0].count++);
    REFUSED(l.types[0].count = UINT64_MAX);
    REFUSED(l.vault = 0);
    REFUSED(l.operator_id[2] = 'x');
}

static void lots_follow_each_other(void **state)
{
    struct lot l = sample();
    struct lot_link link = {.number = 41, .last = 4200, .closed_ms = 1769860800000};
    struct err e = {0};

    (void)state;
    memset(link.signatures, 0x11, 32);
    memset(link.value, 0x22, 32);
    assert_true(lot_check_follows(&l, &link, &e));
#define BREAKS(change, undo) \
    do { \
        change; \
        memset(&e, 0, sizeof(e)); \
        assert_false(lot_check_follows(&l, &link, &e)); \
        assert_int_equal(e.code, ERR_DOUBT); \
        undo; \
    } while (0)
    BREAKS(link.number = 40, link.number = 41);
    BREAKS(link.number = 42, link.number = 41);
    BREAKS(link.last = 4199, link.last = 4200);
    BREAKS(link.closed_ms = l.closed_ms + 1, link.closed_ms = l.closed_ms);
    BREAKS(link.signatures[31]++, link.signatures[31]--);
    BREAKS(link.value[0]++, link.value[0]--);
    lot_free(&l);
}

static void genesis_has_one_spelling(void **state)
{
    struct genesis g = {"4512", 1, 1769860800123, {1}, {2}, {3}}, back;
    struct buf out;
    uint8_t bent[GENESIS_XML_MAX];

    (void)state;
    buf_init(&out, GENESIS_XML_MAX);
    assert_true(genesis_write(&g, &out, NULL));
    assert_true(genesis_read(buf_slice(&out), &back, NULL));
    assert_memory_equal(&g, &back, sizeof(g));
    for (size_t i = 0; i < out.len; i++) {
        memcpy(bent, buf_slice(&out).at, out.len);
        bent[i] ^= 0x80;
        assert_false(genesis_read(slice_of(bent, out.len), &back, NULL));
        assert_false(genesis_read(slice_of(bent, i), &back, NULL));
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_text),              cmocka_unit_test(first_lot_names_its_genesis),
        cmocka_unit_test(every_byte_counts),        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(a_lot_agrees_with_itself), cmocka_unit_test(lots_follow_each_other),
        cmocka_unit_test(genesis_has_one_spelling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
