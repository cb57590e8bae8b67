// The interpreter: runs a section's instructions over a tile of at most 64 units, its registers in L1.
#pragma once

#include "maths.hpp"

namespace recurra::RECURRA_ISA {

template <class T, class F>
RECURRA_INLINE void each1(T* to, const T* x, int units, F f) {
    for (int i = 0; i < units; i += LANES<T>) store<T>(to + i, f(load(x + i)));
}

template <class T, class F>
RECURRA_INLINE void each2(T* to, const T* x, const T* y, int units, F f) {
    for (int i = 0; i < units; i += LANES<T>) store<T>(to + i, f(load(x + i), load(y + i)));
}

template <class T, class F>
RECURRA_INLINE void scalars(T* to, const T* x, int units, F f) {
    for (int i = 0; i < units; ++i) to[i] = f(x[i]);
}

// The functions that float has as vectors and double from libm. False: it is none of them.
RECURRA_INLINE bool smooth(Op op, float* to, const float* x, int units) {
    switch (op) {
        case Op::exp: each1(to, x, units, [](VF a) { return exp_vector(a); }); return true;
        case Op::expm1: each1(to, x, units, [](VF a) { return expm1_vector(a); }); return true;
        case Op::log: each1(to, x, units, [](VF a) { return log_vector(a); }); return true;
        case Op::log1p: each1(to, x, units, [](VF a) { return log1p_vector(a); }); return true;
        case Op::tanh: each1(to, x, units, [](VF a) { return tanh_vector(a); }); return true;
        case Op::sigmoid: each1(to, x, units, [](VF a) { return sigmoid_vector(a); }); return true;
        default: return false;
    }
}

RECURRA_INLINE bool smooth(Op op, double* to, const double* x, int units) {
    switch (op) {
        case Op::exp: scalars(to, x, units, [](double a) { return __builtin_exp(a); }); return true;
        case Op::expm1: scalars(to, x, units, [](double a) { return __builtin_expm1(a); }); return true;
        case Op::log: scalars(to, x, units, [](double a) { return __builtin_log(a); }); return true;
        case Op::log1p: scalars(to, x, units, [](double a) { return __builtin_log1p(a); }); return true;
        case Op::tanh: scalars(to, x, units, [](double a) { return __builtin_tanh(a); }); return true;
        case Op::sigmoid: scalars(to, x, units, [](double a) { return scalar_sigmoid(a); }); return true;
        default: return false;
    }
}

template <class T>
RECURRA_INLINE void unary(Op op, T* to, const T* x, int units) {
    const V<T> zero = all(T(0)), one = all(T(1));
    switch (op) {
        case Op::neg: each1(to, x, units, [](V<T> a) { return -a; }); break;
        case Op::abs: scalars(to, x, units, [](T a) { return T(__builtin_fabs(a)); }); break;
        case Op::sign: each1(to, x, units, [=](V<T> a) { return (a > zero ? one : zero) - (a < zero ? one : zero); }); break;
        case Op::relu: each1(to, x, units, [=](V<T> a) { return a <= zero ? zero : a; }); break;
        case Op::sqrt: scalars(to, x, units, [](T a) { return scalar_sqrt(a); }); break;
        case Op::sin: scalars(to, x, units, [](T a) { return scalar_sin(a); }); break;
        case Op::cos: scalars(to, x, units, [](T a) { return scalar_cos(a); }); break;
        case Op::erf: scalars(to, x, units, [](T a) { return scalar_erf(a); }); break;
        default: smooth(op, to, x, units);
    }
}

// A NaN in either argument of `maximum` and `minimum` is the result, as in torch.
template <class T>
RECURRA_INLINE void binary(Op op, T* to, const T* x, const T* y, int units) {
    const V<T> zero = all(T(0)), one = all(T(1));
    using W = V<T>;
    switch (op) {
        case Op::add: each2(to, x, y, units, [](W a, W b) { return a + b; }); break;
        case Op::sub: each2(to, x, y, units, [](W a, W b) { return a - b; }); break;
        case Op::mul: each2(to, x, y, units, [](W a, W b) { return a * b; }); break;
        case Op::div: each2(to, x, y, units, [](W a, W b) { return a / b; }); break;
        case Op::maximum: each2(to, x, y, units, [](W a, W b) { return a != a ? a : (b < a ? a : b); }); break;
        case Op::minimum: each2(to, x, y, units, [](W a, W b) { return a != a ? a : (b > a ? a : b); }); break;
        case Op::gt: each2(to, x, y, units, [=](W a, W b) { return a > b ? one : zero; }); break;
        case Op::ge: each2(to, x, y, units, [=](W a, W b) { return a >= b ? one : zero; }); break;
        case Op::lt: each2(to, x, y, units, [=](W a, W b) { return a < b ? one : zero; }); break;
        case Op::le: each2(to, x, y, units, [=](W a, W b) { return a <= b ? one : zero; }); break;
        default: each2(to, x, y, units, [=](W a, W b) { return a == b ? one : zero; });
    }
}

// Run instructions over `units` units, a multiple of the vector's lanes. `values` points at the section's
// sources, then at its registers.
template <class T>
void run_tile(const Section& section, T* const* values, int units) {
    const V<T> zero = all(T(0));
    for (const Instruction& code : section.instructions) {
        T* to = values[section.sources.size + code.to];
        const T* x = values[code.a];
        if (code.op < Op::add) {
            unary(code.op, to, x, units);
        } else if (code.op < Op::where) {
            binary(code.op, to, x, static_cast<const T*>(values[code.b]), units);
        } else {
            const T *y = values[code.b], *z = values[code.c];
            for (int i = 0; i < units; i += LANES<T>) {
                store<T>(to + i, load(x + i) != zero ? load(y + i) : load(z + i));
            }
        }
    }
}

}  // namespace recurra::RECURRA_ISA
