#include "model.hpp"

#include <cstring>
#include <stdexcept>

namespace recurra {
namespace {

[[noreturn]] void misfit(const std::string& what, std::int64_t must, std::int64_t got) {
    throw std::invalid_argument(what + " must be " + std::to_string(must) + ", got " +
                                std::to_string(got));
}

void same(const std::string& what, std::int64_t must, std::int64_t got) {
    if (must != got) misfit(what, must, got);
}

constexpr std::int64_t MOST = std::int64_t(1) << 31,
                       MOST_ROWS = std::int64_t(1)
                                   << 24;  // whose product with a push's steps still fits

void need_size(const std::string& what, std::int64_t size) {
    if (size < 1 || size > MOST)
        throw std::invalid_argument(what + " must be at least 1 and at most 2^31, got " +
                                    std::to_string(size));
}

Span<const float*> span(const FloatLists& lists) {
    return {lists.data.data(), int(lists.data.size())};
}

// At most `count` vectors, of size(i) numbers each where there is one.
template <class F>
void check_vectors(const std::string& what, const FloatLists& lists, int count, F size) {
    if (int(lists.data.size()) > count)
        misfit("number of " + what + "s", count, std::int64_t(lists.data.size()));
    for (int i = 0; i < int(lists.data.size()); ++i) {
        if (lists.data[std::size_t(i)])
            same("numbers of " + what + " " + std::to_string(i), size(i),
                 lists.sizes[std::size_t(i)]);
    }
}

// Values of one matrix; scales with int8 and only then.
void check_weight(const Weight& weight) {
    if (!weight.values) return;
    need_size("rows", weight.rows);
    need_size("columns", weight.columns);
    same("numbers of a weight", weight.rows * weight.columns, weight.sizes[0]);
    if ((weight.precision == Precision::i8) != (weight.scales != nullptr))
        throw std::invalid_argument("scales must be there with int8 and only then");
    if (weight.scales) same("numbers of scales", weight.rows, weight.sizes[1]);
    if (weight.bias) same("numbers of a bias", weight.rows, weight.sizes[2]);
}

double multiplications(const Span<Layer>& layers) {
    double all = 0;
    for (const Layer& layer : layers) {
        for (const Weight& weight : layer.weights) {
            if (weight.values && layer.kind != Kind::embedding)
                all += double(weight.rows) * double(weight.columns);
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
        layer.gains = span(list.gains);
        layer.biases = span(list.biases);
        layer.params = span(list.params);
        layer.inside = keep(list.inside);
        check(layer, list);
        kept.push_back(layer);
    }
    for (std::size_t i = 1; i < kept.size(); ++i)
        same("width of layer " + std::to_string(i), kept[i - 1].out, kept[i].in);
    layers_.push_back(std::move(kept));
    return {layers_.back().data(), int(layers_.back().size())};
}

// What the kernels rely on.
void Model::check(const Layer& layer, const LayerList& list) const {
    need_size("width", layer.in);
    need_size("width", layer.out);
    for (const Weight& weight : layer.weights) check_weight(weight);
    if (layer.kind == Kind::recurrent) return check_recurrent(layer, list);
    if (layer.kind == Kind::norm) {
        check_vectors("gain", list.gains, 1, [&](int) { return layer.in; });
        check_vectors("bias", list.biases, 1, [&](int) { return layer.in; });
    }
    check_shapes(layer);
}

void Model::check_shapes(const Layer& layer) const {
    const auto one = [&](std::int64_t rows, std::int64_t columns) {
        same("weights", 1, layer.weights.size);
        if (!layer.weights[0].values)
            throw std::invalid_argument("weights must be there, got none");
        same("rows", rows, layer.weights[0].rows);
        same("columns", columns, layer.weights[0].columns);
    };
    switch (layer.kind) {
        case Kind::embedding:
            return one(layer.in, layer.out);
        case Kind::linear:
            return one(layer.out, layer.in);
        case Kind::conv:
            check_conv(layer);
            return one(layer.out, layer.conv.kernel * (layer.in / layer.conv.groups));
        case Kind::residual:
            if (!layer.inside.size)
                throw std::invalid_argument("a residual must hold layers, got none");
            same("width in a residual", layer.in, layer.inside[0].in);
            return same("width of a residual", layer.in, layer.inside[layer.inside.size - 1].out);
        case Kind::adaptive:
            return check_clusters(layer);
        default:
            return same("width", layer.in, layer.out);
    }
}

void Model::check_conv(const Layer& layer) const {
    for (const std::int64_t size : {layer.conv.kernel, layer.conv.dilation, layer.conv.groups})
        need_size("kernel, dilation and groups", size);
    same("input of groups", 0, layer.in % layer.conv.groups);
    same("output of groups", 0, layer.out % layer.conv.groups);
    const double taps = double(layer.conv.kernel) * double(layer.in),
                 past = double(layer.conv.past()) * double(layer.in);
    if (taps > double(MOST) || past > double(MOST))
        throw std::invalid_argument("a convolution must look back at most 2^31 numbers, got more");
}

void Model::check_recurrent(const Layer& layer, const LayerList& list) const {
    if (!layer.program)
        throw std::invalid_argument("a recurrent layer must have a program, got none");
    const Program& program = *layer.program;
    const int entries = program.phases.size + 1;
    const auto multiplies = [&](int e) { return e == 0 || program.phases[e - 1].multiplies; };
    const auto product = [&](int e) -> const Product& {
        return e ? program.phases[e - 1].product : program.input;
    };
    const auto rows = [&](int e) { return multiplies(e) ? product(e).columns() : 0; };
    same("weights", entries, layer.weights.size);
    same("gains", entries, layer.gains.size);
    same("biases", entries, layer.biases.size);
    same("params", program.params.size, layer.params.size);
    same("noises", 0, program.noises.size);
    same("width of the input", program.input.reads, layer.in);
    same("width of the output", program.states[0], layer.out);
    check_vectors("gain", list.gains, entries, rows);
    check_vectors("bias", list.biases, entries, rows);
    check_vectors("param", list.params, program.params.size,
                  [&](int i) { return program.params[i]; });
    for (const float* param : layer.params) {
        if (!param) throw std::invalid_argument("params must be there, got none");
    }
    for (int e = 0; e < entries; ++e) {
        const Weight& weight = layer.weights[e];
        const bool weighted = multiplies(e) && (e == 0 || product(e).weighted);
        if (weighted != (weight.values != nullptr))
            throw std::invalid_argument(
                "weights must be there where a product reads them, got another set");
        if (!weighted) continue;
        same("rows of product " + std::to_string(e), product(e).columns(), weight.rows);
        same("columns of product " + std::to_string(e), product(e).reads, weight.columns);
    }
}

void Model::check_clusters(const Layer& layer) const {
    const int clusters = (layer.weights.size - 1) / 2;
    if (clusters < 1 || layer.weights.size != 2 * clusters + 1)
        throw std::invalid_argument("clusters must have two weights each, got another set");
    for (const Weight& weight : layer.weights) {
        if (!weight.values) throw std::invalid_argument("weights must be there, got none");
    }
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
        if (layer.kind == Kind::conv && layer.conv.past())
            state_widths_.push_back(layer.conv.past() * layer.in);
        for (int n = 0; layer.kind == Kind::recurrent && n < layer.program->states.size; ++n)
            state_widths_.push_back(layer.program->states[n]);
        count_states(layer.inside);
    }
}

Session::Session(std::shared_ptr<const Model> model, std::int64_t batch)
    : model_(std::move(model)), batch_(batch) {
    if (batch < 1 || batch > MOST_ROWS) misfit("batch", 1, batch);
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
