// Threads for tests under a sanitizer, in the shape of an OpenMP runtime: GOMP_parallel and what
// asks who and how many.
#include <thread>
#include <vector>

namespace {
thread_local int own_number = 0, own_count = 1;
}

extern "C" {

int omp_get_num_threads() { return own_count; }
int omp_get_thread_num() { return own_number; }

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
    std::vector<std::thread> others;
    const auto run = [=](unsigned i) {
        own_number = int(i);
        own_count = int(threads);
        body(data);
        own_number = 0;
        own_count = 1;
    };
    for (unsigned i = 1; i < threads; ++i) others.emplace_back(run, i);
    run(0);
    for (std::thread& each : others) each.join();
}
}
