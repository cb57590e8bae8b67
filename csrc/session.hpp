// A session: the stages of a network, and the memory between them.
#pragma once

#include <chrono>
#include <new>

#include "adaptive.hpp"

namespace recurra::RECURRA_ISA {

// Rows of a push that are taken together, about: enough for the products with what is known ahead
// to be one product.
constexpr std::int64_t TOGETHER = 64;

// Stages one after another; between them two buffers take turns.
class Chain {
public:
    Chain() = default;
    Chain(const Span<Layer>& layers, const Kept*& kept, Desktop& desk, Arena& arena, bool there);

    void open() {
        for (int i = 0; i < count; ++i) stages[i]->open();
    }

    // The last stage first.
    void begin() const {
        for (int i = count; i-- > 0;) stages[i]->begin();
    }

    void run(std::int64_t steps, const void* x, float* y) const {
        for (int i = 0; i < count; ++i) {
            float* to = i + 1 < count ? between[i % 2] : y;
            stages[i]->run(steps, x, to);
            x = to;
        }
    }

private:
    int count = 0;
    Stage** stages = nullptr;
    float* between[2] = {};
};

class ResidualStage final : public Stage {
public:
    ResidualStage(const Layer& l, const Kept*& kept, Desktop& d, Arena& arena, bool there)
        : layer(l), desk(d), chain(l.inside, kept, d, arena, there) {}

    void open() override { chain.open(); }
    void begin() override { chain.begin(); }

    void run(std::int64_t steps, const void* x, float* y) override {
        chain.run(steps, x, y);
        const auto* from = static_cast<const float*>(x);
        each<float>({0, steps * desk.batch * layer.in}, [=](std::int64_t j, auto at, auto put) {
            put(y + j, at(from + j) + at(y + j));
        });
    }

private:
    const Layer& layer;
    const Desktop& desk;
    Chain chain;
};

// A stage in the arena; while memory is only counted, one that goes again.
template <class S, class... Rest>
Stage* placed(Arena& arena, bool there, Rest&&... rest) {
    char* place = arena.take<char>(sizeof(S));
    if (there) return new (place) S(static_cast<Rest&&>(rest)...);
    S counted(static_cast<Rest&&>(rest)...);
    return nullptr;
}

inline Stage* stage_of(const Layer& layer, const Kept*& kept, Desktop& desk, Arena& arena,
                       bool there) {
    const Kept* mine = kept;
    kept += layer.weights.size;
    switch (layer.kind) {
        case Kind::embedding:
            return placed<EmbeddingStage>(arena, there, layer, mine, desk, arena);
        case Kind::linear:
            return placed<LinearStage>(arena, there, layer, mine, desk, arena);
        case Kind::norm:
            return placed<NormStage>(arena, there, layer, mine, desk, arena);
        case Kind::activation:
            return placed<ActivationStage>(arena, there, layer, mine, desk, arena);
        case Kind::conv:
            return placed<ConvStage>(arena, there, layer, mine, desk, arena);
        case Kind::recurrent:
            return placed<RecurrentStage>(arena, there, layer, mine, desk, arena);
        case Kind::adaptive:
            return placed<AdaptiveStage>(arena, there, layer, mine, desk, arena);
        default:
            return placed<ResidualStage>(arena, there, layer, kept, desk, arena, there);
    }
}

inline Chain::Chain(const Span<Layer>& layers, const Kept*& kept, Desktop& desk, Arena& arena,
                    bool there)
    : count(layers.size), stages(arena.take<Stage*>(layers.size)) {
    std::int64_t widest = 0;
    for (const Layer& layer : layers) widest = layer.out > widest ? layer.out : widest;
    for (float*& buffer : between)
        buffer = arena.take<float>(count > 1 ? desk.most * desk.batch * widest : 0);
    for (int i = 0; i < count; ++i) {
        Stage* made = stage_of(layers[i], kept, desk, arena, there);
        if (there) stages[i] = made;
    }
}

class Session {
public:
    Session(const Network& n, const Kept* kept, std::int64_t batch, Region* region, Arena& arena)
        : network(n),
          desk{batch,  TOGETHER / batch > 1 ? TOGETHER / batch : 1, region, nullptr, nullptr,
               nullptr} {
        const bool there = arena.memory != nullptr;
        desk.place = arena.take<std::int64_t>(desk.most * batch);
        desk.row = arena.take<std::int64_t>(desk.most * batch);
        float** states = arena.take<float*>(network.states);
        if (there) desk.states = states;
        new (&chain) Chain(network.layers, kept, desk, arena, there);
    }

    void open() {
        for (std::int64_t i = 0; i < desk.most * desk.batch; ++i) {
            desk.place[i] = i;
            desk.row[i] = i % desk.batch;
        }
        chain.open();
    }

    // Every second step begins with what was read last, and reads it from the end: as much of the
    // weights as the cache holds is then still there.
    void push(std::int64_t steps, const void* x, float* y) {
        const std::size_t in =
            network.tokens ? sizeof(std::int64_t) : sizeof(float) * std::size_t(network.in);
        const auto* from = static_cast<const char*>(x);
        for (std::int64_t t = 0; t < steps; t += desk.most) {
            const std::int64_t some = steps - t < desk.most ? steps - t : desk.most;
            desk.down = !desk.down;
            if (some == 1 && desk.down) chain.begin();
            chain.run(some, from + std::size_t(t * desk.batch) * in,
                      y + t * desk.batch * network.out);
        }
    }

    float* state(int i) const { return desk.states[i]; }

private:
    const Network& network;
    Desktop desk;
    Chain chain;
};

inline std::size_t session_bytes(const Network& network, const char* packed, std::int64_t batch,
                                 Region* region) {
    Arena arena;
    arena.take<Session>(1);
    Session counted(network, reinterpret_cast<const Kept*>(packed), batch, region, arena);
    return arena.used;
}

inline void* open(const Network& network, const char* packed, std::int64_t batch, Region* region,
                  char* memory) {
    Arena arena{memory};
    auto* session = new (arena.take<Session>(1))
        Session(network, reinterpret_cast<const Kept*>(packed), batch, region, arena);
    session->open();
    return session;
}

inline void push(void* session, std::int64_t steps, const void* x, float* y) {
    static_cast<Session*>(session)->push(steps, x, y);
}
inline float* state(void* session, int i) { return static_cast<const Session*>(session)->state(i); }

// A full exponent runs over into the sign.
inline bool finite(const void* numbers, std::int64_t count) {
    const auto* bits = static_cast<const std::uint32_t*>(numbers);
    std::uint32_t sums = 0;
    for (std::int64_t i = 0; i < count; ++i) sums |= (bits[i] & 0x7f800000u) + 0x00800000u;
    return !(sums >> 31);
}

// Twelve sums in flight, as for the peak of multiplications.
inline double bandwidth(const char* memory, std::size_t bytes, double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto* from = reinterpret_cast<const float*>(memory);
    constexpr std::size_t round = 8 * LANES<float>;
    const std::size_t count = bytes / sizeof(float) / round * round;
    const auto begin = Clock::now();
    V<float> sum[8] = {};
    double done = 0, past = 0;
    while (past < seconds) {
        for (std::size_t i = 0; i < count; i += round) {
#pragma GCC unroll 8
            for (std::size_t j = 0; j < 8; ++j) sum[j] += load(from + i + j * LANES<float>);
        }
        done += double(count) * sizeof(float);
        past = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    for (int j = 1; j < 8; ++j) sum[0] += sum[j];
    [[maybe_unused]] volatile float used = sum[0][0];
    return done / past / 1e9;
}

}  // namespace recurra::RECURRA_ISA
