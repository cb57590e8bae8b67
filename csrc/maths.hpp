// Elementwise functions. In float the common ones are vectorised here: at most 2 units in the last place from
// the exact value over the whole range, subnormal results included (`tests/native/test_operation.py` holds
// them to that; without FMA, on x86-64-v2, 3). In double all come from libm.
#pragma once

#include "vector.hpp"

namespace recurra::RECURRA_ISA {

RECURRA_INLINE VF from_bits(VI bits) { return (VF)bits; }
RECURRA_INLINE VI to_bits(VF value) { return (VI)value; }
RECURRA_INLINE VF magnitude(VF x) { return from_bits(to_bits(x) & 0x7fffffff); }
RECURRA_INLINE VF with_sign(VF size, VF sign) {
    return from_bits((to_bits(size) & 0x7fffffff) | (to_bits(sign) & VI(VI{} + INT32_MIN)));
}

// x = k ln 2 + r with |r| <= 0.35; `tail` is exp(r) - 1. A NaN stays in r.
struct Reduced {
    VF tail;
    VI k;
};

RECURRA_INLINE Reduced reduce(VF x) {
    const VF magic = all(12582912.0f);
    const VF k = fma(x, all(1.44269504f), magic) - magic;
    VF r = fma(k, all(-0.693359375f), x);
    r = fma(k, all(2.12194440e-4f), r);
    VF p = fma(all(1.9875691500e-4f), r, all(1.3981999507e-3f));
    p = fma(p, r, all(8.3334519073e-3f));
    p = fma(p, r, all(4.1665795894e-2f));
    p = fma(p, r, all(1.6666665459e-1f));
    p = fma(p, r, all(5.0000001201e-1f));
    return {fma(p, r * r, r), __builtin_convertvector(k, VI)};
}

RECURRA_INLINE VF power_of_two(VI k) { return from_bits((k + 127) << 23); }

// In two factors, so that results down to the smallest subnormal are rounded once.
RECURRA_INLINE VF exp_vector(VF x) {
    const VF inside = x < -104.0f ? all(-104.0f) : (x > 89.0f ? all(89.0f) : x);
    const Reduced part = reduce(inside);
    const VI half = part.k >> 1;
    return (part.tail + 1.0f) * power_of_two(half) * power_of_two(part.k - half);
}

// 2^k (exp(r) - 1) + (2^k - 1): near 0, k is 0 and nothing cancels.
RECURRA_INLINE VF expm1_vector(VF x) {
    const VF inside = x < -17.0f ? all(-17.0f) : (x > 40.0f ? all(40.0f) : x);
    const Reduced part = reduce(inside);
    const VF scale = power_of_two(part.k);
    const VF middle = fma(part.tail, scale, scale - 1.0f);
    const VF near = part.k == 0 ? part.tail : middle;
    return x == 0.0f ? x : (x > 40.0f ? exp_vector(x) : near);
}

// A polynomial below 0.625, where 1 - 2 / (exp(2x) + 1) would cancel.
RECURRA_INLINE VF tanh_vector(VF x) {
    const VF size = magnitude(x);
    const VF inside = size > 10.0f ? all(10.0f) : size;
    const VF large = 1.0f - 2.0f / (exp_vector(inside + inside) + 1.0f);
    const VF z = x * x;
    VF p = fma(all(-5.70498872745e-3f), z, all(2.06390887954e-2f));
    p = fma(p, z, all(-5.37397155531e-2f));
    p = fma(p, z, all(1.33314422036e-1f));
    p = fma(p, z, all(-3.33332819422e-1f));
    const VF small = fma(p * z, size, size);
    return with_sign(size < 0.625f ? small : large, x);
}

// exp of -|x| only: it cannot overflow, and a small result keeps its digits.
RECURRA_INLINE VF sigmoid_vector(VF x) {
    const VF e = exp_vector(from_bits(to_bits(x) | VI(VI{} + INT32_MIN)));
    return (x < 0.0f ? e : all(1.0f)) / (e + 1.0f);
}

// x = 2^k m with m in [sqrt(1/2), sqrt(2)), then the series of 2 artanh((m - 1) / (m + 1)).
RECURRA_INLINE VF log_vector(VF x) {
    const VI tiny = x < 1.17549435e-38f;
    const VU bits = (VU)(tiny ? x * 33554432.0f : x) + (0x3f800000u - 0x3f3504f3u);
    const VI k = (VI)(bits >> 23) - 127 - (tiny & 25);
    const VF f = (VF)((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    const VF s = f / (f + 2.0f), z = s * s, w = z * z;
    const VF odd = w * fma(w, all(0.24279078841f), all(0.40000972152f));
    const VF even = z * fma(w, all(0.28498786688f), all(0.66666662693f));
    const VF half = f * f * 0.5f, kf = __builtin_convertvector(k, VF);
    const VF y = fma(kf, all(9.0580006145e-06f), s * (half + odd + even)) - half + f + kf * 0.69313812256f;
    const VF infinite = all(__builtin_inff());
    const VF bad = x == 0.0f ? -infinite : all(__builtin_nanf(""));
    return x > 0.0f ? (x == infinite ? x : y) : bad;
}

// log(1 + x) with what the sum lost put back.
RECURRA_INLINE VF log1p_vector(VF x) {
    const VF sum = x + 1.0f;
    const VF y = log_vector(sum);
    const VF restored = y + (x - (sum - 1.0f)) / sum;
    const VF plain = (sum > 0.0f) & (sum < __builtin_inff()) ? restored : y;
    return magnitude(x) < 2.98e-8f ? x : plain;
}

// One number, by libm.
RECURRA_INLINE float scalar_sin(float x) { return __builtin_sinf(x); }
RECURRA_INLINE double scalar_sin(double x) { return __builtin_sin(x); }
RECURRA_INLINE float scalar_cos(float x) { return __builtin_cosf(x); }
RECURRA_INLINE double scalar_cos(double x) { return __builtin_cos(x); }
RECURRA_INLINE float scalar_erf(float x) { return __builtin_erff(x); }
RECURRA_INLINE double scalar_erf(double x) { return __builtin_erf(x); }
RECURRA_INLINE float scalar_sqrt(float x) { return __builtin_sqrtf(x); }
RECURRA_INLINE double scalar_sqrt(double x) { return __builtin_sqrt(x); }
RECURRA_INLINE double scalar_sigmoid(double x) {
    const double e = __builtin_exp(-__builtin_fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

}  // namespace recurra::RECURRA_ISA
