// Layer norm of a row, by groups of blocks: (v - mean) / sqrt(variance + eps) * gain + bias, variance biased.
#pragma once

#include "scan.hpp"
#include "vector.hpp"

namespace recurra::RECURRA_ISA {

constexpr double NORM_EPS = 1e-5;

template <class T, class F>
RECURRA_INLINE double total(const T* x, std::int64_t size, F f) {
    V<T> sum = {};
    std::int64_t i = 0;
    for (; i + LANES<T> <= size; i += LANES<T>) sum += f(load(x + i));
    double result = 0;
    for (int lane = 0; lane < LANES<T>; ++lane) result += sum[lane];
    for (; i < size; ++i) result += f(all(x[i]))[0];
    return result;
}

template <class T>
void normalise(T* x, std::int64_t size, const T* gain, const T* bias) {
    const T mean = T(total(x, size, [](V<T> v) { return v; }) / double(size));
    const double variance = total(x, size, [=](V<T> v) { return (v - mean) * (v - mean); }) / double(size);
    const T scale = T(1.0 / __builtin_sqrt(variance + NORM_EPS));
    for (std::int64_t i = 0; i < size; ++i) {
        const T y = (x[i] - mean) * scale;
        x[i] = (gain ? y * gain[i] : y) + (bias ? bias[i] : T(0));
    }
}

template <class T>
void normalise_groups(const Product& product, T* row, const T* gain, const T* bias) {
    std::int64_t start = 0;
    for (const int blocks : product.norm) {
        const std::int64_t size = std::int64_t(blocks) * product.unit;
        normalise(row + start, size, gain ? gain + start : nullptr, bias ? bias + start : nullptr);
        start += size;
    }
}

}  // namespace recurra::RECURRA_ISA
