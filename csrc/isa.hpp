// Which instruction sets were compiled, and which one this process uses.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace recurra {

// Names, lowest first.
std::vector<std::string> compiled_isas();

// The highest that this machine runs, or the one that RECURRA_ISA named when this was first asked:
// a step is too short to ask again, and weights stay packed for it. Throws std::runtime_error where
// there is none, or where the name is unknown or not supported here.
const Isa& chosen_isa();

}  // namespace recurra
