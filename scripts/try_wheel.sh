#!/usr/bin/env bash
# Build the wheel and try it where nothing else is installed: with NumPy and safetensors only, then with PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
PATH="$top/.venv/bin:$PATH"

rm -rf dist
python -m build --wheel --no-isolation >/tmp/recurra-wheel.$$ 2>&1 || { cat /tmp/recurra-wheel.$$ >&2; exit 1; }
rm -f /tmp/recurra-wheel.$$
wheel=$(echo "$top"/dist/recurra-*.whl)
echo "$(basename "$wheel"): $(du -k "$wheel" | cut -f1) kB"

try=$(mktemp -d)
trap 'rm -rf "$try"' EXIT
bare() { # bare NAME WHEEL: a new environment that holds the wheel and what it asks for, at the lock's versions
    python -m venv "$try/$1"
    "$try/$1/bin/pip" install -qq --disable-pip-version-check -c requirements.lock "$2"
}

echo "with NumPy and safetensors only"
bare runtime "$wheel"
cd "$try"
runtime/bin/python "$top/scripts/smoke_runtime.py"
runtime/bin/recurra --help | head -n 1

echo "with PyTorch"
cd "$top"
bare train "$wheel[train]"
cd "$try"
train/bin/python "$top/scripts/smoke_train.py"
train/bin/recurra --version
