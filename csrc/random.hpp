// Random factors by a counter: each depends on the key and its place alone, not on threads or
// instruction sets. Philox4x32-10 of Salmon et al. (2011), "Parallel random numbers: as easy as 1,
// 2, 3", doi:10.1145/2063384.2063405.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace recurra::RECURRA_ISA {

using Wide = U<double>;  // lanes of 64 bits of which the lower 32 count; the upper hold anything

// Products of the lower halves, whole.
RECURRA_INLINE Wide product(Wide a, std::uint32_t b) {
#if defined(__AVX512F__)
    return (Wide)_mm512_maskz_mul_epu32(
        0xFF, (__m512i)a, _mm512_set1_epi64(b));  // gcc 12 warns of the one without a mask
#elif defined(__AVX2__)
    return (Wide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
    return (Wide)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return (Wide)vmull_n_u32(vmovn_u64((uint64x2_t)a), b);
#else
    return (a & 0xFFFFFFFFu) * b;
#endif
}

// The words of two blocks a lane, from their counters, by ten rounds.
RECURRA_INLINE void philox(Wide (&even)[4], Wide (&odd)[4], std::uint64_t key) {
    std::uint32_t low = std::uint32_t(key), high = std::uint32_t(key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        for (Wide* const word : {even, odd}) {
            const Wide first = product(word[0], 0xD2511F53u),
                       second = product(word[2], 0xCD9E8D57u);
            word[0] = (second >> 32) ^ word[1] ^ low;
            word[2] = (first >> 32) ^ word[3] ^ high;
            word[1] = second;
            word[3] = first;
        }
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
}

constexpr int BLOCKS = DRAWN_TOGETHER / 4;

// Number 16 w + b is word w of block 16 group + b, whose counter is (block, 0, 0, 0).
RECURRA_INLINE void words(std::uint32_t (&to)[DRAWN_TOGETHER], std::uint32_t group,
                          std::uint64_t key) {
    constexpr int lanes = LANES<double>;
    Wide lane;
    for (int i = 0; i < lanes; ++i) lane[i] = std::uint64_t(i);
    for (int b = 0; b < BLOCKS; b += 2 * lanes) {
        Wide even[4] = {lane * 2 + (std::uint64_t(group) * BLOCKS + std::uint64_t(b))},
             odd[4] = {even[0] + 1};
        philox(even, odd, key);
        for (int w = 0; w < 4; ++w) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            const Wide both = even[w] << 32 | (odd[w] & 0xFFFFFFFFu);
#else
            const Wide both = odd[w] << 32 | (even[w] & 0xFFFFFFFFu);
#endif
            __builtin_memcpy(to + w * BLOCKS + b, &both, sizeof(both));
        }
    }
}

// Factors `begin` to `end`: 0 where the number is below `zero`, else `value`. `begin` is a multiple
// of DRAWN_TOGETHER.
template <class T>
void draw(T* to, std::int64_t begin, std::int64_t end, std::uint32_t zero, T value,
          std::uint64_t key) {
    alignas(64) std::uint32_t number[DRAWN_TOGETHER];
    for (std::int64_t i = begin; i < end; i += DRAWN_TOGETHER) {
        words(number, std::uint32_t(i / DRAWN_TOGETHER), key);
        if (end - i >= DRAWN_TOGETHER) {
            for (int j = 0; j < DRAWN_TOGETHER; ++j) to[i + j] = number[j] < zero ? T(0) : value;
        } else {
            for (int j = 0; j < end - i; ++j) to[i + j] = number[j] < zero ? T(0) : value;
        }
    }
}

}  // namespace recurra::RECURRA_ISA
