// The adaptive softmax of a session: log-probabilities of all words, the rarer ones by their
// cluster.
#pragma once

#include "stage.hpp"

namespace recurra::RECURRA_ISA {

// y = x - log(sum exp(x)) + above, of a row. The sum is taken in double, and never overflows.
inline void log_softmax(const float* x, std::int64_t size, float above, float* y) {
    float most = -__builtin_inff();
    for (std::int64_t j = 0; j < size; ++j) most = x[j] > most ? x[j] : most;
    double sum = 0;
    for (std::int64_t j = 0; j < size; j += LANES<float>) {
        const std::int64_t some = size - j < LANES<float> ? size - j : LANES<float>;
        float part[LANES<float>] = {};
        memcpy(part, x + j, sizeof(float) * std::size_t(some));
        store<float>(part, exp_vector<float>(load(part) - most));
        for (std::int64_t lane = 0; lane < some; ++lane) sum += double(part[lane]);
    }
    const float rest = log_vector<float>(all(float(sum)))[0] - above;
    each<float>({0, size},
                [=](std::int64_t j, auto at, auto put) { put(y + j, at(x + j) - most - rest); });
}

class AdaptiveStage final : public Stage {
public:
    AdaptiveStage(const Layer& l, const Kept* k, Desktop& d, Arena& arena)
        : layer(l),
          desk(d),
          clusters((l.weights.size - 1) / 2),
          products(arena.take<Multiplied>(l.weights.size)) {
        const std::int64_t rows = d.most * d.batch;
        std::int64_t widest = 0, most = 0;
        for (int i = 0; i < l.weights.size; ++i) {
            const Multiplied made(k[i], rows, arena);
            if (arena.memory) new (products + i) Multiplied(made);
            const std::int64_t wide = l.weights[i].rows;
            if (i % 2)
                widest = wide > widest ? wide : widest;
            else if (i)
                most = wide > most ? wide : most;
        }
        head = arena.take<float>(rows * l.weights[0].rows);
        narrow = arena.take<float>(rows * widest);
        words = arena.take<float>(rows * most);
    }

    void run(std::int64_t steps, const void* from, float* y) override {
        const auto* x = static_cast<const float*>(from);
        const std::int64_t rows = steps * desk.batch, chances = layer.weights[0].rows;
        std::int64_t done = chances - clusters;
        products[0].run(rows, x, layer.in, head, desk.down);
        for (std::int64_t r = 0; r < rows; ++r) {
            log_softmax(head + r * chances, chances, 0.0f, head + r * chances);
            memcpy(y + r * layer.out, head + r * chances, sizeof(float) * std::size_t(done));
        }
        for (int i = 0; i < clusters; ++i) {
            const std::int64_t wide = layer.weights[2 * i + 1].rows,
                               size = layer.weights[2 * i + 2].rows;
            products[2 * i + 1].run(rows, x, layer.in, narrow, desk.down);
            products[2 * i + 2].run(rows, narrow, wide, words, desk.down);
            for (std::int64_t r = 0; r < rows; ++r) {
                log_softmax(words + r * size, size, head[(r + 1) * chances - clusters + i],
                            y + r * layer.out + done);
            }
            done += size;
        }
    }

private:
    const Layer& layer;
    const Desktop& desk;
    int clusters;
    Multiplied* products;
    float *head, *narrow, *words;
};

}  // namespace recurra::RECURRA_ISA
