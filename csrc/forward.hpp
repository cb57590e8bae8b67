// A scan forward, one thread's part of it.
#pragma once

#include "step.hpp"

namespace recurra::RECURRA_ISA {

template <class T>
class Forward {
public:
    Forward(const Scan<T>& s, Region& r, int i, Arena& shared, Arena& own)
        : scan(s),
          program(*s.program),
          region(r),
          me(i),
          rows(r.rows(i)),
          steps(chunk_steps(s.steps, s.batch)),
          weights(s, r, i, shared, true, false),
          step(s, r, i, weights, shared, own, rows.size(), rows.size() * steps),
          chunk(own, steps, rows.size()) {
        for (int n = 0; n < program.states.size; ++n) {
            const std::int64_t width = program.states[n];
            const bool recorded = n == 0 || (scan.states && scan.states[n]);
            Arena& team = region.by_units ? shared : own;
            other[n] = team.take<T>(recorded ? 0 : 2 * rows.size() * width);
            now[n] = own.take<const T*>(rows.size());
            old[n] = own.take<const T*>(rows.size());
            fresh[n] = own.take<T*>(rows.size());
        }
    }

    void run() {
        weights.pack();
        region.meet();
        step.open();
        for (int n = 0; n < program.states.size; ++n) {
            for (std::int64_t b = rows.begin; b < rows.end; ++b)
                now[n][b - rows.begin] = scan.first[n] + b * program.states[n];
        }
        for (std::int64_t n = 0; n * steps < scan.steps; ++n) {
            chunk.fill(scan, chunk_at(n, scan.steps, steps, scan.reverse), rows);
            step.project({chunk.count, 0, chunk.place, chunk.row, nullptr, nullptr});
            for (std::int64_t k = chunk.begin; k < chunk.end; ++k)
                advance(scan.reverse ? chunk.end - 1 - (k - chunk.begin) : k);
        }
        for (std::int64_t b = rows.begin; b < rows.end; ++b) keep(scan.final, b, b);
    }

private:
    const Scan<T>& scan;
    const Program& program;
    Region& region;
    const int me;
    const Range rows;
    const std::int64_t steps;
    Weights<T> weights;
    Step<T> step;
    Chunk chunk;
    T* other[MAX_SLOTS];       // two places for each row of a state that is not recorded
    const T** now[MAX_SLOTS];  // the state of the moment, by row
    const T** old[MAX_SLOTS];  // the same by running row
    T** fresh[MAX_SLOTS];      // where the next goes

    void advance(std::int64_t t) {
        const Range at = chunk.at(t);
        for (std::int64_t r = 0; r < at.size(); ++r) {
            const std::int64_t b = chunk.row[at.begin + r];
            if (!scan.reverse && scan.resets_at(t, b)) reset(b);
            for (int n = 0; n < program.states.size; ++n) {
                old[n][r] = now[n][b - rows.begin];
                fresh[n][r] = next(n, t, b);
            }
        }
        step.down = !step.down;
        if (at.size())
            step.run(
                {at.size(), at.begin, chunk.place + at.begin, chunk.row + at.begin, old, fresh});
        for (std::int64_t r = 0; r < at.size(); ++r) {
            for (int n = 0; n < program.states.size; ++n)
                now[n][chunk.row[at.begin + r] - rows.begin] = fresh[n][r];
        }
        if (at.size() < rows.size()) idle(t);
        if (scan.held && scan.states && scan.states[0]) {
            for (std::int64_t r = 0; r < at.size(); ++r)
                copy(scan.states[0] + chunk.place[at.begin + r] * program.states[0], 0,
                     chunk.row[at.begin + r]);
        }
        for (std::int64_t r = 0; scan.reverse && r < at.size(); ++r) {
            if (scan.resets_at(t, chunk.row[at.begin + r])) reset(chunk.row[at.begin + r]);
        }
    }

    void reset(std::int64_t b) {
        for (int n = 0; n < program.states.size; ++n)
            now[n][b - rows.begin] = scan.initial[n] + b * program.states[n];
    }

    T* next(int n, std::int64_t t, std::int64_t b) const {
        const std::int64_t width = program.states[n];
        if (n == 0) return scan.h + (t * scan.batch + b) * width;
        if (scan.states && scan.states[n]) return scan.states[n] + (t * scan.batch + b) * width;
        return other[n] + (2 * (b - rows.begin) + t % 2) * width;
    }

    // A thread copies its own units only: others may still be writing theirs.
    void copy(T* to, int n, std::int64_t b) const {
        const Range units = region.units(program.states[n], me);
        memcpy(to + units.begin, now[n][b - rows.begin] + units.begin,
               sizeof(T) * std::size_t(units.size()));
    }

    void keep(T* const* to, std::int64_t b, std::int64_t place) const {
        for (int n = 0; n < program.states.size; ++n) {
            if (to[n]) copy(to[n] + place * program.states[n], n, b);
        }
    }

    // Rows past their length: output and gates are zero, the state is held.
    void idle(std::int64_t t) const {
        for (std::int64_t b = rows.begin; b < rows.end; ++b) {
            if (scan.runs(t, b)) continue;
            const std::int64_t place = t * scan.batch + b;
            clear(scan.h, program.states[0], place);
            for (int g = 0; scan.gates && g < program.gates; ++g)
                clear(scan.gates[g], program.hidden, place);
            if (scan.held && scan.states) keep(scan.states, b, place);
        }
    }

    void clear(T* array, std::int64_t width, std::int64_t place) const {
        const Range units = region.units(width, me);
        memset(array + place * width + units.begin, 0, sizeof(T) * std::size_t(units.size()));
    }
};

}  // namespace recurra::RECURRA_ISA
