// What each instruction set offers.
#pragma once

#include "network.hpp"
#include "region.hpp"
#include "scan.hpp"

namespace recurra {

// Bytes of memory for a scan: what all threads share, and what one of them needs.
struct Bytes {
    std::size_t shared, own;
};

// Random numbers that are made together; a thread draws whole groups of them.
constexpr int DRAWN_TOGETHER = 64;

template <class T>
struct Kernels {
    int lanes, panel,
        rows;  // numbers in a vector, columns in a packed panel, rows in a register tile
    // Thread `me` of a region; without gradients forward, with them backward.
    Bytes (*measure)(const Scan<T>&, const Gradients<T>*, Region&, int me);
    void (*run)(const Scan<T>&, const Gradients<T>*, Region&, int me, char* shared, char* own);
    // Random factors `begin` to `end` of those of a key, 0 where the number is below `zero`, else
    // `value`.
    void (*draw)(T* to, std::int64_t begin, std::int64_t end, std::uint32_t zero, T value,
                 std::uint64_t key);
};

struct Isa {
    const char* name;
    Kernels<float> f32;
    Kernels<double> f64;
    double (*peak)(
        double seconds);  // multiplications and additions of floats a second by one thread, in 1e9
    Streaming streaming;
};

}  // namespace recurra
