// Products of int8 weights in whole numbers by dot products of four bytes (AVX-512 VNNI).
//
// A row x is taken as whole numbers of 24 bits, q = round(x / s), s its largest magnitude / TOP. q
// + 128 (2^16 + 2^8 + 1) is three unsigned digits; a sum of digits times weights fits into 32 bits,
// and
//
//     sum w q = 2^16 sum w (digit2 - 128) + 2^8 sum w (digit1 - 128) + sum w (digit0 - 128)
//
// whose parts are small where few of the row's large numbers meet weights: floats then hold each of
// them.
#pragma once

#include <cstring>

#include "fours.hpp"

namespace recurra::RECURRA_ISA {

constexpr int DIGITS = 3;
constexpr int MIDDLE = 0x808080;   // 128 in each digit
constexpr float TOP = 8355709.0f;  // 2^24 - 1 - MIDDLE - 2: what is rounded twice still fits

inline bool has_fours() { return __builtin_cpu_supports("avx512vnni"); }

// The row that is multiplied: its digits, one plane of bytes after another, `apart` bytes each.
struct Digits {
    alignas(64) std::uint8_t planes[DIGITS * (MOST_DEPTH + 64)];
    std::int64_t apart;
    float step;

    void take(const float* x, const Fours& matrix, const Scale& scale) {
        apart = matrix.groups() * 4 + 64;
        step = scale.step;
        split(x, matrix.depth, scale.inverse);
    }

private:
    RECURRA_INLINE void split(const float* x, std::int64_t depth, float inverse) {
        for (std::int64_t k = 0; k < depth; k += 16) {
            const V<float> value = some(x + k, depth - k);
            const __m512i q = _mm512_maskz_cvtps_epi32(0xffff, value * inverse);
            const __m512i u = _mm512_add_epi32(q, _mm512_set1_epi32(MIDDLE));
            for (int digit = 0; digit < DIGITS; ++digit) {
                const __m512i shifted = _mm512_maskz_srli_epi32(0xffff, u, unsigned(8 * digit));
                _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + digit * apart + k),
                                 _mm512_maskz_cvtepi32_epi8(0xffff, shifted));
            }
        }
    }
};

// Sixteen dot products of four bytes. By its name, not by the intrinsic: with that, compilers read
// the weights anew for every digit and move the sums about.
RECURRA_INLINE void add_fours(__m512i& sum, __m512i digits, __m512i weights) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(digits), "v"(weights));
}

// One row times N vectors of columns; `more`: on top of what is there.
template <int N>
void tile_fours(const Fours& matrix, std::int64_t first, const Digits& digits, bool more,
                float* out) {
    const std::int8_t* panel = matrix.begin + first * matrix.groups() * 64;
    __m512i sum[DIGITS][N];
#pragma GCC unroll 3
    for (int d = 0; d < DIGITS; ++d) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) sum[d][j] = _mm512_setzero_si512();
    }
    for (std::int64_t g = 0; g < matrix.groups(); ++g) {
        __m512i digit[DIGITS];
#pragma GCC unroll 3
        for (int d = 0; d < DIGITS; ++d) {
            std::int32_t four;
            memcpy(&four, digits.planes + d * digits.apart + 4 * g, sizeof(four));
            digit[d] = _mm512_set1_epi32(four);
        }
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            const __m512i weights = _mm512_loadu_si512(panel + j * 64);
#pragma GCC unroll 3
            for (int d = 0; d < DIGITS; ++d) add_fours(sum[d][j], digit[d], weights);
        }
        panel += N * 64;
    }
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
        const std::int64_t column = (first + j) * 16;
        const __m512i middle = _mm512_slli_epi32(_mm512_loadu_si512(matrix.sums + column), 7);
        const __m512 high = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[2][j], middle)),
                     low = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[0][j], middle));
        const __m512 inner = _mm512_fmadd_ps(
            _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[1][j], middle)), _mm512_set1_ps(256.0f), low);
        const __m512 total = _mm512_fmadd_ps(high, _mm512_set1_ps(65536.0f), inner);
        const __m512 scaled = _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(digits.step)),
                                            _mm512_loadu_ps(matrix.scale + column));
        _mm512_storeu_ps(
            out + column,
            _mm512_add_ps(scaled, _mm512_loadu_ps((more ? out : matrix.bias) + column)));
    }
}

}  // namespace recurra::RECURRA_ISA
