#!/usr/bin/env bash
# The kernels by other compilers: for aarch64 by its g++, and by clang++ for each instruction set of x86-64.
# What is not installed is skipped. Objects go into build/compilers/.
set -euo pipefail
cd "$(dirname "$0")/.."
room=build/compilers
mkdir -p "$room"

kernels() {  # compiler, instruction set, further options
    local compiler=$1 isa=$2
    shift 2
    if ! command -v "$compiler" > /dev/null; then
        echo "$compiler for $isa: skipped, not installed"
        return
    fi
    "$compiler" -std=gnu++20 -O3 -fPIC -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror -Wno-psabi -Wno-unknown-pragmas \
        -DRECURRA_ISA="$isa" -DRECURRA_ISA_NAME="\"$isa\"" "$@" -c csrc/kernels.cpp -o "$room/$compiler-$isa.o"
    echo "$compiler for $isa: compiled"
}

kernels aarch64-linux-gnu-g++ generic
for isa in v2 v3 v4; do
    kernels clang++ "$isa" "-march=x86-64-$isa"
done
