// A network that owns its lists and packed weights, and its sessions.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "blueprint.hpp"
#include "isa.hpp"
#include "memory.hpp"

namespace recurra {

// Vectors, and how many numbers each has.
struct FloatLists {
    std::vector<const float*> data;
    std::vector<std::int64_t> sizes;
};

// A layer as Python hands it over; addresses are read while the model is made, but for gains,
// biases and params.
struct LayerList {
    Layer layer{};
    std::vector<Weight> weights;
    FloatLists gains, biases, params;
    std::vector<LayerList> inside;
};

class Model {
public:
    // Throws std::invalid_argument where a program and its weights do not fit together,
    // std::bad_alloc.
    explicit Model(const std::vector<LayerList>& layers);
    Model(const Model&) = delete;

    const Network& network() const { return network_; }
    const char* packed() const { return packed_.get(); }
    const std::vector<std::int64_t>& state_widths() const { return state_widths_; }
    std::size_t bytes() const { return bytes_; }

private:
    Span<Layer> keep(const std::vector<LayerList>& layers);
    void check(const Layer& layer, const LayerList& list) const;
    void check_shapes(const Layer& layer) const;
    void check_conv(const Layer& layer) const;
    void check_recurrent(const Layer& layer, const LayerList& list) const;
    void check_clusters(const Layer& layer) const;
    void count_states(const Span<Layer>& layers);

    std::deque<std::vector<Layer>> layers_;  // deques: what they hold never moves
    std::deque<LayerList> lists_;
    std::vector<std::int64_t> state_widths_;
    Network network_{};
    Memory packed_;
    std::size_t bytes_ = 0;
};

// Rows that stream through a model side by side. One thread at a time.
class Session {
public:
    Session(std::shared_ptr<const Model> model, std::int64_t batch);
    Session(const Session&) = delete;

    const Model& model() const { return *model_; }
    std::int64_t batch() const { return batch_; }
    float* state(int i) const { return chosen_isa().streaming.state(opened_, i); }
    // Multiplications of one step, about.
    double work() const { return work_; }
    void push(std::int64_t steps, const void* x, float* y) const {
        chosen_isa().streaming.push(opened_, steps, x, y);
    }
    // False if another thread is in it.
    bool enter() { return !busy_.exchange(true, std::memory_order_acquire); }
    bool busy() const { return busy_.load(std::memory_order_relaxed); }
    void leave() { busy_.store(false, std::memory_order_release); }

private:
    std::shared_ptr<const Model> model_;
    std::int64_t batch_;
    Region region_;
    Memory memory_;
    void* opened_ = nullptr;
    double work_ = 0;
    std::atomic<bool> busy_{false};
};

}  // namespace recurra
