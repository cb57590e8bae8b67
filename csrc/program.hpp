// A cell's program as plain data: what Python's `recurra.program` traced, with every name made a
// number.
#pragma once

#include <cstdint>

#define RECURRA_INLINE __attribute__((always_inline)) inline

namespace recurra {

// Units that are computed together; a register of the interpreter holds one value of each.
constexpr int TILE = 128;

// The largest program that the driver's fixed tables hold; `Blueprint` refuses a larger one.
constexpr int MAX_PHASES = 16;
constexpr int MAX_SOURCES = 512;
constexpr int MAX_REGISTERS = 1024;
constexpr int MAX_SLOTS = 512;
constexpr int MAX_WIDTH = 1 << 20;

// Operations, in the order of `recurra.program.graph.ALPHABET`.
// clang-format off
#define RECURRA_OPS(X)                                                                                        \
    X(neg, 1) X(abs, 1) X(sign, 1) X(exp, 1) X(expm1, 1) X(log, 1) X(log1p, 1) X(sqrt, 1) X(sin, 1) X(cos, 1) \
    X(erf, 1) X(tanh, 1) X(sigmoid, 1) X(relu, 1) X(add, 2) X(sub, 2) X(mul, 2) X(div, 2) X(maximum, 2)       \
    X(minimum, 2) X(gt, 2) X(ge, 2) X(lt, 2) X(le, 2) X(eq, 2) X(where, 3)
// clang-format on

enum class Op : int {
#define X(name, arity) name,
    RECURRA_OPS(X)
#undef X
};

// Where a section reads: `index` counts states, noises, parameters, constants, slots or saved
// values; for v and operand it is the phase. `part` is the block (gate) of u or v. `state` is the
// old state, `fresh` the new one, `grad` the gradient of the new one, `operand` that of a phase's
// operand; the last four are for backward.
enum class From : int { u, v, state, noise, param, constant, slot, saved, fresh, grad, operand };
constexpr int FROM_COUNT = 11;

// Where a section writes: a slot (a value kept until the step ends), a gate's record, the operand,
// what is saved for backward; backward: gradients of blocks of u and of v, of the old state, of
// noise, of parameters.
enum class To : int { slot, gate, operand, saved, du, dv, dstate, dnoise, dparam };
constexpr int TO_COUNT = 9;

// Members are always inlined: these types are compiled for several instruction sets, and a shared
// copy of a function could be one that this machine cannot run.
template <class E>
struct Span {
    const E* data = nullptr;
    int size = 0;
    RECURRA_INLINE const E& operator[](int i) const { return data[i]; }
    RECURRA_INLINE const E* begin() const { return data; }
    RECURRA_INLINE const E* end() const { return data + size; }
};

struct Source {
    From from;
    int index, part;
};

// Arguments number the section's sources first, then its registers; those that an operation has no
// use for are the first again.
struct Instruction {
    Op op;
    int to, a, b, c;
};

struct Output {
    int value;
    To to;
    int index;
};

// Elementwise operations over the units of one width.
struct Section {
    int width;
    int registers;
    Span<Source> sources;
    Span<Instruction> instructions;
    Span<Output> outputs;
};

// v = operand @ weight[first * unit : (first + blocks) * unit].T, normalised by groups of blocks.
struct Product {
    bool weighted;
    int first, blocks, total;
    int unit, reads;  // widths, in units
    Span<int> norm;
    std::int64_t
        kept;  // where in a saved row the normalised values and then each group's scale are

    RECURRA_INLINE std::int64_t columns() const { return std::int64_t(blocks) * unit; }
};

struct Phase {
    Span<Section> operand;
    bool multiplies;
    Product product;
    Span<Section> body;
};

// Backward of a phase. `du_first`: the gradient of v is that of u from this block on; -1: it is
// apart; -2: none.
struct BackPhase {
    int phase;
    Span<Section> operand, before;
    int du_first;
    Span<Section> after;
};

// Widths here are in units. Slots 0 .. states - 1 are the new states.
struct Program {
    int hidden, gates;
    Span<int> states, noises, params, slots;
    Span<double> constants;
    Product input;  // u = x W_ih^T + b_ih
    Span<Phase> phases;
    Span<Section> last;
    Span<int> saved;
    std::int64_t saved_size;  // numbers a row and step, what norms keep included
    Span<int> back_slots;
    Span<BackPhase> back;
    Span<Section> back_last;
    int registers, sources;  // the most that a section has
};

}  // namespace recurra
