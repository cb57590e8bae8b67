#include "isa.hpp"

#include <cstdlib>
#include <stdexcept>

namespace recurra {

#if defined(__x86_64__)
namespace v2 {
extern const Isa isa;
}
namespace v3 {
extern const Isa isa;
}
namespace v4 {
extern const Isa isa;
}
#else
namespace generic {
extern const Isa isa;
}
#endif

namespace {

struct Candidate {
    const Isa* isa;
    bool runs;
};

// Features and not levels: compilers before gcc 12 do not know the names of the levels.
std::vector<Candidate> candidates() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool second = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const bool third = second && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                       __builtin_cpu_supports("bmi2");
    const bool fourth = third && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return {{&v2::isa, second}, {&v3::isa, third}, {&v4::isa, fourth}};
#else
    return {{&generic::isa, true}};
#endif
}

const Isa& choose() {
    const char* wanted = std::getenv("RECURRA_ISA");
    const Isa* best = nullptr;
    std::string runnable;
    for (const Candidate& each : candidates()) {
        if (!each.runs) continue;
        if (wanted && wanted == std::string(each.isa->name)) return *each.isa;
        runnable += (runnable.empty() ? "'" : ", '") + std::string(each.isa->name) + "'";
        best = each.isa;
    }
    if (!best)
        throw std::runtime_error(
            "this machine must have the instructions of x86-64-v2, got an older one; no build of "
            "recurra runs here");
    if (wanted && *wanted) {
        throw std::runtime_error("RECURRA_ISA must be one of " + runnable +
                                 " on this machine, got '" + wanted + "'; unset it for the best");
    }
    return *best;
}

}  // namespace

std::vector<std::string> compiled_isas() {
    std::vector<std::string> names;
    for (const Candidate& each : candidates()) names.push_back(each.isa->name);
    return names;
}

const Isa& chosen_isa() {
    static const Isa& chosen = choose();
    return chosen;
}

}  // namespace recurra
