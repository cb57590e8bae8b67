#include "model.hpp"

#include <cstring>
#include <stdexcept>

namespace recurra {
namespace {

[[noreturn]] void misfit(const std::string& what, std::int64_t must, std::int64_t got) {
    throw std::invalid_argument(what + " must be " + std::to_string(must) + ", got " + std::to_string(got));
}

void same(const std::string& what, std::int64_t must, std::int64_t got) {
    if (must != got) misfit(what, must, got);
}

double multiplications(const Span<Layer>& layers) {
    double all = 0;
    for (const Layer& layer : layers) {
        for (const Weight& weight : layer.weights) {
            if (weight.values && layer.kind != Kind::embedding) all += double(weight.rows) * double(weight.columns);
        }
        all += multiplications(layer.inside);
    }
    return all;
}

}  // namespace

Model::Model(const std::vector<LayerList>& layers) {
    if (layers.empty()) throw std::invalid_argument("layers must hold at least one, got none");
    network_.layers = keep(layers);
    const Layer &first = network_.layers[0], &last = network_.layers[network_.layers.size - 1];
    network_.tokens = first.kind == Kind::embedding;
    network_.in = first.in;
    network_.out = last.out;
    count_states(network_.layers);
    network_.states = int(state_widths_.size());
    bytes_ = chosen_isa().streaming.packed_bytes(network_);
    packed_ = Memory(bytes_);
    chosen_isa().streaming.pack(network_, packed_.get());
}

Span<Layer> Model::keep(const std::vector<LayerList>& layers) {
    std::vector<Layer> kept;
    for (const LayerList& given : layers) {
        LayerList& list = lists_.emplace_back(given);
        Layer layer = list.layer;
        layer.weights = {list.weights.data(), int(list.weights.size())};
        layer.gains = {list.gains.data(), int(list.gains.size())};
        layer.biases = {list.biases.data(), int(list.biases.size())};
        layer.params = {list.params.data(), int(list.params.size())};
        layer.inside = keep(list.inside);
        check(layer);
        kept.push_back(layer);
    }
    for (std::size_t i = 1; i < kept.size(); ++i) same("width of layer " + std::to_string(i), kept[i - 1].out, kept[i].in);
    layers_.push_back(std::move(kept));
    return {layers_.back().data(), int(layers_.back().size())};
}

// What the kernels rely on.
void Model::check(const Layer& layer) const {
    constexpr std::int64_t most = std::int64_t(1) << 40;
    if (layer.in < 1 || layer.out < 1 || layer.in > most || layer.out > most) misfit("width", 1, layer.in < layer.out ? layer.in : layer.out);
    const auto one = [&](std::int64_t rows, std::int64_t columns) {
        same("weights", 1, layer.weights.size);
        same("rows", rows, layer.weights[0].rows);
        same("columns", columns, layer.weights[0].columns);
    };
    switch (layer.kind) {
        case Kind::embedding: return one(layer.in, layer.out);
        case Kind::linear: return one(layer.out, layer.in);
        case Kind::conv:
            if (layer.conv.kernel < 1 || layer.conv.dilation < 1 || layer.conv.groups < 1) throw std::invalid_argument("kernel must be at least 1, got less");
            same("input of groups", 0, layer.in % layer.conv.groups);
            same("output of groups", 0, layer.out % layer.conv.groups);
            return one(layer.out, layer.conv.kernel * (layer.in / layer.conv.groups));
        case Kind::residual:
            if (!layer.inside.size) throw std::invalid_argument("a residual must hold layers, got none");
            same("width in a residual", layer.in, layer.inside[0].in);
            return same("width of a residual", layer.in, layer.inside[layer.inside.size - 1].out);
        case Kind::adaptive: return check_clusters(layer);
        case Kind::recurrent: break;
        default: return same("width", layer.in, layer.out);
    }
    if (!layer.program) throw std::invalid_argument("a recurrent layer must have a program, got none");
    const Program& program = *layer.program;
    const int entries = program.phases.size + 1;
    same("weights", entries, layer.weights.size);
    same("gains", entries, layer.gains.size);
    same("biases", entries, layer.biases.size);
    same("params", program.params.size, layer.params.size);
    same("noises", 0, program.noises.size);
    same("width of the input", program.input.reads, layer.in);
    same("width of the output", program.states[0], layer.out);
    for (int e = 0; e < entries; ++e) {
        const bool multiplies = e == 0 || program.phases[e - 1].multiplies;
        const Product& product = e ? program.phases[e - 1].product : program.input;
        const Weight& weight = layer.weights[e];
        const bool weighted = multiplies && (e == 0 || product.weighted);
        if (weighted != (weight.values != nullptr)) throw std::invalid_argument("weights must be there where a product reads them, got another set");
        if (!weighted) continue;
        same("rows of product " + std::to_string(e), product.columns(), weight.rows);
        same("columns of product " + std::to_string(e), product.reads, weight.columns);
    }
}

void Model::check_clusters(const Layer& layer) const {
    const int clusters = (layer.weights.size - 1) / 2;
    if (clusters < 1 || layer.weights.size != 2 * clusters + 1) throw std::invalid_argument("clusters must have two weights each, got another set");
    std::int64_t words = layer.weights[0].rows - clusters;
    if (words < 1) misfit("words of the head", 1, words);
    same("columns of the head", layer.in, layer.weights[0].columns);
    for (int i = 1; i < layer.weights.size; i += 2) {
        same("columns of a cluster", layer.in, layer.weights[i].columns);
        same("width of a cluster", layer.weights[i].rows, layer.weights[i + 1].columns);
        words += layer.weights[i + 1].rows;
    }
    same("words", layer.out, words);
}

void Model::count_states(const Span<Layer>& layers) {
    for (const Layer& layer : layers) {
        if (layer.kind == Kind::conv && layer.conv.past()) state_widths_.push_back(layer.conv.past() * layer.in);
        for (int n = 0; layer.kind == Kind::recurrent && n < layer.program->states.size; ++n) state_widths_.push_back(layer.program->states[n]);
        count_states(layer.inside);
    }
}

Session::Session(std::shared_ptr<const Model> model, std::int64_t batch) : model_(std::move(model)), batch_(batch) {
    if (batch < 1 || batch > (std::int64_t(1) << 32)) misfit("batch", 1, batch);
    const Streaming& streaming = chosen_isa().streaming;
    const Network& network = model_->network();
    region_.bounds = {0, batch};
    const std::size_t bytes = streaming.session_bytes(network, model_->packed(), batch, &region_);
    memory_ = Memory(bytes);
    std::memset(memory_.get(), 0, bytes);
    opened_ = streaming.open(network, model_->packed(), batch, &region_, memory_.get());
    work_ = multiplications(network.layers) * double(batch);
}

}  // namespace recurra
