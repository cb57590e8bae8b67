// v = operand @ weight.T + bias for a block of rows, the weight packed in panels of columns.
#pragma once

#include <cstring>

#include "scan.hpp"
#include "vector.hpp"

namespace recurra::RECURRA_ISA {

#if defined(__AVX512F__)
constexpr int ACCUMULATORS = 24;
#else
constexpr int ACCUMULATORS = 12;
#endif

constexpr int ROWS = ACCUMULATORS / 2;  // rows of a register tile that is one panel wide

template <class T>
constexpr int PANEL = 2 * LANES<T>;

// Panels in a register tile of this many rows: few rows take more, so that the sums in flight hide the
// multiplier's latency.
constexpr int panels_for(int rows) {
    const int most = ACCUMULATORS / (2 * rows);
    return most < 1 ? 1 : most > 4 ? 4 : most;
}

template <class T>
RECURRA_INLINE std::int64_t panel_count(const Product& product) {
    return (std::int64_t(product.blocks) * product.unit + PANEL<T> - 1) / PANEL<T>;
}

// Panels of (reads, PANEL), then the bias, all padded with zeros.
template <class T>
std::size_t packed_numbers(const Product& product) {
    return product.weighted ? std::size_t(panel_count<T>(product)) * PANEL<T> * (product.reads + 1) : 0;
}

template <class T>
void pack_product(const Product& product, const T* weight, const T* bias, T* packed) {
    const std::int64_t columns = std::int64_t(product.blocks) * product.unit, depth = product.reads;
    const std::int64_t padded = panel_count<T>(product) * PANEL<T>;
    weight += std::int64_t(product.first) * product.unit * depth;
    for (std::int64_t start = 0; start < padded; start += PANEL<T>, packed += PANEL<T> * depth) {
        const int wide = int(columns - start < PANEL<T> ? columns - start : PANEL<T>);
        if (wide < PANEL<T>) memset(packed, 0, sizeof(T) * PANEL<T> * depth);
        for (int j = 0; j < wide; ++j) {
            const T* row = weight + (start + j) * depth;
            for (std::int64_t k = 0; k < depth; ++k) packed[k * PANEL<T> + j] = row[k];
        }
    }
    memset(packed, 0, sizeof(T) * padded);
    if (bias) memcpy(packed, bias, sizeof(T) * columns);
}

// One register tile: R rows, P panels. Each sum runs over k in order, whatever R and P, so a row's bits do
// not depend on the rows beside it.
template <class T, int R, int P>
void tile_product(std::int64_t depth, const T* operand, const T* panels, const T* bias, T* v, std::int64_t stride) {
    constexpr int N = 2 * P;
    V<T> sum[R][N] = {};
    for (std::int64_t k = 0; k < depth; ++k) {
        V<T> column[N];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) column[j] = load(panels + (j / 2 * depth + k) * PANEL<T> + j % 2 * LANES<T>);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const V<T> x = all(operand[r * depth + k]);
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) sum[r][j] = fma(x, column[j], sum[r][j]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) store<T>(v + r * stride + j * LANES<T>, sum[r][j] + load(bias + j * LANES<T>));
    }
}

template <class T, int R, int P>
RECURRA_INLINE void choose_panels(int panels, std::int64_t depth, const T* operand, const T* packed, const T* bias, T* v,
                                  std::int64_t stride) {
    if constexpr (P == 1) {
        tile_product<T, R, 1>(depth, operand, packed, bias, v, stride);
    } else if (panels == P) {
        tile_product<T, R, P>(depth, operand, packed, bias, v, stride);
    } else {
        choose_panels<T, R, P - 1>(panels, depth, operand, packed, bias, v, stride);
    }
}

template <class T, int R>
RECURRA_INLINE void choose_rows(int rows, int panels, std::int64_t depth, const T* operand, const T* packed, const T* bias, T* v,
                                std::int64_t stride) {
    if constexpr (R == 1) {
        choose_panels<T, 1, panels_for(1)>(panels, depth, operand, packed, bias, v, stride);
    } else if (rows == R) {
        choose_panels<T, R, panels_for(R)>(panels, depth, operand, packed, bias, v, stride);
    } else {
        choose_rows<T, R - 1>(rows, panels, depth, operand, packed, bias, v, stride);
    }
}

// operand (rows, reads) dense; v (rows, padded columns) dense.
template <class T>
void multiply(const Product& product, std::int64_t rows, const T* operand, const T* packed, T* v) {
    const std::int64_t depth = product.reads, count = panel_count<T>(product), stride = count * PANEL<T>;
    const std::int64_t blocks = (rows + ROWS - 1) / ROWS, most = (rows + blocks - 1) / blocks;
    const T* bias = packed + stride * depth;
    const int group = panels_for(int(most));
    for (std::int64_t p = 0; p < count; p += group) {
        const int panels = int(count - p < group ? count - p : group);
        for (std::int64_t block = 0; block < blocks; ++block) {
            const std::int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
            choose_rows<T, ROWS>(int(end - begin), panels, depth, operand + begin * depth, packed + p * PANEL<T> * depth,
                                 bias + p * PANEL<T>, v + begin * stride + p * PANEL<T>, stride);
        }
    }
}

}  // namespace recurra::RECURRA_ISA
