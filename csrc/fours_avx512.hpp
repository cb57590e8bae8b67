// Products of int8 weights in whole numbers by dot products of four bytes (AVX-512 VNNI).
//
// A row x is taken as whole numbers of 24 bits, q = round(x / s), s its largest magnitude / TOP. q + 2^23 is three unsigned
// digits; a sum of digits times weights fits into 32 bits, and
//
//     sum w q = 2^16 (sum w digit2 - 128 sum w) + 2^8 sum w digit1 + sum w digit0
#pragma once

#include <cstring>

#include "fours.hpp"

namespace recurra::RECURRA_ISA {

constexpr int DIGITS = 3;
constexpr float TOP = 8388606.0f;  // 2^23 - 2: what is rounded twice still fits
constexpr float HARMLESS = 4.0f;   // rounding q puts an error of 3.5e-8 |x|max |w| on a sum

inline bool has_fours() { return __builtin_cpu_supports("avx512vnni"); }

// The row that is multiplied: its digits, one plane of bytes after another, `apart` bytes each.
struct Digits {
    alignas(64) std::uint8_t planes[DIGITS * (MOST_DEPTH + 64)];
    std::int64_t apart;
    float step;

    // False where floats must do the work.
    bool take(const float* x, const Fours& matrix) {
        const Scale scale = scale_of(x, matrix, TOP, HARMLESS);
        apart = matrix.groups() * 4 + 64;
        step = scale.step;
        if (scale.fits) split(x, matrix.depth, scale.inverse);
        return scale.fits;
    }

private:
    RECURRA_INLINE void split(const float* x, std::int64_t depth, float inverse) {
        for (std::int64_t k = 0; k < depth; k += 16) {
            const V<float> value = some(x + k, depth - k);
            const __m512i q = _mm512_maskz_cvtps_epi32(0xffff, value * inverse);
            const __m512i u = _mm512_add_epi32(q, _mm512_set1_epi32(1 << 23));
            for (int digit = 0; digit < DIGITS; ++digit) {
                const __m512i shifted = _mm512_maskz_srli_epi32(0xffff, u, unsigned(8 * digit));
                _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + digit * apart + k), _mm512_maskz_cvtepi32_epi8(0xffff, shifted));
            }
        }
    }
};

// Sixteen dot products of four bytes. By its name, not by the intrinsic: with that, compilers read the weights anew for every
// digit and move the sums about.
RECURRA_INLINE void add_fours(__m512i& sum, __m512i digits, __m512i weights) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(digits), "v"(weights)); }

// One row times N vectors of columns.
template <int N>
void tile_fours(const Fours& matrix, std::int64_t first, const Digits& digits, float* out) {
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
        const __m512i whole = _mm512_sub_epi32(sum[2][j], _mm512_slli_epi32(_mm512_loadu_si512(matrix.sums + column), 7));
        const __m512 low = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[1][j]), _mm512_set1_ps(256.0f), _mm512_cvtepi32_ps(sum[0][j]));
        const __m512 total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(65536.0f), low);
        const __m512 scaled = _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(digits.step)), _mm512_loadu_ps(matrix.scale + column));
        _mm512_storeu_ps(out + column, _mm512_add_ps(scaled, _mm512_loadu_ps(matrix.bias + column)));
    }
}

}  // namespace recurra::RECURRA_ISA
