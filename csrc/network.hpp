// A trained network as plain data: what Python's `recurra.network` says, with every name made a
// number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "region.hpp"

namespace recurra {

// In the order of `recurra.runtime.native.KINDS`, `network.matrix.PRECISIONS` and
// `network.layers.ACTIVATIONS`.
enum class Kind : int { embedding, linear, norm, activation, conv, recurrent, residual, adaptive };
enum class Precision : int { f32, bf16, i8 };
enum class Function : int { relu, tanh, sigmoid, gelu, gelu_tanh };
constexpr int KINDS = 8, PRECISIONS = 3, FUNCTIONS = 5;

// A matrix (rows, columns), a row for each output; null values: there is none. `scales` by row with
// i8; `bias` or null.
struct Weight {
    Precision precision;
    const void* values;
    const float *scales, *bias;
    std::int64_t rows, columns;
    std::int64_t sizes[3];  // numbers that lie at `values`, `scales` and `bias`
};

struct Convolution {
    std::int64_t kernel, dilation, groups;
    RECURRA_INLINE std::int64_t past() const { return (kernel - 1) * dilation; }
};

// Of a recurrent layer, entry 0 of `weights`, `gains` and `biases` is the input product's, entry p
// + 1 that of phase p; those of a norm begin at the phase's first block. Of an adaptive softmax
// entry 0 is the head, 2 i + 1 and 2 i + 2 are cluster i's. Other layers have one weight or none.
struct Layer {
    Kind kind;
    std::int64_t in, out;
    Span<Weight> weights;
    Span<const float*> gains, biases, params;
    const Program* program;
    Function function;
    Convolution conv;
    double eps;
    Span<Layer> inside;
};

struct Network {
    Span<Layer> layers;
    bool tokens;
    std::int64_t in, out;
    int states;  // arrays of the state
};

// What an instruction set offers for sessions. Memory is the caller's, aligned to 64 bytes.
struct Streaming {
    std::size_t (*packed_bytes)(const Network&);
    void (*pack)(const Network&, char* memory);
    // Rows `batch`; `packed` was filled by `pack` and is only read.
    std::size_t (*session_bytes)(const Network&, const char* packed, std::int64_t batch, Region*);
    void* (*open)(const Network&, const char* packed, std::int64_t batch, Region*, char* memory);
    // x (steps, batch, in), or as many tokens, to y (steps, batch, out).
    void (*push)(void* session, std::int64_t steps, const void* x, float* y);
    // The state's array i, (batch, width): what the next step begins with.
    float* (*state)(void* session, int i);
    // Whether none of these floats is infinite or NaN.
    bool (*finite)(const void* numbers, std::int64_t count);
    // Bytes a second, in 1e9, at which memory of this many bytes is read again and again.
    double (*bandwidth)(const char* memory, std::size_t bytes, double seconds);
};

}  // namespace recurra
