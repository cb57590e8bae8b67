#!/usr/bin/env bash
# Forged files for every reader, MINUTES long; with SANITIZE=1 against the native module under AddressSanitizer and
# UndefinedBehaviorSanitizer. Arguments go to python -m tests.fuzz. Status 1 where something was found.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
if [ "${SANITIZE:-}" != 1 ]; then
    exec "$python" -m tests.fuzz --minutes "${MINUTES:-10}" "$@"
fi
room=$(scripts/sanitize.sh build address | tail -1)
packages=$("$python" -c "import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])")
# libstdc++ beside the runtime: Python has none yet when AddressSanitizer looks for what throws.
LD_PRELOAD="$("${CXX:-g++}" -print-file-name=libasan.so) $("${CXX:-g++}" -print-file-name=libstdc++.so.6)" \
    PYTHONPATH="$room:$packages" RECURRA_FUZZ_SLOWER=4 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16 \
    setarch -R "$python" -S -m tests.fuzz --minutes "${MINUTES:-10}" "$@"
