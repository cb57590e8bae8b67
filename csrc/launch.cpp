#include "launch.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include "memory.hpp"

namespace recurra {
namespace {

// Multiplications below which waking another thread costs more than it brings, and below which,
// within one step, meeting it does.
constexpr double WORTH_A_THREAD = 1e5, WORTH_A_MEETING = 16e3;

// Numbers of weights that a step reads.
double recurrent(const Program& program) {
    double numbers = 0;
    for (const Phase& phase : program.phases) {
        if (phase.multiplies && phase.product.weighted)
            numbers += double(phase.product.columns()) * phase.product.reads;
    }
    return numbers;
}

double private_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) return double(bytes);
#endif
    return 512 * 1024;
}

// Rows are split where each thread gets some and its own copy of the weights stays in its cache;
// else units, where a step is worth the meeting. The numbers that come out are the same.
// RECURRA_SPLIT=rows or units decides for tests.
template <class T>
bool by_units(const Scan<T>& scan, int threads) {
    if (threads < 2) return false;
    if (const char* wanted = std::getenv("RECURRA_SPLIT")) return std::string(wanted) == "units";
    const double weights = recurrent(*scan.program);
    if (scan.batch >= 2 * threads && weights * sizeof(T) < 0.75 * private_cache()) return false;
    return weights * double(scan.batch) / threads >= WORTH_A_MEETING;
}

// Rows of the batch so that each thread has about as many steps.
template <class T>
std::vector<std::int64_t> bounds(const Scan<T>& scan, int threads) {
    std::vector<std::int64_t> found(std::size_t(threads) + 1, scan.batch);
    double all = 0, some = 0;
    for (std::int64_t b = 0; b < scan.batch; ++b) all += double(scan.length(b)) + 1;
    found[0] = 0;
    for (std::int64_t b = 0, i = 1; b < scan.batch && i < threads; ++b) {
        some += double(scan.length(b)) + 1;
        while (i < threads && some >= all * double(i) / threads - 1e-9)
            found[std::size_t(i++)] = b + 1;
    }
    return found;
}

template <class T>
struct Work {
    const Kernels<T>& kernels;
    const Scan<T>& scan;
    const Gradients<T>* gradients;
    Region region;
    Memory memory;
    std::vector<std::size_t> starts;  // each thread's own memory; shared memory is at 0

    Work(const Kernels<T>& k, const Scan<T>& s, const Gradients<T>* g, int threads)
        : kernels(k), scan(s), gradients(g) {
        region.threads = threads;
        region.by_units = by_units(scan, threads);
        region.bounds = bounds(scan, threads);
        std::size_t total = 0;
        for (int i = 0; i < threads; ++i) {
            const Bytes bytes = kernels.measure(scan, gradients, region, i);
            if (i == 0) total = bytes.shared;
            starts.push_back(total);
            total += bytes.own;
        }
        memory = Memory(total);
    }

    static void part(void* context, int i) {
        Work& work = *static_cast<Work*>(context);
        work.kernels.run(work.scan, work.gradients, work.region, i, work.memory.get(),
                         work.memory.get() + work.starts[std::size_t(i)]);
    }
};

template <class T>
int worth(const Scan<T>& scan, const Pool& pool) {
    const Program& program = *scan.program;
    const double step = program.hidden * 20.0 +
                        double(program.input.columns()) * program.input.reads + recurrent(program);
    const double most = step * double(scan.steps) * double(scan.batch) / WORTH_A_THREAD;
    return int(std::clamp(most, 1.0, double(pool.parallel ? std::max(pool.threads, 1) : 1)));
}

struct Team {
    const Pool& pool;
    int threads;
    void (*body)(void*, int);
    void* context;
    bool done;
};

void in_team(void* data) {
    Team& team = *static_cast<Team*>(data);
    if (team.pool.count() != team.threads) return;
    const int i = team.pool.number();
    team.body(team.context, i);
    if (i == 0) team.done = true;
}

}  // namespace

bool on_threads(const Pool& pool, int threads, void (*body)(void*, int), void* context) {
    if (threads < 2) {
        body(context, 0);
        return true;
    }
    Team team{pool, threads, body, context, false};
    pool.parallel(in_team, &team, unsigned(threads), 0);
    return team.done;
}

template <class T>
void launch(const Kernels<T>& kernels, const Scan<T>& scan, const Gradients<T>* gradients,
            const Pool& pool) {
    if (scan.batch == 0) return;
    Work<T> work(kernels, scan, gradients, worth(scan, pool));
    if (on_threads(pool, work.region.threads, Work<T>::part, &work)) return;
    Work<T> alone(kernels, scan, gradients, 1);
    Work<T>::part(&alone, 0);
}

template void launch<float>(const Kernels<float>&, const Scan<float>&, const Gradients<float>*,
                            const Pool&);
template void launch<double>(const Kernels<double>&, const Scan<double>&, const Gradients<double>*,
                             const Pool&);

}  // namespace recurra
