// The kernels of one instruction set. CMake compiles this file once for each, with RECURRA_ISA its
// name.
#include "kernels.hpp"

#include <chrono>

#include "forward.hpp"
#include "backward.hpp"
#include "random.hpp"
#include "session.hpp"

namespace recurra::RECURRA_ISA {

template <class T>
Bytes measure(const Scan<T>& scan, const Gradients<T>* gradients, Region& region, int me) {
    Arena shared, own;
    if (gradients) {
        Backward<T> worker(scan, *gradients, region, me, shared, own);
    } else {
        Forward<T> worker(scan, region, me, shared, own);
    }
    return {shared.used, own.used};
}

template <class T>
void run(const Scan<T>& scan, const Gradients<T>* gradients, Region& region, int me,
         char* shared_memory, char* own_memory) {
    Arena shared{shared_memory}, own{own_memory};
    if (gradients) {
        Backward<T>(scan, *gradients, region, me, shared, own).run();
    } else {
        Forward<T>(scan, region, me, shared, own).run();
    }
}

// Twelve sums in flight hide the latency of every multiplier there is.
double peak(double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    V<float> sum[12] = {}, a = all(0.999f), b = all(0.001f);
    double done = 0, past = 0;
    while (past < seconds) {
        for (int i = 0; i < 20000; ++i) {
#pragma GCC unroll 12
            for (int j = 0; j < 12; ++j) {
                sum[j] = fma(sum[j], a, b);
            }
        }
        done += 20000.0 * 12 * 2 * LANES<float>;
        past = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    for (int j = 1; j < 12; ++j) sum[0] += sum[j];
    [[maybe_unused]] volatile float used = sum[0][0];
    return done / past / 1e9;
}

template <class T>
constexpr Kernels<T> KERNELS = {LANES<T>, PANEL<T>, ROWS, measure<T>, run<T>, draw<T>};

extern const Isa isa;
const Isa isa = {RECURRA_ISA_NAME,
                 KERNELS<float>,
                 KERNELS<double>,
                 peak,
                 {packed_bytes, pack, session_bytes, open, push, state, finite, bandwidth}};

}  // namespace recurra::RECURRA_ISA
