// One layer of a session: rows of some steps in, rows out, its state kept from call to call.
#pragma once

#include "kept.hpp"
#include "step.hpp"

namespace recurra::RECURRA_ISA {

// What the stages of a session share. A push is taken in pieces of at most `most` steps.
struct Desktop {
    std::int64_t batch, most;
    Region* region;
    std::int64_t *place, *row;  // 0 .. most * batch, and the row of each
    float** states;  // where each state array is, in order; null while memory is only counted
    int count = 0;
    bool down = false;  // this step reads weights from the last to the first

    RECURRA_INLINE float* state(Arena& arena, std::int64_t width) {
        float* array = arena.take<float>(batch * width);
        if (states) states[count] = array;
        ++count;
        return array;
    }
};

class Stage {
public:
    // Once the memory is there.
    virtual void open() {}
    // Of one step, what needs no x.
    virtual void begin() {}
    // x (steps, batch, in) to y (steps, batch, out).
    virtual void run(std::int64_t steps, const void* x, float* y) = 0;

protected:
    ~Stage() = default;
};

class EmbeddingStage final : public Stage {
public:
    EmbeddingStage(const Layer& l, const Kept* k, Desktop& d, Arena&)
        : layer(l), kept(*k), desk(d) {}

    void run(std::int64_t steps, const void* x, float* y) override {
        const auto* tokens = static_cast<const std::int64_t*>(x);
        for (std::int64_t r = 0; r < steps * desk.batch; ++r)
            copy(tokens[r] * layer.out, tokens[r], y + r * layer.out);
    }

private:
    void copy(std::int64_t first, std::int64_t token, float* y) const {
        if (kept.precision == Precision::f32)
            memcpy(y, reinterpret_cast<const float*>(kept.panels) + first,
                   sizeof(float) * std::size_t(layer.out));
        else if (kept.precision == Precision::bf16)
            widen_row(reinterpret_cast<const std::uint16_t*>(kept.panels) + first, 1.0f, y);
        else
            widen_row(reinterpret_cast<const std::int8_t*>(kept.panels) + first, kept.scale[token],
                      y);
    }

    template <class E>
    void widen_row(const E* from, float scale, float* y) const {
        std::int64_t j = 0;
        for (; j + LANES<float> <= layer.out; j += LANES<float>)
            store<float>(y + j, widen(from + j) * scale);
        for (; j < layer.out; ++j) {
            E lanes[LANES<float>] = {};
            lanes[0] = from[j];
            y[j] = widen(lanes)[0] * scale;
        }
    }

    const Layer& layer;
    const Kept& kept;
    const Desktop& desk;
};

// Rows of a packed product, side by side in y.
class Multiplied {
public:
    Multiplied(const Kept& k, std::int64_t rows, Arena& arena)
        : kept(k), wide(padded<float>(k.columns)) {
        scratch = arena.take<float>(wide == k.columns ? 0 : rows * wide);
    }

    void run(std::int64_t rows, const float* x, std::int64_t stride, float* y, bool down) const {
        if (wide == kept.columns) return kept.multiply(rows, x, stride, y, wide, down);
        kept.multiply(rows, x, stride, scratch, wide, down);
        for (std::int64_t r = 0; r < rows; ++r)
            memcpy(y + r * kept.columns, scratch + r * wide,
                   sizeof(float) * std::size_t(kept.columns));
    }

private:
    const Kept& kept;
    std::int64_t wide;
    float* scratch;
};

class LinearStage final : public Stage {
public:
    LinearStage(const Layer& l, const Kept* k, Desktop& d, Arena& arena)
        : layer(l), desk(d), product(*k, d.most * d.batch, arena) {}

    void run(std::int64_t steps, const void* x, float* y) override {
        product.run(steps * desk.batch, static_cast<const float*>(x), layer.in, y, desk.down);
    }

private:
    const Layer& layer;
    const Desktop& desk;
    Multiplied product;
};

class NormStage final : public Stage {
public:
    NormStage(const Layer& l, const Kept*, Desktop& d, Arena&) : layer(l), desk(d) {}

    void run(std::int64_t steps, const void* x, float* y) override {
        const float *gain = layer.gains.size ? layer.gains[0] : nullptr,
                    *bias = layer.biases.size ? layer.biases[0] : nullptr;
        for (std::int64_t r = 0; r < steps * desk.batch; ++r)
            row(static_cast<const float*>(x) + r * layer.in, gain, bias, y + r * layer.in);
    }

private:
    void row(const float* x, const float* gain, const float* bias, float* y) const {
        const std::int64_t size = layer.in;
        const Moments<float> of = moments<float>(x, size, layer.eps);
        each<float>({0, size}, [=](std::int64_t j, auto at, auto put) {
            auto value = of(at(x + j));
            if (gain) value = value * at(gain + j);
            put(y + j, bias ? value + at(bias + j) : value);
        });
    }

    const Layer& layer;
    const Desktop& desk;
};

class ActivationStage final : public Stage {
public:
    ActivationStage(const Layer& l, const Kept*, Desktop& d, Arena&) : layer(l), desk(d) {}

    void run(std::int64_t steps, const void* from, float* y) override {
        const auto* x = static_cast<const float*>(from);
        const std::int64_t size = steps * desk.batch * layer.in;
        std::int64_t i = 0;
        for (; i + LANES<float> <= size; i += LANES<float>) store<float>(y + i, of(load(x + i)));
        if (i == size) return;
        float rest[LANES<float>] = {};
        memcpy(rest, x + i, sizeof(float) * std::size_t(size - i));
        store<float>(rest, of(load(rest)));
        memcpy(y + i, rest, sizeof(float) * std::size_t(size - i));
    }

private:
    V<float> of(V<float> x) const {
        switch (layer.function) {
            case Function::relu:
                return x <= all(0.0f) ? all(0.0f) : x;
            case Function::tanh:
                return tanh_vector<float>(x);
            case Function::sigmoid:
                return sigmoid_vector<float>(x);
            case Function::gelu: {
                V<float> phi = x * 0.70710678118654752f;
                for (int lane = 0; lane < LANES<float>; ++lane) phi[lane] = scalar_erf(phi[lane]);
                return x * 0.5f * (phi + 1.0f);
            }
            default:
                return x * 0.5f *
                       (tanh_vector<float>((x + x * x * x * 0.044715f) * 0.79788456080286536f) +
                        1.0f);
        }
    }

    const Layer& layer;
    const Desktop& desk;
};

// The last `past` steps of every row are its state, the oldest first.
class ConvStage final : public Stage {
public:
    ConvStage(const Layer& l, const Kept* k, Desktop& d, Arena& arena)
        : layer(l),
          kept(*k),
          desk(d),
          product(*k, d.most, arena),
          past(l.conv.past() * l.in),
          state(past ? d.state(arena, past) : nullptr),
          seen(arena.take<float>(past + d.most * l.in)),
          taps(arena.take<float>(d.most * l.conv.kernel * l.in)),
          made(arena.take<float>(d.most * l.out)) {}

    void run(std::int64_t steps, const void* x, float* y) override {
        for (std::int64_t b = 0; b < desk.batch; ++b) {
            if (past) memcpy(seen, state + b * past, sizeof(float) * std::size_t(past));
            for (std::int64_t t = 0; t < steps; ++t) {
                memcpy(seen + past + t * layer.in,
                       static_cast<const float*>(x) + (t * desk.batch + b) * layer.in,
                       sizeof(float) * std::size_t(layer.in));
            }
            for (std::int64_t t = 0; t < steps; ++t) {
                for (std::int64_t k = 0; k < layer.conv.kernel; ++k) {
                    memcpy(taps + (t * layer.conv.kernel + k) * layer.in,
                           seen + (t + k * layer.conv.dilation) * layer.in,
                           sizeof(float) * std::size_t(layer.in));
                }
            }
            if (layer.conv.groups == 1)
                product.run(steps, taps, layer.conv.kernel * layer.in, made, desk.down);
            else
                grouped(steps);
            for (std::int64_t t = 0; t < steps; ++t) {
                memcpy(y + (t * desk.batch + b) * layer.out, made + t * layer.out,
                       sizeof(float) * std::size_t(layer.out));
            }
            if (past)
                memcpy(state + b * past, seen + steps * layer.in,
                       sizeof(float) * std::size_t(past));
        }
    }

private:
    void grouped(std::int64_t steps) const {
        if (kept.precision == Precision::f32)
            by_rows(steps, reinterpret_cast<const float*>(kept.panels));
        else if (kept.precision == Precision::bf16)
            by_rows(steps, reinterpret_cast<const std::uint16_t*>(kept.panels));
        else
            by_rows(steps, reinterpret_cast<const std::int8_t*>(kept.panels));
    }

    template <class E>
    void by_rows(std::int64_t steps, const E* weight) const {
        const std::int64_t in = layer.in / layer.conv.groups, out = layer.out / layer.conv.groups,
                           wide = layer.conv.kernel * in;
        const float* bias = layer.weights[0].bias;
        for (std::int64_t t = 0; t < steps; ++t) {
            for (std::int64_t o = 0; o < layer.out; ++o) {
                float sum = 0;
                for (std::int64_t k = 0; k < layer.conv.kernel; ++k) {
                    const float* x = taps + (t * layer.conv.kernel + k) * layer.in + o / out * in;
                    for (std::int64_t i = 0; i < in; ++i)
                        sum += number(weight[o * wide + k * in + i]) * x[i];
                }
                made[t * layer.out + o] =
                    (kept.scale ? sum * kept.scale[o] : sum) + (bias ? bias[o] : 0.0f);
            }
        }
    }

    static float number(float weight) { return weight; }
    static float number(std::int8_t weight) { return float(weight); }
    static float number(std::uint16_t weight) {
        const std::uint32_t bits = std::uint32_t(weight) << 16;
        float value;
        memcpy(&value, &bits, sizeof(value));
        return value;
    }

    const Layer& layer;
    const Kept& kept;
    const Desktop& desk;
    Multiplied product;
    std::int64_t past;
    float *state, *seen, *taps, *made;
};

// What `Step` asks of weights.
struct KeptWeights {
    const Kept* entries;
    std::int64_t columns(int e) const { return entries[e].columns; }
    void multiply_ahead(int e, std::int64_t rows, const float* operand, std::int64_t stride,
                        float* out, std::int64_t apart, bool down) const {
        entries[e].multiply(rows, operand, stride, out, apart, down);
    }
};

class RecurrentStage final : public Stage {
public:
    RecurrentStage(const Layer& l, const Kept* k, Desktop& d, Arena& arena)
        : program(*l.program),
          alone(begins_alone(program)),
          desk(d),
          scan(scan_of(l, d)),
          weights{k},
          step(scan, *d.region, 0, weights, arena, arena, d.batch, d.most * d.batch),
          tapes{{most_calls(), arena}, {most_calls(), arena}} {
        for (int n = 0; n < program.states.size; ++n) {
            const std::int64_t width = program.states[n];
            size[n] = sizeof(float) * std::size_t(d.batch * width);
            states[0][n] = d.state(arena, width);
            states[1][n] = arena.take<float>(d.batch * width);
            for (auto& rows : rows_of) rows[n] = arena.take<float*>(d.batch);
        }
    }

    void open() override {
        step.open();
        for (int turn = 0; turn < 2; ++turn) {
            for (int n = 0; n < program.states.size; ++n) {
                for (std::int64_t b = 0; b < desk.batch; ++b)
                    rows_of[turn][n][b] = states[turn][n] + b * program.states[n];
            }
        }
        for (int turn = 0; turn < 2; ++turn)
            step.record({desk.batch, 0, desk.place, desk.row, rows_of[turn], rows_of[1 - turn]},
                        tapes[turn]);
    }

    void begin() override {
        if (!alone) return;
        step.down = desk.down;
        step.tape = &tapes[0];
        step.begin({desk.batch, 0, desk.place, desk.row, nullptr, nullptr});
    }

    // The states are in one place before a step, in the other after it, and at the end in the
    // first.
    void run(std::int64_t steps, const void* x, float* y) override {
        const std::int64_t rows = desk.batch, wide = rows * program.states[0];
        scan.x = static_cast<const float*>(x);
        step.down = desk.down;
        step.project({steps * rows, 0, desk.place, desk.row, nullptr, nullptr});
        for (std::int64_t t = 0; t < steps; ++t) {
            step.tape = &tapes[t % 2];
            step.run(
                {rows, t * rows, desk.place + t * rows, desk.row + t * rows, nullptr, nullptr});
            step.down = !step.down;
            memcpy(y + t * wide, states[1 - t % 2][0], size[0]);
        }
        for (int n = 0; steps % 2 && n < program.states.size; ++n)
            memcpy(states[0][n], states[1][n], size[n]);
    }

private:
    static Scan<float> scan_of(const Layer& layer, const Desktop& desk) {
        Scan<float> scan{};
        scan.program = layer.program;
        scan.steps = desk.most;
        scan.batch = desk.batch;
        scan.gain = layer.gains.data;
        scan.bias = layer.biases.data;
        scan.param = layer.params.data;
        return scan;
    }

    std::int64_t most_calls() const {
        std::int64_t most = 0;
        each_section(program, [&](const Section& part) { most += calls_of(part); });
        return most;
    }

    const Program& program;
    const bool alone;
    const Desktop& desk;
    Scan<float> scan;
    KeptWeights weights;
    Step<float, KeptWeights> step;
    Tape<float> tapes[2];  // of steps from the first place to the second, and back
    float *states[2][MAX_SLOTS], **rows_of[2][MAX_SLOTS];
    std::size_t size[MAX_SLOTS];
};

}  // namespace recurra::RECURRA_ISA
