// The Python module: programs from plain lists, arrays as addresses. Knows neither PyTorch nor NumPy.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "blueprint.hpp"
#include "forward.hpp"

namespace nb = nanobind;
using namespace recurra;

namespace {

using Address = std::uintptr_t;
using Addresses = std::vector<Address>;
using SectionTuple = std::tuple<int, int, std::vector<std::tuple<int, int, int>>, std::vector<std::tuple<int, int, int, int, int>>,
                                std::vector<std::tuple<int, int, int>>>;
using ProductTuple = std::tuple<bool, int, int, int, int, int, std::vector<int>>;
using PhaseTuple = std::tuple<std::vector<SectionTuple>, std::optional<ProductTuple>, std::vector<SectionTuple>>;

std::vector<SectionList> sections(const std::vector<SectionTuple>& tuples) {
    std::vector<SectionList> list;
    for (const auto& [width, registers, sources, instructions, outputs] : tuples) {
        list.push_back({width, registers, sources, instructions, outputs});
    }
    return list;
}

void build(Blueprint* self, int hidden, int gates, std::vector<int> states, std::vector<int> noises, std::vector<int> params,
           std::vector<int> slots, std::vector<double> constants, const std::vector<PhaseTuple>& phases,
           const std::vector<SectionTuple>& last) {
    ProgramList list{hidden, gates, std::move(states), std::move(noises), std::move(params), std::move(slots), std::move(constants), {}, {}};
    for (const auto& [operand, product, body] : phases) {
        PhaseList phase{sections(operand), {}, sections(body)};
        if (product) {
            const auto& [weighted, first, blocks, total, unit, reads, norm] = *product;
            phase.product.push_back({weighted, first, blocks, total, unit, reads, norm});
        }
        list.phases.push_back(std::move(phase));
    }
    list.last = sections(last);
    new (self) Blueprint(std::move(list));
}

struct Arguments {
    const Program& program;
    bool empty;  // no step or no row: arrays of steps may be null

    void refuse(const std::string& what, const std::string& must, const std::string& got) const {
        throw std::invalid_argument(what + " must " + must + ", got " + got);
    }

    template <class P>
    P* one(Address address, const char* name, bool needed) const {
        if (!address && needed) refuse(name, "be an address", "0");
        return reinterpret_cast<P*>(address);
    }

    // An address for each of `count` things; `optional` lets the whole list be empty.
    template <class P>
    std::vector<P*> list(const Addresses& addresses, int count, const char* name, bool optional, bool needed) const {
        if (optional && addresses.empty()) return {};
        if (int(addresses.size()) != count) {
            refuse(name, "have " + std::to_string(count) + " addresses", std::to_string(addresses.size()));
        }
        std::vector<P*> pointers;
        for (const Address address : addresses) pointers.push_back(one<P>(address, name, needed));
        return pointers;
    }
};

// By phase: addresses of weight, bias and gain. A bias or gain begins at the weight's first block.
template <class T>
struct Weights {
    std::vector<const T*> weight, bias, gain;

    Weights(const Arguments& check, const std::vector<std::tuple<Address, Address, Address>>& given) {
        const Span<Phase> phases = check.program.phases;
        if (int(given.size()) != phases.size) {
            check.refuse("weights", "have one entry for each of " + std::to_string(phases.size) + " phases", std::to_string(given.size()));
        }
        for (int p = 0; p < phases.size; ++p) {
            const auto& [w, b, g] = given[std::size_t(p)];
            const Product& product = phases[p].product;
            const bool weighted = phases[p].multiplies && product.weighted;
            const std::int64_t skip = weighted ? std::int64_t(product.first) * product.unit : 0;
            weight.push_back(check.one<const T>(w, "weight", weighted));
            bias.push_back(b ? reinterpret_cast<const T*>(b) + skip : nullptr);
            gain.push_back(g ? reinterpret_cast<const T*>(g) + skip : nullptr);
        }
    }
};

template <class P>
P* const* pointer(const std::vector<P*>& list) {
    return list.empty() ? nullptr : list.data();
}

template <class T>
void scan_arrays(const Kernels<T>& kernels, const Program& program, std::int64_t steps, std::int64_t batch, bool reverse, Address u, Address h,
                 const std::tuple<Addresses, Addresses, Addresses>& state, const std::tuple<Addresses, Addresses>& kept,
                 const std::vector<std::tuple<Address, Address, Address>>& weights, const std::vector<std::tuple<Address, bool>>& noise,
                 const Addresses& params, Address lengths, Address resets, Address pool, int threads) {
    const Arguments check{program, steps == 0 || batch == 0};
    const int states = program.states.size;
    const auto first = check.list<const T>(std::get<0>(state), states, "state", false, batch > 0);
    const auto initial = check.list<const T>(std::get<1>(state), states, "initial", !resets, batch > 0);
    const auto final = check.list<T>(std::get<2>(state), states, "final", false, batch > 0);
    const auto kept_states = check.list<T>(std::get<0>(kept), states, "states", true, !check.empty);
    const auto kept_gates = check.list<T>(std::get<1>(kept), program.gates, "gates", true, !check.empty);
    const auto param = check.list<const T>(params, program.params.size, "params", false, true);
    const Weights<T> matrices(check, weights);
    Addresses noises;
    std::vector<std::uint8_t> lasting;
    for (const auto& [address, lasts] : noise) {
        noises.push_back(address);
        lasting.push_back(lasts);
    }
    const auto factors = check.list<const T>(noises, program.noises.size, "noise", false, !check.empty);
    const Scan<T> scan{&program, steps, batch, reverse, check.one<const T>(u, "u", program.reads_u && !check.empty),
                       pointer(first), pointer(initial), pointer(final), check.one<T>(h, "h", !check.empty),
                       pointer(kept_states), pointer(kept_gates), pointer(matrices.weight), pointer(matrices.bias), pointer(matrices.gain),
                       pointer(factors), lasting.data(), pointer(param),
                       reinterpret_cast<const std::int64_t*>(lengths), reinterpret_cast<const std::uint8_t*>(resets)};
    const nb::gil_scoped_release release;
    forward(kernels, scan, reinterpret_cast<GompParallel>(pool), threads);
}

void scan_forward(const Blueprint& blueprint, const std::string& dtype, std::tuple<std::int64_t, std::int64_t> sizes, bool reverse, Address u,
                  Address h, const std::tuple<Addresses, Addresses, Addresses>& state, const std::tuple<Addresses, Addresses>& kept,
                  const std::vector<std::tuple<Address, Address, Address>>& weights, const std::vector<std::tuple<Address, bool>>& noise,
                  const Addresses& params, Address lengths, Address resets, std::tuple<Address, int> pool) {
    const auto [steps, batch] = sizes;
    const auto [parallel, threads] = pool;
    constexpr std::int64_t most = std::int64_t(1) << 40;
    if (steps < 0 || batch < 0 || steps > most || batch > most) {
        throw std::invalid_argument("sizes must be at least 0 and at most 2^40, got " + std::to_string(steps) + " and " + std::to_string(batch));
    }
    const auto run = [&](const auto& kernels) {
        scan_arrays(kernels, blueprint.program(), steps, batch, reverse, u, h, state, kept, weights, noise, params, lengths, resets, parallel, threads);
    };
    if (dtype == "float32") return run(chosen_isa().f32);
    if (dtype == "float64") return run(chosen_isa().f64);
    throw std::invalid_argument("dtype must be 'float32' or 'float64', got '" + dtype + "'");
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
    nb::class_<Blueprint>(m, "Program", "A program as numbers, checked.")
        .def("__init__", &build, nb::kw_only(), nb::arg("hidden"), nb::arg("gates"), nb::arg("states"), nb::arg("noises"),
             nb::arg("params"), nb::arg("slots"), nb::arg("constants"), nb::arg("phases"), nb::arg("last"));
    m.def("forward", &scan_forward, nb::kw_only(), nb::arg("program"), nb::arg("dtype"), nb::arg("sizes"), nb::arg("reverse"), nb::arg("u"),
          nb::arg("h"), nb::arg("state"), nb::arg("kept"), nb::arg("weights"), nb::arg("noise"), nb::arg("params"), nb::arg("lengths"),
          nb::arg("resets"), nb::arg("pool"), "Run a scan forward; see native.pyi.");
    nb::list ops, sources, outputs;
#define X(name, arity) ops.append(#name);
    RECURRA_OPS(X)
#undef X
    for (const char* name : {"u", "v", "state", "noise", "param", "const", "slot"}) sources.append(name);
    for (const char* name : {"slot", "gate", "operand"}) outputs.append(name);
    m.attr("OPS") = nb::tuple(ops);
    m.attr("SOURCES") = nb::tuple(sources);
    m.attr("OUTPUTS") = nb::tuple(outputs);
}
