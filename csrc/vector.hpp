// Vectors of the instruction set that this file is compiled for, by the compilers' vector extension.
#pragma once

#include <cstdint>

#include "program.hpp"

#if defined(__FMA__) || defined(__AVX512F__)
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
    typedef double Loose __attribute__((vector_size(BYTES), aligned(8), may_alias));
};

template <class T>
using V = typename VectorOf<T>::V;
using VF = V<float>;
using VI = VectorOf<float>::I;
using VU = VectorOf<float>::U;  // for sums of bits, which may run over

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

// a * b + c, rounded once where the machine can. Contraction by the compiler is off: the bits of a row must
// not depend on which loop computed it.
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

}  // namespace recurra::RECURRA_ISA
