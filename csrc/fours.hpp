// How int8 weights lie for products in whole numbers: four of a column side by side, as
// instructions for bytes take them.
#pragma once

#include <cstring>

#include "vector.hpp"

namespace recurra::RECURRA_ISA {

constexpr std::int64_t MOST_DEPTH = 8192;  // a row's digits lie on the stack

// Vectors of columns in a panel; fours of a column that are read together; whether a step that is
// told so begins with the last columns, which pays where reading takes longer than multiplying.
#if defined(__AVX512F__)
constexpr int WIDEST = 8, AT_ONCE = 1;
constexpr bool TURNS = true;
#else
constexpr int WIDEST = 2, AT_ONCE = 2;
constexpr bool TURNS = false;
#endif

// Panels of up to WIDEST vectors of columns, the last perhaps narrower. In a panel AT_ONCE vectors
// of fours for the first vector of columns, as many for the next, and so on; then those of the next
// k. Padded with zeros.
struct Fours {
    const std::int8_t* begin;
    const std::int32_t* sums;  // of each column's weights, where they are asked for
    const float *scale, *bias;
    float longest;  // no column's norm is larger
    std::int64_t depth, columns;

    RECURRA_INLINE std::int64_t vectors() const {
        return (columns + LANES<float> - 1) / LANES<float>;
    }
    RECURRA_INLINE std::int64_t groups() const {
        return (depth + 4 * AT_ONCE - 1) / (4 * AT_ONCE) * AT_ONCE;
    }
    RECURRA_INLINE std::int64_t bytes() const { return vectors() * groups() * BYTES; }

    // Vectors of the panel that begins with vector `first`.
    RECURRA_INLINE int wide(std::int64_t first) const {
        return int(vectors() - first < WIDEST ? vectors() - first : WIDEST);
    }

    // Where weight k of column j lies.
    RECURRA_INLINE std::int64_t place(std::int64_t j, std::int64_t k) const {
        const std::int64_t vector = j / LANES<float>, first = vector / WIDEST * WIDEST,
                           group = k / 4;
        const std::int64_t before = first * groups() + group / AT_ONCE * AT_ONCE * wide(first) +
                                    (vector - first) * AT_ONCE + group % AT_ONCE;
        return before * BYTES + j % LANES<float> * 4 + k % 4;
    }
};

#if defined(__AVX512F__) || defined(__AVX2__)

// A vector of what is left of a row, then zeros.
RECURRA_INLINE V<float> some(const float* x, std::int64_t left) {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps(__mmask16(left >= 16 ? 0xffff : (1u << left) - 1), x);
#else
    if (left >= 8) return load(x);
    const __m256i lanes = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return left > 0 ? _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(int(left)), lanes))
                    : _mm256_setzero_ps();
#endif
}

// To the nearest whole number, as `split` rounds.
RECURRA_INLINE V<float> to_whole(V<float> x) {
#if defined(__AVX512F__)
    return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtps_epi32(0xffff, x));
#else
    return _mm256_cvtepi32_ps(_mm256_cvtps_epi32(x));
#endif
}

// How a row becomes whole numbers: x = step q about, q = round(x inverse).
struct Scale {
    bool fits;      // false where floats must do the work: x is not finite, or so small that its
                    // inverse is not
    bool harmless;  // what rounding loses is seen nowhere
    float step, inverse;
};

// The largest magnitude of x becomes `top`. Rounding q puts errors on a sum that spread by at most
// step |w| / sqrt(12): five times that is not reached in a session. The contract allows 16 eps
// whatever the plain loop's error is, and two such products may meet in a gate. What the loop loses
// itself is not counted on: numbers that are large may meet weights that are small, or gates that
// hide it.
constexpr float SPREAD = 0.28867513f, ALLOWED = 16 * 1.1920929e-7f;
constexpr float harmless(float top) { return ALLOWED * top / (2 * 5 * SPREAD); }

inline Scale scale_of(const float* x, const Fours& matrix, float top) {
    constexpr float TINY = 1e-30f;
    I<float> most = {};
    for (std::int64_t k = 0; k < matrix.depth; k += LANES<float>) {
        const I<float> bits =
            (I<float>)some(x + k, matrix.depth - k) &
            0x7fffffff;  // magnitudes have the order of their bits, and NaN is above them all
        most = bits > most ? bits : most;
    }
    std::int32_t highest = 0;
    for (int lane = 0; lane < LANES<float>; ++lane)
        highest = most[lane] > highest ? most[lane] : highest;
    if (highest == 0) return {true, true, 1.0f, 0.0f};
    float largest;
    memcpy(&largest, &highest, sizeof(largest));
    return {highest < 0x7f800000 && largest >= TINY, largest * matrix.longest <= harmless(top),
            largest / top, top / largest};
}

// What is left of x once it is taken as step q. The product and the difference are rounded once,
// together.
inline void leave_rest(const float* x, const Fours& matrix, const Scale& scale, float* rest) {
    for (std::int64_t k = 0; k < matrix.depth; k += LANES<float>) {
        const V<float> value = some(x + k, matrix.depth - k);
        store<float>(rest + k, fma(-to_whole(value * scale.inverse), all(scale.step), value));
    }
}

#endif

}  // namespace recurra::RECURRA_ISA
