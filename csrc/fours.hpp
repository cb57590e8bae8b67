// How int8 weights lie for products in whole numbers: four of a column side by side, as instructions for bytes take them.
#pragma once

#include "vector.hpp"

namespace recurra::RECURRA_ISA {

constexpr std::int64_t MOST_DEPTH = 8192;  // a row's digits lie on the stack

// Vectors of columns in a panel; fours of a column that are read together; whether a step that is told so begins with the last
// columns, which pays where reading takes longer than multiplying.
#if defined(__AVX512F__)
constexpr int WIDEST = 8, AT_ONCE = 1;
constexpr bool TURNS = true;
#else
constexpr int WIDEST = 2, AT_ONCE = 2;
constexpr bool TURNS = false;
#endif

// Panels of up to WIDEST vectors of columns, the last perhaps narrower. In a panel AT_ONCE vectors of fours for the first vector of
// columns, as many for the next, and so on; then those of the next k. Padded with zeros.
struct Fours {
    const std::int8_t* begin;
    const std::int32_t* sums;  // of each column's weights, where they are asked for
    const float *scale, *bias;
    float longest;  // no column's norm is larger
    std::int64_t depth, columns;

    RECURRA_INLINE std::int64_t vectors() const { return (columns + LANES<float> - 1) / LANES<float>; }
    RECURRA_INLINE std::int64_t groups() const { return (depth + 4 * AT_ONCE - 1) / (4 * AT_ONCE) * AT_ONCE; }
    RECURRA_INLINE std::int64_t bytes() const { return vectors() * groups() * BYTES; }

    // Vectors of the panel that begins with vector `first`.
    RECURRA_INLINE int wide(std::int64_t first) const { return int(vectors() - first < WIDEST ? vectors() - first : WIDEST); }

    // Where weight k of column j lies.
    RECURRA_INLINE std::int64_t place(std::int64_t j, std::int64_t k) const {
        const std::int64_t vector = j / LANES<float>, first = vector / WIDEST * WIDEST, group = k / 4;
        const std::int64_t before = first * groups() + group / AT_ONCE * AT_ONCE * wide(first) + (vector - first) * AT_ONCE + group % AT_ONCE;
        return before * BYTES + j % LANES<float> * 4 + k % 4;
    }
};

}  // namespace recurra::RECURRA_ISA
