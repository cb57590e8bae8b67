// Products of int8 weights in whole numbers by AVX2, which multiplies 16-bit words by words and
// unsigned bytes by bytes.
//
// A row x is taken as whole numbers of 22 bits, q = round(x / s), s its largest magnitude / TOP: q
// = 2^6 high + low, high a word and low in 0..63, so that the sum of four products of low with
// weights is a word again.
#pragma once

#include <cstring>

#include "fours.hpp"

namespace recurra::RECURRA_ISA {

constexpr float TOP = 2097150.0f;  // 2^21 - 2: what is rounded twice still fits
constexpr std::int64_t BLOCK =
    256;  // fours whose sums fit into 32 bits: 256 * 2 * 2^15 * 127 < 2^31

inline bool has_fours() { return true; }

// The row that is multiplied.
struct Digits {
    alignas(32) std::int16_t high[MOST_DEPTH + 16];
    alignas(32) std::uint8_t low[MOST_DEPTH + 16];
    float step;

    void take(const float* x, const Fours& matrix, const Scale& scale) {
        step = scale.step;
        split(x, matrix.depth, scale.inverse);
    }

private:
    RECURRA_INLINE void split(const float* x, std::int64_t depth, float inverse) {
        const __m256i mask = _mm256_set1_epi32(63);
        for (std::int64_t k = 0; k < depth; k += 16) {
            const __m256i one = _mm256_cvtps_epi32(some(x + k, depth - k) * inverse);
            const __m256i two = _mm256_cvtps_epi32(some(x + k + 8, depth - k - 8) * inverse);
            const __m256i above =
                _mm256_packs_epi32(_mm256_srai_epi32(one, 6), _mm256_srai_epi32(two, 6));
            const __m256i below =
                _mm256_packs_epi32(_mm256_and_si256(one, mask), _mm256_and_si256(two, mask));
            _mm256_store_si256(reinterpret_cast<__m256i*>(high + k),
                               _mm256_permute4x64_epi64(above, 0xd8));
            const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(below, below),
                                                           0x88);  // 0-3 8-11 | 4-7 12-15
            const __m128i order = _mm_shuffle_epi32(_mm256_castsi256_si128(bytes), 0xd8);
            _mm_store_si128(reinterpret_cast<__m128i*>(low + k), order);
        }
    }
};

RECURRA_INLINE __m256i words(const std::int8_t* from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
RECURRA_INLINE __m256i bytes(const std::int8_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Of a vector of columns, the sums so far: `left` and `right` hold two for each of the first and
// the last four columns.
struct Sums {
    __m256i left = _mm256_setzero_si256(), right = left, low = left;

    RECURRA_INLINE __m256 total() const {
        const __m256 pairs = _mm256_hadd_ps(_mm256_cvtepi32_ps(left), _mm256_cvtepi32_ps(right));
        const __m256 high = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(pairs), 0xd8));
        return _mm256_fmadd_ps(high, _mm256_set1_ps(64.0f), _mm256_cvtepi32_ps(low));
    }
};

// One row times N vectors of columns; `more`: on top of what is there.
template <int N>
void tile_fours(const Fours& matrix, std::int64_t first, const Digits& digits, bool more,
                float* out) {
    const std::int8_t* panel = matrix.begin + first * matrix.groups() * BYTES;
    const __m256i ones = _mm256_set1_epi16(1);
    V<float> total[N] = {};
    for (std::int64_t begin = 0, end; begin < matrix.groups(); begin = end) {
        end = matrix.groups() - begin < BLOCK ? matrix.groups() : begin + BLOCK;
        Sums sum[N];
        for (std::int64_t g = begin; g < end; g += 2) {
            std::int64_t high[2];
            std::int32_t low[2];
            memcpy(high, digits.high + 4 * g, sizeof(high));
            memcpy(low, digits.low + 4 * g, sizeof(low));
            const __m256i above[] = {_mm256_set1_epi64x(high[0]), _mm256_set1_epi64x(high[1])};
            const __m256i below[] = {_mm256_set1_epi32(low[0]), _mm256_set1_epi32(low[1])};
#pragma GCC unroll 2
            for (int j = 0; j < N; ++j) {
                const std::int8_t *one = panel + 2 * j * BYTES, *two = one + BYTES;
                sum[j].left = _mm256_add_epi32(
                    sum[j].left, _mm256_add_epi32(_mm256_madd_epi16(words(one), above[0]),
                                                  _mm256_madd_epi16(words(two), above[1])));
                sum[j].right = _mm256_add_epi32(
                    sum[j].right, _mm256_add_epi32(_mm256_madd_epi16(words(one + 16), above[0]),
                                                   _mm256_madd_epi16(words(two + 16), above[1])));
                const __m256i fours = _mm256_add_epi16(_mm256_maddubs_epi16(below[0], bytes(one)),
                                                       _mm256_maddubs_epi16(below[1], bytes(two)));
                sum[j].low = _mm256_add_epi32(sum[j].low, _mm256_madd_epi16(fours, ones));
            }
            panel += 2 * N * BYTES;
        }
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j) total[j] += sum[j].total();
    }
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) {
        const std::int64_t column = (first + j) * LANES<float>;
        store<float>(out + column, total[j] * digits.step * load(matrix.scale + column) +
                                       load((more ? out : matrix.bias) + column));
    }
}

}  // namespace recurra::RECURRA_ISA
