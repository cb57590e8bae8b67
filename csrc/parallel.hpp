// Splitting rows over threads, by a pool that somebody else owns.
#pragma once

#include <atomic>
#include <cstdint>

namespace recurra {

// Runs task(context, i) for each i in 0 .. tasks - 1, on one or more threads; returns when all are done.
using Task = void (*)(void* context, int i);

// The signature of GOMP_parallel in libgomp: runs body(data) on `threads` threads.
using GompParallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

struct Job {
    Task task;
    void* context;
    int tasks;
    std::atomic<int> next{0};
};

// Each thread takes tasks until none is left, so a pool that gives fewer threads than asked for is no harm.
inline void take_tasks(void* data) {
    Job& job = *static_cast<Job*>(data);
    for (int i; (i = job.next.fetch_add(1)) < job.tasks;) job.task(job.context, i);
}

inline void parallel_for(GompParallel pool, int tasks, Task task, void* context) {
    Job job{task, context, tasks};
    if (pool && tasks > 1) {
        pool(take_tasks, &job, unsigned(tasks), 0);
    } else {
        take_tasks(&job);
    }
}

}  // namespace recurra
