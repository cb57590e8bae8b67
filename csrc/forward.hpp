// One scan forward: memory, packing and threads around the kernels.
#pragma once

#include "isa.hpp"
#include "parallel.hpp"

namespace recurra {

// Runs the scan with at most `threads` threads of the pool; null: in this one. Throws std::bad_alloc.
template <class T>
void forward(const Kernels<T>& kernels, const Scan<T>& scan, GompParallel pool, int threads);

extern template void forward<float>(const Kernels<float>&, const Scan<float>&, GompParallel, int);
extern template void forward<double>(const Kernels<double>&, const Scan<double>&, GompParallel, int);

}  // namespace recurra
