// A scan backward, one thread's part of it: the chunks last first, in each the steps last first,
// then its products.
#pragma once

#include "products.hpp"

namespace recurra::RECURRA_ISA {

template <class T>
class Backward {
public:
    Backward(const Scan<T>& s, const Gradients<T>& g, Region& r, int i, Arena& shared, Arena& own)
        : scan(s),
          gradients(g),
          program(*s.program),
          region(r),
          me(i),
          mine(r.rows(i)),
          steps(chunk_steps(s.steps, s.batch)),
          again(!s.saved && s.program->saved_size > 0),
          weights(s, r, i, shared, again, true),
          lines(s, *s.program, shared, steps, again),
          all(own, steps, s.batch),
          chunk(own, steps, mine.size()),
          products(s, g, r, i, lines, shared, own, steps * s.batch),
          step(s, r, i, weights, shared, own, again ? steps * mine.size() : 0,
               again ? steps * mine.size() : 0) {
        const std::int64_t most = mine.size(), rows = again ? steps * most : most;
        for (int n = 0; n < program.states.size; ++n) {
            const std::int64_t width = program.states[n];
            grad[n] = shared.take<T>(scan.batch * width);
            dstate[n] = own.take<T>(most * width);
            old[n] = own.take<const T*>(rows);
            fresh[n] = own.take<T*>(rows);
            scratch[n] = own.take<T>(again ? rows * width : 0);
        }
        for (int n = 0; n < program.back_slots.size; ++n)
            slots[n] = own.take<T>(most * program.back_slots[n]);
        for (int n = 0; n < program.params.size; ++n)
            dparam[n] =
                gradients.dparam[n] ? shared.take<T>(scan.batch * program.params[n]) : nullptr;
        for (int p = 0; p < program.phases.size; ++p) {
            const Product& product = program.phases[p].product;
            reading[p] = region.units(product.reads, me);
            if (program.phases[p].multiplies && product.weighted)
                doperand[p] = own.take<T>(most * spaced<T>(weights.backward[p + 1].columns));
        }
        number = own.take<std::int64_t>(steps * most);
        desk.registers = own.take<T>(std::int64_t(program.registers) * TILE);
        desk.tail = own.take<T>(std::int64_t(program.sources) * TILE);
        constants = own.take<T>(std::int64_t(program.constants.size) * TILE);
    }

    void run() {
        weights.pack();
        open();
        region.meet();
        const std::int64_t chunks = (scan.steps + steps - 1) / steps;
        for (std::int64_t n = chunks - 1; n >= 0; --n) {
            const Range part = chunk_at(n, scan.steps, steps, scan.reverse);
            all.fill(scan, part, {0, scan.batch});
            chunk.fill(scan, part, mine);
            find_numbers();
            if (again) compute_again();
            for (std::int64_t k = part.begin; k < part.end; ++k)
                back(scan.reverse ? k : part.end - 1 - (k - part.begin));
            region.meet();
            products.run(all, weights);
            region.meet();
        }
        close();
    }

private:
    // Memory that all threads read once a chunk's steps are done.
    struct Shared : Rows<T> {
        Shared(const Scan<T>& scan, const Program& program, Arena& shared, std::int64_t steps,
               bool again) {
            const std::int64_t most = steps * scan.batch;
            this->apart[0] = spaced<T>(program.input.columns());
            this->dv[0] = this->raw[0] = shared.take<T>(most * this->apart[0]);
            if (again) this->saved = shared.take<T>(most * program.saved_size);
            for (const BackPhase& phase : program.back) {
                const int e = phase.phase + 1;
                const Product& product = program.phases[phase.phase].product;
                if (!program.phases[phase.phase].multiplies) continue;
                this->reads[e] = spaced<T>(product.reads);
                this->operand[e] = shared.take<T>(most * this->reads[e]);
                if (phase.du_first == -2) continue;
                this->within[e] = phase.du_first >= 0;
                this->apart[e] = this->within[e] ? this->apart[0] : spaced<T>(product.columns());
                this->dv[e] = this->within[e]
                                  ? this->dv[0] + std::int64_t(phase.du_first) * program.hidden
                                  : shared.take<T>(most * this->apart[e]);
                this->raw[e] =
                    product.norm.size ? shared.take<T>(most * this->apart[e]) : this->dv[e];
            }
        }
    };

    const Scan<T>& scan;
    const Gradients<T>& gradients;
    const Program& program;
    Region& region;
    const int me;
    const Range mine;
    const std::int64_t steps;
    const bool
        again;  // nothing was saved: forward values are computed a second time, a chunk at once
    Weights<T> weights;
    Shared lines;
    Chunk all, chunk;
    Products<T> products;
    Step<T> step;
    T* grad[MAX_SLOTS];    // gradient of the state, (B, W)
    T* dstate[MAX_SLOTS];  // of the state before, by running row
    const T** old[MAX_SLOTS];
    T** fresh[MAX_SLOTS];
    T* scratch[MAX_SLOTS];
    T* slots[MAX_SLOTS];
    T* dparam[MAX_SLOTS];  // by row of the batch
    T* doperand[MAX_PHASES] = {};
    Range reading[MAX_PHASES];  // this thread's units of a phase's operand
    std::int64_t* number;       // of a row of `chunk`: its number in `all`
    T* constants;
    bool down = false;  // which way the weights were read
    Desk<T> desk;

    void open() {
        step.open();
        products.open();
        for (int i = 0; i < program.constants.size * TILE; ++i)
            constants[i] = T(program.constants[i / TILE]);
        memset(desk.tail, 0, sizeof(T) * std::size_t(program.sources) * TILE);
        for (int n = 0; n < program.states.size; ++n) {
            const std::int64_t width = program.states[n];
            for (std::int64_t b = mine.begin; b < mine.end; ++b) {
                set(grad[n] + b * width, width,
                    gradients.dfinal[n] ? gradients.dfinal[n] + b * width : nullptr);
                if (gradients.dinitial[n]) set(gradients.dinitial[n] + b * width, width, nullptr);
            }
        }
        for (std::int64_t b = mine.begin; b < mine.end; ++b) {
            for (int n = 0; n < program.params.size; ++n) {
                if (dparam[n]) set(dparam[n] + b * program.params[n], program.params[n], nullptr);
            }
            for (int n = 0; n < program.noises.size; ++n) {
                if (gradients.dnoise[n] && scan.lasting[n])
                    set(gradients.dnoise[n] + b * program.noises[n], program.noises[n], nullptr);
            }
        }
    }

    void close() {
        for (int n = 0; n < program.states.size; ++n) {
            const std::int64_t width = program.states[n];
            for (std::int64_t b = mine.begin; gradients.dfirst[n] && b < mine.end; ++b)
                set(gradients.dfirst[n] + b * width, width, grad[n] + b * width);
        }
        region.meet();
        for (int n = 0; n < program.params.size; ++n) {
            if (!dparam[n]) continue;
            const Range part = share(program.params[n], me, region.threads, 16);
            for (std::int64_t j = part.begin; j < part.end; ++j) gradients.dparam[n][j] = 0;
            for (std::int64_t b = 0; b < scan.batch; ++b) {
                for (std::int64_t j = part.begin; j < part.end; ++j)
                    gradients.dparam[n][j] += dparam[n][b * program.params[n] + j];
            }
        }
    }

    // This thread's units of a row become another's, or zero.
    void set(T* to, std::int64_t width, const T* from) const {
        const Range units = region.units(width, me);
        const std::size_t bytes = sizeof(T) * std::size_t(units.size());
        if (from)
            memcpy(to + units.begin, from + units.begin, bytes);
        else
            memset(to + units.begin, 0, bytes);
    }

    void add(T* to, std::int64_t width, const T* from) const {
        each<T>(region.units(width, me),
                [=](std::int64_t j, auto at, auto put) { put(to + j, at(to + j) + at(from + j)); });
    }

    void find_numbers() {
        for (std::int64_t k = 0, n = 0; k < chunk.count; ++k) {
            while (all.place[n] != chunk.place[k]) ++n;
            number[k] = n;
        }
    }

    // Row b of a state before step t.
    const T* before(int n, std::int64_t t, std::int64_t b) const {
        const std::int64_t width = program.states[n], last = scan.length(b) - 1;
        const std::int64_t previous = scan.reverse ? t + 1 : t - 1;
        if (scan.resets_at(scan.reverse && t < last ? previous : t, b) &&
            (!scan.reverse || t < last))
            return scan.initial[n] + b * width;
        if (scan.reverse ? t == last : t == 0) return scan.first[n] + b * width;
        return record(n, previous * scan.batch + b);
    }

    T* record(int n, std::int64_t place) const {
        return (n ? scan.states[n] : scan.h) + place * program.states[n];
    }

    void compute_again() {
        for (std::int64_t k = 0; k < chunk.count; ++k) {
            for (int n = 0; n < program.states.size; ++n) {
                old[n][k] = before(n, chunk.place[k] / scan.batch, chunk.row[k]);
                fresh[n][k] = scratch[n] + k * program.states[n];
            }
        }
        const Batch<T> batch{chunk.count, 0, chunk.place, chunk.row, old, fresh};
        step.saved = {lines.saved, number};
        step.project(batch);
        step.run(batch);
        region.meet_team();
    }

    void back(std::int64_t t) {
        const Range at = chunk.at(t);
        down = !down;
        take_gradients(t);
        if (!at.size()) return;
        for (std::int64_t r = 0; r < at.size(); ++r) {
            for (int n = 0; n < program.states.size; ++n) {
                old[n][r] = before(n, t, chunk.row[at.begin + r]);
                fresh[n][r] = record(n, chunk.place[at.begin + r]);
            }
        }
        const Batch<T> batch{
            at.size(), number[at.begin], chunk.place + at.begin, chunk.row + at.begin, old, fresh};
        const Saved<T> saved =
            again ? Saved<T>{lines.saved, number + at.begin} : Saved<T>{scan.saved};
        for (const BackPhase& phase : program.back) {
            for (const Section& part : phase.operand) section(part, phase.phase, batch, saved);
            for (const Section& part : phase.before) section(part, phase.phase, batch, saved);
            if (phase.du_first != -2) product(phase.phase, batch, saved);
            for (const Section& part : phase.after) section(part, phase.phase, batch, saved);
        }
        for (const Section& part : program.back_last) section(part, 0, batch, saved);
        hand_on(t, at);
    }

    // What reaches the state after step t from outside.
    void take_gradients(std::int64_t t) {
        for (std::int64_t b = mine.begin; b < mine.end; ++b) {
            const bool runs = scan.runs(t, b);
            const std::int64_t place = t * scan.batch + b;
            for (int n = 0; n < program.states.size; ++n) {
                const std::int64_t width = program.states[n];
                T* here = grad[n] + b * width;
                if (scan.reverse && runs && scan.resets_at(t, b))
                    give_initial(n, b, here), set(here, width, nullptr);
                if (gradients.dstates && gradients.dstates[n])
                    add(here, width, gradients.dstates[n] + place * width);
                if (n == 0 && runs && gradients.dh) add(here, width, gradients.dh + place * width);
            }
            for (int n = 0; !runs && n < program.noises.size; ++n) {
                const std::int64_t width = program.noises[n];
                if (gradients.dnoise[n] && !scan.lasting[n])
                    set(gradients.dnoise[n] + place * width, width, nullptr);
            }
        }
    }

    void give_initial(int n, std::int64_t b, const T* from) {
        if (gradients.dinitial[n])
            add(gradients.dinitial[n] + b * program.states[n], program.states[n], from);
    }

    void hand_on(std::int64_t t, Range at) {
        for (std::int64_t r = 0; r < at.size(); ++r) {
            const std::int64_t b = chunk.row[at.begin + r];
            const bool begins = !scan.reverse && scan.resets_at(t, b);
            for (int n = 0; n < program.states.size; ++n) {
                const std::int64_t width = program.states[n];
                const T* from = dstate[n] + r * width;
                if (begins) give_initial(n, b, from);
                set(grad[n] + b * width, width, begins ? nullptr : from);
            }
        }
    }

    void product(int p, const Batch<T>& batch, const Saved<T>& saved) {
        const Product& product = program.phases[p].product;
        const int e = p + 1;
        region.meet_team();
        const T *dv = lines.dv[e] + batch.first * lines.apart[e], *from = dv;
        if (product.norm.size) {
            T* raw = lines.raw[e] + batch.first * lines.apart[e];
            for (std::int64_t r = 0; r < batch.count; ++r) {
                normalise_back(product, dv + r * lines.apart[e], scan.gain[e],
                               {product.unit, region.units(product.unit, me)},
                               saved.row(program, batch, r) + product.kept,
                               raw + r * lines.apart[e]);
            }
            region.meet_team();
            from = raw;
        }
        if (product.weighted)
            multiply(weights.backward[e], batch.count, from, lines.apart[e], doperand[p],
                     spaced<T>(weights.backward[e].columns), down);
    }

    Reader<T> reader(const Source& source, const Batch<T>& batch, const Saved<T>& saved) const {
        const int i = source.index;
        switch (source.from) {
            case From::state:
                return {nullptr, 0, nullptr, batch.old[i], 0, true};
            case From::fresh:
                return {nullptr, 0, nullptr, batch.fresh[i], 0, true};
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
            case From::slot:
                return {slots[i], program.back_slots[i], nullptr, nullptr, 0, true};
            case From::saved:
                return {saved.base + saved_offset<T>(program, i),
                        program.saved_size,
                        saved.rows(batch),
                        nullptr,
                        0,
                        true};
            case From::grad:
                return {grad[i], program.states[i], batch.row, nullptr, 0, true};
            default: {
                const Product& product = program.phases[i].product;
                if (!product.weighted)
                    return {lines.raw[i + 1] + batch.first * lines.apart[i + 1],
                            lines.apart[i + 1],
                            nullptr,
                            nullptr,
                            0,
                            true};
                return {doperand[i],      spaced<T>(weights.backward[i + 1].columns),
                        nullptr,          nullptr,
                        reading[i].begin, true};
            }
        }
    }

    Writer<T> writer(const Output& output, int width, int p, const Batch<T>& batch) const {
        const int i = output.index;
        switch (output.to) {
            case To::slot:
                return {slots[i], width, nullptr, nullptr, 0, false};
            case To::operand:
                return {lines.operand[p + 1] + batch.first * lines.reads[p + 1],
                        lines.reads[p + 1],
                        nullptr,
                        nullptr,
                        0,
                        false};
            case To::du:
                return {
                    lines.dv[0] + batch.first * lines.apart[0] + std::int64_t(i) * program.hidden,
                    lines.apart[0],
                    nullptr,
                    nullptr,
                    0,
                    false};
            case To::dv:
                return {
                    lines.dv[p + 1] + batch.first * lines.apart[p + 1] + std::int64_t(i) * width,
                    lines.apart[p + 1],
                    nullptr,
                    nullptr,
                    0,
                    false};
            case To::dstate:
                return {dstate[i], width, nullptr, nullptr, 0, false};
            case To::dnoise:
                return {gradients.dnoise[i],
                        width,
                        scan.lasting[i] ? batch.row : batch.place,
                        nullptr,
                        0,
                        bool(scan.lasting[i])};
            default:
                return {dparam[i], width, batch.row, nullptr, 0, true};
        }
    }

    void section(const Section& part, int p, const Batch<T>& batch, const Saved<T>& saved) {
        for (int s = 0; s < part.sources.size; ++s)
            desk.readers[s] = reader(part.sources[s], batch, saved);
        for (int o = 0; o < part.outputs.size; ++o)
            desk.writers[o] = writer(part.outputs[o], part.width, p, batch);
        desk.run(part, batch.count, region.units(part.width, me));
    }
};

}  // namespace recurra::RECURRA_ISA
