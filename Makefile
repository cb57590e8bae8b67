# `make setup` once is enough, and every target does it when it is missing or out of date.
PYTHON3 ?= python3
BIN := .venv/bin
PYTHON := $(BIN)/python
CPP := $(wildcard csrc/*.hpp csrc/*.cpp tests/native/*.cpp)
SOURCES := $(wildcard csrc/*) CMakeLists.txt pyproject.toml

.DELETE_ON_ERROR:
.PHONY: setup demo test bench bench-quality sanitize native-lines fuzz docs wheel format lint clean

setup: .venv/.built  ## the environment, and the package in it

.venv/.locked: requirements.lock
	@scripts/setup.sh environment "$(PYTHON3)"

.venv/.built: .venv/.locked $(SOURCES)
	@scripts/setup.sh package "$(PYTHON3)"

demo: setup  ## the main job in two minutes
	$(BIN)/recurra demo

lint: setup  ## ruff, clang-format and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

test: lint  ## lint, then every test, doctest and code block of the documents
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -q tests src examples scripts docs README.md

bench: setup  ## measurements against torch.nn and others, on this machine
	$(PYTHON) -m benchmarks

bench-quality: setup  ## recurrent tasks of the literature, learnt whole: up to ten minutes each
	RECURRA_QUALITY=1 $(BIN)/pytest -q -s -m slow tests/quality

sanitize: setup  ## the native tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	scripts/sanitize.sh

native-lines: setup  ## which lines of csrc the tests run, by gcov
	$(PYTHON) scripts/native_lines.py

fuzz: setup  ## forged files for every reader: MINUTES=60, TARGETS="rcr run", SANITIZE=1
	MINUTES="$(MINUTES)" SANITIZE="$(SANITIZE)" scripts/fuzz.sh $(TARGETS)

docs: setup  ## the site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is built"

wheel: setup  ## dist/*.whl, tried in two bare environments
	scripts/try_wheel.sh

format: setup  ## rewrite the layout of every file
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CPP)

clean:  ## everything but .venv
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
