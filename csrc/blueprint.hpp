// A program that owns its lists, checked so that running it cannot leave its arrays.
#pragma once

#include <deque>
#include <string>
#include <tuple>
#include <vector>

#include "program.hpp"

namespace recurra {

// As Python hands them over; numbers as in program.hpp.
struct SectionList {
    int width = 0, registers = 0;
    std::vector<std::tuple<int, int, int>> sources;
    std::vector<std::tuple<int, int, int, int, int>> instructions;
    std::vector<std::tuple<int, int, int>> outputs;
};

struct ProductList {
    bool weighted = false;
    int first = 0, blocks = 0, total = 0, unit = 0, reads = 0;
    std::vector<int> norm;
};

struct PhaseList {
    std::vector<SectionList> operand;
    std::vector<ProductList> product;  // none or one
    std::vector<SectionList> body;
};

struct ProgramList {
    int hidden = 0, gates = 0;
    std::vector<int> states, noises, params, slots;
    std::vector<double> constants;
    std::vector<PhaseList> phases;
    std::vector<SectionList> last;
};

class Blueprint {
public:
    // Throws std::invalid_argument that says what must be otherwise.
    explicit Blueprint(ProgramList list);
    Blueprint(const Blueprint&) = delete;

    const Program& program() const { return program_; }

private:
    struct Piece {
        std::vector<Source> sources;
        std::vector<Instruction> instructions;
        std::vector<Output> outputs;
    };

    Span<Section> sections(const std::vector<SectionList>& list, int phase, bool operand);
    Section section(const SectionList& list, int phase, bool operand);
    void check_sizes() const;
    void check_product(const ProductList& product, const std::string& where) const;
    void check_source(const Source& source, int width, int phase, bool operand) const;
    void check_instruction(const Instruction& code, const SectionList& list, std::vector<char>& written) const;
    void check_output(const Output& output, const SectionList& list, int phase, bool operand);

    ProgramList list_;
    std::deque<std::vector<Section>> sections_;  // deques: what they hold never moves
    std::deque<Piece> pieces_;
    std::vector<Phase> phases_;
    std::vector<char> filled_;  // slots that a section has written
    Program program_{};
};

}  // namespace recurra
