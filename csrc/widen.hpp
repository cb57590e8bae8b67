// Weights in the precision in which they are kept, as the numbers that a product multiplies with.
#pragma once

#include "vector.hpp"

namespace recurra::RECURRA_ISA {

// Columns of a panel of weights.
template <class T>
constexpr int PANEL = 2 * LANES<T>;

// A stored weight as numbers: itself, a bfloat16's bits, or a whole number whose scale comes after
// the sum.
RECURRA_INLINE V<float> widen(const float* from) { return load(from); }
RECURRA_INLINE V<double> widen(const double* from) { return load(from); }

#if defined(__AVX512F__)  // with masks that leave out nothing: compilers warn of the others
RECURRA_INLINE V<float> widen(const std::uint16_t* from) {
    const __m512i bits = _mm512_maskz_cvtepu16_epi32(
        0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, bits, 16));
}
RECURRA_INLINE V<float> widen(const std::int8_t* from) {
    const __m512i numbers =
        _mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return _mm512_maskz_cvtepi32_ps(0xffff, numbers);
}
#elif defined(__AVX2__)
RECURRA_INLINE V<float> widen(const std::uint16_t* from) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16));
}
RECURRA_INLINE V<float> widen(const std::int8_t* from) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
#else
RECURRA_INLINE V<float> widen(const std::uint16_t* from) {
    typedef std::uint16_t Loose __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));
    return (V<float>)(__builtin_convertvector(*reinterpret_cast<const Loose*>(from), U<float>)
                      << 16);
}
RECURRA_INLINE V<float> widen(const std::int8_t* from) {
    typedef std::int8_t Loose __attribute__((vector_size(BYTES / 4), aligned(1), may_alias));
    return __builtin_convertvector(
        __builtin_convertvector(*reinterpret_cast<const Loose*>(from), I<float>), V<float>);
}
#endif

// Where column j of a panel's row lies, `stored` columns wide. Of two vectors of bfloat16 one has
// the lower halves of words and the other the upper ones: each comes out of the words by one
// instruction.
template <class E>
RECURRA_INLINE std::int64_t place_in_row(std::int64_t j, std::int64_t stored) {
    return sizeof(E) == 2 && stored == PANEL<float> ? j % LANES<float> * 2 + j / LANES<float> : j;
}

RECURRA_INLINE void widen_pair(const std::uint16_t* from, V<float>* to) {
    typedef std::uint32_t Words __attribute__((vector_size(BYTES), aligned(2), may_alias));
    const U<float> words = *reinterpret_cast<const Words*>(from);
    to[0] = (V<float>)(words << 16);
    to[1] = (V<float>)(words & 0xffff0000u);
}

// The vectors of a tile in a row of its panels, `panel` apart.
template <int N, class T, class E>
RECURRA_INLINE void read_columns(const E* panels, std::int64_t panel, V<T>* column) {
    if constexpr (sizeof(E) == 2 && N > 1) {
#pragma GCC unroll 4
        for (int j = 0; j < N; j += 2) widen_pair(panels + j / 2 * panel, column + j);
    } else {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) column[j] = widen(panels + j / 2 * panel + j % 2 * LANES<T>);
    }
}

}  // namespace recurra::RECURRA_ISA
