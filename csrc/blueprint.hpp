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

struct BackPhaseList {
    int phase = 0;
    std::vector<SectionList> operand, before;
    int du_first = -2;
    std::vector<SectionList> after;
};

struct ProgramList {
    int hidden = 0, gates = 0;
    std::vector<int> states, noises, params, slots;
    std::vector<double> constants;
    ProductList input;
    std::vector<PhaseList> phases;
    std::vector<SectionList> last;
    std::vector<int> saved, back_slots;
    std::vector<BackPhaseList> back;
    std::vector<SectionList> back_last;
};

class Blueprint {
public:
    // Throws std::invalid_argument that says what must be otherwise.
    explicit Blueprint(ProgramList list);
    Blueprint(const Blueprint&) = delete;

    const Program& program() const { return program_; }

private:
    // Which sections are being read: of a phase, before or after its product, forward or backward.
    struct Place {
        bool back = false;
        int phase = 0;
        bool operand = false;
        int du_first = -2;
    };

    struct Piece {
        std::vector<Source> sources;
        std::vector<Instruction> instructions;
        std::vector<Output> outputs;
    };

    void lay_forward();
    void lay_backward();
    void keep_norms();
    Span<Section> sections(const std::vector<SectionList>& list, const Place& place);
    Section section(const SectionList& list, const Place& place);
    Product product(const ProductList& given, const std::string& where) const;
    void check_sizes() const;
    void check_back_phase(const BackPhaseList& given);
    void check_source(const Source& source, int width, const Place& place) const;
    int width_of(const Source& source, const Place& place) const;
    int width_of_back(const Source& source) const;
    void check_instruction(const Instruction& code, const SectionList& list,
                           std::vector<char>& written) const;
    void check_output(const Output& output, const SectionList& list, const Place& place);
    int width_for(const Output& output, const Place& place);
    int width_for_back(const Output& output, const Place& place);

    ProgramList list_;
    std::deque<std::vector<Section>> sections_;  // deques: what they hold never moves
    std::deque<Piece> pieces_;
    std::vector<Phase> phases_;
    std::vector<BackPhase> back_;
    std::vector<char> filled_, back_filled_;  // slots that a section has written
    std::vector<char> ready_;                 // phases whose operand's gradient is known
    std::vector<char> du_, dstate_,
        dv_;                    // gradients that a section has written; of v those of one phase
    std::vector<char> shared_;  // blocks of u whose gradient is that of a v
    Program program_{};
};

}  // namespace recurra
