// The same product for so few rows that packing the weight would cost more than it brings: dot
// products with its own rows.
#pragma once

#include "gemm.hpp"

namespace recurra::RECURRA_ISA {

// R rows times C columns, `columns` their weights' rows. Each sum runs over k by lanes, then over
// the lanes, then over what is left.
template <class T, int R, int C>
void tile_dot(std::int64_t depth, const T* operand, std::int64_t stride, const T* const* columns,
              const T* bias, T* out, std::int64_t apart) {
    V<T> sum[R][C] = {};
    std::int64_t k = 0;
    for (; k + LANES<T> <= depth; k += LANES<T>) {
        V<T> row[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) row[r] = load(operand + r * stride + k);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const V<T> weight = load(columns[c] + k);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) sum[r][c] = fma(row[r], weight, sum[r][c]);
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int c = 0; c < C; ++c) {
            T total = 0;
            for (int lane = 0; lane < LANES<T>; ++lane) total += sum[r][c][lane];
            for (std::int64_t i = k; i < depth; ++i)
                total += operand[r * stride + i] * columns[c][i];
            out[r * apart + c] = total + (bias ? bias[c] : T(0));
        }
    }
}

// operand (rows, depth), `stride` apart; the columns of out are the weight's rows, those of this
// thread.
template <class T>
struct Direct {
    const T *weight = nullptr, *bias = nullptr;
    std::int64_t depth = 0;
    Columns columns{};
    std::int64_t blocks = 0;

    void multiply(std::int64_t rows, const T* operand, std::int64_t stride, T* out,
                  std::int64_t apart) const {
        const std::int64_t units = columns.units.size();
        for (std::int64_t b = 0; b < blocks; ++b) {
            for (std::int64_t j = 0; j < units;)
                j += some(rows, operand, stride, b * columns.unit + columns.units.begin + j,
                          units - j, out + b * units + j, apart);
        }
    }

private:
    // One tile of columns for every row; how many it took.
    std::int64_t some(std::int64_t rows, const T* operand, std::int64_t stride, std::int64_t row,
                      std::int64_t left, T* out, std::int64_t apart) const {
        const T* starts[8];
        for (std::int64_t c = 0; c < 8 && c < left; ++c) starts[c] = weight + (row + c) * depth;
        const T* shift = bias ? bias + row : nullptr;
        const int wide = left >= 8 ? 8 : left >= 4 ? 4 : 1;
        for (std::int64_t r = 0; r < rows; ++r) {
            const T* from = operand + r * stride;
            if (wide == 8)
                tile_dot<T, 1, 8>(depth, from, stride, starts, shift, out + r * apart, apart);
            else if (wide == 4)
                tile_dot<T, 1, 4>(depth, from, stride, starts, shift, out + r * apart, apart);
            else
                tile_dot<T, 1, 1>(depth, from, stride, starts, shift, out + r * apart, apart);
        }
        return wide;
    }
};

}  // namespace recurra::RECURRA_ISA
