/* Envelopes of events and of lot keys: what we write, the stock `openssl cms -decrypt` opens. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#include "ingest/ledger/envelope.h"
#include "tests/unit/folder.h"
#include "tests/unit/unit.h"

static const uint8_t KEY[ENVELOPE_KEY_SIZE] = "the key of lot 42, 32 bytes long";

static void write_file(const char *name, struct slice s)
{
    char *path = folder_file(name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(s.at, 1, s.len, f), s.len);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void read_file(const char *name, struct buf *out)
{
    char *path = folder_file(name);
    FILE *f = fopen(path, "r");
    uint8_t *room = buf_reserve(out, 1 << 20, NULL);

    assert_non_null(f);
    assert_non_null(room);
    buf_commit(out, fread(room, 1, 1 << 20, f));
    fclose(f);
    free(path);
}

/* Runs a shell command in the folder and gives its exit status. */
static int run(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int run(const char *fmt, ...)
{
    char words[1000], *line;
    va_list ap;
    int status;

    va_start(ap, fmt);
    vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    line = mem_printf("cd %s && { %s; } >>log 2>&1", folder_path(), words);
    status = system(line);
    free(line);
    return status;
}

static int setup(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    for (unsigned i = 1; i <= 2; i++)
        if (run("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=regulator-%u -keyout reg%u.key -out reg%u.pem "
                "-addext keyUsage=critical,keyEncipherment -days 2",
                i, i, i) != 0)
            return 1;
    return run("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=signer -keyout sign.key -out sign.pem "
               "-addext keyUsage=critical,digitalSignature -days 2") != 0 ||
           run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ec -keyout ec.key -out "
               "ec.pem -days 2") != 0;
}

static struct envelope *new_envelope(const char *id)
{
    struct err e = {0};
    struct envelope *v = envelope_new(&e);

    assert_non_null(v);
    assert_true(envelope_set_key(v, KEY, id, &e));
    return v;
}

static void hex(const void *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", ((const uint8_t *)bytes)[i]);
}

static void stock_openssl_opens_an_event(void **state)
{
    static const size_t SIZES[] = {0, 1, 15, 16, 100, 127, 128, 1024, 65535, 65536, 300000};
    struct envelope *v = new_envelope("000042-1");
    char key[65], id[17];

    (void)state;
    hex(KEY, sizeof(KEY), key);
    hex("000042-1", 8, id);
    for (unsigned i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        uint8_t *plain = mem_alloc(SIZES[i]);
        size_t cut = SIZES[i] / 3;
        struct slice parts[3] = {slice_of(plain, cut), slice_of(NULL, 0), slice_of(plain + cut, SIZES[i] - cut)};
        struct buf file, back;

        for (size_t j = 0; j < SIZES[i]; j++)
            plain[j] = (uint8_t)(j * 7 + i);
        buf_init(&file, 1 << 20);
        buf_init(&back, 2 << 20);
        assert_true(envelope_add(v, parts, 3, &file, NULL));
        assert_int_equal(file.len, envelope_size(SIZES[i], 8));
        write_file("event.p7m", buf_slice(&file));
        assert_int_equal(
            run("openssl cms -decrypt -inform DER -in event.p7m -secretkey %s -secretkeyid %s -out event.out", key, id),
            0);
        read_file("event.out", &back);
        assert_true(slice_equal(buf_slice(&back), slice_of(plain, SIZES[i])));
        free(plain);
        buf_free(&file);
        buf_free(&back);
    }
    envelope_free(v);
}

/* DER has one spelling: what OpenSSL parses and writes again is what we wrote. */
static void the_encoding_is_der(void **state)
{
    static const size_t SIZES[] = {0,   1,   50,  51,  52,  53,   80,    90,    100,   110,
                                   127, 128, 130, 255, 256, 1000, 65300, 65400, 65535, 65536};
    struct envelope *v = new_envelope("1234567-12");
    uint8_t *plain = mem_zalloc(1, 70000);

    (void)state;
    for (unsigned i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        struct slice part = slice_of(plain, SIZES[i]);
        struct buf file;
        const unsigned char *at;
        unsigned char *again = NULL;
        CMS_ContentInfo *cms;
        int len;

        buf_init(&file, 1 << 20);
        assert_true(envelope_add(v, &part, 1, &file, NULL));
        assert_int_equal(file.len, envelope_size(SIZES[i], 10));
        at = file.data;
        cms = d2i_CMS_ContentInfo(NULL, &at, (long)file.len);
        assert_non_null(cms);
        assert_ptr_equal(at, file.data + file.len);
        len = i2d_CMS_ContentInfo(cms, &again);
        assert_true(slice_equal(buf_slice(&file), slice_of(again, (size_t)len)));
        OPENSSL_free(again);
        CMS_ContentInfo_free(cms);
        buf_free(&file);
    }
    free(plain);
    envelope_free(v);
}

static bool opens(struct slice file, const char *id)
{
    const unsigned char *at = file.at;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)file.len);
    BIO *out = BIO_new(BIO_s_mem());
    unsigned char key[ENVELOPE_KEY_SIZE];
    unsigned char name[ENVELOPE_KEY_ID_MAX];
    bool ok;

    memcpy(key, KEY, sizeof(key));
    memcpy(name, id, strlen(id));
    ok = cms != NULL && CMS_decrypt_set1_key(cms, key, sizeof(key), name, strlen(id)) == 1 &&
         CMS_decrypt(cms, NULL, NULL, NULL, out, 0) == 1;
    BIO_free(out);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return ok;
}

static void an_altered_event_does_not_open(void **state)
{
    struct envelope *v = new_envelope("000042-1");
    struct slice part = SLICE_LITERAL("<M>what a player did</M>");
    struct buf file;
    size_t cipher;

    (void)state;
    buf_init(&file, 1000);
    assert_true(envelope_add(v, &part, 1, &file, NULL));
    assert_null(memmem(file.data, file.len, "player", 6));
    assert_true(opens(buf_slice(&file), "000042-1"));
    assert_false(opens(buf_slice(&file), "000042-2"));
    cipher = file.len - 18 - part.len;
    for (size_t i = cipher; i < file.len; i++) {
        if (i == file.len - 18 || i == file.len - 17)
            continue;
        file.data[i] ^= 1;
        assert_false(opens(buf_slice(&file), "000042-1"));
        file.data[i] ^= 1;
    }
    buf_free(&file);
    envelope_free(v);
}

/* Same content, same lot: never the same key, nonce or ciphertext, across the random generator's batches. */
static void every_event_has_its_own_key(void **state)
{
    enum { COUNT = 500 };
    struct envelope *v = new_envelope("000042-1");
    struct slice part = SLICE_LITERAL("the same content");
    struct buf file;
    size_t size = envelope_size(part.len, 8);

    (void)state;
    buf_init(&file, COUNT * size);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(envelope_add(v, &part, 1, &file, NULL));
    assert_false(envelope_add(v, &part, 1, &file, NULL));
    assert_int_equal(file.len, COUNT * size);
    for (unsigned i = 0; i < COUNT; i++) {
        const uint8_t *mine = file.data + i * size + size - 18 - part.len;

        assert_true(opens(slice_of(file.data + i * size, size), "000042-1"));
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(mine, file.data + j * size + size - 18 - part.len, part.len);
    }
    buf_free(&file);
    envelope_free(v);
}

static void identifiers_have_limits(void **state)
{
    struct envelope *v = envelope_new(NULL);
    struct slice part = SLICE_LITERAL("x");
    struct buf file;

    (void)state;
    buf_init(&file, 1000);
    assert_false(envelope_add(v, &part, 1, &file, NULL));
    assert_false(envelope_set_key(v, KEY, "", NULL));
    assert_false(envelope_set_key(v, KEY, "123456789012345678901234567890123", NULL));
    assert_true(envelope_set_key(v, KEY, "12345678901234567890123456789012", NULL));
    assert_true(envelope_add(v, &part, 1, &file, NULL));
    assert_true(opens(buf_slice(&file), "12345678901234567890123456789012"));
    buf_free(&file);
    envelope_free(v);
}

static struct envelope_recipients *load(const char *first, const char *second, struct err *e)
{
    char *paths[2] = {folder_file(first), folder_file(second == NULL ? "" : second)};
    struct envelope_recipients *r = envelope_recipients_load(paths, second == NULL ? 1 : 2, e);

    free(paths[0]);
    free(paths[1]);
    return r;
}

static void stock_openssl_opens_a_lot_key_with_each_recipient(void **state)
{
    struct err e = {0};
    struct envelope_recipients *r = load("reg1.pem", "reg2.pem", &e);
    struct buf file;

    (void)state;
    assert_non_null(r);
    buf_init(&file, 10000);
    assert_true(envelope_seal_key(r, KEY, &file, &e));
    write_file("000042-1.p7m", buf_slice(&file));
    for (unsigned i = 1; i <= 2; i++) {
        struct buf back;

        buf_init(&back, 2 << 20);
        assert_int_equal(
            run("openssl cms -decrypt -inform DER -in 000042-1.p7m -inkey reg%u.key -recip reg%u.pem -out key.out", i,
                i),
            0);
        read_file("key.out", &back);
        assert_true(slice_equal(buf_slice(&back), slice_of(KEY, sizeof(KEY))));
        assert_int_equal(run("openssl cms -decrypt -inform DER -in 000042-1.p7m -inkey reg%u.key -out key2.out && cmp "
                             "key.out key2.out",
                             i),
                         0);
        buf_free(&back);
    }
    assert_int_not_equal(
        run("openssl cms -decrypt -inform DER -in 000042-1.p7m -inkey sign.key -recip sign.pem -out no.out"), 0);
    assert_int_equal(
        run("openssl cms -cmsout -print -noout -inform DER -in 000042-1.p7m >print && grep -q rsaesOaep print && "
            "grep -q authEnvelopedData print && grep -q aes-256-gcm print && grep -q subjectKeyIdentifier print && "
            "test $(grep -c ':sha256' print) -eq 4 && test $(grep -c ':mgf1' print) -eq 2"),
        0);
    buf_free(&file);
    envelope_recipients_free(r);
}

static void unfit_certificates_are_refused(void **state)
{
    static const char *const BAD[] = {"sign.pem", "ec.pem", "reg1.key", "absent.pem"};
    struct err e;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        e = (struct err){0};
        assert_null(load("reg1.pem", BAD[i], &e));
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(e.text, BAD[i]));
    }
    assert_null(envelope_recipients_load(NULL, 0, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_openssl_opens_an_event),
        cmocka_unit_test(the_encoding_is_der),
        cmocka_unit_test(an_altered_event_does_not_open),
        cmocka_unit_test(every_event_has_its_own_key),
        cmocka_unit_test(identifiers_have_limits),
        cmocka_unit_test(stock_openssl_opens_a_lot_key_with_each_recipient),
        cmocka_unit_test(unfit_certificates_are_refused),
    };

    return cmocka_run_group_tests_name("envelope", tests, setup, folder_remove);
}
