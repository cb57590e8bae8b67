// A scan forward: each thread runs all steps of its own rows, so the only meeting point is the end.
#pragma once

#include "gemm.hpp"
#include "norm.hpp"
#include "tile.hpp"

namespace recurra::RECURRA_ISA {

// Hands out 64-byte aligned pieces of scratch; with null it only counts.
template <class T>
struct Scratch {
    T* next;
    std::size_t used = 0;

    T* take(std::int64_t numbers) {
        constexpr std::int64_t unit = 64 / sizeof(T);
        const std::int64_t size = (numbers + unit - 1) / unit * unit;
        T* piece = next ? next + used : nullptr;
        used += std::size_t(size);
        return piece;
    }
};

// A source of a section at one step: where row 0 is, how far rows and tiles are apart.
template <class T>
struct Reader {
    const T* base;
    std::int64_t row;
    bool compact;  // rows are counted among the active ones
    bool moves;    // tiles advance through it; constants stay
};

template <class T>
struct Worker {
    const Scan<T>& scan;
    const Program& program;
    std::int64_t* active;  // rows that this step computes
    std::int64_t rows = 0;
    const T* panels[MAX_PHASES];
    T* v[MAX_PHASES];
    T* slots[MAX_SLOTS];
    T *operand, *constants, *registers, *tail;

    Worker(const Scan<T>& s, Scratch<T>& scratch, std::int64_t* list, std::int64_t most) : scan(s), program(*s.program), active(list) {
        std::int64_t widest = 0;
        for (int p = 0; p < program.phases.size; ++p) {
            const Product& product = program.phases[p].product;
            const bool any = program.phases[p].multiplies;
            v[p] = scratch.take(any ? most * stride(product) : 0);
            widest = any && product.reads > widest ? product.reads : widest;
        }
        for (int i = 0; i < program.slots.size; ++i) slots[i] = scratch.take(most * program.slots[i]);
        operand = scratch.take(most * widest);
        constants = scratch.take(std::int64_t(program.constants.size) * TILE);
        registers = scratch.take(std::int64_t(program.registers) * TILE);
        tail = scratch.take(std::int64_t(program.sources) * TILE);
    }

    // Numbers from one row of v to the next.
    static std::int64_t stride(const Product& product) {
        return product.weighted ? panel_count<T>(product) * PANEL<T> : product.reads;
    }

    void run(const T* packed, std::int64_t begin, std::int64_t end) {
        for (int p = 0; p < program.phases.size; ++p) {
            panels[p] = packed;
            if (program.phases[p].multiplies) packed += packed_numbers<T>(program.phases[p].product);
        }
        for (int i = 0; i < program.constants.size * TILE; ++i) constants[i] = T(program.constants[i / TILE]);
        memset(tail, 0, sizeof(T) * std::size_t(program.sources) * TILE);
        copy_state(scan.first, begin, end);
        for (std::int64_t n = 0; n < scan.steps; ++n) step(scan.reverse ? scan.steps - 1 - n : n, begin, end);
    }

    void copy_state(const T* const* from, std::int64_t begin, std::int64_t end) {
        for (int i = 0; i < program.states.size; ++i) {
            const std::int64_t width = program.states[i];
            memcpy(scan.final[i] + begin * width, from[i] + begin * width, sizeof(T) * std::size_t((end - begin) * width));
        }
    }

    bool runs(std::int64_t t, std::int64_t b) const { return !scan.lengths || t < scan.lengths[b]; }

    void step(std::int64_t t, std::int64_t begin, std::int64_t end) {
        rows = 0;
        for (std::int64_t b = begin; b < end; ++b) {
            if (!runs(t, b)) continue;
            active[rows++] = b;
            if (!scan.reverse) reset(t, b);
        }
        if (rows) {
            for (int p = 0; p < program.phases.size; ++p) phase(t, p);
            for (const Section& part : program.last) section(t, part);
        }
        commit(t);
        if (rows < end - begin) clear_idle(t, begin, end);
        record_states(t, begin, end);
        if (scan.reverse) {
            for (std::int64_t i = 0; i < rows; ++i) reset(t, active[i]);
        }
    }

    void reset(std::int64_t t, std::int64_t b) {
        if (scan.resets && scan.resets[t * scan.batch + b]) copy_state(scan.initial, b, b + 1);
    }

    void phase(std::int64_t t, int p) {
        const Phase& phase = program.phases[p];
        if (phase.multiplies) {
            const Product& product = phase.product;
            for (const Section& part : phase.operand) section(t, part);
            if (product.weighted) {
                multiply(product, rows, operand, panels[p], v[p]);
            } else {
                memcpy(v[p], operand, sizeof(T) * std::size_t(rows * product.reads));
            }
            for (std::int64_t r = 0; r < rows; ++r) normalise_groups(product, v[p] + r * stride(product), scan.gain[p], scan.bias[p]);
        }
        for (const Section& part : phase.body) section(t, part);
    }

    Reader<T> reader(std::int64_t t, const Source& source) const {
        const int i = source.index;
        const std::int64_t hidden = program.hidden, record = hidden * program.gates;
        switch (source.from) {
            case From::u: return {scan.u + t * scan.batch * record + source.part * hidden, record, false, true};
            case From::v: {
                const Product& product = program.phases[i].product;
                return {v[i] + std::int64_t(source.part) * product.unit, stride(product), true, true};
            }
            case From::state: return {scan.final[i], program.states[i], false, true};
            case From::noise: {
                const std::int64_t width = program.noises[i];
                return {scan.noise[i] + (scan.lasting[i] ? 0 : t * scan.batch * width), width, false, true};
            }
            case From::param: return {scan.param[i], 0, false, true};
            case From::constant: return {constants + std::int64_t(i) * TILE, 0, false, false};
            default: return {slots[i], program.slots[i], true, true};
        }
    }

    T* writer(std::int64_t t, const Output& output, int width, std::int64_t r) const {
        switch (output.to) {
            case To::slot: return slots[output.index] + r * width;
            case To::operand: return operand + r * width;
            default: return scan.gates ? scan.gates[output.index] + (t * scan.batch + active[r]) * width : nullptr;
        }
    }

    void section(std::int64_t t, const Section& part) {
        Reader<T> readers[MAX_SOURCES];
        T* values[MAX_SOURCES + MAX_REGISTERS];
        const int sources = part.sources.size;
        for (int s = 0; s < sources; ++s) readers[s] = reader(t, part.sources[s]);
        for (int k = 0; k < part.registers; ++k) values[sources + k] = registers + std::int64_t(k) * TILE;
        for (std::int64_t r = 0; r < rows; ++r) {
            for (int start = 0; start < part.width; start += TILE) {
                const int units = part.width - start < TILE ? part.width - start : TILE;
                const int padded = (units + LANES<T> - 1) / LANES<T> * LANES<T>;
                for (int s = 0; s < sources; ++s) values[s] = source(readers[s], s, r, start, units, padded);
                run_tile(part, values, padded);
                for (const Output& output : part.outputs) {
                    T* to = writer(t, output, part.width, r);
                    if (to) memcpy(to + start, values[output.value], sizeof(T) * std::size_t(units));
                }
            }
        }
    }

    // Where a tile reads a source; a tile that is not whole vectors reads a padded copy.
    RECURRA_INLINE T* source(const Reader<T>& from, int s, std::int64_t r, int start, int units, int padded) const {
        const T* here = from.base + (from.compact ? r : active[r]) * from.row + (from.moves ? start : 0);
        if (units == padded || !from.moves) return const_cast<T*>(here);
        T* copy = tail + std::int64_t(s) * TILE;
        memcpy(copy, here, sizeof(T) * std::size_t(units));
        return copy;
    }

    // The new states become the state, the first of them the output.
    void commit(std::int64_t t) {
        for (std::int64_t r = 0; r < rows; ++r) {
            for (int i = 0; i < program.states.size; ++i) {
                const std::int64_t width = program.states[i];
                memcpy(scan.final[i] + active[r] * width, slots[i] + r * width, sizeof(T) * std::size_t(width));
            }
            const std::int64_t width = program.states[0];
            memcpy(scan.h + (t * scan.batch + active[r]) * width, slots[0] + r * width, sizeof(T) * std::size_t(width));
        }
    }

    // Rows past their length: output and gates are zero.
    void clear_idle(std::int64_t t, std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
            if (runs(t, b)) continue;
            const std::int64_t row = t * scan.batch + b, width = program.states[0], hidden = program.hidden;
            memset(scan.h + row * width, 0, sizeof(T) * std::size_t(width));
            for (int g = 0; scan.gates && g < program.gates; ++g) memset(scan.gates[g] + row * hidden, 0, sizeof(T) * std::size_t(hidden));
        }
    }

    void record_states(std::int64_t t, std::int64_t begin, std::int64_t end) {
        for (int i = 0; scan.states && i < program.states.size; ++i) {
            const std::int64_t width = program.states[i];
            const std::size_t bytes = sizeof(T) * std::size_t((end - begin) * width);
            memcpy(scan.states[i] + (t * scan.batch + begin) * width, scan.final[i] + begin * width, bytes);
        }
    }
};

}  // namespace recurra::RECURRA_ISA
