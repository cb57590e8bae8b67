// Running a section for some rows: where its sources are read and its outputs written.
#pragma once

#include "region.hpp"
#include "tile.hpp"

namespace recurra::RECURRA_ISA {

// A source at one step. Row r begins at rows[r], or at base + (index ? index[r] : r) * stride; the
// unit `origin` is there.
template <class T>
struct Reader {
    const T* base = nullptr;
    std::int64_t stride = 0;
    const std::int64_t* index = nullptr;
    const T* const* rows = nullptr;
    std::int64_t origin = 0;
    bool moves = true;  // tiles advance through it; constants stay

    RECURRA_INLINE const T* row(std::int64_t r) const {
        return (rows ? rows[r] : base + (index ? index[r] : r) * stride) - origin;
    }
};

// Likewise where an output goes; nowhere if both pointers are null. `add`: it is added to what is
// there.
template <class T>
struct Writer {
    T* base = nullptr;
    std::int64_t stride = 0;
    const std::int64_t* index = nullptr;
    T* const* rows = nullptr;
    std::int64_t origin = 0;
    bool add = false;

    RECURRA_INLINE T* row(std::int64_t r) const {
        if (!rows && !base) return nullptr;
        return (rows ? rows[r] : base + (index ? index[r] : r) * stride) - origin;
    }
};

// Memory for one thread's interpreter.
template <class T>
struct Desk {
    T *registers, *tail;
    Reader<T> readers[MAX_SOURCES];
    Writer<T> writers[MAX_SLOTS];

    void run(const Section& part, std::int64_t rows, Range units) {
        for (std::int64_t r = 0; r < rows; ++r) {
            calls(part, r, units,
                  [](Execute<T> f, T* to, const T* x, const T* y, const T* z, int some) {
                      f(to, x, y, z, some);
                  });
        }
    }

    // Hands over what is to be done with row r, in order: call(function and its arguments).
    template <class F>
    RECURRA_INLINE void calls(const Section& part, std::int64_t r, Range units, F call) {
        for (int s = 0; s < part.sources.size; ++s) from[s] = readers[s].row(r);
        for (int o = 0; o < part.outputs.size; ++o) to[o] = writers[o].row(r);
        std::int64_t start = units.begin;
        for (; start + TILE <= units.end; start += TILE) tile(part, start, TILE, call);
        if (start == units.end) return;
        // Where whole vectors can reach back over units that are done, those are done again: it
        // costs less than copies, and changes nothing unless results are added up.
        const std::int64_t whole = padded_units(units.end - start);
        bool adds = units.size() < whole;
        for (int o = 0; o < part.outputs.size; ++o) adds |= writers[o].add;
        if (adds)
            tile(part, start, int(units.end - start), call);
        else
            tile(part, units.end - whole, int(whole), call);
    }

private:
    const T* from[MAX_SOURCES];
    T* to[MAX_SLOTS];
    T* values[MAX_SOURCES + MAX_REGISTERS];
    bool direct[MAX_SLOTS];

    static RECURRA_INLINE std::int64_t padded_units(std::int64_t units) {
        return (units + LANES<T> - 1) / LANES<T> * LANES<T>;
    }

    // A result that goes to one place only is computed there. A tile that is not whole vectors
    // reads padded copies.
    template <class F>
    RECURRA_INLINE void tile(const Section& part, std::int64_t start, int units, F call) {
        const int sources = part.sources.size, outputs = part.outputs.size;
        const int whole = int(padded_units(units));
        for (int s = 0; s < sources; ++s) {
            values[s] = const_cast<T*>(readers[s].moves ? from[s] + start : from[s]);
            if (units != whole && readers[s].moves) {
                T* copy = tail + std::int64_t(s) * TILE;
                call(copy_units<T>, copy, values[s], values[s], values[s], units);
                values[s] = copy;
            }
        }
        for (int k = 0; k < part.registers; ++k)
            values[sources + k] = registers + std::int64_t(k) * TILE;
        for (int o = 0; o < outputs; ++o) {
            const int value = part.outputs[o].value;
            direct[o] = to[o] && units == whole && !writers[o].add && value >= sources &&
                        values[value] == registers + std::int64_t(value - sources) * TILE;
            if (direct[o]) values[value] = to[o] + start;
        }
        for (const Instruction& code : part.instructions) {
            call(EXECUTE<T>[int(code.op)], values[sources + code.to], values[code.a],
                 values[code.b], values[code.c], whole);
        }
        for (int o = 0; o < outputs; ++o) {
            const T* value = values[part.outputs[o].value];
            if (to[o] && !direct[o])
                call(writers[o].add ? add_units<T> : copy_units<T>, to[o] + start, value, value,
                     value, units);
        }
    }
};

// Hands out 64-byte aligned pieces of memory; with null it only counts.
struct Arena {
    char* memory = nullptr;
    std::size_t used = 0;

    template <class E>
    E* take(std::int64_t count) {
        const std::size_t bytes = (std::size_t(count) * sizeof(E) + 63) / 64 * 64;
        char* piece = memory ? memory + used : nullptr;
        used += bytes;
        return reinterpret_cast<E*>(piece);
    }
};

}  // namespace recurra::RECURRA_ISA
