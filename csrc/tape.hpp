// A step's sections as the list of what they do, for memory that lies still: written down once,
// then only done.
#pragma once

#include "section.hpp"

namespace recurra::RECURRA_ISA {

// A function and its arguments for the first row.
template <class T>
struct Call {
    Execute<T> run;
    T* to;
    const T* from[3];
    std::int32_t apart[4];  // from one row to the next, in numbers: of `from`, then of `to`
    std::int32_t units;
    bool ahead[3],
        last;  // which of `from` are among what was computed ahead; whether the section ends here
};

// How many a section may take, at most.
RECURRA_INLINE std::int64_t calls_of(const Section& part) {
    return std::int64_t(part.width / TILE + 1) *
               (part.sources.size + part.instructions.size + part.outputs.size) +
           1;
}

template <class T>
class Tape {
public:
    Tape(std::int64_t most, Arena& arena) : calls(arena.take<Call<T>>(most)) {}

    // Write a section down. `place(first)` says where it reads and writes if its rows of u begin
    // with row `first`.
    template <class P>
    void record(const Section& part, std::int64_t rows, Range units, Desk<T>& desk, P place) {
        Call<T>* const begin = calls + count;
        place(0);
        desk.calls(part, 0, units,
                   [&](Execute<T> f, T* to, const T* x, const T* y, const T* z, int some) {
                       calls[count++] = Call<T>{f, to, {x, y, z}, {}, some, {}, false};
                   });
        if (calls + count == begin)
            calls[count++] = Call<T>{no_units<T>, nullptr, {}, {}, 0, {}, false};
        calls[count - 1].last = true;
        if (rows > 1)
            again(begin, part, 1, units, desk, [](Call<T>& call, T* to, const T* const* from) {
                for (int i = 0; i < 3; ++i) call.apart[i] = std::int32_t(from[i] - call.from[i]);
                call.apart[3] = std::int32_t(to - call.to);
            });
        place(1);
        again(begin, part, 0, units, desk, [](Call<T>& call, T*, const T* const* from) {
            for (int i = 0; i < 3; ++i) call.ahead[i] = from[i] != call.from[i];
        });
    }

    // Do the next section, after the last the first again. `shift`: how far what was computed ahead
    // is from where it was.
    RECURRA_INLINE void play(std::int64_t rows, std::int64_t shift) {
        const Call<T>* const begin = calls + next;
        const Call<T>* call = begin;
        for (std::int64_t r = 0; r < rows; ++r) {
            for (call = begin;; ++call) {
                const T* from[3];
#pragma GCC unroll 3
                for (int i = 0; i < 3; ++i)
                    from[i] = call->from[i] + r * call->apart[i] + (call->ahead[i] ? shift : 0);
                call->run(call->to + r * call->apart[3], from[0], from[1], from[2], call->units);
                if (call->last) break;
            }
        }
        next = call + 1 - calls;
        if (next == count) next = 0;
    }

private:
    Call<T>* calls;
    std::int64_t count = 0, next = 0;

    template <class F>
    void again(Call<T>* call, const Section& part, std::int64_t r, Range units, Desk<T>& desk,
               F change) {
        desk.calls(part, r, units, [&](Execute<T>, T* to, const T* x, const T* y, const T* z, int) {
            const T* from[] = {x, y, z};
            change(*call++, to, from);
        });
    }
};

}  // namespace recurra::RECURRA_ISA
