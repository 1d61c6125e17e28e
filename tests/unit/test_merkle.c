/* Merkle trees: known roots, and proofs checked against a naive second implementation of RFC 9162. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/formats/digest.h"
#include "common/formats/hex.h"
#include "common/formats/merkle.h"

/* The leaves every Certificate Transparency implementation is tested with. */
static const struct slice leaves[] = {
    {(const uint8_t *)"", 0},
    {(const uint8_t *)"\x00", 1},
    {(const uint8_t *)"\x10", 1},
    {(const uint8_t *)"\x20\x21", 2},
    {(const uint8_t *)"\x30\x31", 2},
    {(const uint8_t *)"\x40\x41\x42\x43", 4},
    {(const uint8_t *)"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
    {(const uint8_t *)"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16},
};
static const char *const roots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static void known_roots(void **state)
{
    struct merkle m;
    uint8_t root[32];
    char hex[65];

    (void)state;
    merkle_init(&m);
    for (size_t n = 0; n <= 8; n++) {
        assert_true(merkle_root(&m, root, NULL));
        hex_write(hex, slice_of(root, 32));
        assert_string_equal(hex, roots[n]);
        if (n < 8)
            merkle_add(&m, leaves[n]);
    }
    merkle_free(&m);
}

/* MTH as RFC 9162 2.1.1 writes it, over leaves that are the decimal numbers from `from`. */
static void naive(uint64_t from, uint64_t n, uint8_t out[32])
{
    uint8_t bytes[65];
    uint64_t k = 1;

    if (n == 1) {
        int len = snprintf((char *)bytes, sizeof(bytes), "%cleaf %llu", 0, (unsigned long long)from);

        assert_true(digest_sha256(slice_of(bytes, (size_t)len), out, NULL));
        return;
    }
    while (k * 2 < n)
        k *= 2;
    bytes[0] = 1;
    naive(from, k, bytes + 1);
    naive(from + k, n - k, bytes + 33);
    assert_true(digest_sha256(slice_of(bytes, 65), out, NULL));
}

static struct slice numbered(char room[32], uint64_t i)
{
    return slice_of(room, (size_t)snprintf(room, 32, "leaf %llu", (unsigned long long)i));
}

static void every_size_agrees_with_the_definition(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 70; n++) {
        struct merkle m;
        uint8_t root[32], wanted[32];
        char room[32];

        merkle_init(&m);
        for (uint64_t i = 0; i < n; i++)
            merkle_add(&m, numbered(room, i));
        assert_true(merkle_root(&m, root, NULL));
        naive(0, n, wanted);
        assert_memory_equal(root, wanted, 32);
        merkle_free(&m);
    }
}

static void every_proof_holds_and_no_other(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 33; n++) {
        uint8_t root[32];

        naive(0, n, root);
        for (uint64_t index = 0; index < n; index++) {
            const uint8_t(*path)[MERKLE_HASH];
            struct merkle_prover p;
            uint8_t bent[MERKLE_DEPTH][MERKLE_HASH];
            char room[32];
            size_t len;

            merkle_prover_init(&p, index, n);
            assert_false(merkle_prover_path(&p, &path, &len, NULL));
            for (uint64_t i = 0; i < n; i++)
                merkle_prover_add(&p, numbered(room, i));
            assert_true(merkle_prover_path(&p, &path, &len, NULL));
            assert_true(merkle_check(numbered(room, index), index, n, path, len, root));
            assert_false(merkle_check(numbered(room, index + 1), index, n, path, len, root));
            assert_false(merkle_check(numbered(room, index), index + 1, n, path, len, root));
            assert_false(merkle_check(numbered(room, index), n, n, path, len, root));
            assert_false(merkle_check(numbered(room, index), index, n, path, len + 1, root));
            for (size_t i = 0; i < len; i++) {
                memcpy(bent, path, len * MERKLE_HASH);
                bent[i][31] ^= 1;
                assert_false(merkle_check(numbered(room, index), index, n, (const uint8_t(*)[MERKLE_HASH])bent, len, root));
            }
            if (len > 0)
                assert_false(merkle_check(numbered(room, index), index, n, path, len - 1, root));
            merkle_prover_free(&p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_roots),
        cmocka_unit_test(every_size_agrees_with_the_definition),
        cmocka_unit_test(every_proof_holds_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
