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
    if (!holds) throw std::invalid_argument(what + " must " + must + ", got " + std::to_string(got));
}

void need_index(int i, std::size_t count, const std::string& what) {
    need(i >= 0 && std::size_t(i) < count, what, "be at least 0 and below " + std::to_string(count), i);
}

void need_size(int size, int most, const std::string& what) {
    need(size >= 1 && size <= most, what, "be at least 1 and at most " + std::to_string(most), size);
}

template <class E>
Span<E> span(const std::vector<E>& list) {
    return {list.data(), int(list.size())};
}

}  // namespace

Blueprint::Blueprint(ProgramList list) : list_(std::move(list)), filled_(list_.slots.size(), 0) {
    check_sizes();
    Program& p = program_;
    p.hidden = list_.hidden;
    p.gates = list_.gates;
    p.states = span(list_.states);
    p.noises = span(list_.noises);
    p.params = span(list_.params);
    p.slots = span(list_.slots);
    p.constants = span(list_.constants);
    phases_.reserve(list_.phases.size());
    for (std::size_t i = 0; i < list_.phases.size(); ++i) {
        const PhaseList& each = list_.phases[i];
        Phase phase{};
        phase.operand = sections(each.operand, int(i), true);
        phase.multiplies = !each.product.empty();
        if (phase.multiplies) {
            const ProductList& given = each.product[0];
            check_product(given, "product of phase " + std::to_string(i));
            phase.product = {given.weighted, given.first, given.blocks, given.total, given.unit, given.reads, span(given.norm)};
        }
        phases_.push_back(phase);
        phases_.back().body = sections(each.body, int(i), false);
    }
    p.last = sections(list_.last, int(phases_.size()) - 1, false);
    p.phases = span(phases_);
    for (std::size_t i = 0; i < list_.states.size(); ++i) need(filled_[i], "slot " + std::to_string(i), "be written by a section", 0);
}

void Blueprint::check_sizes() const {
    need_size(list_.hidden, MAX_WIDTH, "hidden");
    need(list_.gates >= 0 && list_.gates <= MAX_SLOTS, "gates", "be at least 0 and at most " + std::to_string(MAX_SLOTS), list_.gates);
    need_size(int(list_.states.size()), MAX_SLOTS, "number of states");
    need(list_.slots.size() >= list_.states.size(), "number of slots", "be at least that of states", (long long)list_.slots.size());
    need_size(int(list_.slots.size()), MAX_SLOTS, "number of slots");
    need_size(int(list_.phases.size()), MAX_PHASES, "number of phases");
    for (const auto* widths : {&list_.states, &list_.noises, &list_.params, &list_.slots}) {
        for (const int width : *widths) need_size(width, MAX_WIDTH, "width");
    }
    for (std::size_t i = 0; i < list_.states.size(); ++i) {
        need(list_.slots[i] == list_.states[i], "width of slot " + std::to_string(i), "be that of its state", list_.slots[i]);
    }
    for (const PhaseList& phase : list_.phases) {
        need(phase.product.size() <= 1, "products of a phase", "be at most 1", (long long)phase.product.size());
        const auto writes = [](const SectionList& part) {
            return std::any_of(part.outputs.begin(), part.outputs.end(), [](const auto& o) { return std::get<1>(o) == int(To::operand); });
        };
        const auto count = std::count_if(phase.operand.begin(), phase.operand.end(), writes);
        need(count >= (long long)phase.product.size(), "operand of a product", "be written by a section", count);
    }
}

void Blueprint::check_product(const ProductList& p, const std::string& where) const {
    need_size(p.unit, MAX_WIDTH, "unit of the " + where);
    need_size(p.reads, MAX_WIDTH, "reads of the " + where);
    need_size(p.blocks, MAX_SLOTS, "blocks of the " + where);
    need(p.first >= 0 && p.first <= p.total - p.blocks && p.total <= MAX_SLOTS, "first block of the " + where, "leave room for its blocks", p.first);
    need(p.weighted || p.reads == p.blocks * p.unit, "reads of the " + where, "be its blocks' units where it has no weight", p.reads);
    int sum = 0;
    for (const int blocks : p.norm) {
        need_size(blocks, p.blocks - sum, "a norm's blocks in the " + where);
        sum += blocks;
    }
    need(p.norm.empty() || sum == p.blocks, "norm of the " + where, "cover every block", sum);
}

Span<Section> Blueprint::sections(const std::vector<SectionList>& list, int phase, bool operand) {
    std::vector<Section>& made = sections_.emplace_back();
    made.reserve(list.size());
    for (const SectionList& each : list) made.push_back(section(each, phase, operand));
    return span(made);
}

Section Blueprint::section(const SectionList& list, int phase, bool operand) {
    need_size(list.width, MAX_WIDTH, "width of a section");
    need(list.registers >= 0 && list.registers <= MAX_REGISTERS, "registers", "be at most " + std::to_string(MAX_REGISTERS), list.registers);
    need(list.sources.size() <= MAX_SOURCES, "number of sources", "be at most " + std::to_string(MAX_SOURCES), (long long)list.sources.size());
    Piece& piece = pieces_.emplace_back();
    for (const auto& [from, index, part] : list.sources) {
        need_index(from, FROM_COUNT, "kind of a source");
        piece.sources.push_back({From(from), index, part});
        check_source(piece.sources.back(), list.width, phase, operand);
        program_.reads_u |= From(from) == From::u;
    }
    std::vector<char> written(list.sources.size() + std::size_t(list.registers), 0);
    std::fill_n(written.begin(), list.sources.size(), char(1));
    for (const auto& [op, to, a, b, c] : list.instructions) {
        need_index(op, OP_COUNT, "op");
        piece.instructions.push_back({Op(op), to, a, b, c});
        check_instruction(piece.instructions.back(), list, written);
    }
    for (const auto& [value, to, index] : list.outputs) {
        need_index(value, written.size(), "value of an output");
        need(written[std::size_t(value)], "value of an output", "be computed before", value);
        need_index(to, TO_COUNT, "kind of an output");
        piece.outputs.push_back({value, To(to), index});
        check_output(piece.outputs.back(), list, phase, operand);
    }
    program_.registers = std::max(program_.registers, list.registers);
    program_.sources = std::max(program_.sources, int(list.sources.size()));
    return {list.width, list.registers, span(piece.sources), span(piece.instructions), span(piece.outputs)};
}

void Blueprint::check_source(const Source& source, int width, int phase, bool operand) const {
    const std::size_t i = std::size_t(source.index);
    int has = width;
    switch (source.from) {
        case From::u:
            need_index(source.part, std::size_t(list_.gates), "block of u");
            has = list_.hidden;
            break;
        case From::v: {
            need_index(source.index, std::size_t(operand ? phase : phase + 1), "phase of v");
            const PhaseList& made = list_.phases[i];
            need(!made.product.empty(), "phase of v", "have a product", source.index);
            need_index(source.part, std::size_t(std::max(made.product[0].blocks, 0)), "block of v");
            has = made.product[0].unit;
            break;
        }
        case From::constant: need_index(source.index, list_.constants.size(), "constant"); break;
        case From::slot:
            need_index(source.index, list_.slots.size(), "slot");
            need(filled_[i], "slot", "be written before it is read", source.index);
            has = list_.slots[i];
            break;
        default: {
            const auto& widths = source.from == From::state ? list_.states : source.from == From::noise ? list_.noises : list_.params;
            need_index(source.index, widths.size(), "state, noise or param");
            has = widths[i];
        }
    }
    need(has == width, "width of a source", "be that of its section, " + std::to_string(width), has);
}

void Blueprint::check_instruction(const Instruction& code, const SectionList& list, std::vector<char>& written) const {
    need_index(code.to, std::size_t(list.registers), "register");
    const int args[] = {code.a, code.b, code.c};
    for (int i = 0; i < ARITY[int(code.op)]; ++i) {
        need_index(args[i], written.size(), "argument of an op");
        need(written[std::size_t(args[i])], "argument of an op", "be computed before", args[i]);
    }
    written[list.sources.size() + std::size_t(code.to)] = 1;
}

void Blueprint::check_output(const Output& output, const SectionList& list, int phase, bool operand) {
    int wanted = 0;
    if (output.to == To::slot) {
        need_index(output.index, list_.slots.size(), "slot");
        filled_[std::size_t(output.index)] = 1;
        wanted = list_.slots[std::size_t(output.index)];
    } else if (output.to == To::gate) {
        need_index(output.index, std::size_t(list_.gates), "gate");
        wanted = list_.hidden;
    } else {
        need(operand && !list_.phases[std::size_t(phase)].product.empty(), "operand", "be written in a phase that has a product", phase);
        wanted = list_.phases[std::size_t(phase)].product[0].reads;
    }
    need(list.width == wanted, "width of a section", "be that of its output, " + std::to_string(wanted), list.width);
}

}  // namespace recurra
