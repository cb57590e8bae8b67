#include "forward.hpp"

#include <algorithm>
#include <memory>
#include <new>

namespace recurra {
namespace {

struct Free {
    void operator()(void* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};

template <class T>
using Memory = std::unique_ptr<T[], Free>;

template <class T>
Memory<T> allocate(std::size_t numbers) {
    return Memory<T>(static_cast<T*>(::operator new[](std::max<std::size_t>(numbers, 1) * sizeof(T), std::align_val_t(64))));
}

// Multiplications below which waking another thread costs more than it brings.
constexpr double WORTH_A_THREAD = 2e5;

double work(const Program& program, double rows) {
    double each = program.hidden * 20.0;
    for (const Phase& phase : program.phases) {
        if (phase.multiplies) each += double(phase.product.blocks) * phase.product.unit * phase.product.reads;
    }
    return each * rows;
}

template <class T>
struct Split {
    const Kernels<T>& kernels;
    const Scan<T>& scan;
    const T* packed;
    T* scratch;
    std::size_t each;
    std::int64_t* active;
    int parts;

    static void task(void* context, int i) {
        const Split& split = *static_cast<Split*>(context);
        const std::int64_t begin = split.scan.batch * i / split.parts, end = split.scan.batch * (i + 1) / split.parts;
        split.kernels.run(split.scan, split.packed, split.scratch + split.each * i, split.active + begin, begin, end);
    }
};

}  // namespace

template <class T>
void forward(const Kernels<T>& kernels, const Scan<T>& scan, GompParallel pool, int threads) {
    if (scan.batch == 0) return;
    const double worth = std::min(work(*scan.program, double(scan.steps) * double(scan.batch)) / WORTH_A_THREAD, 1e6);
    const std::int64_t most = std::min<std::int64_t>(pool ? threads : 1, scan.batch);
    const int parts = int(std::clamp<std::int64_t>(std::int64_t(worth), 1, most));
    const Memory<T> packed = allocate<T>(kernels.packed_size(*scan.program));
    kernels.pack(scan, packed.get());
    const std::size_t each = kernels.scratch_size(*scan.program, (scan.batch + parts - 1) / parts);
    const Memory<T> scratch = allocate<T>(each * std::size_t(parts));
    const Memory<std::int64_t> active = allocate<std::int64_t>(std::size_t(scan.batch));
    Split<T> split{kernels, scan, packed.get(), scratch.get(), each, active.get(), parts};
    parallel_for(pool, parts, Split<T>::task, &split);
}

template void forward<float>(const Kernels<float>&, const Scan<float>&, GompParallel, int);
template void forward<double>(const Kernels<double>&, const Scan<double>&, GompParallel, int);

}  // namespace recurra
