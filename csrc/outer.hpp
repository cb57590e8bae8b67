// sum += left^T right over the rows of a chunk: how a weight's gradient grows.
#pragma once

#include "gemm.hpp"

namespace recurra::RECURRA_ISA {

// Columns `first` .. first + count of some rows as (rows, ROWS), padded with zeros.
template <class T>
void pack_left(std::int64_t rows, const T* left, std::int64_t stride, std::int64_t first, int count,
               T* packed) {
    left += first;
    for (std::int64_t k = 0; k < rows; ++k, left += stride, packed += ROWS) {
        if (count == ROWS) {
            memcpy(packed, left, sizeof(T) * ROWS);
        } else {
            for (int r = 0; r < ROWS; ++r) packed[r] = r < count ? left[r] : T(0);
        }
    }
}

// One register tile of ROWS rows and one panel; `to` holds whole vectors.
template <class T, int N>
void tile_outer(std::int64_t depth, const T* left, const T* right, T* to, std::int64_t apart,
                int rows) {
    V<T> sum[ROWS][N] = {};
    for (int r = 0; r < rows; ++r)
        __builtin_prefetch(to + r * apart, 1), __builtin_prefetch(to + r * apart + LANES<T>, 1);
    for (std::int64_t k = 0; k < depth; ++k) {
        V<T> column[N];
#pragma GCC unroll 2
        for (int j = 0; j < N; ++j) column[j] = load(right + j * LANES<T>);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
            const V<T> x = all(left[r]);
#pragma GCC unroll 2
            for (int j = 0; j < N; ++j) sum[r][j] = fma(x, column[j], sum[r][j]);
        }
        left += ROWS;
        right += N * LANES<T>;
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
        if (r < rows) {
#pragma GCC unroll 2
            for (int j = 0; j < N; ++j)
                store<T>(to + r * apart + j * LANES<T>,
                         load(to + r * apart + j * LANES<T>) + sum[r][j]);
        }
    }
}

// Panel p of `right`, (depth, columns) packed, times a packed block of `rows` columns of `left`,
// into rows of `to`.
template <class T>
void add_outer(const Packed<T>& right, std::int64_t p, const T* left, T* to, std::int64_t apart,
               int rows) {
    const T* panel = right.panels + p * PANEL<T> * right.depth;
    const int stored = right.stored(p), wide = right.wide(p);
    T* here = to + p * PANEL<T>;
    T edge[ROWS * PANEL<T>];
    if (wide < stored) {
        memset(edge, 0, sizeof(edge));
        here = edge;
    }
    const std::int64_t step = wide < stored ? PANEL<T> : apart;
    if (stored == PANEL<T>) {
        tile_outer<T, 2>(right.depth, left, panel, here, step, rows);
    } else {
        tile_outer<T, 1>(right.depth, left, panel, here, step, rows);
    }
    if (wide == stored) return;
    for (int r = 0; r < rows; ++r) {
        for (int j = 0; j < wide; ++j) to[r * apart + p * PANEL<T> + j] += edge[r * PANEL<T> + j];
    }
}

// The sum of each column of a packed block, in four partial sums. Whole vectors are read: past the
// block's end too.
template <class T>
void sum_columns(std::int64_t depth, const T* left, T* sums) {
    constexpr int VECTORS = (ROWS + LANES<T> - 1) / LANES<T>;
    V<T> sum[4][VECTORS] = {};
    for (std::int64_t k = 0; k < depth; ++k) {
        for (int j = 0; j < VECTORS; ++j) sum[k % 4][j] += load(left + k * ROWS + j * LANES<T>);
    }
    for (int j = 0; j < VECTORS; ++j)
        store<T>(sums + j * LANES<T>, (sum[0][j] + sum[1][j]) + (sum[2][j] + sum[3][j]));
}

}  // namespace recurra::RECURRA_ISA
