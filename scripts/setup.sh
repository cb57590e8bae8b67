#!/usr/bin/env bash
# setup.sh environment|package PYTHON: make .venv from requirements.lock, or put the package into it.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1 python=$2

stop() {
    echo "setup: $1" >&2
    exit 1
}

environment() {
    command -v "$python" >/dev/null || stop "no $python found; install Python 3.11 or newer (Debian: apt install python3 python3-venv), or say which: make PYTHON3=..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "the development environment needs Python 3.11 or newer, got $("$python" --version); say which to use: make PYTHON3=python3.12"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python cannot make environments; install its venv module (Debian: apt install python3-venv)"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
    .venv/bin/python -m pip install -qq --disable-pip-version-check -r requirements.lock
    touch .venv/.locked
}

package() {
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        stop "no C++ compiler found; install one (Debian: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install)"
    # cmake and ninja are those of the lock file, not the machine's
    PATH="$PWD/.venv/bin:$PATH" .venv/bin/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
    touch .venv/.built
}

case $what in
environment | package) "$what" ;;
*) stop "the first argument must be environment or package, got $what" ;;
esac
