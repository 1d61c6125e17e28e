/* What a renewal is made of, with a real SoftHSM token: certificates judged for what they will have to do and held against their keys, PINs that are never tried twice, and what two roles agree on. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sealer/credentials.h"
#include "sealer/pin_guard.h"
#include "common/system/secret.h"
#include "sealer/sealing_internal.h"
#include "tests/unit/vault.h"

static struct credentials *load(enum credentials_duty duty)
{
    struct err e = {0};
    struct settings *s = settings_load(vault.config, SETTINGS_SEALER, &e);
    struct credentials *c = s == NULL ? NULL : credentials_load(duty, s, &e);

    if (c == NULL)
        fail_msg("%s", e.text);
    settings_free(s);
    return c;
}

static int64_t now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

/* ---- certificates ---------------------------------------------------------------------------- */

static void those_of_the_vault_are_good_until_ten_minutes_before_their_end(void **state)
{
    const int64_t day = 86400000, ends = now_ms() + 29 * day;

    (void)state;
    for (int duty = CREDENTIALS_SEAL; duty <= CREDENTIALS_STAMP; duty++) {
        struct credentials *c = load((enum credentials_duty)duty);
        struct err e = {0};

        assert_true(credentials_check(c, now_ms(), &e));
        assert_true(credentials_check(c, ends - 2 * CREDENTIALS_MARGIN_MS, &e));
        assert_false(credentials_check(c, ends - CREDENTIALS_MARGIN_MS / 2, &e));
        assert_int_equal(e.code, ERR_DOUBT);
        assert_non_null(strstr(e.text, "within 10 minutes"));
        assert_false(credentials_check(c, ends + day, NULL));
        assert_false(credentials_check(c, now_ms() - 2 * day, NULL));
        credentials_free(c);
    }
}

static void judged(const struct pki_identity *id, const char *name, enum credentials_duty duty, const char *why)
{
    struct credentials *c;
    struct err e = {0};

    vault_save(id, name);
    c = load(duty);
    assert_false(credentials_check(c, now_ms(), &e));
    if (strstr(e.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
    credentials_free(c);
}

static void those_of_something_else_are_refused(void **state)
{
    struct pki_identity other = pki_issue(NULL, "Other CA", PKI_CA, now_ms() - 86400000, 60);
    struct pki_identity client = pki_issue(&vault.ca, "seal", PKI_CLIENT, now_ms() - 86400000, 30), stranger = pki_issue(&other, "seal", PKI_SEAL, now_ms() - 86400000, 30);

    (void)state;
    judged(&client, "seal", CREDENTIALS_SEAL, "key usage lacks");
    judged(&client, "tsa", CREDENTIALS_STAMP, "critical extended key usage of timeStamping");
    judged(&vault.seal, "tsa", CREDENTIALS_STAMP, "critical extended key usage of timeStamping");
    judged(&stranger, "seal", CREDENTIALS_SEAL, "issuer certificate");
    judged(&vault.tsa, "seal", CREDENTIALS_SEAL, "seal certificate: ");
    vault_save(&vault.seal, "seal");
    vault_save(&vault.tsa, "tsa");
    pki_free(&other);
    pki_free(&client);
    pki_free(&stranger);
}

static void a_certificate_and_a_key_are_held_against_each_other_in_the_token(void **state)
{
    struct credentials *seal = load(CREDENTIALS_SEAL), *tsa = load(CREDENTIALS_STAMP);
    struct err e = {0};
    struct hsm *h = hsm_open(&vault.token, "seal", &e);
    EVP_PKEY *beside;

    (void)state;
    assert_non_null(h);
    beside = hsm_find_key(h, "tsa", &e);
    assert_non_null(beside);
    assert_true(credentials_check_key(seal, hsm_key(h), &e) && credentials_check_key(tsa, beside, &e));
    assert_false(credentials_check_key(seal, beside, &e));
    assert_int_equal(e.code, ERR_INPUT);
    assert_non_null(strstr(e.text, "is not the certificate of key \"seal\""));
    err_clear(&e);
    assert_null(hsm_find_key(h, "nobody", &e));
    assert_non_null(strstr(e.text, "no private key labelled \"nobody\""));
    seal->algorithm = XADES_RSA_PSS_SHA256;
    err_clear(&e);
    assert_true(credentials_check_key(seal, hsm_key(h), &e));
    EVP_PKEY_free(beside);
    hsm_close(h);
    credentials_free(seal);
    credentials_free(tsa);
}

static void both_roles_have_one_mark_and_another_one_when_anything_differs(void **state)
{
    struct credentials *seal = load(CREDENTIALS_SEAL), *tsa = load(CREDENTIALS_STAMP), *changed;

    (void)state;
    assert_memory_equal(seal->mark, tsa->mark, sizeof seal->mark);
    vault_save(&vault.ca, "tsa");
    changed = load(CREDENTIALS_SEAL);
    assert_memory_not_equal(seal->mark, changed->mark, sizeof seal->mark);
    vault_save(&vault.tsa, "tsa");
    credentials_free(seal);
    credentials_free(tsa);
    credentials_free(changed);
}

/* ---- PINs -------------------------------------------------------------------------------------- */

/* Counts what is really given to the token. */
struct counting {
    struct pin_guard guard;
    struct hsm_pin_guard counted;
    unsigned tried;
    bool allowed;
};

static bool before(void *ctx, const struct secret *pin, struct err *e)
{
    struct counting *c = ctx;

    c->allowed = c->guard.hsm.before(&c->guard, pin, e);
    c->tried += c->allowed;
    return c->allowed;
}

static void after(void *ctx, const struct secret *pin, enum hsm_pin what)
{
    struct counting *c = ctx;

    assert_true(c->allowed || what == HSM_PIN_UNKNOWN);
    c->guard.hsm.after(&c->guard, pin, what);
}

/* As a process that has just begun. */
static bool opens(struct counting *c, const char *pin_file, struct err *e)
{
    const struct hsm_token where = {.module = vault.token.module, .label = vault.token.label, .pin_file = pin_file, .guard = &c->counted};
    struct hsm *h;
    bool ok;

    pin_guard_init(&c->guard, vault.memory, pin_file);
    c->counted = (struct hsm_pin_guard){before, after, c};
    err_clear(e);
    h = hsm_open(&where, "seal", e);
    ok = h != NULL;
    hsm_close(h);
    pin_guard_free(&c->guard);
    return ok;
}

static void write_pin(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_true(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Opens with the right PIN, which one refused in 256 looks like: then it is said which file to remove. */
static void takes(struct counting *c, const char *pin_file, const char *record, struct err *e)
{
    if (opens(c, pin_file, e))
        return;
    assert_non_null(strstr(e->text, "1 in 256"));
    assert_int_equal(unlink(record), 0);
    assert_true(opens(c, pin_file, e));
}

static void a_refused_pin_is_not_tried_again_and_another_is(void **state)
{
    struct counting c = {0};
    struct err e = {0};
    struct stat st;
    char *pin = mem_printf("%s/pin", vault.folder), *record = mem_printf("%s.pin-refused", vault.memory), *other = mem_printf("%s/pin-2", vault.folder);

    (void)state;
    assert_true(opens(&c, pin, &e));
    write_pin(pin, "4321\n");
    assert_false(opens(&c, pin, &e));
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, "refuses this PIN"));
    assert_null(strstr(e.text, "4321"));
    assert_int_equal(c.tried, 2);
    for (int i = 0; i < 3; i++) {
        assert_false(opens(&c, pin, &e));
        assert_int_equal(e.code, ERR_DENIED);
        assert_non_null(strstr(e.text, "has refused this PIN before"));
    }
    write_pin(pin, "4321"); /* the same, written again */
    assert_false(opens(&c, pin, &e));
    write_pin(other, "4321\n");
    assert_int_equal(chmod(other, 0600), 0);
    assert_false(opens(&c, other, &e));
    assert_int_equal(c.tried, 2);
    assert_int_equal(stat(record, &st), 0);
    assert_int_equal(st.st_size, PIN_GUARD_RECORD); /* no digest of which a PIN could be found by trying all */
    assert_int_equal(unlink(record), 0);
    assert_false(opens(&c, pin, &e)); /* somebody has said that it may be tried */
    assert_int_equal(c.tried, 3);
    write_pin(pin, "1234\n");
    takes(&c, pin, record, &e);
    assert_int_equal(c.tried, 4);
    (void)unlink(record);
    free(pin);
    free(record);
    free(other);
}

/* Removing the file helps the process that has seen the PIN refused, too. */
static void what_was_refused_may_be_tried_again_when_the_file_is_removed(void **state)
{
    char *pin = mem_printf("%s/pin", vault.folder), *record = mem_printf("%s.pin-refused", vault.memory);
    struct secret tried = {0};
    struct pin_guard g;
    struct err e = {0};

    (void)state;
    assert_true(secret_read_pin(&tried, pin, &e));
    pin_guard_init(&g, vault.memory, pin);
    assert_true(g.hsm.before(&g, &tried, &e));
    g.hsm.after(&g, &tried, HSM_PIN_REFUSED);
    assert_false(g.hsm.before(&g, &tried, &e));
    g.hsm.after(&g, &tried, HSM_PIN_UNKNOWN);
    assert_int_equal(unlink(record), 0);
    assert_true(g.hsm.before(&g, &tried, &e));
    g.hsm.after(&g, &tried, HSM_PIN_TAKEN);
    pin_guard_free(&g);
    secret_free(&tried);
    free(pin);
    free(record);
}

/* ---- agreement ---------------------------------------------------------------------------------- */

static struct message_stands stands(uint8_t now, uint8_t next)
{
    return (struct message_stands){.now = {now}, .next = {next}};
}

static void two_roles_take_the_newest_that_both_have(void **state)
{
    static const struct {
        uint8_t seal_now, seal_next, stamp_now, stamp_next, chosen; /* 0: none */
    } cases[] = {
        {1, 0, 1, 0, 1}, {1, 2, 1, 2, 2}, {1, 2, 1, 0, 1}, {1, 0, 1, 2, 1}, {2, 0, 1, 2, 2}, {1, 2, 2, 0, 2},
        {1, 2, 1, 3, 1}, {1, 0, 2, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 1, 2, 0}, {1, 2, 3, 4, 0}, {2, 3, 1, 2, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message_stands seal = stands(cases[i].seal_now, cases[i].seal_next), stamp = stands(cases[i].stamp_now, cases[i].stamp_next);
        uint8_t chosen[MESSAGE_MARK] = {0};

        assert_int_equal(sealing_choose(&seal, &stamp, chosen), cases[i].chosen != 0);
        assert_int_equal(chosen[0], cases[i].chosen);
    }
}

static void what_is_said_before_a_lot_is_read_back_and_nothing_shorter(void **state)
{
    const struct message_stands said = {.lot = 42, .now = {1, 2}, .next = {3, 4}};
    const struct message_stand asked = {.lot = 42, .take = {5, 6}};
    struct message_stands heard;
    struct message_stand question;
    struct buf b;

    (void)state;
    buf_init(&b, 200);
    assert_true(message_put_stands(&b, &said, NULL) && message_get_stands(buf_slice(&b), &heard, NULL));
    assert_memory_equal(&said, &heard, sizeof said);
    for (size_t len = 0; len < b.len; len++)
        assert_false(message_get_stands(slice_of(buf_slice(&b).at, len), &heard, NULL));
    buf_reset(&b);
    assert_true(message_put_stand(&b, &asked, NULL) && message_get_stand(buf_slice(&b), &question, NULL));
    assert_memory_equal(&asked, &question, sizeof asked);
    for (size_t len = 0; len < b.len; len++)
        assert_false(message_get_stand(slice_of(buf_slice(&b).at, len), &question, NULL));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_of_the_vault_are_good_until_ten_minutes_before_their_end),
        cmocka_unit_test(those_of_something_else_are_refused),
        cmocka_unit_test(a_certificate_and_a_key_are_held_against_each_other_in_the_token),
        cmocka_unit_test(both_roles_have_one_mark_and_another_one_when_anything_differs),
        cmocka_unit_test(a_refused_pin_is_not_tried_again_and_another_is),
        cmocka_unit_test(what_was_refused_may_be_tried_again_when_the_file_is_removed),
        cmocka_unit_test(two_roles_take_the_newest_that_both_have),
        cmocka_unit_test(what_is_said_before_a_lot_is_read_back_and_nothing_shorter),
    };

    return cmocka_run_group_tests(tests, vault_set_up, vault_tear_down);
}
