// Arrays of a call, as Python hands them over: addresses, looked at as far as an address can be.
#pragma once

#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "launch.hpp"

namespace recurra {

using Address = std::uintptr_t;
using Array = std::pair<Address, std::int64_t>;  // where it begins, and how many numbers lie there;
                                                 // address 0: none
using Arrays = std::vector<Array>;
using WeightArrays = std::vector<std::tuple<Array, Array, Array>>;
using NoiseArrays = std::vector<std::tuple<Array, bool>>;
using PoolAddresses = std::tuple<Address, Address, Address, int>;

// What forward and backward have in common. `states`: for forward where to record them, for
// backward the records.
struct Common {
    std::tuple<std::int64_t, std::int64_t> sizes;
    bool reverse;
    Array x, h;
    Arrays first, initial, states;
    Array saved;
    WeightArrays weights;
    NoiseArrays noise;
    Arrays params;
    Array lengths, resets;
};

inline void refuse(const std::string& what, const std::string& must, const std::string& got) {
    throw std::invalid_argument(what + " must " + must + ", got " + got);
}

// A product of sizes, each at least 0.
inline std::int64_t numbers(std::int64_t a, std::int64_t b, std::int64_t c = 1) {
    std::int64_t all;
    if (__builtin_mul_overflow(a, b, &all) || __builtin_mul_overflow(all, c, &all))
        refuse("sizes", "fit into memory", "more");
    return all;
}

// An array of exactly `size` numbers: what it is read or written as is known here, whatever a
// caller made of it.
template <class P>
P* one(const Array& array, std::int64_t size, const std::string& name, bool needed) {
    if (!array.first && needed) refuse(name, "be an address", "0");
    if (array.first && array.second != size)
        refuse(name, "hold " + std::to_string(size) + " numbers", std::to_string(array.second));
    return reinterpret_cast<P*>(array.first);
}

// An array for each of `count` things, size(i) numbers each; an empty list stands for none of them
// where they are not needed.
template <class P, class F>
std::vector<P*> list(const Arrays& arrays, int count, F size, const char* name, bool needed) {
    if (arrays.empty() && !needed) return std::vector<P*>(std::size_t(count), nullptr);
    if (int(arrays.size()) != count)
        refuse(name, "have " + std::to_string(count) + " addresses", std::to_string(arrays.size()));
    std::vector<P*> pointers;
    for (int i = 0; i < count; ++i)
        pointers.push_back(one<P>(arrays[std::size_t(i)], size(i), name, needed));
    return pointers;
}

// The same where `rows` of each width lie one after another.
template <class P>
std::vector<P*> list(const Arrays& arrays, const Span<int>& widths, std::int64_t rows,
                     const char* name, bool needed) {
    return list<P>(
        arrays, widths.size, [&](int i) { return numbers(rows, widths[i]); }, name, needed);
}

// By entry (the input product, then the phases): weight, bias and gain. A bias or gain begins at
// the phase's first block.
template <class P>
struct Matrices {
    std::vector<P*> weight, bias, gain;

    Matrices(const Program& program, const WeightArrays& given, const std::string& name,
             bool needed) {
        const int entries = program.phases.size + 1;
        if (int(given.size()) != entries) {
            refuse(name,
                   "have one entry for the input product and each of " +
                       std::to_string(entries - 1) + " phases",
                   std::to_string(given.size()));
        }
        for (int e = 0; e < entries; ++e) {
            const auto& [w, b, g] = given[std::size_t(e)];
            const bool multiplies = e == 0 || program.phases[e - 1].multiplies;
            const Product& product = e ? program.phases[e - 1].product : program.input;
            const bool weighted = multiplies && product.weighted;
            const std::int64_t rows =
                multiplies ? std::int64_t(weighted ? product.total : product.blocks) * product.unit
                           : 0;
            const std::int64_t skip = weighted ? std::int64_t(product.first) * product.unit : 0;
            weight.push_back(
                one<P>(w, weighted ? numbers(rows, product.reads) : 0, name, needed && weighted));
            bias.push_back(after(one<P>(b, rows, name + ", biases", false), multiplies, skip));
            gain.push_back(after(one<P>(g, rows, name + ", gains", false), multiplies, skip));
        }
    }

private:
    static P* after(P* vector, bool read, std::int64_t skip) {
        return vector && read ? vector + skip : nullptr;
    }
};

// T and B, small enough to be multiplied.
struct Extent {
    std::int64_t steps, batch;

    explicit Extent(const std::tuple<std::int64_t, std::int64_t>& sizes)
        : steps(std::get<0>(sizes)), batch(std::get<1>(sizes)) {
        constexpr std::int64_t most = std::int64_t(1) << 40;
        if (steps < 0 || batch < 0 || steps > most || batch > most) {
            refuse("sizes", "be at least 0 and at most 2^40",
                   std::to_string(steps) + " and " + std::to_string(batch));
        }
    }

    bool some() const { return steps > 0 && batch > 0; }
    std::int64_t rows() const { return numbers(steps, batch); }
};

// A scan whose lists live as long as this. Lengths and resets are copied before they are looked at:
// they say what is read and written, and their owner may change them while the scan runs.
template <class T>
struct Bound {
    const Extent extent;
    std::vector<const T*> first, initial, noises, params;
    std::vector<T*> states;
    std::vector<std::uint8_t> lasting;
    Matrices<const T> matrices;
    std::vector<std::int64_t> lengths;
    std::vector<std::uint8_t> resets;
    Scan<T> scan{};

    Bound(const Program& program, const Common& common)
        : extent(common.sizes),
          first(
              list<const T>(common.first, program.states, extent.batch, "state", extent.batch > 0)),
          initial(list<const T>(common.initial, program.states, extent.batch, "initial",
                                common.resets.first != 0)),
          params(list<const T>(common.params, program.params, 1, "params", true)),
          states(list<T>(common.states, program.states, extent.rows(), "states", false)),
          matrices(program, common.weights, "weights", true) {
        const bool some = extent.some();
        Arrays factors;
        for (const auto& [array, lasts] : common.noise) {
            factors.push_back(array);
            lasting.push_back(lasts);
        }
        noises = list<const T>(
            factors, program.noises.size, [&](int i) { return noise_size(program, i); }, "noise",
            some);
        copy_lengths(common);
        scan.program = &program;
        scan.steps = extent.steps;
        scan.batch = extent.batch;
        scan.reverse = common.reverse;
        scan.x = one<const T>(common.x, numbers(extent.rows(), program.input.reads), "x", some);
        scan.first = first.data();
        scan.initial = initial.data();
        scan.h = one<T>(common.h, numbers(extent.rows(), program.states[0]), "h", some);
        scan.states = states.data();
        scan.saved =
            one<T>(common.saved, numbers(extent.rows(), program.saved_size), "saved", false);
        scan.weight = matrices.weight.data();
        scan.bias = matrices.bias.data();
        scan.gain = matrices.gain.data();
        scan.noise = noises.data();
        scan.lasting = lasting.data();
        scan.param = params.data();
        scan.lengths = common.lengths.first ? lengths.data() : nullptr;
        scan.resets = common.resets.first ? resets.data() : nullptr;
    }

    // Numbers of noise i, or of its gradient.
    std::int64_t noise_size(const Program& program, int i) const {
        return numbers(lasting[std::size_t(i)] ? extent.batch : extent.rows(), program.noises[i]);
    }

private:
    void copy_lengths(const Common& common) {
        if (const auto* from =
                one<const std::int64_t>(common.lengths, extent.batch, "lengths", false))
            lengths.assign(from, from + extent.batch);
        for (const std::int64_t length : lengths) {
            if (length < 0 || length > extent.steps)
                refuse("lengths", "be at least 0 and at most " + std::to_string(extent.steps),
                       std::to_string(length));
        }
        if (const auto* from =
                one<const std::uint8_t>(common.resets, extent.rows(), "resets", false))
            resets.assign(from, from + extent.rows());
    }
};

inline Pool pool_of(const PoolAddresses& given) {
    const auto [parallel, count, number, threads] = given;
    if (!parallel || !count || !number) return {nullptr, nullptr, nullptr, 1};
    return {reinterpret_cast<decltype(Pool::parallel)>(parallel),
            reinterpret_cast<int (*)()>(count), reinterpret_cast<int (*)()>(number), threads};
}

}  // namespace recurra
