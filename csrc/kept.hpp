// Weights of a network, packed once and shared by its sessions.
#pragma once

#include "gemm.hpp"
#include "network.hpp"
#include "section.hpp"
#include "whole.hpp"

namespace recurra::RECURRA_ISA {

RECURRA_INLINE std::size_t bytes_of(Precision precision) {
    return precision == Precision::f32 ? 4 : precision == Precision::bf16 ? 2 : 1;
}

// A packed matrix: panels as in Packed, of what a weight is kept as.
struct Kept {
    Precision precision = Precision::f32;
    char* panels = nullptr;
    float *scale = nullptr, *bias = nullptr;
    std::int64_t depth = 0, columns = 0;
    bool whole = false;            // panels for products in whole numbers,
    std::int32_t* sums = nullptr;  // which read these two
    float longest = 0;

    template <class E>
    RECURRA_INLINE Panels<float, E> as() const {
        return {reinterpret_cast<const E*>(panels), scale, bias, depth, columns};
    }

    RECURRA_INLINE Fours fours() const {
        return {reinterpret_cast<const std::int8_t*>(panels),
                sums,
                scale,
                bias,
                longest,
                depth,
                columns};
    }

    RECURRA_INLINE void multiply(std::int64_t rows, const float* operand, std::int64_t stride,
                                 float* out, std::int64_t apart, bool down) const {
        using recurra::RECURRA_ISA::multiply;
        if (precision == Precision::f32)
            return multiply(as<float>(), rows, operand, stride, out, apart, down);
        if (whole) return multiply(fours(), rows, operand, stride, out, apart, down);
        if (precision == Precision::bf16)
            return multiply(as<std::uint16_t>(), rows, operand, stride, out, apart, down);
        multiply(as<std::int8_t>(), rows, operand, stride, out, apart, down);
    }
};

// Memory for the packed form; of an embedding, whose rows are read as they are, a copy.
RECURRA_INLINE Kept lay(const Weight& weight, bool rows, Arena& arena) {
    Kept kept;
    kept.precision = weight.precision;
    kept.depth = weight.columns;
    kept.columns = weight.rows;
    kept.whole =
        weight.precision == Precision::i8 && !rows && has_fours() && weight.columns <= MOST_DEPTH;
    const std::int64_t columns = padded<float>(weight.rows);
    const std::int64_t plain =
        (rows ? weight.rows : columns) * weight.columns * std::int64_t(bytes_of(weight.precision));
    kept.panels = arena.take<char>(kept.whole ? kept.fours().bytes() : plain);
    if (kept.whole) kept.sums = arena.take<std::int32_t>(columns);
    if (weight.precision == Precision::i8) kept.scale = arena.take<float>(columns);
    if (!rows) kept.bias = arena.take<float>(columns);
    return kept;
}

template <class E>
void fill_panels(const Kept& kept, const E* values, E* panels) {
    for (std::int64_t first = 0; first < kept.columns; first += PANEL<float>) {
        const std::int64_t left = padded<float>(kept.columns) - first,
                           stored = left < PANEL<float> ? left : PANEL<float>;
        E* panel = panels + first * kept.depth;
        for (std::int64_t j = 0; j < stored; ++j) {
            const bool there = first + j < kept.columns;
            const std::int64_t place = place_in_row<E>(j, stored);
            const E* row = values + (there ? first + j : 0) * kept.depth;
            for (std::int64_t k = 0; k < kept.depth; ++k)
                panel[k * stored + place] = there ? row[k] : E(0);
        }
    }
}

inline void fill_fours(Kept& kept, const std::int8_t* values, const float* scales) {
    const Fours fours = kept.fours();
    memset(kept.panels, 0, std::size_t(fours.bytes()));
    double longest = 0;
    for (std::int64_t j = 0; j < padded<float>(kept.columns); ++j) {
        double squares = 0;
        kept.sums[j] = 0;
        for (std::int64_t k = 0; j < kept.columns && k < kept.depth; ++k) {
            const std::int8_t value = values[j * kept.depth + k];
            kept.panels[fours.place(j, k)] = char(value);
            kept.sums[j] += value;
            squares += double(value) * value;
        }
        if (squares > 0) squares *= double(scales[j]) * scales[j];
        longest = squares > longest ? squares : longest;
    }
    kept.longest = float(__builtin_sqrt(longest));
}

inline void fill(Kept& kept, const Weight& weight, bool rows) {
    const std::int64_t columns = padded<float>(weight.rows);
    if (kept.whole)
        fill_fours(kept, static_cast<const std::int8_t*>(weight.values), weight.scales);
    else if (rows)
        memcpy(kept.panels, weight.values,
               std::size_t(weight.rows * weight.columns) * bytes_of(weight.precision));
    else if (kept.precision == Precision::f32)
        fill_panels(kept, static_cast<const float*>(weight.values),
                    reinterpret_cast<float*>(kept.panels));
    else if (kept.precision == Precision::bf16)
        fill_panels(kept, static_cast<const std::uint16_t*>(weight.values),
                    reinterpret_cast<std::uint16_t*>(kept.panels));
    else
        fill_panels(kept, static_cast<const std::int8_t*>(weight.values),
                    reinterpret_cast<std::int8_t*>(kept.panels));
    for (std::int64_t j = 0; kept.scale && j < columns; ++j)
        kept.scale[j] = j < weight.rows ? weight.scales[j] : 0.0f;
    for (std::int64_t j = 0; kept.bias && j < columns; ++j)
        kept.bias[j] = weight.bias && j < weight.rows ? weight.bias[j] : 0.0f;
}

// Visits every weight of the layers in one fixed order: f(weight, whether its rows are read as they
// are).
template <class F>
void each_weight(const Span<Layer>& layers, F f) {
    for (const Layer& layer : layers) {
        const bool rows =
            layer.kind == Kind::embedding || (layer.kind == Kind::conv && layer.conv.groups > 1);
        for (const Weight& weight : layer.weights) f(weight, rows);
        each_weight(layer.inside, f);
    }
}

inline std::int64_t weights_of(const Network& network) {
    std::int64_t count = 0;
    each_weight(network.layers, [&](const Weight&, bool) { ++count; });
    return count;
}

// A table of what is kept, then the panels.
inline std::size_t packed_bytes(const Network& network) {
    Arena arena;
    arena.take<Kept>(weights_of(network));
    each_weight(network.layers, [&](const Weight& weight, bool rows) {
        if (weight.values) lay(weight, rows, arena);
    });
    return arena.used;
}

inline void pack(const Network& network, char* memory) {
    Arena arena{memory};
    Kept* table = arena.take<Kept>(weights_of(network));
    each_weight(network.layers, [&](const Weight& weight, bool rows) {
        *table = Kept{};
        if (weight.values) {
            *table = lay(weight, rows, arena);
            fill(*table, weight, rows);
        }
        ++table;
    });
}

}  // namespace recurra::RECURRA_ISA
