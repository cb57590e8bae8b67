// One call: a program, its arrays and what each instruction set's kernels offer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.hpp"

namespace recurra {

// Arrays of a scan over T steps and B rows. Null where a thing is not asked for or not there.
template <class T>
struct Scan {
    const Program* program;
    std::int64_t steps, batch;
    bool reverse;
    const T* u;                        // (T, B, G * H)
    const T* const* first;             // by state: (B, W)
    const T* const* initial;           // by state: (B, W), what a reset goes back to
    T* const* final;                   // by state: (B, W); the state of the moment during the scan
    T* h;                              // (T, B, W0)
    T* const* states;                  // by state: (T, B, W)
    T* const* gates;                   // by gate: (T, B, H)
    const T* const* weight;            // by phase: (total * unit, reads)
    const T* const* bias;              // by phase: (blocks * unit,), from the phase's first block on
    const T* const* gain;              // likewise
    const T* const* noise;             // (T, B, W), or (B, W) where it lasts
    const std::uint8_t* lasting;       // by noise
    const T* const* param;             // (W,)
    const std::int64_t* lengths;       // (B,)
    const std::uint8_t* resets;        // (T, B)
};

// The kernels of one instruction set and one type.
template <class T>
struct Kernels {
    int lanes, panel, rows;  // numbers in a vector, columns in a packed panel, rows in a register tile
    // Numbers that the packed weights take, and packing them.
    std::size_t (*packed_size)(const Program&);
    void (*pack)(const Scan<T>&, T* packed);
    // Numbers of scratch that `rows` rows take, and scanning rows begin .. end.
    std::size_t (*scratch_size)(const Program&, std::int64_t rows);
    void (*run)(const Scan<T>&, const T* packed, T* scratch, std::int64_t* active, std::int64_t begin, std::int64_t end);
};

struct Isa {
    const char* name;
    Kernels<float> f32;
    Kernels<double> f64;
};

}  // namespace recurra
