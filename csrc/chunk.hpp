// Steps that are taken together: their products with what is known ahead are one product.
#pragma once

#include "scan.hpp"
#include "section.hpp"

namespace recurra::RECURRA_ISA {

// Rows of a chunk, about; it fixes how sums over time are grouped, so it does not depend on the
// threads.
constexpr std::int64_t CHUNK_ROWS = 256;

RECURRA_INLINE std::int64_t chunk_steps(std::int64_t steps, std::int64_t batch) {
    const std::int64_t some = CHUNK_ROWS / (batch < 1 ? 1 : batch);
    return some < 1 ? 1 : some < steps ? some : steps;
}

// The rows of steps begin .. end that run, in order of time, then of the batch.
struct Chunk {
    std::int64_t begin = 0, end = 0, count = 0;
    std::int64_t *place, *row, *starts;  // t * B + b and b of each; where each step's begin

    Chunk(Arena& arena, std::int64_t steps, std::int64_t rows)
        : place(arena.take<std::int64_t>(steps * rows)),
          row(arena.take<std::int64_t>(steps * rows)),
          starts(arena.take<std::int64_t>(steps + 1)) {}

    template <class T>
    void fill(const Scan<T>& scan, Range steps, Range rows) {
        begin = steps.begin;
        end = steps.end;
        count = 0;
        for (std::int64_t t = begin; t < end; ++t) {
            starts[t - begin] = count;
            for (std::int64_t b = rows.begin; b < rows.end; ++b) {
                if (!scan.runs(t, b)) continue;
                place[count] = t * scan.batch + b;
                row[count++] = b;
            }
        }
        starts[end - begin] = count;
    }

    RECURRA_INLINE Range at(std::int64_t t) const {
        return {starts[t - begin], starts[t - begin + 1]};
    }
};

// Chunk number n in the order of the scan: forward from the first step, backward from the last.
RECURRA_INLINE Range chunk_at(std::int64_t n, std::int64_t steps, std::int64_t size, bool reverse) {
    const std::int64_t near = n * size, far = near + size < steps ? near + size : steps;
    return reverse ? Range{steps - far, steps - near} : Range{near, far};
}

}  // namespace recurra::RECURRA_ISA
