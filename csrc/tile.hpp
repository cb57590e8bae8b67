// The interpreter: runs a section's instructions over a tile of at most TILE units, its registers in L1.
#pragma once

#include "maths.hpp"

namespace recurra::RECURRA_ISA {

// A vector of an instruction's result; the arguments that it has no use for are the first again.
template <Op OP, class T>
RECURRA_INLINE V<T> unary(const T* from) {
    const V<T> zero = all(T(0)), one = all(T(1)), a = load(from);
    if constexpr (OP == Op::neg) return -a;
    else if constexpr (OP == Op::abs) return magnitude<T>(a);
    else if constexpr (OP == Op::sign) return (a > zero ? one : zero) - (a < zero ? one : zero);
    else if constexpr (OP == Op::exp) return exp_vector<T>(a);
    else if constexpr (OP == Op::expm1) return expm1_vector<T>(a);
    else if constexpr (OP == Op::log) return log_vector<T>(a);
    else if constexpr (OP == Op::log1p) return log1p_vector<T>(a);
    else if constexpr (OP == Op::sqrt) return root(a);
    else if constexpr (OP == Op::tanh) return tanh_vector<T>(a);
    else if constexpr (OP == Op::sigmoid) return sigmoid_vector<T>(a);
    else if constexpr (OP == Op::relu) return a <= zero ? zero : a;
    else {
        V<T> result;
        for (int i = 0; i < LANES<T>; ++i) {
            result[i] = OP == Op::sin ? scalar_sin(from[i]) : OP == Op::cos ? scalar_cos(from[i]) : scalar_erf(from[i]);
        }
        return result;
    }
}

// A NaN in either argument of `maximum` and `minimum` is the result, as in torch.
template <Op OP, class T>
RECURRA_INLINE V<T> binary(V<T> a, V<T> b) {
    const V<T> zero = all(T(0)), one = all(T(1));
    if constexpr (OP == Op::add) return a + b;
    else if constexpr (OP == Op::sub) return a - b;
    else if constexpr (OP == Op::mul) return a * b;
    else if constexpr (OP == Op::div) return a / b;
    else if constexpr (OP == Op::maximum) return a != a ? a : (b < a ? a : b);
    else if constexpr (OP == Op::minimum) return a != a ? a : (b > a ? a : b);
    else if constexpr (OP == Op::gt) return a > b ? one : zero;
    else if constexpr (OP == Op::ge) return a >= b ? one : zero;
    else if constexpr (OP == Op::lt) return a < b ? one : zero;
    else if constexpr (OP == Op::le) return a <= b ? one : zero;
    else return a == b ? one : zero;
}

template <Op OP, class T>
RECURRA_INLINE V<T> result(const T* x, const T* y, const T* z) {
    if constexpr (OP < Op::add) return unary<OP, T>(x);
    else if constexpr (OP < Op::where) return binary<OP, T>(load(x), load(y));
    else return load(x) != T(0) ? load(y) : load(z);
}

// One instruction over a tile; a whole tile, the usual one, by a loop of known length.
template <Op OP, class T>
void execute(T* const* values, T* to, const Instruction& code, int units) {
    const T *x = values[code.a], *y = x, *z = x;
    if constexpr (OP >= Op::add) y = values[code.b];
    if constexpr (OP >= Op::where) z = values[code.c];
    if (units == TILE) {
        for (int i = 0; i < TILE; i += LANES<T>) store<T>(to + i, result<OP, T>(x + i, y + i, z + i));
    } else {
        for (int i = 0; i < units; i += LANES<T>) store<T>(to + i, result<OP, T>(x + i, y + i, z + i));
    }
}

template <class T>
using Execute = void (*)(T* const* values, T* to, const Instruction& code, int units);

template <class T>
constexpr Execute<T> EXECUTE[] = {
#define X(name, arity) execute<Op::name, T>,
    RECURRA_OPS(X)
#undef X
};

// Run instructions over `units` units, a multiple of the vector's lanes. `values` points at the section's
// sources, then at its registers.
template <class T>
void run_tile(const Section& section, T* const* values, int units) {
    T* const* registers = values + section.sources.size;
    for (const Instruction& code : section.instructions) EXECUTE<T>[int(code.op)](values, registers[code.to], code, units);
}

}  // namespace recurra::RECURRA_ISA
