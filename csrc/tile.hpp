// What a section's instructions do with a tile of at most TILE units, the registers in L1.
#pragma once

#include <cstring>

#include "maths.hpp"

namespace recurra::RECURRA_ISA {

// A vector of an instruction's result.
template <Op OP, class T>
RECURRA_INLINE V<T> unary(const T* from) {
    const V<T> zero = all(T(0)), one = all(T(1)), a = load(from);
    if constexpr (OP == Op::neg)
        return -a;
    else if constexpr (OP == Op::abs)
        return magnitude<T>(a);
    else if constexpr (OP == Op::sign)
        return (a > zero ? one : zero) - (a < zero ? one : zero);
    else if constexpr (OP == Op::exp)
        return exp_vector<T>(a);
    else if constexpr (OP == Op::expm1)
        return expm1_vector<T>(a);
    else if constexpr (OP == Op::log)
        return log_vector<T>(a);
    else if constexpr (OP == Op::log1p)
        return log1p_vector<T>(a);
    else if constexpr (OP == Op::sqrt)
        return root(a);
    else if constexpr (OP == Op::tanh)
        return tanh_vector<T>(a);
    else if constexpr (OP == Op::sigmoid)
        return sigmoid_vector<T>(a);
    else if constexpr (OP == Op::relu)
        return a <= zero ? zero : a;
    else {
        V<T> result;
        for (int i = 0; i < LANES<T>; ++i) {
            result[i] = OP == Op::sin   ? scalar_sin(from[i])
                        : OP == Op::cos ? scalar_cos(from[i])
                                        : scalar_erf(from[i]);
        }
        return result;
    }
}

// A NaN in either argument of `maximum` and `minimum` is the result, as in torch.
template <Op OP, class T>
RECURRA_INLINE V<T> binary(V<T> a, V<T> b) {
    const V<T> zero = all(T(0)), one = all(T(1));
    if constexpr (OP == Op::add)
        return a + b;
    else if constexpr (OP == Op::sub)
        return a - b;
    else if constexpr (OP == Op::mul)
        return a * b;
    else if constexpr (OP == Op::div)
        return a / b;
    else if constexpr (OP == Op::maximum)
        return a != a ? a : (b < a ? a : b);
    else if constexpr (OP == Op::minimum)
        return a != a ? a : (b > a ? a : b);
    else if constexpr (OP == Op::gt)
        return a > b ? one : zero;
    else if constexpr (OP == Op::ge)
        return a >= b ? one : zero;
    else if constexpr (OP == Op::lt)
        return a < b ? one : zero;
    else if constexpr (OP == Op::le)
        return a <= b ? one : zero;
    else
        return a == b ? one : zero;
}

template <Op OP, class T>
RECURRA_INLINE V<T> result(const T* x, const T* y, const T* z) {
    if constexpr (OP < Op::add)
        return unary<OP, T>(x);
    else if constexpr (OP < Op::where)
        return binary<OP, T>(load(x), load(y));
    else
        return load(x) != T(0) ? load(y) : load(z);
}

// One instruction over a tile; a whole tile, the usual one, by a loop of known length.
template <Op OP, class T>
void execute(T* to, const T* x, const T* y, const T* z, int units) {
    if (units == TILE) {
        for (int i = 0; i < TILE; i += LANES<T>)
            store<T>(to + i, result<OP, T>(x + i, y + i, z + i));
    } else {
        for (int i = 0; i < units; i += LANES<T>)
            store<T>(to + i, result<OP, T>(x + i, y + i, z + i));
    }
}

// Numbers moved, or added to what is there, or nothing.
template <class T>
void no_units(T*, const T*, const T*, const T*, int) {}
template <class T>
void copy_units(T* to, const T* x, const T*, const T*, int units) {
    memcpy(to, x, sizeof(T) * std::size_t(units));
}
template <class T>
void add_units(T* to, const T* x, const T*, const T*, int units) {
    for (int i = 0; i < units; ++i) to[i] += x[i];
}

// What is done with a tile of at most TILE units. Instructions take a multiple of the vector's
// lanes.
template <class T>
using Execute = void (*)(T* to, const T* x, const T* y, const T* z, int units);

template <class T>
constexpr Execute<T> EXECUTE[] = {
#define X(name, arity) execute<Op::name, T>,
    RECURRA_OPS(X)
#undef X
};

}  // namespace recurra::RECURRA_ISA
