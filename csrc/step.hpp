// One step forward for some rows: phases, products, norms. The rows may be of several steps where
// all old states are known.
#pragma once

#include "chunk.hpp"
#include "norm.hpp"
#include "tape.hpp"
#include "weights.hpp"

namespace recurra::RECURRA_ISA {

// Rows computed at once. `first` is the row of u that belongs to the first of them.
template <class T>
struct Batch {
    std::int64_t count, first;
    const std::int64_t *place, *row;
    const T* const* const* old;  // by state, by row
    T* const* const* fresh;
};

// Where the values that backward needs are: rows of saved_size, one for each place, or for each
// number in `index`.
template <class T>
struct Saved {
    T* base;
    const std::int64_t* index = nullptr;

    RECURRA_INLINE const std::int64_t* rows(const Batch<T>& batch) const {
        return index ? index : batch.place;
    }
    RECURRA_INLINE T* row(const Program& program, const Batch<T>& batch, std::int64_t r) const {
        return base ? base + rows(batch)[r] * program.saved_size : nullptr;
    }
};

template <class T>
RECURRA_INLINE std::int64_t saved_offset(const Program& program, int index) {
    std::int64_t offset = 0;
    for (int i = 0; i < index; ++i) offset += program.saved[i];
    return offset;
}

// Whether the first phase's product can be taken before u is there, and before there is a place for
// the new states.
RECURRA_INLINE bool begins_alone(const Program& program) {
    if (!program.phases.size || !program.phases[0].multiplies) return false;
    for (const Section& part : program.phases[0].operand) {
        for (const Source& source : part.sources) {
            if (source.from == From::u) return false;
        }
        for (const Output& output : part.outputs) {
            if (output.to == To::slot && output.index < program.states.size) return false;
        }
    }
    return true;
}

// Every section of a step, in order.
template <class F>
RECURRA_INLINE void each_section(const Program& program, F f) {
    for (const Phase& phase : program.phases) {
        for (const Section& part : phase.operand) {
            if (phase.multiplies) f(part);
        }
        for (const Section& part : phase.body) f(part);
    }
    for (const Section& part : program.last) f(part);
}

template <class T, class W = Weights<T>>
class Step {
public:
    Saved<T> saved;
    bool down = false;  // the last columns of weights first; who turns round at every step finds
                        // them in the cache
    Tape<T>* tape = nullptr;  // what the sections do, if it is written down
    T* u = nullptr;           // rows of this thread's part of every block, `u_apart` apart
    std::int64_t u_apart = 0;

    // `most` rows at once, `ahead` rows of u.
    Step(const Scan<T>& s, Region& r, int i, const W& w, Arena& shared, Arena& own,
         std::int64_t most, std::int64_t ahead)
        : saved{s.saved},
          scan(s),
          program(*s.program),
          region(r),
          me(i),
          weights(w),
          hidden(r.units(s.program->hidden, i)) {
        std::int64_t reads = 0, raw = program.input.norm.size ? ahead * program.input.columns() : 0;
        for (int p = 0; p < program.phases.size; ++p) {
            if (!program.phases[p].multiplies) continue;
            const Product& product = program.phases[p].product;
            mine[p] = region.units(product.unit, me);
            apart[p] = spaced<T>(product.blocks * mine[p].size());
            reads = product.reads > reads ? product.reads : reads;
            raw = product.norm.size && product.columns() * most > raw ? product.columns() * most
                                                                      : raw;
            v[p] = own.take<T>(most * apart[p]);
        }
        Arena& team = region.by_units ? shared : own;
        operand[0] = team.take<T>(most * spaced<T>(reads));
        operand[1] = region.by_units ? team.take<T>(most * spaced<T>(reads)) : operand[0];
        whole = region.by_units ? team.take<T>(raw) : nullptr;
        for (int n = program.states.size; n < program.slots.size; ++n)
            slots[n] = own.take<T>(most * program.slots[n]);
        u_apart = spaced<T>(weights.columns(0));
        u = own.take<T>(ahead * u_apart);
        x = own.take<T>(ahead * spaced<T>(program.input.reads));
        desk.registers = own.take<T>(std::int64_t(program.registers) * TILE);
        desk.tail = own.take<T>(std::int64_t(program.sources) * TILE);
        constants = own.take<T>(std::int64_t(program.constants.size) * TILE);
    }

    // Once the memory is there.
    void open() {
        for (int i = 0; i < program.constants.size * TILE; ++i)
            constants[i] = T(program.constants[i / TILE]);
        memset(desk.tail, 0, sizeof(T) * std::size_t(program.sources) * TILE);
    }

    // u for rows of x.
    void project(const Batch<T>& batch) {
        const std::int64_t wide = program.input.reads, x_apart = spaced<T>(wide);
        for (std::int64_t r = 0; r < batch.count; ++r)
            memcpy(x + r * x_apart, scan.x + batch.place[r] * wide, sizeof(T) * std::size_t(wide));
        weights.multiply_ahead(0, batch.count, x, x_apart, u, u_apart, down);
        if (program.input.norm.size) norm(program.input, 0, batch, u, u_apart, nullptr, 0);
        if (program.input.norm.size) region.meet_team();
    }

    // The first product, before `project`; `run` then leaves it out.
    void begin(const Batch<T>& batch) {
        product(program.phases[0], 0, batch);
        begun = true;
    }

    // Write down what the sections do with rows of these states.
    void record(const Batch<T>& batch, Tape<T>& to) {
        each_section(program, [&](const Section& part) {
            to.record(part, batch.count, units(part), desk, [&](std::int64_t first) {
                Batch<T> there = batch;
                there.first = first;
                lay(part, there);
            });
        });
    }

    void run(const Batch<T>& batch) {
        for (int p = 0; p < program.phases.size; ++p) {
            const Phase& phase = program.phases[p];
            if (phase.multiplies && !begun) product(phase, p, batch);
            begun = false;
            for (const Section& part : phase.body) section(part, batch);
        }
        for (const Section& part : program.last) section(part, batch);
    }

private:
    const Scan<T>& scan;
    const Program& program;
    Region& region;
    const int me;
    const W& weights;
    const Range hidden;                   // this thread's units of u
    Range mine[MAX_PHASES];               // and of v
    std::int64_t apart[MAX_PHASES] = {};  // numbers from one row of v to the next
    T* v[MAX_PHASES] = {};
    T* slots[MAX_SLOTS] = {};
    T *operand[2], *whole, *x, *constants;
    int turn = 0;  // who is still in a product reads one operand while the next is written
    bool begun = false;
    Desk<T> desk;

    void product(const Phase& phase, int p, const Batch<T>& batch) {
        const Product& product = phase.product;
        const std::int64_t reads = spaced<T>(product.reads);
        turn = 1 - turn;
        for (const Section& part : phase.operand) section(part, batch);
        region.meet_team();
        const T* from = operand[turn];
        if (product.weighted) {
            weights.multiply_ahead(p + 1, batch.count, from, reads, v[p], apart[p], down);
            if (product.norm.size) norm(product, p + 1, batch, v[p], apart[p], nullptr, 0);
        } else if (product.norm.size) {
            norm(product, p + 1, batch, v[p], apart[p], from, reads);
        } else {
            copy_part(product, batch.count, from, reads, v[p], apart[p]);
        }
    }

    // This thread's units of every block, side by side.
    void copy_part(const Product& product, std::int64_t rows, const T* from, std::int64_t stride,
                   T* to, std::int64_t step) const {
        const Range units = region.units(product.unit, me);
        for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t b = 0; b < product.blocks; ++b) {
                memcpy(to + r * step + b * units.size(),
                       from + r * stride + b * product.unit + units.begin,
                       sizeof(T) * std::size_t(units.size()));
            }
        }
    }

    // Normalise rows of `values`, this thread's part; the whole rows are at `from`, or put together
    // first.
    void norm(const Product& product, int entry, const Batch<T>& batch, T* values,
              std::int64_t step, const T* from, std::int64_t stride) {
        const Range units = region.units(product.unit, me);
        if (!from && !region.by_units) {
            from = values;
            stride = step;
        } else if (!from) {
            for (std::int64_t r = 0; r < batch.count; ++r) {
                for (std::int64_t b = 0; b < product.blocks; ++b) {
                    memcpy(whole + r * product.columns() + b * product.unit + units.begin,
                           values + r * step + b * units.size(),
                           sizeof(T) * std::size_t(units.size()));
                }
            }
            region.meet_team();
            from = whole;
            stride = product.columns();
        }
        for (std::int64_t r = 0; r < batch.count; ++r) {
            T* row = saved.row(program, batch, r);
            normalise(product, from + r * stride, scan.gain[entry], scan.bias[entry],
                      {product.unit, units}, row ? row + product.kept : nullptr, values + r * step);
        }
    }

    Reader<T> reader(const Source& source, const Batch<T>& batch) const {
        const int i = source.index;
        switch (source.from) {
            case From::u:
                return {u + batch.first * u_apart + source.part * hidden.size(),
                        u_apart,
                        nullptr,
                        nullptr,
                        hidden.begin,
                        true};
            case From::v:
                return {v[i] + source.part * mine[i].size(),
                        apart[i],
                        nullptr,
                        nullptr,
                        mine[i].begin,
                        true};
            case From::state:
                return {nullptr, 0, nullptr, batch.old[i], 0, true};
            case From::noise:
                return {scan.noise[i],
                        program.noises[i],
                        scan.lasting[i] ? batch.row : batch.place,
                        nullptr,
                        0,
                        true};
            case From::param:
                return {scan.param[i], 0, nullptr, nullptr, 0, true};
            case From::constant:
                return {constants + std::int64_t(i) * TILE, 0, nullptr, nullptr, 0, false};
            default:
                if (i < program.states.size) return {nullptr, 0, nullptr, batch.fresh[i], 0, true};
                return {slots[i], program.slots[i], nullptr, nullptr, 0, true};
        }
    }

    Writer<T> writer(const Output& output, int width, const Batch<T>& batch) const {
        const int i = output.index;
        switch (output.to) {
            case To::slot:
                if (i < program.states.size) return {nullptr, 0, nullptr, batch.fresh[i], 0, false};
                return {slots[i], width, nullptr, nullptr, 0, false};
            case To::operand:
                return {operand[turn], spaced<T>(width), nullptr, nullptr, 0, false};
            case To::saved:
                if (!saved.base) return {};
                return {saved.base + saved_offset<T>(program, i),
                        program.saved_size,
                        saved.rows(batch),
                        nullptr,
                        0,
                        false};
            default:
                if (!scan.gates) return {};
                return {scan.gates[i], width, batch.place, nullptr, 0, false};
        }
    }

    RECURRA_INLINE Range units(const Section& part) const {
        return part.width == program.hidden ? hidden : region.units(part.width, me);
    }

    void lay(const Section& part, const Batch<T>& batch) {
        for (int s = 0; s < part.sources.size; ++s)
            desk.readers[s] = reader(part.sources[s], batch);
        for (int o = 0; o < part.outputs.size; ++o)
            desk.writers[o] = writer(part.outputs[o], part.width, batch);
    }

    void section(const Section& part, const Batch<T>& batch) {
        if (tape) return tape->play(batch.count, batch.first * u_apart);
        lay(part, batch);
        desk.run(part, batch.count, units(part));
    }
};

}  // namespace recurra::RECURRA_ISA
