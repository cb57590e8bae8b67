// Layer norm of a row, by groups of blocks: (v - mean) / sqrt(variance + eps) * gain + bias, variance biased.
#pragma once

#include "region.hpp"
#include "vector.hpp"

namespace recurra::RECURRA_ISA {

constexpr double NORM_EPS = 1e-5;

template <class T, class F>
RECURRA_INLINE double total(std::int64_t size, F f) {
    V<T> sum = {};
    std::int64_t i = 0;
    for (; i + LANES<T> <= size; i += LANES<T>) sum += f(i);
    double result = 0;
    for (int lane = 0; lane < LANES<T>; ++lane) result += sum[lane];
    return result;
}

// The sum over a row of f applied to whole vectors, and of g to what is left.
template <class T, class F, class G>
RECURRA_INLINE double total(std::int64_t size, F f, G g) {
    double result = total<T>(size, f);
    for (std::int64_t i = size / LANES<T> * LANES<T>; i < size; ++i) result += g(i);
    return result;
}

// f(j, read, write) for every j of a range: whole vectors while they last, then one number after another.
template <class T, class F>
RECURRA_INLINE void each(Range range, F f) {
    std::int64_t j = range.begin;
    for (; j + LANES<T> <= range.end; j += LANES<T>) {
        f(j, [](const T* from) { return load(from); }, [](T* to, V<T> value) { store<T>(to, value); });
    }
    for (; j < range.end; ++j) {
        f(j, [](const T* from) { return *from; }, [](T* to, T value) { *to = value; });
    }
}

// The units of a row that a thread has, in every block of `unit`: read at their place in the whole row, written side by side.
struct Part {
    std::int64_t unit;
    Range units;
};

// Normalise a whole row `v` and write this thread's part. `kept`, if any, takes the normalised row and each group's scale.
template <class T>
void normalise(const Product& product, const T* v, const T* gain, const T* bias, const Part& part, T* kept, T* out) {
    std::int64_t start = 0, block = 0, group = 0;
    for (const int blocks : product.norm) {
        const std::int64_t size = std::int64_t(blocks) * product.unit;
        const T* x = v + start;
        const T mean = T(total<T>(size, [=](std::int64_t i) { return load(x + i); }, [=](std::int64_t i) { return x[i]; }) / double(size));
        const double variance = total<T>(size, [=](std::int64_t i) { const V<T> d = load(x + i) - mean; return d * d; },
                                         [=](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / double(size);
        const T scale = T(1.0 / __builtin_sqrt(variance + NORM_EPS));
        for (std::int64_t end = block + blocks; block < end; ++block) {
            const std::int64_t from = block * part.unit;
            T* to = out + block * part.units.size() - part.units.begin;
            each<T>(part.units, [=](std::int64_t j, auto at, auto put) {
                const auto y = (at(v + from + j) - mean) * scale;
                if (kept) put(kept + from + j, y);
                const auto scaled = gain ? y * at(gain + from + j) : y;
                put(to + j, bias ? scaled + at(bias + from + j) : scaled);
            });
        }
        if (kept && part.units.begin == 0 && part.units.end > 0) kept[product.columns() + group] = scale;  // one thread writes it
        start += size;
        ++group;
    }
}

// The gradient of the row before the norm, this thread's part of it, at its place in the whole row.
template <class T>
void normalise_back(const Product& product, const T* dv, const T* gain, const Part& part, const T* kept, T* out) {
    std::int64_t start = 0, block = 0, group = 0;
    for (const int blocks : product.norm) {
        const std::int64_t size = std::int64_t(blocks) * product.unit;
        const T *d = dv + start, *y = kept + start, *g = gain ? gain + start : nullptr;
        const auto wide = [=](std::int64_t i) { return g ? load(d + i) * load(g + i) : load(d + i); };
        const auto one = [=](std::int64_t i) { return g ? d[i] * g[i] : d[i]; };
        const T mean = T(total<T>(size, wide, one) / double(size));
        const T along = T(total<T>(size, [=](std::int64_t i) { return wide(i) * load(y + i); }, [=](std::int64_t i) { return one(i) * y[i]; }) /
                          double(size));
        const T scale = kept[product.columns() + group];
        for (std::int64_t end = block + blocks; block < end; ++block) {
            const std::int64_t from = block * part.unit;
            each<T>(part.units, [=](std::int64_t j, auto at, auto put) {
                const auto d = gain ? at(dv + from + j) * at(gain + from + j) : at(dv + from + j);
                put(out + from + j, (d - mean - at(kept + from + j) * along) * scale);
            });
        }
        start += size;
        ++group;
    }
}

}  // namespace recurra::RECURRA_ISA
