// What the parts of the Python module share.
#pragma once

#include <nanobind/nanobind.h>

namespace recurra {

void bind_sessions(nanobind::module_& m);

}  // namespace recurra
