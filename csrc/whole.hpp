// Products of int8 weights in whole numbers: exact sums, so one row's bits depend neither on others
// nor on an order.
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
#include <type_traits>

namespace recurra::RECURRA_ISA {

#if defined(RECURRA_FOURS)

// N vectors of columns in floats, for rows that have no digits: a word of four weights gives one
// after another.
template <int N>
void tile_plainly(const Fours& matrix, std::int64_t first, const float* x, float* out) {
    V<float> sum[N] = {};
    for (std::int64_t k = 0; k < matrix.depth; k += 4) {
        U<float> words[N];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j)
            memcpy(&words[j], matrix.begin + matrix.place((first + j) * LANES<float>, k), BYTES);
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
        store<float>(out + column,
                     sum[j] * load(matrix.scale + column) + load(matrix.bias + column));
    }
}

// A panel of `wide` vectors: f is called with how many, known when it is compiled.
template <int N = WIDEST, class F>
RECURRA_INLINE void choose_fours(int wide, F f) {
    if (wide == N)
        f(std::integral_constant<int, N>());
    else if constexpr (N > 1)
        choose_fours<N - 1>(wide, f);
}

template <class F>
RECURRA_INLINE void each_panel(const Fours& matrix, bool down, F f) {
    for (std::int64_t i = 0, panels = (matrix.vectors() + WIDEST - 1) / WIDEST; i < panels; ++i) {
        const std::int64_t first = WIDEST * (TURNS && down ? panels - 1 - i : i);
        choose_fours(matrix.wide(first), [&](auto wide) { f(wide, first); });
    }
}

// operand (rows, depth), `stride` apart; out (rows, padded columns), `apart` apart. `down`: the
// last columns first, if that pays.
//
// A row whose rounding might be seen is multiplied twice: its whole numbers, then, as whole numbers
// too, what they leave of it. Where even that might be seen, beside a number 1e6 times what is
// harmless, floats do the work.
inline void multiply(const Fours& matrix, std::int64_t rows, const float* operand,
                     std::int64_t stride, float* out, std::int64_t apart, bool down) {
    Digits digits;
    for (std::int64_t r = 0; r < rows; ++r) {
        const float* x = operand + r * stride;
        float* y = out + r * apart;
        const auto whole = [&](const float* from, const Scale& scale, bool more) {
            digits.take(from, matrix, scale);
            each_panel(matrix, down, [&](auto wide, std::int64_t first) {
                tile_fours<decltype(wide)::value>(matrix, first, digits, more, y);
            });
        };
        const Scale scale = scale_of(x, matrix, TOP);
        if (scale.fits && scale.harmless) {
            whole(x, scale, false);
            continue;
        }
        alignas(64) float rest[MOST_DEPTH + LANES<float>];
        if (scale.fits) leave_rest(x, matrix, scale, rest);
        const Scale finer = scale.fits ? scale_of(rest, matrix, TOP) : Scale{};
        if (finer.harmless) {
            whole(x, scale, false);
            if (finer.fits && finer.inverse > 0) whole(rest, finer, true);
        } else {
            each_panel(matrix, down, [&](auto wide, std::int64_t first) {
                tile_plainly<decltype(wide)::value>(matrix, first, x, y);
            });
        }
    }
}

#else

inline bool has_fours() { return false; }
inline void multiply(const Fours&, std::int64_t, const float*, std::int64_t, float*, std::int64_t,
                     bool) {}

#endif

}  // namespace recurra::RECURRA_ISA
