// The weights of a scan, packed once a sequence: as the forward pass reads them, and transposed.
#pragma once

#include "direct.hpp"
#include "scan.hpp"
#include "section.hpp"

namespace recurra::RECURRA_ISA {

// Entry 0 is the input product, entry p + 1 that of phase p.
RECURRA_INLINE const Product& product_at(const Program& program, int entry) {
    return entry ? program.phases[entry - 1].product : program.input;
}

RECURRA_INLINE bool weighted_at(const Program& program, int entry) {
    return entry
               ? program.phases[entry - 1].multiplies && program.phases[entry - 1].product.weighted
               : true;
}

// Where threads split units each packs its own columns for itself; where they split rows all share
// one packing.
template <class T>
struct Weights {
    const Scan<T>& scan;
    Region& region;
    const int me;
    const bool few;
    Packed<T> forward[MAX_PHASES + 1] = {}, backward[MAX_PHASES + 1] = {};

    Weights(const Scan<T>& s, Region& r, int i, Arena& shared, bool ahead, bool back)
        : scan(s), region(r), me(i), few(!back && s.steps * s.batch <= FEW) {
        const Program& program = *scan.program;
        for (int owner = 0; owner < (region.by_units ? region.threads : 1); ++owner) {
            for (int e = 0; e <= program.phases.size; ++e) {
                if (!weighted_at(program, e)) continue;
                const Product& product = product_at(program, e);
                const Packed<T> there{nullptr, product.reads,
                                      product.blocks * region.units(product.unit, owner).size()};
                const Packed<T> home{nullptr, product.columns(),
                                     region.units(product.reads, owner).size()};
                const bool mine = owner == (region.by_units ? me : 0);
                if (ahead) take(forward[e], there, shared, mine, few);
                if (back && e) take(backward[e], home, shared, mine, false);
            }
        }
        if (back)
            take(backward[0], {nullptr, program.input.columns(), program.input.reads}, shared, true,
                 false);
    }

    // The last product of backward, that of dx, is split by rows: everybody reads all of it.
    void pack() {
        const Program& program = *scan.program;
        for (int e = 0; e <= program.phases.size; ++e) {
            if (!weighted_at(program, e)) continue;
            const Product& product = product_at(program, e);
            const T* weight = matrix(product, e);
            const Columns columns{product.unit, region.units(product.unit, me)};
            if (forward[e].panels)
                pack_rows(forward[e], part(forward[e], true), columns, weight, shift(product, e));
            if (backward[e].panels) {
                const std::int64_t first = e ? region.units(product.reads, me).begin : 0;
                pack_columns(backward[e], part(backward[e], e != 0), weight, product.reads, first);
            }
        }
    }

    // How many of an entry's columns are this thread's.
    std::int64_t columns(int e) const { return forward[e].columns; }

    // Rows of an operand times a weight's own columns, into `out`.
    void multiply_ahead(int e, std::int64_t rows, const T* operand, std::int64_t stride, T* out,
                        std::int64_t apart, bool down) const {
        if (!few) return multiply(forward[e], rows, operand, stride, out, apart, down);
        const Product& product = product_at(*scan.program, e);
        const Columns columns{product.unit, region.units(product.unit, me)};
        Direct<T>{matrix(product, e), shift(product, e), product.reads, columns, product.blocks}
            .multiply(rows, operand, stride, out, apart);
    }

private:
    const T* matrix(const Product& product, int e) const {
        return scan.weight[e] + std::int64_t(product.first) * product.unit * product.reads;
    }
    const T* shift(const Product& product, int e) const {
        return product.norm.size ? nullptr : scan.bias[e];
    }

    static void take(Packed<T>& to, Packed<T> shape, Arena& shared, bool mine, bool shape_only) {
        if (!shape_only) shape.panels = shared.take<T>(shape.numbers());
        if (mine) to = shape;
    }

    Range part(const Packed<T>& packed, bool own) const {
        return own && region.by_units ? Range{0, packed.count()}
                                      : share(packed.count(), me, region.threads);
    }
};

}  // namespace recurra::RECURRA_ISA
