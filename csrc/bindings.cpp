// The Python module: programs from plain lists, arrays as addresses. Knows neither PyTorch nor
// NumPy.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "arguments.hpp"
#include "bindings.hpp"
#include "blueprint.hpp"
#include "memory.hpp"

namespace nb = nanobind;
using namespace recurra;

namespace {

using SectionTuple = std::tuple<int, int, std::vector<std::tuple<int, int, int>>,
                                std::vector<std::tuple<int, int, int, int, int>>,
                                std::vector<std::tuple<int, int, int>>>;
using SectionTuples = std::vector<SectionTuple>;
using ProductTuple = std::tuple<bool, int, int, int, int, int, std::vector<int>>;
using PhaseTuple = std::tuple<SectionTuples, std::optional<ProductTuple>, SectionTuples>;
using BackPhaseTuple = std::tuple<int, SectionTuples, SectionTuples, int, SectionTuples>;
using BackTuple = std::tuple<std::vector<int>, std::vector<BackPhaseTuple>, SectionTuples>;

std::vector<SectionList> sections(const SectionTuples& tuples) {
    std::vector<SectionList> list;
    for (const auto& [width, registers, sources, instructions, outputs] : tuples) {
        list.push_back({width, registers, sources, instructions, outputs});
    }
    return list;
}

ProductList product(const ProductTuple& given) {
    const auto& [weighted, first, blocks, total, unit, reads, norm] = given;
    return {weighted, first, blocks, total, unit, reads, norm};
}

void build(Blueprint* self, int hidden, int gates, std::vector<int> states, std::vector<int> noises,
           std::vector<int> params, std::vector<int> slots, std::vector<double> constants,
           const ProductTuple& input, const std::vector<PhaseTuple>& phases,
           const SectionTuples& last, std::vector<int> saved,
           const std::optional<BackTuple>& backward) {
    ProgramList list{hidden,
                     gates,
                     std::move(states),
                     std::move(noises),
                     std::move(params),
                     std::move(slots),
                     std::move(constants),
                     product(input),
                     {},
                     sections(last),
                     std::move(saved),
                     {},
                     {},
                     {}};
    for (const auto& [operand, multiplied, body] : phases) {
        PhaseList phase{sections(operand), {}, sections(body)};
        if (multiplied) phase.product.push_back(product(*multiplied));
        list.phases.push_back(std::move(phase));
    }
    if (backward) {
        list.back_slots = std::get<0>(*backward);
        for (const auto& [phase, operand, before, du_first, after] : std::get<1>(*backward)) {
            list.back.push_back(
                {phase, sections(operand), sections(before), du_first, sections(after)});
        }
        list.back_last = sections(std::get<2>(*backward));
    }
    new (self) Blueprint(std::move(list));
}

template <class Run>
void by_dtype(const std::string& dtype, Run run) {
    if (dtype == "float32") return run(chosen_isa().f32, float());
    if (dtype == "float64") return run(chosen_isa().f64, double());
    refuse("dtype", "be 'float32' or 'float64'", "'" + dtype + "'");
}

using StateTriple = std::tuple<Arrays, Arrays, Arrays>;
using StatePair = std::tuple<Arrays, Arrays>;

void forward(const Blueprint& blueprint, const std::string& dtype,
             std::tuple<std::int64_t, std::int64_t> sizes, bool reverse, Array x, Array h,
             const StateTriple& state, const StatePair& kept, bool held, Array saved,
             const WeightArrays& weights, const NoiseArrays& noise, const Arrays& params,
             Array lengths, Array resets, const PoolAddresses& pool) {
    const Program& program = blueprint.program();
    const Common common{sizes,
                        reverse,
                        x,
                        h,
                        std::get<0>(state),
                        std::get<1>(state),
                        std::get<0>(kept),
                        saved,
                        weights,
                        noise,
                        params,
                        lengths,
                        resets};
    by_dtype(dtype, [&](const auto& kernels, auto zero) {
        using T = decltype(zero);
        Bound<T> bound(program, common);
        const Extent& extent = bound.extent;
        const auto final =
            list<T>(std::get<2>(state), program.states, extent.batch, "final", extent.batch > 0);
        const auto gate_size = [&](int) { return numbers(extent.rows(), program.hidden); };
        const auto gates = list<T>(std::get<1>(kept), program.gates, gate_size, "gates",
                                   extent.some() && !std::get<1>(kept).empty());
        bound.scan.final = final.data();
        bound.scan.gates = std::get<1>(kept).empty() ? nullptr : gates.data();
        bound.scan.held = held;
        const nb::gil_scoped_release release;
        launch<T>(kernels, bound.scan, nullptr, pool_of(pool));
    });
}

using Given = std::tuple<Array, Arrays, Arrays>;
using Wanted = std::tuple<Array, Arrays, Arrays, WeightArrays, Arrays, Arrays>;

void backward(const Blueprint& blueprint, const std::string& dtype,
              std::tuple<std::int64_t, std::int64_t> sizes, bool reverse, Array x, Array h,
              const StatePair& state, const Arrays& states, Array saved,
              const WeightArrays& weights, const NoiseArrays& noise, const Arrays& params,
              Array lengths, Array resets, const PoolAddresses& pool, const Given& given,
              const Wanted& wanted) {
    const Program& program = blueprint.program();
    if (!program.back.data && !program.back_last.data)
        refuse("program", "have a backward pass", "none");
    const Common common{sizes,
                        reverse,
                        x,
                        h,
                        std::get<0>(state),
                        std::get<1>(state),
                        states,
                        saved,
                        weights,
                        noise,
                        params,
                        lengths,
                        resets};
    by_dtype(dtype, [&](const auto& kernels, auto zero) {
        using T = decltype(zero);
        const Bound<T> bound(program, common);
        const Extent& extent = bound.extent;
        for (std::size_t i = 1; extent.some() && i < bound.states.size(); ++i) {
            if (!bound.states[i]) refuse("states", "be an address", "0");
        }
        const std::int64_t rows = extent.rows(), batch = extent.batch;
        const auto dfinal =
            list<const T>(std::get<1>(given), program.states, batch, "gradients of final", false);
        const auto dstates =
            list<const T>(std::get<2>(given), program.states, rows, "gradients of states", false);
        const auto dfirst =
            list<T>(std::get<1>(wanted), program.states, batch, "gradients of state", false);
        const auto dinitial =
            list<T>(std::get<2>(wanted), program.states, batch, "gradients of initial", false);
        const Matrices<T> dweights(program, std::get<3>(wanted), "gradients of weights", false);
        const auto noise_size = [&](int i) { return bound.noise_size(program, i); };
        const auto dnoise = list<T>(std::get<4>(wanted), program.noises.size, noise_size,
                                    "gradients of noise", false);
        const auto dparams =
            list<T>(std::get<5>(wanted), program.params, 1, "gradients of params", false);
        const Gradients<T> gradients{
            one<const T>(std::get<0>(given), numbers(rows, program.states[0]), "gradient of h",
                         false),
            dfinal.data(),
            dstates.data(),
            one<T>(std::get<0>(wanted), numbers(rows, program.input.reads), "gradient of x", false),
            dfirst.data(),
            dinitial.data(),
            dweights.weight.data(),
            dweights.bias.data(),
            dweights.gain.data(),
            dnoise.data(),
            dparams.data()};
        const nb::gil_scoped_release release;
        launch<T>(kernels, bound.scan, &gradients, pool_of(pool));
    });
}

struct Race {
    double seconds;
    double each[256];
};

double fma_peak(double seconds, const PoolAddresses& pool) {
    const Pool threads = pool_of(pool);
    const int count = threads.threads < 1 ? 1 : threads.threads > 256 ? 256 : threads.threads;
    Race race{seconds, {}};
    const nb::gil_scoped_release release;
    const auto run = [](void* data, int i) {
        static_cast<Race*>(data)->each[i] = chosen_isa().peak(static_cast<Race*>(data)->seconds);
    };
    if (!on_threads(threads, count, run, &race)) run(&race, 0);
    double all = 0;
    for (const double one : race.each) all += one;
    return all;
}

template <class T>
struct Draw {
    const Kernels<T>& kernels;
    T* to;
    std::int64_t count;
    std::uint32_t zero;
    T value;
    std::uint64_t key;
    int threads;

    static void part(void* context, int i) {
        const Draw& all = *static_cast<const Draw*>(context);
        const Range mine = share(all.count, i, all.threads, DRAWN_TOGETHER);
        all.kernels.draw(all.to, mine.begin, mine.end, all.zero, all.value, all.key);
    }
};

void draw(Address to, std::int64_t count, const std::string& dtype, std::int64_t zero, double value,
          std::uint64_t key, const PoolAddresses& pool) {
    constexpr std::int64_t all = std::int64_t(1) << 32, most = 4 * all;
    constexpr std::int64_t worth_a_thread =
        1 << 19;  // numbers below which waking another costs more than it brings
    if (count < 0 || count > most)
        refuse("count", "be at least 0 and at most 2^34", std::to_string(count));
    if (zero < 0 || zero > all)
        refuse("zero", "be at least 0 and at most 2^32", std::to_string(zero));
    by_dtype(dtype, [&](const auto& kernels, auto none) {
        using T = decltype(none);
        const Pool threads = pool_of(pool);
        const std::int64_t some = count / worth_a_thread,
                           few = some < threads.threads ? some : threads.threads;
        Draw<T> work{kernels,
                     one<T>({to, count}, count, "address", count > 0),
                     count,
                     std::uint32_t(zero == all ? 0 : zero),
                     T(zero == all ? 0 : value),
                     key,
                     few > 1 ? int(few) : 1};
        const nb::gil_scoped_release release;
        if (on_threads(threads, work.threads, Draw<T>::part, &work)) return;
        work.threads = 1;
        Draw<T>::part(&work, 0);
    });
}

template <class T>
nb::dict sizes(const Kernels<T>& kernels) {
    nb::dict found;
    found["lanes"] = kernels.lanes;
    found["panel"] = kernels.panel;
    found["rows"] = kernels.rows;
    return found;
}

nb::dict info() {
    const Isa& isa = chosen_isa();
    nb::dict found;
    found["version"] = RECURRA_VERSION;
    found["isa"] = isa.name;
    found["isas"] = compiled_isas();
#if defined(__clang__)
    found["compiler"] = "clang " __clang_version__;
#else
    found["compiler"] = "gcc " __VERSION__;
#endif
    found["tile"] = TILE;
    found["float32"] = sizes(isa.f32);
    found["float64"] = sizes(isa.f64);
    return found;
}

}  // namespace

NB_MODULE(native, m) {
    nb::set_leak_warnings(false);  // Python's cache of programs lives until the process ends
    chosen_isa();  // a RECURRA_ISA that cannot be must fail here, not in the middle of a run
    m.doc() = "Scans of traced programs over raw arrays.";
    m.def("info", &info, "Which build this is and what it runs on.");
    nb::class_<Memory>(m, "Memory", "Bytes that go back to be used again when this is dropped.")
        .def(nb::init<std::size_t>(), nb::arg("bytes"))
        .def_prop_ro("address", [](const Memory& self) { return Address(self.get()); });
    m.def("memory_kept", &memory_kept, "Bytes that lie ready to be used again.");
    m.def("release_memory", &release_memory, "Give what lies ready back to the system.");
    nb::class_<Blueprint>(m, "Program", "A program as numbers, checked.")
        .def("__init__", &build, nb::kw_only(), nb::arg("hidden"), nb::arg("gates"),
             nb::arg("states"), nb::arg("noises"), nb::arg("params"), nb::arg("slots"),
             nb::arg("constants"), nb::arg("input"), nb::arg("phases"), nb::arg("last"),
             nb::arg("saved"), nb::arg("backward").none())
        .def_prop_ro(
            "saved_size", [](const Blueprint& self) { return self.program().saved_size; },
            "Numbers that backward needs of one row and step.");
    m.def("forward", &forward, nb::kw_only(), nb::arg("program"), nb::arg("dtype"),
          nb::arg("sizes"), nb::arg("reverse"), nb::arg("x"), nb::arg("h"), nb::arg("state"),
          nb::arg("kept"), nb::arg("held"), nb::arg("saved"), nb::arg("weights"), nb::arg("noise"),
          nb::arg("params"), nb::arg("lengths"), nb::arg("resets"), nb::arg("pool"),
          "Run a scan forward; see native.pyi.");
    m.def("backward", &backward, nb::kw_only(), nb::arg("program"), nb::arg("dtype"),
          nb::arg("sizes"), nb::arg("reverse"), nb::arg("x"), nb::arg("h"), nb::arg("state"),
          nb::arg("states"), nb::arg("saved"), nb::arg("weights"), nb::arg("noise"),
          nb::arg("params"), nb::arg("lengths"), nb::arg("resets"), nb::arg("pool"),
          nb::arg("given"), nb::arg("wanted"), "Run a scan backward; see native.pyi.");
    m.def("fma_peak", &fma_peak, nb::arg("seconds"), nb::arg("pool"),
          "Multiplications and additions of floats that the threads reach, in 1e9 a second.");
    m.def("draw", &draw, nb::kw_only(), nb::arg("address"), nb::arg("count"), nb::arg("dtype"),
          nb::arg("zero"), nb::arg("value"), nb::arg("key"), nb::arg("pool"),
          "Random factors; see native.pyi.");
    bind_sessions(m);
    nb::list ops, sources, outputs;
#define X(name, arity) ops.append(#name);
    RECURRA_OPS(X)
#undef X
    for (const char* name :
         {"u", "v", "state", "noise", "param", "const", "slot", "saved", "new", "grad", "operand"})
        sources.append(name);
    for (const char* name :
         {"slot", "gate", "operand", "saved", "du", "dv", "dstate", "dnoise", "dparam"})
        outputs.append(name);
    m.attr("UNPACKED") = FEW;
    m.attr("OPS") = nb::tuple(ops);
    m.attr("SOURCES") = nb::tuple(sources);
    m.attr("OUTPUTS") = nb::tuple(outputs);
}
