// Vectors of the instruction set that this file is compiled for, by the compilers' vector
// extension.
#pragma once

#include <cstdint>

#include "program.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace recurra::RECURRA_ISA {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class T>
struct VectorOf;

template <>
struct VectorOf<float> {
    typedef float V __attribute__((vector_size(BYTES)));
    typedef std::int32_t I __attribute__((vector_size(BYTES)));
    typedef std::uint32_t U __attribute__((vector_size(BYTES)));
    typedef float Loose __attribute__((vector_size(BYTES), aligned(4), may_alias));
};

template <>
struct VectorOf<double> {
    typedef double V __attribute__((vector_size(BYTES)));
    typedef std::int64_t I __attribute__((vector_size(BYTES)));
    typedef std::uint64_t U __attribute__((vector_size(BYTES)));
    typedef double Loose __attribute__((vector_size(BYTES), aligned(8), may_alias));
};

template <class T>
using V = typename VectorOf<T>::V;
template <class T>
using I = typename VectorOf<T>::I;
template <class T>
using U = typename VectorOf<T>::U;  // for sums of bits, which may run over

template <class T>
constexpr int LANES = BYTES / int(sizeof(T));

template <class T>
RECURRA_INLINE V<T> load(const T* from) {
    return *reinterpret_cast<const typename VectorOf<T>::Loose*>(from);
}

template <class T>
RECURRA_INLINE void store(T* to, V<T> value) {
    *reinterpret_cast<typename VectorOf<T>::Loose*>(to) = value;
}

template <class T>
RECURRA_INLINE V<T> all(T value) {
    return value - V<T>{};  // x - 0 is x, sign included, and costs nothing
}

// a * b + c, rounded once where the machine can. Contraction by the compiler is off: the bits of a
// row must not depend on which loop computed it.
RECURRA_INLINE V<float> fma(V<float> a, V<float> b, V<float> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

RECURRA_INLINE V<double> fma(V<double> a, V<double> b, V<double> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return vfmaq_f64(c, a, b);
#else
    return a * b + c;
#endif
}

// The greater of x and a bound, the smaller, and the root, each in one instruction where there is
// one. A NaN in x stays.
#if defined(__AVX512F__)
RECURRA_INLINE V<float> at_least(V<float> x, V<float> low) { return _mm512_max_ps(low, x); }
RECURRA_INLINE V<float> at_most(V<float> x, V<float> high) { return _mm512_min_ps(high, x); }
RECURRA_INLINE V<float> root(V<float> x) { return _mm512_sqrt_ps(x); }
RECURRA_INLINE V<double> at_least(V<double> x, V<double> low) { return _mm512_max_pd(low, x); }
RECURRA_INLINE V<double> at_most(V<double> x, V<double> high) { return _mm512_min_pd(high, x); }
RECURRA_INLINE V<double> root(V<double> x) { return _mm512_sqrt_pd(x); }
#elif defined(__AVX__)
RECURRA_INLINE V<float> at_least(V<float> x, V<float> low) { return _mm256_max_ps(low, x); }
RECURRA_INLINE V<float> at_most(V<float> x, V<float> high) { return _mm256_min_ps(high, x); }
RECURRA_INLINE V<float> root(V<float> x) { return _mm256_sqrt_ps(x); }
RECURRA_INLINE V<double> at_least(V<double> x, V<double> low) { return _mm256_max_pd(low, x); }
RECURRA_INLINE V<double> at_most(V<double> x, V<double> high) { return _mm256_min_pd(high, x); }
RECURRA_INLINE V<double> root(V<double> x) { return _mm256_sqrt_pd(x); }
#elif defined(__SSE2__)
RECURRA_INLINE V<float> at_least(V<float> x, V<float> low) { return _mm_max_ps(low, x); }
RECURRA_INLINE V<float> at_most(V<float> x, V<float> high) { return _mm_min_ps(high, x); }
RECURRA_INLINE V<float> root(V<float> x) { return _mm_sqrt_ps(x); }
RECURRA_INLINE V<double> at_least(V<double> x, V<double> low) { return _mm_max_pd(low, x); }
RECURRA_INLINE V<double> at_most(V<double> x, V<double> high) { return _mm_min_pd(high, x); }
RECURRA_INLINE V<double> root(V<double> x) { return _mm_sqrt_pd(x); }
#else
template <class W>
RECURRA_INLINE W at_least(W x, W low) {
    return x < low ? low : x;
}
template <class W>
RECURRA_INLINE W at_most(W x, W high) {
    return x > high ? high : x;
}
template <class W>
RECURRA_INLINE W root(W x) {
    for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); ++i)
        x[i] = sizeof(x[0]) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
    return x;
}
#endif

// a / b for 1/2 <= b < 2^60, within a unit in the last place. AVX-512 divides slowly: there an
// estimate and Newton's steps.
#if defined(__AVX512F__)
RECURRA_INLINE V<float> quotient(V<float> a, V<float> b) {
    V<float> inverse = _mm512_rcp14_ps(b);
    inverse = fma(fma(-b, inverse, all(1.0f)), inverse, inverse);
    const V<float> near = a * inverse;
    return fma(fma(-b, near, a), inverse, near);
}
RECURRA_INLINE V<double> quotient(V<double> a, V<double> b) {
    V<double> inverse = _mm512_rcp14_pd(b);
    inverse = fma(fma(-b, inverse, all(1.0)), inverse, inverse);
    inverse = fma(fma(-b, inverse, all(1.0)), inverse, inverse);
    const V<double> near = a * inverse;
    return fma(fma(-b, near, a), inverse, near);
}
#else
template <class W>
RECURRA_INLINE W quotient(W a, W b) {
    return a / b;
}
#endif

}  // namespace recurra::RECURRA_ISA
