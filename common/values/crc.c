/* CRC-32: see crc.h. */
#include "common/values/crc.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANE = 16, STRIDE = 4 * LANE };

#define FOLDING __attribute__((target("pclmul,sse4.1")))

/* Moves `sum` over 16 or 64 bytes (the distance is in the pair of constants) and adds what stands there. */
FOLDING static inline __m128i fold(__m128i sum, __m128i constants, __m128i there)
{
    __m128i low = _mm_clmulepi64_si128(sum, constants, 0x00);
    __m128i high = _mm_clmulepi64_si128(sum, constants, 0x11);

    return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

FOLDING static inline __m128i lane(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* 128 bits to 64, then to 32 by Barrett's reduction. */
FOLDING static uint32_t reduce(__m128i sum, __m128i by_16)
{
    const __m128i low_half = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i by_8 = _mm_set_epi64x(0, 0x163cd6124);                    /* x^64 mod P */
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);       /* floor(x^64 / P), P */
    __m128i t = _mm_clmulepi64_si128(sum, by_16, 0x10);

    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), t);
    t = _mm_srli_si128(sum, 4);
    sum = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(sum, low_half), by_8, 0x00), t);
    t = _mm_clmulepi64_si128(_mm_and_si128(sum, low_half), barrett, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, low_half), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, t), 1);
}

/*
 * "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009): four lanes folded in
 * parallel, then into one. `len` is at least STRIDE and a multiple of LANE. The constants are powers of x modulo
 * the polynomial, bit-reflected: x^(512±32) and x^(128±32).
 */
FOLDING static uint32_t crc_folded(uint32_t crc, const uint8_t *at, size_t len)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i a = _mm_xor_si128(lane(at), _mm_cvtsi32_si128((int)crc)), b = lane(at + LANE);
    __m128i c = lane(at + 2 * LANE), d = lane(at + 3 * LANE);

    for (at += STRIDE, len -= STRIDE; len >= STRIDE; at += STRIDE, len -= STRIDE) {
        a = fold(a, by_64, lane(at));
        b = fold(b, by_64, lane(at + LANE));
        c = fold(c, by_64, lane(at + 2 * LANE));
        d = fold(d, by_64, lane(at + 3 * LANE));
    }
    a = fold(fold(fold(a, by_16, b), by_16, c), by_16, d);
    for (; len >= LANE; at += LANE, len -= LANE)
        a = fold(a, by_16, lane(at));
    return reduce(a, by_16);
}

static bool can_fold(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}
#endif

uint32_t crc_update(uint32_t crc, struct slice bytes)
{
#if defined(__x86_64__)
    if (bytes.len >= STRIDE && can_fold()) {
        size_t whole = bytes.len - bytes.len % LANE;

        crc = ~crc_folded(~crc, bytes.at, whole);
        bytes = slice_of(bytes.at + whole, bytes.len - whole);
    }
#endif
    return bytes.len == 0 ? crc : (uint32_t)crc32_z(crc, bytes.at, bytes.len);
}
