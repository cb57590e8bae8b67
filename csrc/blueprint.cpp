#include "blueprint.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace recurra {
namespace {

constexpr int ARITY[] = {
#define X(name, arity) arity,
    RECURRA_OPS(X)
#undef X
};
constexpr int OP_COUNT = int(std::size(ARITY));

void need(bool holds, const std::string& what, const std::string& must, long long got) {
    if (!holds)
        throw std::invalid_argument(what + " must " + must + ", got " + std::to_string(got));
}

void need_index(int i, std::size_t count, const std::string& what) {
    need(i >= 0 && std::size_t(i) < count, what, "be at least 0 and below " + std::to_string(count),
         i);
}

void need_size(int size, int most, const std::string& what) {
    need(size >= 1 && size <= most, what, "be at least 1 and at most " + std::to_string(most),
         size);
}

void need_all(const std::vector<char>& written, const std::string& what) {
    for (std::size_t i = 0; i < written.size(); ++i)
        need(written[i], what + " " + std::to_string(i), "be written by a section", 0);
}

template <class E>
Span<E> span(const std::vector<E>& list) {
    return {list.data(), int(list.size())};
}

}  // namespace

Blueprint::Blueprint(ProgramList list)
    : list_(std::move(list)),
      filled_(list_.slots.size(), 0),
      back_filled_(list_.back_slots.size(), 0),
      ready_(list_.phases.size(), 0) {
    check_sizes();
    Program& p = program_;
    p.hidden = list_.hidden;
    p.gates = list_.gates;
    p.states = span(list_.states);
    p.noises = span(list_.noises);
    p.params = span(list_.params);
    p.slots = span(list_.slots);
    p.constants = span(list_.constants);
    p.saved = span(list_.saved);
    p.back_slots = span(list_.back_slots);
    p.input = product(list_.input, "input product");
    need(p.input.weighted && p.input.first == 0 && p.input.blocks == p.gates &&
             p.input.unit == p.hidden,
         "input product", "have a weight and a block for each gate", p.input.blocks);
    lay_forward();
    if (!list_.back.empty() || !list_.back_last.empty()) lay_backward();
    keep_norms();
}

void Blueprint::lay_forward() {
    phases_.reserve(list_.phases.size());
    for (std::size_t i = 0; i < list_.phases.size(); ++i) {
        const PhaseList& each = list_.phases[i];
        Phase phase{};
        phase.operand = sections(each.operand, {false, int(i), true});
        phase.multiplies = !each.product.empty();
        if (phase.multiplies)
            phase.product = product(each.product[0], "product of phase " + std::to_string(i));
        phases_.push_back(phase);
        phases_.back().body = sections(each.body, {false, int(i), false});
    }
    program_.last = sections(list_.last, {false, int(phases_.size()) - 1, false});
    program_.phases = span(phases_);
    need_all({filled_.begin(), filled_.begin() + std::ptrdiff_t(list_.states.size())}, "slot");
}

void Blueprint::lay_backward() {
    du_.assign(std::size_t(list_.gates), 0);
    shared_.assign(std::size_t(list_.gates), 0);
    dstate_.assign(list_.states.size(), 0);
    back_.reserve(list_.back.size());
    for (const BackPhaseList& given : list_.back) {
        check_back_phase(given);
        BackPhase phase{given.phase, {}, {}, given.du_first, {}};
        phase.operand = sections(given.operand, {true, given.phase, true});
        const bool apart = given.du_first == -1;
        dv_.assign(apart ? std::size_t(phases_[std::size_t(given.phase)].product.blocks) : 0, 0);
        phase.before = sections(given.before, {true, given.phase, false, given.du_first});
        need_all(dv_, "gradient of v in phase " + std::to_string(given.phase) + ", block");
        if (given.du_first != -2) ready_[std::size_t(given.phase)] = 1;
        phase.after = sections(given.after, {true, given.phase, false});
        back_.push_back(phase);
    }
    program_.back_last = sections(list_.back_last, {true, 0, false});
    program_.back = span(back_);
    need_all(du_, "gradient of block");
    need_all(dstate_, "gradient of state");
}

// Norms keep their rows after the saved values: the normalised numbers, then each group's scale.
void Blueprint::keep_norms() {
    for (const int width : list_.saved) program_.saved_size += width;
    const auto keep = [this](Product& product) {
        product.kept = program_.saved_size;
        if (product.norm.size) program_.saved_size += product.columns() + product.norm.size;
    };
    keep(program_.input);
    for (Phase& phase : phases_) keep(phase.product);
}

void Blueprint::check_sizes() const {
    need_size(list_.hidden, MAX_WIDTH, "hidden");
    need(list_.gates >= 0 && list_.gates <= MAX_SLOTS, "gates",
         "be at least 0 and at most " + std::to_string(MAX_SLOTS), list_.gates);
    need_size(int(list_.states.size()), MAX_SLOTS, "number of states");
    need(list_.slots.size() >= list_.states.size(), "number of slots", "be at least that of states",
         (long long)list_.slots.size());
    need_size(int(list_.phases.size()), MAX_PHASES, "number of phases");
    need(list_.constants.size() <= std::size_t(MAX_WIDTH) / TILE, "number of constants",
         "be at most " + std::to_string(MAX_WIDTH / TILE), (long long)list_.constants.size());
    for (const auto* widths : {&list_.states, &list_.noises, &list_.params, &list_.slots,
                               &list_.saved, &list_.back_slots}) {
        need(widths->size() <= std::size_t(MAX_SLOTS), "number of values",
             "be at most " + std::to_string(MAX_SLOTS), (long long)widths->size());
        for (const int width : *widths) need_size(width, MAX_WIDTH, "width");
    }
    for (std::size_t i = 0; i < list_.states.size(); ++i) {
        need(list_.slots[i] == list_.states[i], "width of slot " + std::to_string(i),
             "be that of its state", list_.slots[i]);
    }
    for (const PhaseList& phase : list_.phases) {
        need(phase.product.size() <= 1, "products of a phase", "be at most 1",
             (long long)phase.product.size());
        need(phase.operand.empty() || !phase.product.empty(), "operand of a phase",
             "be none where nothing is multiplied", (long long)phase.operand.size());
        const auto writes = [](const SectionList& part) {
            return std::any_of(part.outputs.begin(), part.outputs.end(),
                               [](const auto& o) { return std::get<1>(o) == int(To::operand); });
        };
        const auto count = std::count_if(phase.operand.begin(), phase.operand.end(), writes);
        need(count >= (long long)phase.product.size(), "operand of a product",
             "be written by a section", count);
    }
}

Product Blueprint::product(const ProductList& p, const std::string& where) const {
    need_size(p.unit, MAX_WIDTH, "unit of the " + where);
    need_size(p.reads, MAX_WIDTH, "reads of the " + where);
    need_size(p.blocks, MAX_SLOTS, "blocks of the " + where);
    need(p.first >= 0 && p.total >= p.blocks && p.total <= MAX_SLOTS &&
             p.first <= p.total - p.blocks,
         "first block of the " + where, "leave room for its blocks", p.first);
    need(p.weighted || p.reads == p.blocks * p.unit, "reads of the " + where,
         "be its blocks' units where it has no weight", p.reads);
    int sum = 0;
    for (const int blocks : p.norm) {
        need_size(blocks, p.blocks - sum, "a norm's blocks in the " + where);
        sum += blocks;
    }
    need(p.norm.empty() || sum == p.blocks, "norm of the " + where, "cover every block", sum);
    return {p.weighted, p.first, p.blocks, p.total, p.unit, p.reads, span(p.norm), 0};
}

void Blueprint::check_back_phase(const BackPhaseList& given) {
    need_index(given.phase, list_.phases.size(), "phase of backward");
    need(!ready_[std::size_t(given.phase)], "phase of backward", "come once", given.phase);
    need(given.du_first >= -2, "du_first", "be at least -2", given.du_first);
    need(given.operand.empty() || phases_[std::size_t(given.phase)].multiplies,
         "operand of backward", "be none where nothing is multiplied",
         (long long)given.operand.size());
    if (given.du_first == -2) return;
    const Phase& phase = phases_[std::size_t(given.phase)];
    need(phase.multiplies, "phase with a gradient of v", "have a product", given.phase);
    if (given.du_first < 0) return;
    const bool same =
        phase.product.unit == list_.hidden && !phase.product.norm.size && !program_.input.norm.size;
    need(same && given.du_first <= list_.gates - phase.product.blocks, "du_first",
         "name blocks of u that are those of v", given.du_first);
    for (int block = given.du_first; block < given.du_first + phase.product.blocks; ++block) {
        need(!std::exchange(shared_[std::size_t(block)], char(1)), "block of u",
             "have the gradient of one v only", block);
    }
}

Span<Section> Blueprint::sections(const std::vector<SectionList>& list, const Place& place) {
    std::vector<Section>& made = sections_.emplace_back();
    made.reserve(list.size());
    for (const SectionList& each : list) made.push_back(section(each, place));
    return span(made);
}

Section Blueprint::section(const SectionList& list, const Place& place) {
    need_size(list.width, MAX_WIDTH, "width of a section");
    need(list.registers >= 0 && list.registers <= MAX_REGISTERS, "registers",
         "be at most " + std::to_string(MAX_REGISTERS), list.registers);
    need(list.sources.size() <= MAX_SOURCES, "number of sources",
         "be at most " + std::to_string(MAX_SOURCES), (long long)list.sources.size());
    need(list.outputs.size() <= MAX_SLOTS, "number of outputs",
         "be at most " + std::to_string(MAX_SLOTS), (long long)list.outputs.size());
    Piece& piece = pieces_.emplace_back();
    for (const auto& [from, index, part] : list.sources) {
        need_index(from, FROM_COUNT, "kind of a source");
        piece.sources.push_back({From(from), index, part});
        check_source(piece.sources.back(), list.width, place);
    }
    std::vector<char> written(list.sources.size() + std::size_t(list.registers), 0);
    std::fill_n(written.begin(), list.sources.size(), char(1));
    for (const auto& [op, to, a, b, c] : list.instructions) {
        need_index(op, OP_COUNT, "op");
        const int arity = ARITY[op];
        piece.instructions.push_back({Op(op), to, a, arity > 1 ? b : a, arity > 2 ? c : a});
        check_instruction(piece.instructions.back(), list, written);
    }
    for (const auto& [value, to, index] : list.outputs) {
        need_index(value, written.size(), "value of an output");
        need(written[std::size_t(value)], "value of an output", "be computed before", value);
        need_index(to, TO_COUNT, "kind of an output");
        piece.outputs.push_back({value, To(to), index});
        check_output(piece.outputs.back(), list, place);
    }
    program_.registers = std::max(program_.registers, list.registers);
    program_.sources = std::max(program_.sources, int(list.sources.size()));
    return {list.width, list.registers, span(piece.sources), span(piece.instructions),
            span(piece.outputs)};
}

void Blueprint::check_source(const Source& source, int width, const Place& place) const {
    const int has = place.back ? width_of_back(source) : width_of(source, place);
    need(source.from == From::constant || has == width, "width of a source",
         "be that of its section, " + std::to_string(width), has);
}

int Blueprint::width_of(const Source& source, const Place& place) const {
    const std::size_t i = std::size_t(source.index);
    switch (source.from) {
        case From::u:
            need_index(source.part, std::size_t(list_.gates), "block of u");
            return list_.hidden;
        case From::v: {
            need_index(source.index, std::size_t(place.operand ? place.phase : place.phase + 1),
                       "phase of v");
            const PhaseList& made = list_.phases[i];
            need(!made.product.empty(), "phase of v", "have a product", source.index);
            need_index(source.part, std::size_t(std::max(made.product[0].blocks, 0)), "block of v");
            return made.product[0].unit;
        }
        case From::slot:
            need_index(source.index, list_.slots.size(), "slot");
            need(filled_[i], "slot", "be written before it is read", source.index);
            return list_.slots[i];
        case From::constant:
            need_index(source.index, list_.constants.size(), "constant");
            return 0;
        case From::state:
            need_index(source.index, list_.states.size(), "state");
            return list_.states[i];
        case From::noise:
            need_index(source.index, list_.noises.size(), "noise");
            return list_.noises[i];
        case From::param:
            need_index(source.index, list_.params.size(), "param");
            return list_.params[i];
        default:
            need(false, "source of a forward section", "be known in the forward pass",
                 int(source.from));
            return 0;
    }
}

int Blueprint::width_of_back(const Source& source) const {
    const std::size_t i = std::size_t(source.index);
    switch (source.from) {
        case From::slot:
            need_index(source.index, list_.back_slots.size(), "slot");
            need(back_filled_[i], "slot", "be written before it is read", source.index);
            return list_.back_slots[i];
        case From::saved:
            need_index(source.index, list_.saved.size(), "saved value");
            return list_.saved[i];
        case From::fresh:
        case From::grad:
            need_index(source.index, list_.states.size(), "state");
            return list_.states[i];
        case From::operand:
            need_index(source.index, list_.phases.size(), "phase of an operand");
            need(ready_[i], "gradient of an operand", "be known before it is read", source.index);
            return phases_[i].product.reads;
        case From::u:
        case From::v:
            need(false, "source of a backward section", "be known in the backward pass",
                 int(source.from));
            return 0;
        default:
            return width_of(source, {});
    }
}

void Blueprint::check_instruction(const Instruction& code, const SectionList& list,
                                  std::vector<char>& written) const {
    need_index(code.to, std::size_t(list.registers), "register");
    const int args[] = {code.a, code.b, code.c};
    for (int i = 0; i < ARITY[int(code.op)]; ++i) {
        need_index(args[i], written.size(), "argument of an op");
        need(written[std::size_t(args[i])], "argument of an op", "be computed before", args[i]);
    }
    written[list.sources.size() + std::size_t(code.to)] = 1;
}

void Blueprint::check_output(const Output& output, const SectionList& list, const Place& place) {
    const int wanted = place.back ? width_for_back(output, place) : width_for(output, place);
    need(list.width == wanted, "width of a section",
         "be that of its output, " + std::to_string(wanted), list.width);
}

int Blueprint::width_for(const Output& output, const Place& place) {
    const std::size_t i = std::size_t(output.index);
    switch (output.to) {
        case To::slot:
            need_index(output.index, list_.slots.size(), "slot");
            filled_[i] = 1;
            return list_.slots[i];
        case To::gate:
            need_index(output.index, std::size_t(list_.gates), "gate");
            return list_.hidden;
        case To::saved:
            need_index(output.index, list_.saved.size(), "saved value");
            return list_.saved[i];
        case To::operand: {
            const auto& product = list_.phases[std::size_t(place.phase)].product;
            need(place.operand && !product.empty(), "operand",
                 "be written in a phase that has a product", place.phase);
            return product[0].reads;
        }
        default:
            need(false, "output of a forward section", "belong to the forward pass",
                 int(output.to));
            return 0;
    }
}

int Blueprint::width_for_back(const Output& output, const Place& place) {
    const std::size_t i = std::size_t(output.index);
    const Phase& phase = phases_[std::size_t(place.phase)];
    switch (output.to) {
        case To::slot:
            need_index(output.index, list_.back_slots.size(), "slot");
            back_filled_[i] = 1;
            return list_.back_slots[i];
        case To::operand:
            need(place.operand && phase.multiplies, "operand",
                 "be written in a phase that has a product", place.phase);
            return phase.product.reads;
        case To::du:
            need_index(output.index, std::size_t(list_.gates), "block of u");
            du_[i] = 1;
            return list_.hidden;
        case To::dv:
            need(place.du_first == -1, "gradient of v",
                 "be written before the product that takes it, where it is apart", place.du_first);
            need_index(output.index, std::size_t(phase.product.blocks), "block of v");
            dv_[i] = 1;
            return phase.product.unit;
        case To::dstate:
            need_index(output.index, list_.states.size(), "state");
            dstate_[i] = 1;
            return list_.states[i];
        case To::dnoise:
            need_index(output.index, list_.noises.size(), "noise");
            return list_.noises[i];
        case To::dparam:
            need_index(output.index, list_.params.size(), "param");
            return list_.params[i];
        default:
            need(false, "output of a backward section", "belong to the backward pass",
                 int(output.to));
            return 0;
    }
}

}  // namespace recurra
