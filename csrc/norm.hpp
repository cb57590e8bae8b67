// Layer norm of a row, by groups of blocks: (v - mean) / sqrt(variance + eps) * gain + bias,
// variance biased.
#pragma once

#include "region.hpp"
#include "vector.hpp"

namespace recurra::RECURRA_ISA {

constexpr double NORM_EPS = 1e-5;

// Sums over a row: f(i, read, add) adds to sum 0 .. N - 1 what whole vectors, then single numbers,
// from i on bring. Sums in flight hide an addition's latency; the order is fixed by the row's size
// alone.
template <class T, int N, class F>
RECURRA_INLINE void totals(std::int64_t size, double* results, F f) {
    constexpr int WAYS = 4;
    V<T> sums[WAYS][N] = {};
    T rest[N] = {};
    const auto at = [](const T* from) { return load(from); };
    std::int64_t i = 0;
    for (; i + WAYS * LANES<T> <= size; i += WAYS * LANES<T>) {
#pragma GCC unroll 4
        for (int way = 0; way < WAYS; ++way)
            f(i + way * LANES<T>, at, [&](int n, V<T> value) { sums[way][n] += value; });
    }
    for (; i + LANES<T> <= size; i += LANES<T>)
        f(i, at, [&](int n, V<T> value) { sums[0][n] += value; });
    for (; i < size; ++i)
        f(i, [](const T* from) { return *from; }, [&](int n, T value) { rest[n] += value; });
    for (int n = 0; n < N; ++n) {
        T lanes[LANES<T>];
        store<T>(lanes, (sums[0][n] + sums[1][n]) + (sums[2][n] + sums[3][n]));
        for (int half = LANES<T> / 2; half; half /= 2) {
            for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
        }
        results[n] = double(lanes[0]) + double(rest[n]);
    }
}

// f(j, read, write) for every j of a range: whole vectors while they last, then one number after
// another.
template <class T, class F>
RECURRA_INLINE void each(Range range, F f) {
    std::int64_t j = range.begin;
    for (; j + LANES<T> <= range.end; j += LANES<T>) {
        f(
            j, [](const T* from) { return load(from); },
            [](T* to, V<T> value) { store<T>(to, value); });
    }
    for (; j < range.end; ++j) {
        f(j, [](const T* from) { return *from; }, [](T* to, T value) { *to = value; });
    }
}

// A row's mean, and what its distances from it are multiplied with; both of numbers times `shrink`,
// which is 1 but where squares would overflow.
template <class T>
struct Moments {
    T mean, scale, shrink;

    RECURRA_INLINE auto operator()(auto x) const { return (x * shrink - mean) * scale; }
};

template <class T>
RECURRA_INLINE Moments<T> moments_of(const T* x, std::int64_t size, double eps, T shrink,
                                     double& squares) {
    double sum;
    totals<T, 1>(size, &sum,
                 [=](std::int64_t i, auto at, auto add) { add(0, at(x + i) * shrink); });
    const T mean = T(sum / double(size));
    totals<T, 1>(size, &squares, [=](std::int64_t i, auto at, auto add) {
        const auto d = at(x + i) * shrink - mean;
        add(0, d * d);
    });
    return {mean,
            T(1.0 / __builtin_sqrt(squares / double(size) + eps * double(shrink) * double(shrink))),
            shrink};
}

template <class T>
RECURRA_INLINE Moments<T> moments(const T* x, std::int64_t size, double eps) {
    constexpr T SMALL =
        sizeof(T) == 4 ? T(0x1p-90)
                       : T(0x1p-600);  // whose product with any number has a square that sums hold
    double squares;
    const Moments<T> of = moments_of(x, size, eps, T(1), squares);
    return __builtin_isfinite(squares) ? of : moments_of(x, size, eps, SMALL, squares);
}

// The units of a row that a thread has, in every block of `unit`: read at their place in the whole
// row, written side by side.
struct Part {
    std::int64_t unit;
    Range units;
};

// Normalise a whole row `v` and write this thread's part. `kept`, if any, takes the normalised row
// and each group's scale.
template <class T>
void normalise(const Product& product, const T* v, const T* gain, const T* bias, const Part& part,
               T* kept, T* out) {
    std::int64_t start = 0, block = 0, group = 0;
    for (const int blocks : product.norm) {
        const std::int64_t size = std::int64_t(blocks) * product.unit;
        const T* x = v + start;
        const Moments<T> of = moments<T>(x, size, NORM_EPS);
        for (std::int64_t end = block + blocks; block < end; ++block) {
            const std::int64_t from = block * part.unit;
            T* to = out + block * part.units.size() - part.units.begin;
            each<T>(part.units, [=](std::int64_t j, auto at, auto put) {
                const auto y = of(at(v + from + j));
                if (kept) put(kept + from + j, y);
                const auto scaled = gain ? y * at(gain + from + j) : y;
                put(to + j, bias ? scaled + at(bias + from + j) : scaled);
            });
        }
        if (kept && part.units.begin == 0 && part.units.end > 0)
            kept[product.columns() + group] = of.scale * of.shrink;  // one thread writes it
        start += size;
        ++group;
    }
}

// The gradient of the row before the norm, this thread's part of it, at its place in the whole row.
template <class T>
void normalise_back(const Product& product, const T* dv, const T* gain, const Part& part,
                    const T* kept, T* out) {
    std::int64_t start = 0, block = 0, group = 0;
    for (const int blocks : product.norm) {
        const std::int64_t size = std::int64_t(blocks) * product.unit;
        const T *d = dv + start, *y = kept + start, *g = gain ? gain + start : nullptr;
        double sums[2];
        totals<T, 2>(size, sums, [=](std::int64_t i, auto at, auto add) {
            const auto scaled = g ? at(d + i) * at(g + i) : at(d + i);
            add(0, scaled);
            add(1, scaled * at(y + i));
        });
        const T mean = T(sums[0] / double(size)), along = T(sums[1] / double(size));
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
