// What backward owes once a chunk's steps are done: gradients of weights and of x, each one product
// over all its rows.
#pragma once

#include "norm.hpp"
#include "outer.hpp"
#include "step.hpp"

namespace recurra::RECURRA_ISA {

// Gradients of a chunk's rows in order of time, shared by all threads. Entry 0 is the input
// product: du.
template <class T>
struct Rows {
    T* dv[MAX_PHASES + 1] =
        {};  // (rows, columns), `apart` apart; where it lies in du: that part of it
    T* raw[MAX_PHASES + 1] = {};      // before the norm; dv itself where there is none
    T* operand[MAX_PHASES + 1] = {};  // what was multiplied
    std::int64_t apart[MAX_PHASES + 1] = {}, reads[MAX_PHASES + 1] = {};
    bool within[MAX_PHASES + 1] = {};  // dv is part of du
    T* saved = nullptr;                // values computed again; by row
};

template <class T>
class Products {
public:
    Products(const Scan<T>& s, const Gradients<T>& g, Region& r, int i, const Rows<T>& lines,
             Arena& shared, Arena& own, std::int64_t most)
        : scan(s), gradients(g), program(*s.program), region(r), me(i), rows(lines) {
        for (int e = 0; e <= program.phases.size; ++e) {
            if (!weighted_at(program, e)) continue;
            const Packed<T> shape{nullptr, most, product_at(program, e).reads};
            right[e] = shape;
            right[e].panels = shared.take<T>(shape.numbers());
        }
        left = own.take<T>(GROUP * most * ROWS + LANES<T>);
        strip = own.take<T>(STRIP * padded<T>(program.input.reads));
    }

    // Every thread has its share of the gradients to clear.
    void open() {
        for (int e = 0; e <= program.phases.size; ++e) {
            if (e && !program.phases[e - 1].multiplies) continue;
            const Product& product = product_at(program, e);
            if (gradients.dweight[e])
                clear(gradients.dweight[e] + first(product), product.columns() * product.reads);
            if (gradients.dbias[e]) clear(gradients.dbias[e], product.columns());
            if (gradients.dgain[e]) clear(gradients.dgain[e], product.columns());
        }
    }

    void run(const Chunk& chunk, const Weights<T>& weights) {
        for (int e = 0; e <= program.phases.size; ++e) sum_norm(e, chunk);
        if (program.input.norm.size) before_norm(chunk);
        for (int e = 0; e <= program.phases.size; ++e) pack(e, chunk);
        region.meet();
        int covered = 0;  // blocks of u whose gradient a phase shares
        for (int p = 0; p < program.phases.size; ++p) {
            if (!rows.within[p + 1]) continue;
            const Product& product = program.phases[p].product;
            const int block = int((rows.dv[p + 1] - rows.dv[0]) / program.hidden);
            weigh(chunk.count, Lines{rows.dv[p + 1], rows.apart[0], product.columns()},
                  target(p + 1, 0), target(0, block));
            for (int g = 0; g < product.blocks; ++g) shared_block[block + g] = true;
            covered += product.blocks;
        }
        for (int g = 0; covered < program.gates && g < program.gates; ++g) {
            if (!shared_block[g])
                weigh(chunk.count,
                      Lines{rows.raw[0] + std::int64_t(g) * program.hidden, rows.apart[0],
                            program.hidden},
                      target(0, g), {});
        }
        for (int e = 1; e <= program.phases.size; ++e) {
            if (weighted_at(program, e) && rows.dv[e] && !rows.within[e]) {
                weigh(chunk.count,
                      Lines{rows.raw[e], rows.apart[e], product_at(program, e).columns()},
                      target(e, 0), {});
            }
        }
        if (gradients.dx) input(chunk, weights);
    }

private:
    static constexpr std::int64_t STRIP =
        4 * ROWS;  // rows of dx that are computed before they are put in their places
    static constexpr int GROUP =
        16;  // blocks of ROWS columns that stay packed while the other side passes by

    struct Lines {
        const T* begin;
        std::int64_t apart, columns;
    };

    struct Target {
        T *weight = nullptr, *bias = nullptr;
        const Packed<T>* right = nullptr;
    };

    const Scan<T>& scan;
    const Gradients<T>& gradients;
    const Program& program;
    Region& region;
    const int me;
    const Rows<T>& rows;
    Packed<T> right[MAX_PHASES + 1] = {};
    T *left, *strip;
    bool shared_block[MAX_SLOTS] = {};

    static std::int64_t first(const Product& product) {
        return std::int64_t(product.first) * product.unit * product.reads;
    }

    void clear(T* array, std::int64_t size) const {
        const Range part = share(size, me, region.threads, 16);
        memset(array + part.begin, 0, sizeof(T) * std::size_t(part.size()));
    }

    Target target(int e, int block) {
        const Product& product = product_at(program, e);
        const std::int64_t row = std::int64_t(block) * product.unit;
        Target to{nullptr, nullptr, &right[e]};
        if (gradients.dweight[e])
            to.weight = gradients.dweight[e] + first(product) + row * product.reads;
        if (gradients.dbias[e] && !product.norm.size) to.bias = gradients.dbias[e] + row;
        return to;
    }

    const T* kept(const Chunk& chunk, std::int64_t k) const {
        return rows.saved ? rows.saved + k * program.saved_size
                          : scan.saved + chunk.place[k] * program.saved_size;
    }

    // Gradients of a norm's gain and bias, each thread some columns.
    void sum_norm(int e, const Chunk& chunk) const {
        if (e && (!program.phases[e - 1].multiplies || !rows.dv[e])) return;
        const Product& product = product_at(program, e);
        if (!product.norm.size || !(gradients.dgain[e] || gradients.dbias[e])) return;
        const Range part = share(product.columns(), me, region.threads, 16);
        for (std::int64_t k = 0; k < chunk.count; ++k) {
            const T *d = rows.dv[e] + k * rows.apart[e], *y = kept(chunk, k) + product.kept;
            T *dgain = gradients.dgain[e], *dbias = gradients.dbias[e];
            each<T>(part, [=](std::int64_t j, auto at, auto put) {
                if (dgain) put(dgain + j, at(dgain + j) + at(d + j) * at(y + j));
                if (dbias) put(dbias + j, at(dbias + j) + at(d + j));
            });
        }
    }

    // du becomes what it was before the norm of the input product, each thread some rows.
    void before_norm(const Chunk& chunk) const {
        region.meet();
        const Range part = share(chunk.count, me, region.threads);
        for (std::int64_t k = part.begin; k < part.end; ++k) {
            T* row = rows.dv[0] + k * rows.apart[0];
            normalise_back(program.input, row, scan.gain[0], {program.hidden, {0, program.hidden}},
                           kept(chunk, k) + program.input.kept, row);
        }
        region.meet();
    }

    // What was multiplied, in panels.
    void pack(int e, const Chunk& chunk) {
        if (!weighted_at(program, e)) return;
        right[e].depth = chunk.count;
        const Range part = share(right[e].count(), me, region.threads);
        if (e) return pack_columns(right[e], part, rows.operand[e], rows.reads[e], 0);
        for (std::int64_t k = 0; k < chunk.count; ++k) {
            const T* row = scan.x + chunk.place[k] * program.input.reads;
            for (std::int64_t p = part.begin; p < part.end; ++p) {
                const int stored = right[0].stored(p);
                copy_row(right[0].panels + p * PANEL<T> * chunk.count + k * stored,
                         row + p * PANEL<T>, right[0].wide(p), stored);
            }
        }
    }

    // Columns of `lines` times what was multiplied, into one or two gradients; each thread some
    // columns.
    void weigh(std::int64_t count, const Lines& lines, const Target& one, const Target& two) {
        const Range part = share((lines.columns + ROWS - 1) / ROWS, me, region.threads);
        for (std::int64_t start = part.begin; start < part.end; start += GROUP) {
            const int blocks = int(part.end - start < GROUP ? part.end - start : GROUP);
            for (int i = 0; i < blocks; ++i) {
                const std::int64_t column = (start + i) * ROWS;
                const int some = wide(lines, column);
                T* packed = left + i * count * ROWS;
                pack_left(count, lines.begin, lines.apart, column, some, packed);
                add_bias(count, packed, column, some, one, two);
            }
            for (const Target* to : {&one, &two}) {
                for (std::int64_t p = 0; to->weight && p < to->right->count(); ++p) {
                    for (int i = 0; i < blocks; ++i) {
                        const std::int64_t column = (start + i) * ROWS, reads = to->right->columns;
                        add_outer(*to->right, p, left + i * count * ROWS,
                                  to->weight + column * reads, reads, wide(lines, column));
                    }
                }
            }
        }
    }

    static void add_bias(std::int64_t count, const T* packed, std::int64_t column, int some,
                         const Target& one, const Target& two) {
        if (!one.bias && !two.bias) return;
        T sums[ROWS + 2 * LANES<T>];
        sum_columns(count, packed, sums);
        for (const Target* to : {&one, &two}) {
            for (int r = 0; to->bias && r < some; ++r) to->bias[column + r] += sums[r];
        }
    }

    static int wide(const Lines& lines, std::int64_t column) {
        return int(lines.columns - column < ROWS ? lines.columns - column : ROWS);
    }

    // dx, each thread some rows; zero past a row's length.
    void input(const Chunk& chunk, const Weights<T>& weights) {
        const Range part = share(chunk.count, me, region.threads, ROWS);
        const std::int64_t wide = program.input.reads;
        const bool direct = !scan.lengths && wide % LANES<T> == 0;
        for (std::int64_t first = part.begin, last; first < part.end; first = last) {
            last = direct || part.end - first < STRIP ? part.end : first + STRIP;
            T* to = direct ? gradients.dx + (chunk.place[0] + first) * wide : strip;
            const std::int64_t apart = direct ? wide : padded<T>(wide);
            multiply(weights.backward[0], last - first, rows.raw[0] + first * rows.apart[0],
                     rows.apart[0], to, apart, false);
            for (std::int64_t k = first; !direct && k < last; ++k) {
                memcpy(gradients.dx + chunk.place[k] * wide, strip + (k - first) * apart,
                       sizeof(T) * std::size_t(wide));
            }
        }
        for (std::int64_t t = chunk.begin + me; scan.lengths && t < chunk.end;
             t += region.threads) {
            for (std::int64_t b = 0; b < scan.batch; ++b) {
                if (!scan.runs(t, b))
                    memset(gradients.dx + (t * scan.batch + b) * wide, 0,
                           sizeof(T) * std::size_t(wide));
            }
        }
    }
};

}  // namespace recurra::RECURRA_ISA
