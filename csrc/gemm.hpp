// out = operand @ matrix + bias for a block of rows, the matrix packed in panels of columns.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "region.hpp"
#include "widen.hpp"

namespace recurra::RECURRA_ISA {

#if defined(__AVX512F__)
constexpr int ACCUMULATORS = 24;
#else
constexpr int ACCUMULATORS = 12;
#endif

constexpr int ROWS = ACCUMULATORS / 2;  // rows of a register tile that is one panel wide

// Panels in a register tile of this many rows: few rows take more, so that the sums in flight hide
// the multiplier's latency.
constexpr int panels_for(int rows) {
    const int most = ACCUMULATORS / (2 * rows);
    return most < 1 ? 1 : most > 4 ? 4 : most;
}

template <class T>
RECURRA_INLINE std::int64_t padded(std::int64_t columns) {
    return (columns + LANES<T> - 1) / LANES<T> * LANES<T>;
}

// Rows this far apart do not meet in one set of the cache.
template <class T>
RECURRA_INLINE std::int64_t spaced(std::int64_t columns) {
    const std::int64_t wide = padded<T>(columns);
    return wide * sizeof(T) % 1024 ? wide : wide + LANES<T>;
}

// Panels of (depth, PANEL), the last perhaps one vector wide; then the bias. Padded with zeros.
template <class T>
struct Packed {
    T* panels;
    std::int64_t depth, columns;

    RECURRA_INLINE T* bias() const { return panels + padded<T>(columns) * depth; }
    RECURRA_INLINE std::int64_t numbers() const { return padded<T>(columns) * (depth + 1); }
    RECURRA_INLINE std::int64_t count() const { return (columns + PANEL<T> - 1) / PANEL<T>; }
    // How wide a panel is stored, and how much of that is not padding.
    RECURRA_INLINE int stored(std::int64_t p) const {
        const std::int64_t left = padded<T>(columns) - p * PANEL<T>;
        return int(left < PANEL<T> ? left : PANEL<T>);
    }
    RECURRA_INLINE int wide(std::int64_t p) const {
        const std::int64_t left = columns - p * PANEL<T>;
        return int(left < PANEL<T> ? left : PANEL<T>);
    }
};

// The columns of a product that a thread computes: units `units` of every block.
struct Columns {
    std::int64_t unit;
    Range units;

    RECURRA_INLINE std::int64_t source(std::int64_t j) const {
        return j / units.size() * unit + units.begin + j % units.size();
    }
};

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define RECURRA_SHUFFLES 1
#endif
#endif

// Lanes of a and b, those of each second group of S exchanged: `upper` is what is left in a's
// place, `lower` in b's.
#if defined(RECURRA_SHUFFLES)
template <class T, int S, std::size_t... L>
RECURRA_INLINE V<T> upper(V<T> a, V<T> b, std::index_sequence<L...>) {
    return __builtin_shufflevector(a, b, (int(L) & S ? LANES<T> + int(L) - S : int(L))...);
}

template <class T, int S, std::size_t... L>
RECURRA_INLINE V<T> lower(V<T> a, V<T> b, std::index_sequence<L...>) {
    return __builtin_shufflevector(a, b, (int(L) & S ? LANES<T> + int(L) : int(L) + S)...);
}

template <class T, int S = 1>
RECURRA_INLINE void transpose(V<T>* rows) {
    constexpr auto lanes = std::make_index_sequence<std::size_t(LANES<T>)>();
#pragma GCC unroll 16
    for (int i = 0; i < LANES<T>; ++i) {
        if (i & S) continue;
        const V<T> a = rows[i], b = rows[i | S];
        rows[i] = upper<T, S>(a, b, lanes);
        rows[i | S] = lower<T, S>(a, b, lanes);
    }
    if constexpr (2 * S < LANES<T>) transpose<T, 2 * S>(rows);
}
#endif

// LANES columns of a panel from as many rows, `wide` of them there: column j is rows[j].
template <class T>
void pack_lanes(T* panel, std::int64_t stored, std::int64_t depth, const T* const* rows, int wide) {
    std::int64_t k = 0;
#if defined(RECURRA_SHUFFLES)
    for (; k + LANES<T> <= depth; k += LANES<T>) {
        V<T> block[LANES<T>];
#pragma GCC unroll 16
        for (int j = 0; j < LANES<T>; ++j) block[j] = j < wide ? load(rows[j] + k) : V<T>{};
        transpose<T>(block);
#pragma GCC unroll 16
        for (int i = 0; i < LANES<T>; ++i) store<T>(panel + (k + i) * stored, block[i]);
    }
#endif
    for (; k < depth; ++k) {
        for (int j = 0; j < LANES<T>; ++j) panel[k * stored + j] = j < wide ? rows[j][k] : T(0);
    }
}

// Panels `part` of a weight whose rows are the columns: column j is row `columns.source(j)`.
template <class T>
void pack_rows(const Packed<T>& to, Range part, const Columns& columns, const T* weight,
               const T* bias) {
    const std::int64_t depth = to.depth;
    for (std::int64_t p = part.begin; p < part.end; ++p) {
        T* panel = to.panels + p * PANEL<T> * depth;
        const int stored = to.stored(p), wide = to.wide(p);
        const T* rows[PANEL<T>];
        for (int j = 0; j < PANEL<T>; ++j)
            rows[j] = j < wide ? weight + columns.source(p * PANEL<T> + j) * depth : weight;
        for (int j = 0; j < stored; j += LANES<T>)
            pack_lanes(panel + j, stored, depth, rows + j, wide - j);
        T* shift = to.bias() + p * PANEL<T>;
        for (int j = 0; j < stored; ++j)
            shift[j] = bias && j < wide ? bias[columns.source(p * PANEL<T> + j)] : T(0);
    }
}

// One row of a panel.
template <class T>
RECURRA_INLINE void copy_row(T* to, const T* from, int wide, int stored) {
    if (wide == PANEL<T>) {
        store<T>(to, load(from));
        store<T>(to + LANES<T>, load(from + LANES<T>));
    } else {
        for (int j = 0; j < stored; ++j) to[j] = j < wide ? from[j] : T(0);
    }
}

// Panels `part` of columns `first` .. of a matrix whose rows are the depth, `stride` apart; bias
// zero. Some rows at a time, so that what is read stays near.
template <class T>
void pack_columns(const Packed<T>& to, Range part, const T* matrix, std::int64_t stride,
                  std::int64_t first) {
    for (std::int64_t start = 0; start < to.depth; start += 32) {
        const std::int64_t end = start + 32 < to.depth ? start + 32 : to.depth;
        for (std::int64_t p = part.begin; p < part.end; ++p) {
            T* panel = to.panels + p * PANEL<T> * to.depth;
            const int stored = to.stored(p), wide = to.wide(p);
            const T* from = matrix + first + p * PANEL<T>;
            for (std::int64_t k = start; k < end; ++k)
                copy_row(panel + k * stored, from + k * stride, wide, stored);
        }
    }
    for (std::int64_t p = part.begin; p < part.end; ++p)
        memset(to.bias() + p * PANEL<T>, 0, sizeof(T) * std::size_t(to.stored(p)));
}

// How many steps of k ahead a panel is asked for, a line of the cache at a time: it may come from a
// far one. One row reads too fast to ask.
constexpr int AHEAD = 24, LINE = 64;

// Panels of a matrix whose weights are kept as E, and by column what the sums are multiplied with,
// if anything, and the bias.
template <class T, class E = T>
struct Panels {
    const E* begin;
    const T *scale, *bias;
    std::int64_t depth, columns;
};

template <class T>
RECURRA_INLINE Panels<T> panels_of(const Packed<T>& packed) {
    return {packed.panels, nullptr, packed.bias(), packed.depth, packed.columns};
}

// One register tile: R rows, N vectors. Each sum runs over k in order, whatever R and N, so a row's
// bits do not depend on the rows beside it. Rows are reached from every third by a pointer of its
// own: compilers would else spill addresses. Several rows take two steps of k in a turn of the
// loop: fewer instructions beside the multiplications, which count where two threads share a core.
template <class T, int R, int N, class E>
void tile_product(std::int64_t depth, const T* operand, std::int64_t stride, const E* panels,
                  const T* scale, const T* bias, T* out, std::int64_t apart) {
    constexpr int WIDE = N == 1 ? LANES<T> : PANEL<T>;
    constexpr int BASES = (R + 2) / 3;
    V<T> sum[R][N] = {};
    const T* base[BASES];
#pragma GCC unroll 8
    for (int g = 0; g < BASES; ++g) {
        base[g] = operand + g * 3 * stride;
        asm("" : "+r"(base[g]));
    }
    const std::int64_t panel = depth * WIDE;
    const auto advance = [&](auto steps) __attribute__((always_inline)) {
        constexpr int STEPS = decltype(steps)::value;
#pragma GCC unroll 2
        for (int k = 0; k < STEPS; ++k) {
            V<T> column[N];
            read_columns<N, T>(panels + k * WIDE, panel, column);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
                const V<T> x = all(base[r / 3][r % 3 * stride + k]);
#pragma GCC unroll 8
                for (int j = 0; j < N; ++j) sum[r][j] = fma(x, column[j], sum[r][j]);
            }
#pragma GCC unroll 2
            for (int j = 0; R > 1 && j < WIDE; j += LINE / int(sizeof(E)))
                __builtin_prefetch(panels + (AHEAD + k) * WIDE + j);
        }
        panels += STEPS * WIDE;
#pragma GCC unroll 8
        for (int g = 0; g < BASES; ++g) {
            base[g] += STEPS;
            asm("" : "+r"(base[g]));
        }
    };
    std::int64_t k = 0;
    for (; R > 1 && k + 2 <= depth; k += 2) advance(std::integral_constant<int, 2>());
    for (; k < depth; ++k) advance(std::integral_constant<int, 1>());
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            if constexpr (sizeof(E) == 1) sum[r][j] *= load(scale + j * LANES<T>);
            store<T>(out + r * apart + j * LANES<T>, sum[r][j] + load(bias + j * LANES<T>));
        }
    }
}

template <class T, class E>
struct Tile {
    const T* operand;
    std::int64_t stride;
    const E* panels;
    const T *scale, *bias;
    T* out;
    std::int64_t apart, depth;
};

template <class T, int R, int P, class E>
RECURRA_INLINE void choose_panels(int vectors, const Tile<T, E>& t) {
    if (vectors == 2 * P) {
        tile_product<T, R, 2 * P>(t.depth, t.operand, t.stride, t.panels, t.scale, t.bias, t.out,
                                  t.apart);
    } else if constexpr (P == 1) {
        tile_product<T, R, 1>(t.depth, t.operand, t.stride, t.panels, t.scale, t.bias, t.out,
                              t.apart);
    } else {
        choose_panels<T, R, P - 1>(vectors, t);
    }
}

template <class T, int R, class E>
RECURRA_INLINE void choose_rows(int rows, int vectors, const Tile<T, E>& t) {
    if constexpr (R == 1) {
        choose_panels<T, 1, panels_for(1)>(vectors, t);
    } else if (rows == R) {
        choose_panels<T, R, panels_for(R)>(vectors, t);
    } else {
        choose_rows<T, R - 1>(rows, vectors, t);
    }
}

// operand (rows, depth), `stride` apart; out (rows, padded columns), `apart` apart. `down`: the
// last panels first. Who turns round at every step finds in the cache what the step before used
// last, where not all of the matrix fits.
template <class T, class E>
void multiply(const Panels<T, E>& matrix, std::int64_t rows, const T* operand, std::int64_t stride,
              T* out, std::int64_t apart, bool down) {
    const std::int64_t blocks = (rows + ROWS - 1) / ROWS,
                       most = blocks ? (rows + blocks - 1) / blocks : 1;
    const std::int64_t vectors = padded<T>(matrix.columns) / LANES<T>,
                       group = 2 * panels_for(int(most));
    for (std::int64_t left = vectors; left;) {
        const std::int64_t rest = left % 2 ? 1 : left % group ? left % group : group;
        const std::int64_t take = down ? rest : left >= group ? group : left > 1 ? left / 2 * 2 : 1;
        const std::int64_t column = (down ? left - take : vectors - left) * LANES<T>;
        for (std::int64_t block = 0; block < blocks; ++block) {
            const std::int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
            choose_rows<T, ROWS>(
                int(end - begin), int(take),
                Tile<T, E>{operand + begin * stride, stride, matrix.begin + column * matrix.depth,
                           matrix.scale ? matrix.scale + column : nullptr, matrix.bias + column,
                           out + begin * apart + column, apart, matrix.depth});
        }
        left -= take;
    }
}

template <class T>
RECURRA_INLINE void multiply(const Packed<T>& matrix, std::int64_t rows, const T* operand,
                             std::int64_t stride, T* out, std::int64_t apart, bool down) {
    multiply(panels_of(matrix), rows, operand, stride, out, apart, down);
}

}  // namespace recurra::RECURRA_ISA
