// Arrays of a call, as Python hands them over: addresses, looked at as far as an address can be.
#pragma once

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "launch.hpp"

namespace recurra {

using Address = std::uintptr_t;
using Addresses = std::vector<Address>;
using WeightAddresses = std::vector<std::tuple<Address, Address, Address>>;
using NoiseAddresses = std::vector<std::tuple<Address, bool>>;
using PoolAddresses = std::tuple<Address, Address, Address, int>;

// What forward and backward have in common. `states`: for forward where to record them, for backward the records.
struct Common {
    std::tuple<std::int64_t, std::int64_t> sizes;
    bool reverse;
    Address x, h;
    Addresses first, initial, states;
    Address saved;
    WeightAddresses weights;
    NoiseAddresses noise;
    Addresses params;
    Address lengths, resets;
};

inline void refuse(const std::string& what, const std::string& must, const std::string& got) {
    throw std::invalid_argument(what + " must " + must + ", got " + got);
}

template <class P>
P* one(Address address, const char* name, bool needed) {
    if (!address && needed) refuse(name, "be an address", "0");
    return reinterpret_cast<P*>(address);
}

// An address for each of `count` things; an empty list stands for none of them where they are not needed.
template <class P>
std::vector<P*> list(const Addresses& addresses, int count, const char* name, bool needed) {
    if (addresses.empty() && !needed) return std::vector<P*>(std::size_t(count), nullptr);
    if (int(addresses.size()) != count) refuse(name, "have " + std::to_string(count) + " addresses", std::to_string(addresses.size()));
    std::vector<P*> pointers;
    for (const Address address : addresses) pointers.push_back(one<P>(address, name, needed));
    return pointers;
}

// By entry (the input product, then the phases): weight, bias and gain. A bias or gain begins at the phase's first block.
template <class P>
struct Matrices {
    std::vector<P*> weight, bias, gain;

    Matrices(const Program& program, const WeightAddresses& given, const char* name, bool needed) {
        const int entries = program.phases.size + 1;
        if (int(given.size()) != entries) {
            refuse(name, "have one entry for the input product and each of " + std::to_string(entries - 1) + " phases", std::to_string(given.size()));
        }
        for (int e = 0; e < entries; ++e) {
            const auto& [w, b, g] = given[std::size_t(e)];
            const bool multiplies = e == 0 || program.phases[e - 1].multiplies;
            const Product& product = e ? program.phases[e - 1].product : program.input;
            const bool weighted = multiplies && product.weighted;
            const std::int64_t skip = weighted ? std::int64_t(product.first) * product.unit : 0;
            weight.push_back(one<P>(w, name, needed && weighted));
            bias.push_back(b && multiplies ? reinterpret_cast<P*>(b) + skip : nullptr);
            gain.push_back(g && multiplies ? reinterpret_cast<P*>(g) + skip : nullptr);
        }
    }
};

// A scan whose lists live as long as this.
template <class T>
struct Bound {
    std::vector<const T*> first, initial, noises, params;
    std::vector<T*> states;
    std::vector<std::uint8_t> lasting;
    Matrices<const T> matrices;
    Scan<T> scan{};

    Bound(const Program& program, const Common& common)
        : first(list<const T>(common.first, program.states.size, "state", std::get<1>(common.sizes) > 0)),
          initial(list<const T>(common.initial, program.states.size, "initial", common.resets != 0)),
          params(list<const T>(common.params, program.params.size, "params", true)),
          states(list<T>(common.states, program.states.size, "states", false)), matrices(program, common.weights, "weights", true) {
        const auto [steps, batch] = common.sizes;
        constexpr std::int64_t most = std::int64_t(1) << 40;
        if (steps < 0 || batch < 0 || steps > most || batch > most) {
            refuse("sizes", "be at least 0 and at most 2^40", std::to_string(steps) + " and " + std::to_string(batch));
        }
        const bool some = steps > 0 && batch > 0;
        Addresses factors;
        for (const auto& [address, lasts] : common.noise) {
            factors.push_back(address);
            lasting.push_back(lasts);
        }
        noises = list<const T>(factors, program.noises.size, "noise", some);
        scan.program = &program;
        scan.steps = steps;
        scan.batch = batch;
        scan.reverse = common.reverse;
        scan.x = one<const T>(common.x, "x", some);
        scan.first = first.data();
        scan.initial = initial.data();
        scan.h = one<T>(common.h, "h", some);
        scan.states = states.data();
        scan.saved = reinterpret_cast<T*>(common.saved);
        scan.weight = matrices.weight.data();
        scan.bias = matrices.bias.data();
        scan.gain = matrices.gain.data();
        scan.noise = noises.data();
        scan.lasting = lasting.data();
        scan.param = params.data();
        scan.lengths = reinterpret_cast<const std::int64_t*>(common.lengths);
        scan.resets = reinterpret_cast<const std::uint8_t*>(common.resets);
    }
};

inline Pool pool_of(const PoolAddresses& given) {
    const auto [parallel, count, number, threads] = given;
    if (!parallel || !count || !number) return {nullptr, nullptr, nullptr, 1};
    return {reinterpret_cast<decltype(Pool::parallel)>(parallel), reinterpret_cast<int (*)()>(count), reinterpret_cast<int (*)()>(number), threads};
}

}  // namespace recurra
