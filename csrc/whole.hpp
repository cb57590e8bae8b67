// Products of int8 weights in whole numbers: exact sums, so one row's bits depend neither on others nor on an order.
#pragma once

#if defined(__AVX512F__)
#define RECURRA_FOURS 1
#include "fours_avx512.hpp"
#elif defined(__AVX2__)
#define RECURRA_FOURS 1
#include "fours_avx2.hpp"
#else
#include "fours.hpp"
#endif

#include <cstring>

namespace recurra::RECURRA_ISA {

#if defined(RECURRA_FOURS)

// N vectors of columns in floats, for rows that have no digits: a word of four weights gives one after another.
template <int N>
void tile_plainly(const Fours& matrix, std::int64_t first, const float* x, float* out) {
    V<float> sum[N] = {};
    for (std::int64_t k = 0; k < matrix.depth; k += 4) {
        U<float> words[N];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) memcpy(&words[j], matrix.begin + matrix.place((first + j) * LANES<float>, k), BYTES);
        for (std::int64_t i = 0; i < 4 && k + i < matrix.depth; ++i) {
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) {
                const I<float> weights = (I<float>)(words[j] << std::uint32_t(24 - 8 * i)) >> 24;
                sum[j] = fma(all(x[k + i]), __builtin_convertvector(weights, V<float>), sum[j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
        const std::int64_t column = (first + j) * LANES<float>;
        store<float>(out + column, sum[j] * load(matrix.scale + column) + load(matrix.bias + column));
    }
}

// A panel of `wide` vectors; `digits` null: in floats.
template <int N = WIDEST>
RECURRA_INLINE void choose_fours(int wide, const Fours& matrix, std::int64_t first, const Digits* digits, const float* x, float* out) {
    if (wide == N) {
        if (digits) tile_fours<N>(matrix, first, *digits, out);
        else tile_plainly<N>(matrix, first, x, out);
    } else if constexpr (N > 1) {
        choose_fours<N - 1>(wide, matrix, first, digits, x, out);
    }
}

// operand (rows, depth), `stride` apart; out (rows, padded columns), `apart` apart. `down`: the last columns first, if that pays.
inline void multiply(const Fours& matrix, std::int64_t rows, const float* operand, std::int64_t stride, float* out, std::int64_t apart, bool down) {
    Digits digits;
    for (std::int64_t r = 0; r < rows; ++r) {
        const float* x = operand + r * stride;
        const Digits* taken = digits.take(x, matrix) ? &digits : nullptr;
        for (std::int64_t i = 0, panels = (matrix.vectors() + WIDEST - 1) / WIDEST; i < panels; ++i) {
            const std::int64_t first = WIDEST * (TURNS && down ? panels - 1 - i : i);
            choose_fours(matrix.wide(first), matrix, first, taken, x, out + r * apart);
        }
    }
}

#else

inline bool has_fours() { return false; }
inline void multiply(const Fours&, std::int64_t, const float*, std::int64_t, float*, std::int64_t, bool) {}

#endif

}  // namespace recurra::RECURRA_ISA
