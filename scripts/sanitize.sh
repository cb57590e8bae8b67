#!/usr/bin/env bash
# sanitize.sh: the native tests under AddressSanitizer with UndefinedBehaviorSanitizer, then under
# ThreadSanitizer. sanitize.sh build address|thread: only the package with such a module; prints the
# folder to put first in PYTHONPATH.
#
# The module is built into build/sanitize/ and not installed. Threads come from tests/native/pool.cpp:
# what a sanitizer has not compiled (an OpenMP runtime) it cannot follow.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python

build() { # address|thread
    local room=$PWD/build/sanitize/$1 sanitizers=$1 version
    [ "$1" = thread ] || sanitizers=address,undefined
    version=$("$python" -c "import importlib.metadata as m; print(m.version('recurra'))")
    mkdir -p "$room/recurra"
    cmake -S . -B "$room/cmake" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 \
        -DRECURRA_SANITIZE="$sanitizers" -DSKBUILD_PROJECT_VERSION="$version" \
        -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" -DPython_EXECUTABLE="$python" \
        > "$room/cmake.log"
    cmake --build "$room/cmake" --parallel 2 > "$room/build.log" 2>&1 ||
        { tail -40 "$room/build.log" >&2; exit 1; }
    ln -sf "$PWD"/src/recurra/* "$room/recurra/"
    rm -f "$room"/recurra/native*.so
    cp "$room"/cmake/native*.so "$room/recurra/"
    "${CXX:-g++}" -std=c++20 -O1 -g -shared -fPIC -fsanitize="$sanitizers" tests/native/pool.cpp \
        -o "$room/pool.so"
    echo "$room"
}

run() { # address|thread, runtime library
    local room site
    room=$(build "$1" | tail -1)
    site=$("$python" -c "import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])")
    echo "$1:"
    # libstdc++ beside the runtime: Python has none yet when AddressSanitizer looks for what throws.
    LD_PRELOAD="$("${CXX:-g++}" -print-file-name="$2") $("${CXX:-g++}" -print-file-name=libstdc++.so.6)" \
        RECURRA_TEST_POOL=$room/pool.so PYTHONPATH=$room:$site OMP_NUM_THREADS=1 \
        ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=report_signal_unsafe=0 \
        setarch -R "$python" -S -m pytest -q -p no:cacheprovider -p no:xdist \
        tests/native/test_sanitized.py tests/native/test_sanitized_sessions.py
}

case ${1:-all} in
all) run address libasan.so && run thread libtsan.so ;;
build) build "$2" ;;
*) echo "sanitize: the first argument must be build or nothing, got $1" >&2 && exit 2 ;;
esac
