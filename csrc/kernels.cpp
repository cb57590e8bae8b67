// The kernels of one instruction set. CMake compiles this file once for each, with RECURRA_ISA its name.
#include "driver.hpp"

namespace recurra::RECURRA_ISA {

template <class T>
std::size_t packed_size(const Program& program) {
    std::size_t numbers = 0;
    for (const Phase& phase : program.phases) {
        if (phase.multiplies) numbers += packed_numbers<T>(phase.product);
    }
    return numbers;
}

// A bias goes with the product, but where there is a norm it comes after that.
template <class T>
void pack(const Scan<T>& scan, T* packed) {
    const Span<Phase> phases = scan.program->phases;
    for (int p = 0; p < phases.size; ++p) {
        if (!phases[p].multiplies || !phases[p].product.weighted) continue;
        const Product& product = phases[p].product;
        pack_product(product, scan.weight[p], product.norm.size ? nullptr : scan.bias[p], packed);
        packed += packed_numbers<T>(product);
    }
}

template <class T>
std::size_t scratch_size(const Program& program, std::int64_t rows) {
    Scan<T> scan{};
    scan.program = &program;
    Scratch<T> scratch{nullptr};
    Worker<T> worker(scan, scratch, nullptr, rows);
    return scratch.used;
}

template <class T>
void run(const Scan<T>& scan, const T* packed, T* scratch, std::int64_t* active, std::int64_t begin, std::int64_t end) {
    Scratch<T> pieces{scratch};
    Worker<T> worker(scan, pieces, active, end - begin);
    worker.run(packed, begin, end);
}

template <class T>
constexpr Kernels<T> KERNELS = {LANES<T>, PANEL<T>, ROWS, packed_size<T>, pack<T>, scratch_size<T>, run<T>};

extern const Isa isa;
const Isa isa = {RECURRA_ISA_NAME, KERNELS<float>, KERNELS<double>};

}  // namespace recurra::RECURRA_ISA
