// Threads of a pool that somebody else owns, and how a scan is split over them.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include <sched.h>

#include "program.hpp"

namespace recurra {

// GOMP_parallel, omp_get_num_threads and omp_get_thread_num of one OpenMP runtime; null: only the
// calling thread.
struct Pool {
    void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
    int (*count)();
    int (*number)();
    int threads;
};

// Rows times steps up to which the forward pass reads the weights as they are: packing them would
// not be repaid.
constexpr std::int64_t FEW = 4;

// All members meet here. It spins briefly and then yields, so that a busy machine slows it and does
// not stop it.
class Barrier {
public:
    RECURRA_INLINE void wait(int members) {
        if (members < 2) return;
        const unsigned seen = generation_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
            arrived_.store(0, std::memory_order_relaxed);
            generation_.fetch_add(1, std::memory_order_release);
            return;
        }
        for (int spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins) {
            if (spins < 4000) {
#if defined(__x86_64__)
                __builtin_ia32_pause();
#endif
            } else {
                sched_yield();
            }
        }
    }

private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<unsigned> generation_{0};
};

struct Range {
    std::int64_t begin, end;
    RECURRA_INLINE std::int64_t size() const { return end - begin; }
};

// Share `part` of `parts` of 0 .. size, in whole pieces of `unit`.
RECURRA_INLINE Range share(std::int64_t size, int part, int parts, std::int64_t unit = 1) {
    const std::int64_t pieces = (size + unit - 1) / unit;
    const std::int64_t begin = pieces * part / parts * unit,
                       end = pieces * (part + 1) / parts * unit;
    return {begin < size ? begin : size, end < size ? end : size};
}

// How a scan is split: each thread takes rows of the batch and meets nobody, or all take the same
// rows and each some units, and meet before every product.
struct Region {
    int threads = 1;
    bool by_units = false;
    std::vector<std::int64_t> bounds;  // rows of thread i: bounds[i] .. bounds[i + 1]
    Barrier barrier;

    RECURRA_INLINE Range rows(int i) const {
        return by_units ? Range{0, bounds.back()}
                        : Range{bounds[std::size_t(i)], bounds[std::size_t(i) + 1]};
    }
    // Units of a width that a thread computes, in whole cache lines of floats.
    RECURRA_INLINE Range units(std::int64_t width, int i) const {
        return by_units ? share(width, i, threads, 16) : Range{0, width};
    }
    RECURRA_INLINE void meet() { barrier.wait(threads); }
    // Only those who share rows need to meet within a step.
    RECURRA_INLINE void meet_team() {
        if (by_units) barrier.wait(threads);
    }
};

}  // namespace recurra
