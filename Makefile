# make run         the example job on a local broker and S3 server, from nothing
# make clickhouse  from ClickHouse to ClickHouse, with the same results from both, from nothing
# make test        everything: packages, lint, unit and system tests on real servers
# make deb-test    installs the package on a machine as new, runs a job there, removes it
# make mutants     breaks the product on purpose, over a hundred times; shows which test sees each
# make acceptance  before an issue is closed: mutants, fuzzers, sanitizers, deb-test: hours
# make fuzz        mutated inputs for every parser, then mutated checkpoints, for SECONDS=600 each
# make torture     random histories of failures and random kills, for SECONDS=600
# make schedule    four jobs under the scheduler for two minutes
# make hostile     full disks of every size, and every hostile value in every column of a checkpoint
# make sanitize    the unit tests under the address and the thread sanitizer
# make bench       ratios against a C program and Python peers, written to Benchmarks/results.md
# make build       the release binary: .build/release/tranche
# make install     the release binary, manual pages, completions and units, below PREFIX=/usr/local
# make deb         a Debian package; make tarball an archive with a list of what it needs
# make stack       start the local broker and S3 server; make stack-down stops them
# make format      rewrite the sources in our format; make lint only looks
# make golden      rewrite jobs/job.schema.json, docs/job-file.md and the golden Parquet files
# make clean       remove what was built and the local stack's data

SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build run clickhouse test mutants acceptance torture fuzz schedule hostile sanitize \
  bench stack stack-down format lint golden clean packages test-python install uninstall deb \
  tarball deb-test

STACK := Tests/Stack/stack
TRANCHE := .build/release/tranche
# With Swift's own libraries inside, so that the binary runs where no Swift is, and starts in half
# the time.
RELEASE_BUILD := swift build -c release --static-swift-stdlib -Xswiftc -use-ld=lld

# For the rest of a recipe: every server that the tests need, stopped at its end.
define WITH_STACK
folder=$$(mktemp -d)
	trap '$(STACK) test-down "$$folder"; rm -rf "$$folder"' EXIT
	$(STACK) test-up "$$folder"
	source "$$folder/env"
	export TRANCHE_TEST_BINARY="$$PWD/.build/debug/tranche"
endef

help:
	@sed -n 's/^# make/make/p' Makefile

packages:
	@Tests/Stack/install-packages

test-python: packages
	@Tests/Stack/install-python Tests/Stack/test.txt .stack/python-test

build: packages
	$(RELEASE_BUILD) --product tranche

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
PACKAGES := .build/package
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

# Builds nothing, so that root need not.
install:
	@packaging/install $(TRANCHE) "$(PREFIX)" "$(SYSCONFDIR)" "$(DESTDIR)"

# What install would put there: its files, and the folders of Tranche alone.
uninstall:
	@work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	packaging/install $(TRANCHE) "$(PREFIX)" "$(SYSCONFDIR)" "$$work"
	cd "$$work"
	find . ! -type d -printf '%P\0' | (cd "$(DESTDIR)/" && xargs -0 rm -f)
	find . -depth -type d \( -name tranche -o -path '*/tranche/*' \) -printf '%P\0' |
	  (cd "$(DESTDIR)/" && while IFS= read -r -d '' folder; do
	    [ ! -d "$$folder" ] || rmdir --ignore-fail-on-non-empty "$$folder"
	  done)

deb: build
	@rm -f $(PACKAGES)/tranche_*.deb
	packaging/deb $(TRANCHE) $(PACKAGES)

tarball: build
	@rm -f $(PACKAGES)/tranche-*.tar.gz
	packaging/tarball $(TRANCHE) $(PACKAGES)

# Some two minutes, most of them debootstrap's.
deb-test: deb tarball test-python
	lintian --allow-root --fail-on error,warning $(PACKAGES)/tranche_*.deb
	packaging/deb $(TRANCHE) $(PACKAGES)/again
	cmp $(PACKAGES)/tranche_*.deb $(PACKAGES)/again/tranche_*.deb
	$(WITH_STACK)
	Tests/Packaging/new-machine $(PACKAGES)/tranche_*.deb $(PACKAGES)/tranche-*.tar.gz

stack: packages
	@Tests/Stack/install-python Tests/Stack/run.txt .stack/python-run
	@$(STACK) up

stack-down:
	@$(STACK) down

run: build stack
	@eval "$$($(STACK) status)"
	show() { echo; echo "\$$ $$*"; "$$@"; }
	show $(TRANCHE) produce --brokers $$KAFKA_BROKERS --records 10000 --seed 1
	show $(TRANCHE) run jobs/api-time-share.yaml
	show $(TRANCHE) produce --brokers $$KAFKA_BROKERS --records 5000 --seed 2
	show $(TRANCHE) run jobs/api-time-share.yaml
	show $(TRANCHE) show jobs/api-time-share.yaml --rows 10
	show find .stack/rclone -type f
	show $(TRANCHE) verify jobs/api-time-share.yaml
	echo
	echo "The servers go on running; make stack-down stops them. Their addresses: $(STACK) status"

# Its own topics, objects and checkpoints, new ones each time.
clickhouse: build stack
	@Tests/Stack/install-python Tests/Stack/clickhouse.txt .stack/python-clickhouse
	eval "$$($(STACK) status)"
	export TRANCHE=$(TRANCHE)
	.stack/python-clickhouse/bin/python Tests/Stack/circle.py jobs/clickhouse .stack/clickhouse
	echo
	echo "The servers go on running; make stack-down stops them. ClickHouse: .stack/clickhouse"

test: lint test-python
	Tests/Mutants/mutants check
	swift build --build-tests
	.build/debug/tranche test jobs/*.yaml
	$(WITH_STACK)
	swift test --skip-build
	$(RELEASE_BUILD) --product simulate
	$(RELEASE_BUILD) --product fuzz
	$(RELEASE_BUILD) --product hotloops
	.build/release/hotloops
	.build/release/fuzz 30
	.build/release/fuzz checkpoint 20
	.build/release/simulate 0 1000 & first=$$!
	.build/release/simulate 1000 2000
	wait $$first

mutants: test-python
	Tests/Mutants/mutants run $(ONLY)

SECONDS ?= 600

acceptance: packages
	$(RELEASE_BUILD) --product simulate
	$(RELEASE_BUILD) --product RetentionBenchmark
	part() {
	  local name=$$1 began=$$(date +%s)
	  shift
	  echo "== $$name"
	  "$$@"
	  echo "== $$name: passed in $$(( $$(date +%s) - began )) s"
	}
	part "mutants" $(MAKE) mutants
	part "histories with the publisher on its own thread" .build/release/simulate threads $(SECONDS)
	part "random histories and random kills" $(MAKE) torture
	part "a year of windows, with retention and without" .build/release/RetentionBenchmark
	part "mutated inputs" $(MAKE) fuzz
	part "the scheduler for two minutes" $(MAKE) schedule
	part "every size of a full disk, every hostile value of a checkpoint" $(MAKE) hostile
	part "address and thread sanitizer" $(MAKE) sanitize
	part "the package on a machine as new" $(MAKE) deb-test

torture: test-python
	swift build --build-tests
	$(RELEASE_BUILD) --product simulate
	$(WITH_STACK)
	.build/release/simulate for $(SECONDS) & first=$$!
	TRANCHE_TORTURE_SECONDS=$(SECONDS) swift test --skip-build --filter CrashTests/randomKills
	wait $$first

fuzz: packages
	$(RELEASE_BUILD) --product fuzz
	.build/release/fuzz $(SECONDS) $$RANDOM
	.build/release/fuzz checkpoint $(SECONDS) $$RANDOM

schedule: test-python
	swift build --build-tests
	$(WITH_STACK)
	TRANCHE_SCHEDULE_SECONDS=120 swift test --skip-build --filter SchedulerTests/fourJobs

hostile: test-python
	swift build --build-tests
	$(WITH_STACK)
	export TRANCHE_DISK_STEP_KIB=4 TRANCHE_HOSTILE_VALUES=all
	swift test --skip-build --filter 'DiskTests|HostileCheckpointTests'

sanitize: test-python
	$(WITH_STACK)
	# Leaks it reports are Foundation's and the runtime's own; ours would show as growth in make fuzz.
	export ASAN_OPTIONS=detect_leaks=0 SANITIZE=1
	for kind in address thread; do
	  swift build --build-tests --sanitize=$$kind --scratch-path .build-$$kind
	  # The thread sanitizer does not see librdkafka's threads begin, and does not always survive
	  # randomised addresses.
	  skip=SystemTests; [ $$kind = address ] || skip='SystemTests|KafkaTests'
	  setarch "$$(uname -m)" -R swift test --skip-build \
	    --sanitize=$$kind --scratch-path .build-$$kind --skip "$$skip"
	done

bench: build
	$(RELEASE_BUILD) --product ParquetBenchmark
	@Tests/Stack/install-python Tests/Stack/bench.txt .stack/python-bench
	@.stack/python-bench/bin/python Benchmarks/bench.py

lint: packages
	@swift format lint --strict --recursive Package.swift Sources Tests Benchmarks

format:
	swift format format --in-place --recursive Package.swift Sources Tests Benchmarks

golden: build
	$(TRANCHE) schema > jobs/job.schema.json
	$(TRANCHE) schema --markdown > docs/job-file.md
	TRANCHE_WRITE_GOLDEN=1 swift test --filter ParquetEncoderTests/golden

clean: stack-down
	rm -rf .build .stack
