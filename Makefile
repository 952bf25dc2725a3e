# What a person types. Each target is one line of work done elsewhere: control/ holds the code.
#
#   make demo      set up, start the mesh, walk one shopper from registration to receipt
#   make up        start the mesh in the background   (PROFILE=load raises the rate limits)
#   make down      stop it        make status   what runs        make logs   what it writes (NAME=svc_order for one)
#   make test      every test     make check    lint, types, imports, contracts
#   make gen       generate gen/ from protos/      make compose   render deploy/compose.yaml
#   make proof     a long run of orders while something dies every 10 s, every other fault once, and the crash matrix: an hour
#   make proof-short   two minutes of it: shoppers buy, a mesh of their own is disturbed, and checked from outside
#   make proof-long    the long run alone; ARGS="--seconds 90 --per-second 20" shortens it
#   make proof-harness   plant known defects and mutate the rules: does the proof, and do the tests, notice? 15 minutes
#   make rebuild   drop orders, stock and wallets of the running mesh and make them again from their journals (ARGS=--check compares)
#   make audit-verify   is the audit log of the running mesh whole? ARGS=--new reads only what came since the last time
#   make attack    attack a mesh of its own: the access matrix, RPC by RPC, and hundreds of numbered cases (ARGS="--only 37" repeats one)
#   make attack-short  two minutes of it
#   make scan      what others have made to find holes, on a mesh of its own and on the source (ARGS="--only sslyze,bandit")
#   make bench     every question of speed on a mesh of its own, each figure beside its limit: bench/results/latest.json and pictures
#                  (ARGS="--only orders,cart" some of them, ARGS=--quick to see that it works, SCALE=10m grows that far)
#   make bench-guard   within a minute: is any operation dearer than it was, in units of the echo? (ARGS=--keep writes what stands)
#   make figures   what the running mesh costs (start it with PROFILE=load)
#   make replay CSV=file   replay a real shop's file to the penny, and go on where it was interrupted
#                  (FROM=2010-12-01 DAYS=1 for a part; STOCK=ample or purchased; SPEED=3600 for an hour in a second)
#   make replay-page   write what the last whole replay came to into docs/REPLAY.md, with its pictures
#   make setup     install what requirements.lock names into .venv; the others see to it themselves
#   make lock      write requirements.lock from requirements.in, and requirements-scan.lock beside it
#   make clean     stop the mesh, and remove it, the virtual environments and what tools have kept
#
#   SEED=...       repeats a proof
#   PYTHON=...     the interpreter of .venv, else the quickest 3.11 on the PATH
#   TITAN_HOME=... TITAN_PORT_BASE=...   place a mesh

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup lock profile demo up down status logs test check gen compose proof proof-short proof-long proof-harness audit-verify attack attack-short scan bench bench-guard figures replay replay-page rebuild clean

ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for name in python3.11 python3; do "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
ANY := --any
endif

# Every process imports the same hundred modules: compiled once, one starts in a third of the time, also where the
# environment says that nobody may keep what was compiled.
unexport PYTHONDONTWRITEBYTECODE
OWN := bench bookkeeping control demo edge_http envoy gen mesh psp_sim rebuild replay $(wildcard svc_*)

RUN := PYTHONPATH=.:gen .venv/bin/python
# What stops and shows a mesh needs nothing installed: it works before the set-up, and after one that was cut short.
PLAIN := PYTHONPATH=. $(if $(PYTHON),"$(PYTHON)",.venv/bin/python)

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@$(if $(PYTHON),,$(error Titan needs Python 3.11 or newer: install it, or name one with PYTHON=/path/to/python3.11))"$(PYTHON)" control/install.py $(ANY)
	@.venv/bin/python -m compileall -qq $(OWN) || true

lock: setup
	@for name in requirements requirements-scan; do \
	.venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --output-file $$name.lock $$name.in || exit 1; \
	done

demo: up
	@$(RUN) -m demo

up: profile setup
	@$(RUN) -m control up $(if $(PROFILE),--profile "$(PROFILE)")

profile:
	@$(if $(PROFILE),$(PLAIN) -m control profile "$(PROFILE)",:)

down:
	@$(PLAIN) -m control down

status:
	@$(PLAIN) -m control status

logs:
	@$(PLAIN) -m control logs $(NAME)

# Three processes at once, since tests wait more than they reckon: three lots that take about as long.
MESHES := tests/journeys tests/faults tests/svc_payment tests/svc_bulk tests/svc_cart tests/svc_limits tests/svc_notify tests/svc_catalog
BENEATH := tests/control tests/mesh tests/contracts tests/svc_inventory
# The last lines of pytest, added up: one line that says what ran, also for a file (SUMMARY=path).
SUM := { for (i = 2; i <= NF; i++) { word = $$i; sub(/,/, "", word); n[word] += $$(i - 1) } } \
	END { printf "tests: %d passed, %d failed, %d skipped\n", n["passed"], n["failed"] + n["error"] + n["errors"], n["skipped"] }
beside = $(RUN) -m pytest $(1) >"$$logs/$(2)" 2>&1 & pids+=($$!)

test: setup
ifdef ARGS
	@$(RUN) -m pytest $(ARGS)
else
	@logs=$$(mktemp -d); pids=(); trap 'kill $${pids[@]} 2>/dev/null; wait; rm -rf "$$logs"' EXIT; \
	$(call beside,$(MESHES),meshes); $(call beside,$(BENEATH),beneath); \
	$(RUN) -m pytest $(addprefix --ignore=,$(MESHES) $(BENEATH)) | tee "$$logs/rest"; status=$${PIPESTATUS[0]}; \
	for pid in $${pids[@]}; do wait $$pid || status=$$?; done; \
	printf '\nand $(MESHES):\n'; cat "$$logs/meshes"; printf '\nand $(BENEATH):\n'; cat "$$logs/beneath"; \
	echo; \
	tail -qn 1 "$$logs"/* | awk '$(SUM)' | tee $(SUMMARY); exit $$status
endif

check: setup
	@$(RUN) -m control.checks $(ARGS)

compose: setup
	@$(RUN) -m control.compose

gen: setup
	@$(RUN) -m control.codegen

# Each part runs, whatever became of the one before it.
proof: setup
	@status=0; \
	$(RUN) -m tests.faults.endurance $(if $(SEED),--seed $(SEED)) || status=1; \
	$(RUN) -m tests.faults.proof --once --full --seconds 840 --shoppers 24 --faults others $(if $(SEED),--seed $(SEED)) || status=1; \
	$(RUN) -m tests.faults.matrix || status=1; \
	exit $$status

proof-long: setup
	@$(RUN) -m tests.faults.endurance $(if $(SEED),--seed $(SEED)) $(ARGS)

proof-short: setup
	@$(RUN) -m tests.faults.proof --seconds 75 --faults short $(if $(SEED),--seed $(SEED)) $(ARGS)

proof-harness: setup
	@$(RUN) -m tests.faults.planted $(if $(SEED),--seed $(SEED)) $(ARGS)
	@$(RUN) -m tests.mutation

audit-verify: setup
	@$(RUN) -m control.audit $(ARGS)

attack: setup
	@$(RUN) -m tests.attacks $(ARGS)

attack-short: setup
	@$(RUN) -m tests.attacks --short $(ARGS)

scan: setup
	@"$(PYTHON)" control/install.py $(ANY) requirements-scan.lock .venv-scan
	@$(RUN) -m tests.scans $(ARGS)

# gRPC remarks on every program that is started beside it.
bench: setup
	@GRPC_VERBOSITY=ERROR $(RUN) -m bench $(if $(SCALE),--scale $(SCALE)) $(ARGS)

bench-guard: setup
	@GRPC_VERBOSITY=ERROR $(RUN) -m bench.guard $(ARGS)

figures: setup
	@$(RUN) -m bench.figures

replay: setup
	@$(if $(CSV),,$(error name the file: make replay CSV=file.csv.gz))$(RUN) -m replay --csv "$(CSV)" $(if $(FROM),--from "$(FROM)") $(if $(DAYS),--days "$(DAYS)") $(if $(STOCK),--stock "$(STOCK)") $(if $(SPEED),--speed "$(SPEED)")

replay-page: setup
	@$(RUN) -m replay.page $(ARGS)

rebuild: setup
	@$(RUN) -m rebuild $(ARGS)

clean:
	@$(PLAIN) -m control down || true
	@rm -rf .venv .venv-scan .titan .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
