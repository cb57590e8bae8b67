// One scan, forward or backward: memory and threads around the kernels.
#pragma once

#include "isa.hpp"

namespace recurra {

// Runs the scan with at most `pool.threads` threads. Throws std::bad_alloc.
template <class T>
void launch(const Kernels<T>& kernels, const Scan<T>& scan, const Gradients<T>* gradients,
            const Pool& pool);

extern template void launch<float>(const Kernels<float>&, const Scan<float>&,
                                   const Gradients<float>*, const Pool&);
extern template void launch<double>(const Kernels<double>&, const Scan<double>&,
                                    const Gradients<double>*, const Pool&);

// Calls body(context, i) on `threads` threads of the pool; false, with nothing done, if it gives
// fewer.
bool on_threads(const Pool& pool, int threads, void (*body)(void*, int), void* context);

}  // namespace recurra
