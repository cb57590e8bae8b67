// Products of int8 weights by dot products of four bytes, where the machine has them: whole numbers, exact, whatever the order.
//
// A row x is taken as whole numbers of 24 bits, q = round(x / s), s its largest magnitude / TOP, so its error is that of a
// float as large as the largest. q + 2^23 is three unsigned digits; a sum of digits times weights fits into 32 bits, and
//
//     sum w q = 2^16 (sum w digit2 - 128 sum w) + 2^8 sum w digit1 + sum w digit0
#pragma once

#include <cstring>

#include "vector.hpp"

#if defined(__AVX512F__)
#define RECURRA_FOURS 1
#endif

namespace recurra::RECURRA_ISA {

constexpr int DIGITS = 3;
constexpr float TOP = 8388606.0f;  // 2^23 - 2: what is rounded twice still fits
constexpr std::int64_t MOST_DEPTH = 8192;  // a sum of more than 2^31 / (255 * 127) could overflow; a row's digits lie on the stack

// Panels of up to eight vectors of columns; for each four of k, four weights of every column side by side.
struct Fours {
    const std::int8_t* begin;
    const std::int32_t* sums;  // of each column's weights
    const float *scale, *bias;
    std::int64_t depth, columns;

    RECURRA_INLINE std::int64_t groups() const { return (depth + 3) / 4; }
};

// Bytes of the panels.
RECURRA_INLINE std::int64_t bytes_of_fours(std::int64_t depth, std::int64_t columns) { return (columns + 15) / 16 * ((depth + 3) / 4) * 64; }

#if defined(RECURRA_FOURS)

inline bool has_fours() { return __builtin_cpu_supports("avx512vnni"); }

RECURRA_INLINE __mmask16 left_of(std::int64_t count) { return __mmask16(count >= 16 ? 0xffff : (1u << count) - 1); }

// Where weight k of column j lies.
RECURRA_INLINE std::int64_t place_of(std::int64_t j, std::int64_t k, std::int64_t depth, std::int64_t columns) {
    const std::int64_t vectors = (columns + 15) / 16, vector = j / 16, first = vector / 8 * 8;
    const std::int64_t wide = vectors - first < 8 ? vectors - first : 8, groups = (depth + 3) / 4;
    return (first * groups + k / 4 * wide + (vector - first)) * 64 + j % 16 * 4 + k % 4;
}

// The digits of a row, one plane of bytes after another, `apart` bytes each; the step s, or 0 where floats must do the work: x is
// not finite, or so small that its inverse is not.
inline float digits_of(const float* x, std::int64_t depth, std::uint8_t* planes, std::int64_t apart) {
    __m512i most = _mm512_setzero_si512();
    for (std::int64_t k = 0; k < depth; k += 16) {
        const __m512i bits = _mm512_castps_si512(_mm512_maskz_loadu_ps(left_of(depth - k), x + k));
        most = _mm512_maskz_max_epi32(0xffff, most, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
    }
    std::int32_t lanes[16], highest = 0;  // magnitudes have the order of their bits, and NaN is above them all
    _mm512_storeu_si512(lanes, most);
    for (const std::int32_t lane : lanes) highest = lane > highest ? lane : highest;
    float largest;
    memcpy(&largest, &highest, sizeof(largest));
    if (highest >= 0x7f800000 || (highest != 0 && largest < 1e-30f)) return 0.0f;
    const float inverse = largest == 0.0f ? 0.0f : TOP / largest;
    for (std::int64_t k = 0; k < depth; k += 16) {
        const __m512 value = _mm512_maskz_loadu_ps(left_of(depth - k), x + k);
        const __m512i q = _mm512_maskz_cvtps_epi32(0xffff, _mm512_mul_ps(value, _mm512_set1_ps(inverse)));
        const __m512i u = _mm512_add_epi32(q, _mm512_set1_epi32(1 << 23));
        for (int digit = 0; digit < DIGITS; ++digit) {
            const __m512i shifted = _mm512_maskz_srli_epi32(0xffff, u, unsigned(8 * digit));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + digit * apart + k), _mm512_maskz_cvtepi32_epi8(0xffff, shifted));
        }
    }
    return largest == 0.0f ? 1.0f : largest / TOP;
}

// Sixteen dot products of four bytes. By its name, not by the intrinsic: with that, compilers read the weights anew for every
// digit and move the sums about.
RECURRA_INLINE void add_fours(__m512i& sum, __m512i digits, __m512i weights) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(digits), "v"(weights)); }

// One row times N vectors of columns.
template <int N>
void tile_fours(const Fours& matrix, std::int64_t first, const std::uint8_t* planes, std::int64_t apart, float step, float* out) {
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
            memcpy(&four, planes + d * apart + 4 * g, sizeof(four));
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
        const __m512 scaled = _mm512_mul_ps(_mm512_mul_ps(total, _mm512_set1_ps(step)), _mm512_loadu_ps(matrix.scale + column));
        _mm512_storeu_ps(out + column, _mm512_add_ps(scaled, _mm512_loadu_ps(matrix.bias + column)));
    }
}

template <int N = 8>
RECURRA_INLINE void choose_fours(int vectors, const Fours& matrix, std::int64_t first, const std::uint8_t* planes, std::int64_t apart, float step, float* out) {
    if (vectors == N) {
        tile_fours<N>(matrix, first, planes, apart, step, out);
    } else if constexpr (N > 1) {
        choose_fours<N - 1>(vectors, matrix, first, planes, apart, step, out);
    }
}

// In floats, one number after another: for rows that have no digits.
inline void multiply_plainly(const Fours& matrix, const float* x, float* out) {
    for (std::int64_t j = 0; j < matrix.columns; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < matrix.depth; ++k) sum += x[k] * float(matrix.begin[place_of(j, k, matrix.depth, matrix.columns)]);
        out[j] = sum * matrix.scale[j] + matrix.bias[j];
    }
}

// operand (rows, depth), `stride` apart; out (rows, padded columns), `apart` apart. `down`: the last columns first.
inline void multiply(const Fours& matrix, std::int64_t rows, const float* operand, std::int64_t stride, float* out, std::int64_t apart, bool down) {
    alignas(64) std::uint8_t planes[DIGITS * (MOST_DEPTH + 64)];
    const std::int64_t vectors = (matrix.columns + 15) / 16, plane = matrix.groups() * 4 + 64;
    for (std::int64_t r = 0; r < rows; ++r) {
        const float* x = operand + r * stride;
        const float step = digits_of(x, matrix.depth, planes, plane);
        if (step == 0.0f) {
            multiply_plainly(matrix, x, out + r * apart);
            continue;
        }
        for (std::int64_t i = 0, panels = (vectors + 7) / 8; i < panels; ++i) {
            const std::int64_t first = 8 * (down ? panels - 1 - i : i);
            choose_fours(int(vectors - first < 8 ? vectors - first : 8), matrix, first, planes, plane, step, out + r * apart);
        }
    }
}

#else

inline bool has_fours() { return false; }
RECURRA_INLINE std::int64_t place_of(std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return 0; }
inline void multiply(const Fours&, std::int64_t, const float*, std::int64_t, float*, std::int64_t, bool) {}

#endif

}  // namespace recurra::RECURRA_ISA
