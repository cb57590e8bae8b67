// One call: a program and its arrays.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.hpp"

namespace recurra {

// Arrays of a scan over T steps and B rows. Null where a thing is not asked for or not there. Of
// `weight`, `bias` and `gain`, entry 0 is the input product's, entry p + 1 that of phase p; a bias
// or gain begins at the phase's first block.
template <class T>
struct Scan {
    const Program* program;
    std::int64_t steps, batch;
    bool reverse;
    const T* x;                   // (T, B, I)
    const T* const* first;        // by state: (B, W)
    const T* const* initial;      // by state: (B, W), what a reset goes back to
    T* const* final;              // by state: (B, W)
    T* h;                         // (T, B, W0)
    T* const* states;             // by state: (T, B, W); null for the first where h serves
    bool held;                    // `states` past a row's length hold its last state
    T* const* gates;              // by gate: (T, B, H)
    T* saved;                     // (T, B, saved_size)
    const T* const* weight;       // (total * unit, reads)
    const T* const* bias;         // (blocks * unit,)
    const T* const* gain;         // likewise
    const T* const* noise;        // (T, B, W), or (B, W) where it lasts
    const std::uint8_t* lasting;  // by noise
    const T* const* param;        // (W,)
    const std::int64_t* lengths;  // (B,)
    const std::uint8_t* resets;   // (T, B)

    RECURRA_INLINE bool runs(std::int64_t t, std::int64_t b) const {
        return !lengths || t < lengths[b];
    }
    RECURRA_INLINE bool resets_at(std::int64_t t, std::int64_t b) const {
        return resets && resets[t * batch + b];
    }
    RECURRA_INLINE std::int64_t length(std::int64_t b) const {
        return lengths ? lengths[b] : steps;
    }
};

// Gradients given and wanted; null where there is none. All that are wanted are overwritten.
template <class T>
struct Gradients {
    const T* dh;              // (T, B, W0)
    const T* const* dfinal;   // by state: (B, W)
    const T* const* dstates;  // by state: (T, B, W)
    T* dx;                    // (T, B, I)
    T* const* dfirst;         // by state: (B, W)
    T* const* dinitial;       // by state: (B, W)
    T* const* dweight;        // as `weight`
    T* const* dbias;
    T* const* dgain;
    T* const* dnoise;  // by noise, as `noise`
    T* const* dparam;  // by parameter: (W,)
};

}  // namespace recurra
