# Every duty of the project is one target; CI runs `make test` and nothing else.

VENV   := .venv
PY     := $(VENV)/bin/python
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := $(PY) -m pytest -q
# What mypy and ruff look at; a folder that is not there yet is left out.
CODE   := $(wildcard src native bench fuzz tests scripts setup.py)

export PYTHONDONTWRITEBYTECODE ?=
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

.PHONY: help
help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
	  printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: run
run: build  ## build, and show a tunnel at work until Ctrl-C
	@$(VENV)/bin/culvert demo

.PHONY: build
build: $(VENV)/run.stamp  ## compile the binding into src/culvert, when native/ changed
	@$(PY) scripts/compile_native.py

$(VENV)/run.stamp: pyproject.toml setup.py scripts/bootstrap scripts/make_venv
	@scripts/bootstrap build
	@scripts/make_venv run

$(VENV)/dev.stamp: pyproject.toml $(VENV)/run.stamp
	@scripts/make_venv dev

.PHONY: dev
dev: $(VENV)/dev.stamp build  ## build, with everything that developers need

.PHONY: peers
peers:  ## install the programs of Debian that the tests and benchmarks talk to
	@scripts/bootstrap peers
	@scripts/unpack inn2 inn2-inews openbsd-inetd xinetd

.PHONY: lint
lint: $(VENV)/dev.stamp
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --check $(CODE)

.PHONY: types
types: $(VENV)/dev.stamp
	@$(PY) -m mypy $(filter-out setup.py,$(CODE))

.PHONY: rings
rings: $(VENV)/dev.stamp
	@$(VENV)/bin/lint-imports --no-cache --no-logo

.PHONY: style
style: lint types rings

.PHONY: check
check: dev style  ## lint, types, rings, sizes and unit tests: fast, and without other programs
	@$(PYTEST) -n $(JOBS) --dist loadgroup -m "not integration and not interop and not slow"

.PHONY: test
test: peers dev style  ## everything that CI runs
	@$(PYTEST) -n $(JOBS) --dist loadgroup

.PHONY: scan
scan: peers dev  ## let sslscan and testssl look at a server with defaults (some minutes)
	@CULVERT_SCAN=1 $(PYTEST) -rP tests/interop/test_scanners.py

.PHONY: deb
deb: peers  ## build the Debian package from what is committed, into build/deb
	@scripts/build_deb

.PHONY: bench
bench: peers dev  ## measure the CPU and memory of culvert and its peers
	@$(PY) -m compileall -q src/culvert  # as an installed program has it, whatever PYTHONDONTWRITEBYTECODE says
	@$(PY) -m bench $(BENCH)

# Inputs and seconds for each script; 0 is no limit.  What breaks the contract is kept in build/fuzz.
FUZZ_INPUTS  ?= 0
FUZZ_SECONDS ?= 10
.PHONY: fuzz
fuzz: dev  ## fuzz what peers say before TLS (FUZZ_SECONDS, FUZZ_INPUTS for each script)
	@$(VENV)/bin/pip -q --disable-pip-version-check install "atheris>=2.3"
	@$(PY) -m fuzz -n $(FUZZ_INPUTS) -s $(FUZZ_SECONDS) $(FUZZ)

# Python itself frees little when it ends, so leaks are not looked for here; tests/ bound the growth of memory instead.
# A worker that a sanitizer ends is replaced by another, which a test need not notice: any report left is a failure.
SANITIZED := build/sanitize/src
REPORT    := $(CURDIR)/build/sanitize/report
.PHONY: sanitize
sanitize: dev  ## every test of the engine, with AddressSanitizer and UBSan in it
	@rm -rf build/sanitize && mkdir -p $(SANITIZED) && cp -R src/culvert $(SANITIZED)/ && rm -f $(SANITIZED)/culvert/_native.*.so
	@CULVERT_SANITIZE=address,undefined $(PY) scripts/compile_native.py $(SANITIZED)/culvert
	@env LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$(REPORT) \
	  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$(REPORT) \
	  PYTHONMALLOC=malloc PYTHONPATH=$(CURDIR)/$(SANITIZED) CULVERT_SANITIZED=1 \
	  $(PYTEST) -n $(JOBS) --dist loadgroup --maxfail=20 -m "not interop and not alone" -o timeout=300 \
	  $(addprefix tests/,engine tunnel openssl tls daemon endings)
	@! cat $(REPORT).* 2>/dev/null

# Not part of `make test`: it fetches a source package from Debian.  Tests that want it are skipped without it.
.PHONY: fips
fips:  ## build OpenSSL's FIPS provider, and a libssl with zlib, into build/fips for their tests
	@scripts/build_fips fips
	@scripts/build_fips libraries

.PHONY: format
format: $(VENV)/dev.stamp  ## let ruff put the sources in order
	@$(PY) -m ruff check --fix -q $(CODE)
	@$(PY) -m ruff format -q $(CODE)

.PHONY: clean
clean:  ## remove all that was built, the virtual environment too
	@rm -rf build dist $(VENV) src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -f src/culvert/_native.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
