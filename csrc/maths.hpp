// Elementwise functions as vectors: the bits of a result depend on its own argument only. Units in
// the last place from the exact value, the most that was seen on any instruction set, subnormal
// results included: in float (every 257th of the 2^32 arguments) exp 1.01, expm1 1.53, log 0.79,
// log1p 1.44, tanh 1.91 (all; without FMA 2.03), sigmoid 2.00; in double (2 million arguments)
// 0.98, 1.94, 0.83, 1.44, 2.01, 2.00. `tests/native/test_operation.py` holds them to that. sin,
// cos, erf: libm's.
#pragma once

#include "vector.hpp"

namespace recurra::RECURRA_ISA {

// x = k ln 2 + r with |r| <= 0.35, and exp(r) - 1 = r + r^2 (EXPM1[0] + EXPM1[1] r + ...). k is at
// most 11 bits and K times LN2_HIGH is exact. ROUND + x is x rounded to an integer, in the lowest
// bits.
template <class T>
struct Form;

template <>
struct Form<float> {
    static constexpr int DIGITS = 23, BIAS = 127;
    static constexpr float ROUND = 12582912.0f, POWER = 8388608.0f, TINY = 1.17549435e-38f;
    static constexpr float LOG2_E = 1.44269504f, LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;
    static constexpr float EXP_LOW = -104.0f, EXP_HIGH = 89.0f, FLAT = 17.0f;
    static constexpr float EXPM1[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                                      8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
    static constexpr float EVEN[] = {0.66666662693f, 0.28498786688f},
                           ODD[] = {0.40000972152f, 0.24279078841f};
};

template <>
struct Form<double> {
    static constexpr int DIGITS = 52, BIAS = 1023;
    static constexpr double ROUND = 6755399441055744.0, POWER = 4503599627370496.0,
                            TINY = 2.2250738585072014e-308;
    static constexpr double LOG2_E = 1.4426950408889634, LN2_HIGH = 6.93147180369123816490e-01,
                            LN2_LOW = 1.90821492927058770002e-10;
    static constexpr double EXP_LOW = -746.0, EXP_HIGH = 710.0, FLAT = 38.0;
    static constexpr double EXPM1[] = {0.5,
                                       0.1666666666666667,
                                       0.04166666666666667,
                                       0.008333333333326084,
                                       0.0013888888888883711,
                                       0.0001984126987500228,
                                       2.480158732567746e-05,
                                       2.755725517000089e-06,
                                       2.755727347871858e-07,
                                       2.5105312729622103e-08,
                                       2.09147553258932e-09};
    static constexpr double EVEN[] = {6.666666666666735130e-01, 2.857142874366239149e-01,
                                      1.818357216161805012e-01, 1.479819860511658591e-01};
    static constexpr double ODD[] = {3.999999999940941908e-01, 2.222219843214978396e-01,
                                     1.531383769920937332e-01};
};

// c[0] + c[1] x + c[2] x^2 + ...
template <class T, int N>
RECURRA_INLINE V<T> polynomial(V<T> x, const T (&c)[N]) {
    V<T> sum = all(c[N - 1]);
#pragma GCC unroll 16
    for (int i = N - 2; i >= 0; --i) sum = fma(sum, x, all(c[i]));
    return sum;
}

template <class T>
RECURRA_INLINE V<T> magnitude(V<T> x) {
    return (V<T>)((U<T>)x << 1 >> 1);
}

template <class T>
RECURRA_INLINE V<T> with_sign(V<T> size, V<T> sign) {
    const U<T> bit = (U<T>{} + 1) << (sizeof(T) * 8 - 1);
    return (V<T>)(((U<T>)size & ~bit) | ((U<T>)sign & bit));
}

// 2^k for an integer k that gives a normal number.
template <class T>
RECURRA_INLINE V<T> power_of_two(V<T> k) {
    return (V<T>)((U<T>)(k + T(Form<T>::ROUND + Form<T>::BIAS)) << Form<T>::DIGITS);
}

template <class T>
RECURRA_INLINE V<T> nearest(V<T> x, T factor) {
    return fma(x, all(factor), all(Form<T>::ROUND)) - Form<T>::ROUND;
}

// x 2^k, rounded once, down to the smallest subnormal. Without AVX-512 in two factors; the bits are
// the same.
template <class T>
RECURRA_INLINE V<T> scale_by_power(V<T> x, V<T> k) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        return _mm512_scalef_ps(x, k);
    } else {
        return _mm512_scalef_pd(x, k);
    }
#else
    const V<T> half = nearest<T>(k, T(0.5));
    return x * power_of_two<T>(half) * power_of_two<T>(k - half);
#endif
}

// exp(x - k ln 2) - 1, for k the integer nearest to x / ln 2.
template <class T>
RECURRA_INLINE V<T> tail(V<T> x, V<T> k) {
    const V<T> r = fma(k, all(-Form<T>::LN2_LOW), fma(k, all(-Form<T>::LN2_HIGH), x));
    return fma(polynomial<T>(r, Form<T>::EXPM1), r * r, r);
}

template <class T>
RECURRA_INLINE V<T> exp_vector(V<T> x) {
    const V<T> inside = at_most(at_least(x, all(Form<T>::EXP_LOW)), all(Form<T>::EXP_HIGH));
    const V<T> k = nearest<T>(inside, Form<T>::LOG2_E);
    return scale_by_power<T>(tail<T>(inside, k) + T(1), k);
}

// 2^k (exp(r) - 1) + (2^k - 1), halved so that it overflows no sooner than the result; with k = 0
// it is exp(r) - 1.
template <class T>
RECURRA_INLINE V<T> expm1_vector(V<T> x) {
    const V<T> inside = at_most(at_least(x, all(-Form<T>::FLAT)), all(Form<T>::EXP_HIGH));
    const V<T> k = nearest<T>(inside, Form<T>::LOG2_E), small = tail<T>(inside, k);
    const V<T> half = power_of_two<T>(k - T(1));
    const V<T> large = fma(small, half, half - T(0.5)) * T(2);
    return with_sign<T>(k == T(0) ? small : large, x);
}

// -e / (e + 2) for e = expm1(-2 |x|), which is in (-1, 0] and keeps its digits near 0. Both sums
// are rounded once.
template <class T>
RECURRA_INLINE V<T> tanh_vector(V<T> x) {
    const V<T> size = at_most(magnitude<T>(x), all(Form<T>::FLAT)), twice = size * T(-2);
    const V<T> k = nearest<T>(twice, Form<T>::LOG2_E), scale = power_of_two<T>(k);
    const V<T> part = tail<T>(twice, k);
    return with_sign<T>(quotient(fma(part, scale, scale - T(1)), fma(part, scale, scale + T(1))),
                        x);
}

// 2^k / (2^k + exp(k ln 2 - x)). The numerator is 2^(DIGITS + 2) times larger, so that none is
// subnormal.
template <class T>
RECURRA_INLINE V<T> sigmoid_vector(V<T> x) {
    constexpr T LIFT = T(std::int64_t(1) << (Form<T>::DIGITS + 2));
    const V<T> inside = at_most(at_least(x, all(Form<T>::EXP_LOW)), all(T(2 * Form<T>::FLAT)));
    const V<T> k = nearest<T>(inside, Form<T>::LOG2_E),
               lifted = power_of_two<T>(k + T(Form<T>::DIGITS + 2));
    const V<T> scale = lifted * (T(1) / LIFT);
    return quotient(lifted, (tail<T>(-inside, -k) + scale) + T(1)) * (T(1) / LIFT);
}

// x = 2^k m with m in [sqrt(1/2), sqrt(2)), then the series of 2 artanh((m - 1) / (m + 1)).
template <class T>
RECURRA_INLINE V<T> log_vector(V<T> x) {
    constexpr int DIGITS = Form<T>::DIGITS;
    constexpr T LIFT = T(std::int64_t(1) << (DIGITS + 2));
    const U<T> one = (U<T>)all(T(1)), least = (U<T>)all(T(0.70710678118654752)),
               mask = ((U<T>{} + 1) << DIGITS) - 1;
    const auto tiny = x < Form<T>::TINY;
    const U<T> bits = (U<T>)(tiny ? x * LIFT : x) + (one - least);
    const V<T> exponent =
        (V<T>)((bits >> DIGITS) + (U<T>)all(Form<T>::POWER)) - T(Form<T>::POWER + Form<T>::BIAS);
    const V<T> k = exponent - (tiny ? all(T(DIGITS + 2)) : all(T(0)));
    const V<T> f = (V<T>)((bits & mask) + least) - T(1);
    const V<T> s = f / (f + T(2)), z = s * s, w = z * z, half = f * f * T(0.5);
    const V<T> series = w * polynomial<T>(w, Form<T>::ODD) + z * polynomial<T>(w, Form<T>::EVEN);
    const V<T> y =
        fma(k, all(Form<T>::LN2_LOW), s * (half + series)) - half + f + k * Form<T>::LN2_HIGH;
    const V<T> infinite = all(T(__builtin_inf())),
               bad = x == T(0) ? -infinite : all(T(__builtin_nan("")));
    return x > T(0) ? (x == infinite ? x : y) : bad;
}

// log(1 + x) with what the sum lost put back.
template <class T>
RECURRA_INLINE V<T> log1p_vector(V<T> x) {
    const V<T> sum = x + T(1), y = log_vector<T>(sum);
    const V<T> restored = y + (x - (sum - T(1))) / sum;
    const V<T> plain = ((sum > T(0)) & (sum < T(__builtin_inf()))) ? restored : y;
    return magnitude<T>(x) < T(0.25) / Form<T>::POWER ? x : plain;
}

// One number, by libm.
RECURRA_INLINE float scalar_sin(float x) { return __builtin_sinf(x); }
RECURRA_INLINE double scalar_sin(double x) { return __builtin_sin(x); }
RECURRA_INLINE float scalar_cos(float x) { return __builtin_cosf(x); }
RECURRA_INLINE double scalar_cos(double x) { return __builtin_cos(x); }
RECURRA_INLINE float scalar_erf(float x) { return __builtin_erff(x); }
RECURRA_INLINE double scalar_erf(double x) { return __builtin_erf(x); }

}  // namespace recurra::RECURRA_ISA
