# Stageledger. `make help` lists what there is; every target installs what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/sh

CONFIG ?=
DATA ?=
AS_OF ?=
FROM ?=
TO ?=
PLAN ?=
ACCEPT ?=
REBUILD ?=
FILES ?=
OUT ?= my/pipeline.yaml
DATE_ORDER ?=
DECIMAL ?=
QUICK ?=
RECORD ?=
DRY_RUN ?=
PORT ?= 3000
QUERY ?= --saved-query sales_by_quarter
TESTS ?=

VENV := .venv
BIN := $(VENV)/bin
TRYTON_VENV := .venv-tryton
DLT_VENV := .venv-dlt
READERS := .venv-readers
SUPERSET_VENV := .venv-superset
FUZZER := .venv-fuzz
AUDIT := .venv-audit
export STAGELEDGER_CONFIG := $(or $(CONFIG),$(STAGELEDGER_CONFIG))
export STAGELEDGER_DATA := $(or $(DATA),$(STAGELEDGER_DATA))
CLI := $(BIN)/python -m dagster_project
# Compiled modules stay in .venv also where a shell forbids them: compiling them costs 7 CPU seconds a start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run dev backfill purge pseudonym status connect check check-config alert-test docs metrics ml postgres test test-readers test-superset test-tryton test-long soak audit lint format lock bench bench-build bench-extract bench-forecast bench-report screenshot forecast-report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

run: $(VENV)/.installed ## run the nightly job on the bundled example; CONFIG=… DATA=… AS_OF=2026-03-31 REBUILD=1
	@$(CLI) run $(if $(AS_OF),--as-of "$(AS_OF)") $(if $(REBUILD),--rebuild)

dev: $(VENV)/.installed ## open the Dagster UI on http://127.0.0.1:3000 (PORT=…), with schedule and sensors
	@$(CLI) dev --port "$(PORT)"

backfill: $(VENV)/.installed ## forecast past days again: FROM=2026-03-01 TO=2026-03-30 PLAN=1
	@$(CLI) backfill --from "$(FROM)" --to "$(TO)" $(if $(PLAN),--plan) $(if $(ACCEPT),--accept-changed-definitions)

purge: $(VENV)/.installed ## take one record out of everything: RECORD=hubspot:deal:123 (DRY_RUN=1 says what would go)
	@$(CLI) purge --record "$(RECORD)" $(if $(DRY_RUN),--dry-run)

pseudonym: $(VENV)/.installed ## print how the data name an e-mail address, where they are hashed: EMAIL=ann@example.com
	@$(CLI) pseudonym --email "$(EMAIL)"

status: $(VENV)/.installed ## show the last as_of, days without a forecast, and who holds the lock
	@$(CLI) status

connect: $(VENV)/.installed ## draft a pipeline.yaml from exports and try it: FILES="exports/*.csv" OUT=my/pipeline.yaml
	@$(CLI) connect --files "$(FILES)" --out "$(OUT)" --date-order "$(DATE_ORDER)" --decimal "$(DECIMAL)" $(if $(QUICK),--quick)

check: $(VENV)/.installed ## read what CONFIG=… names without running it: rows kept and rejected, what the data can tell; QUICK=1
	@$(CLI) check $(if $(QUICK),--quick)

check-config: $(VENV)/.installed ## read pipeline.yaml and say what is wrong with it
	@$(CLI) check-config

alert-test: $(VENV)/.installed ## send a test message to the webhook of `alerts:`
	@$(CLI) alert-test

docs: $(VENV)/.installed ## write the dbt documentation and the metric book as pages into the data folder
	@$(CLI) docs

# MetricFlow looks for what dbt parsed in the project's own folder, and for nothing of the private warehouse.
PUBLISHED = $(abspath $(or $(STAGELEDGER_DATA),data))/published/marts.duckdb
metrics: $(VENV)/.installed-dev ## ask the published file: QUERY="--metrics win_rate --group-by metric_time__fiscal_quarter"
	@test -e "$(PUBLISHED)" || { echo "There is no published file $(PUBLISHED): make run writes it." >&2; exit 1; }
	@export STAGELEDGER_PUBLISHED="$(PUBLISHED)" STAGELEDGER_WAREHOUSE=none STAGELEDGER_LANDING=none; \
	export DBT_PROFILES_DIR=. DBT_TARGET=published PATH="$(abspath $(BIN)):$$PATH"; \
	cd dbt && dbt --quiet parse --no-version-check && mf query $(QUERY)

ml: $(VENV)/.installed-ml ## install what `forecast: {challenger: on}` needs (scikit-learn); once
	@echo "Installed. Write forecast: {challenger: on} into pipeline.yaml to use it."

postgres: $(VENV)/.installed-postgres ## install what `publish: {postgres: …}` needs (psycopg); once
	@echo "Installed. Write publish: {postgres: \$${MARTS_POSTGRES_URL}} into pipeline.yaml to use it."

# Half of the time goes into these folders, so they run beside the others, on a second core.
SECOND_HALF := tests/marts tests/pipeline tests/reliability tests/tryton
FIRST_HALF := $(filter-out $(SECOND_HALF),$(patsubst %/,%,$(sort $(wildcard tests/*/))))
test: $(VENV)/.installed-dev ## run all tests, in two halves side by side; TESTS=tests/unit for some
ifeq ($(TESTS),)
	@$(BIN)/python -m pytest $(SECOND_HALF) >$(VENV)/second_half.log 2>&1 & second=$$!; \
	$(BIN)/python -m pytest $(FIRST_HALF); first=$$?; \
	wait $$second; second=$$?; cat $(VENV)/second_half.log; \
	exit $$((first || second))
else
	@$(BIN)/python -m pytest $(TESTS)
endif

test-tryton: $(VENV)/.installed-dev $(TRYTON_VENV)/.installed ## test against a real CRM: Tryton, in an environment of its own
	@STAGELEDGER_TRYTON=$(TRYTON_VENV) $(BIN)/python -m pytest tests/tryton

# The file that the readers open is the one of the data folder; a run makes it where there is none.
test-readers: $(VENV)/.installed-dev $(READERS)/.installed ## open the published file with DuckDB 1.1, 1.4 and 2.0, each in an environment of its own
	@test -e "$(PUBLISHED)" || $(CLI) run
	@STAGELEDGER_READERS=$(READERS) STAGELEDGER_PUBLISHED="$(PUBLISHED)" $(BIN)/python -m pytest tests/bi/test_reader_matrix.py -s

# STAGELEDGER_PICTURE=1 keeps the picture of the dashboard for the documentation.
test-superset: $(VENV)/.installed-dev $(SUPERSET_VENV)/.installed ## test a real Superset on the published file, with the dashboard of docs/superset (two minutes)
	@test -e "$(PUBLISHED)" || $(CLI) run
	@STAGELEDGER_SUPERSET=$(SUPERSET_VENV) STAGELEDGER_PUBLISHED="$(PUBLISHED)" $(BIN)/python -m pytest tests/bi/test_superset.py

test-long: $(VENV)/.installed-dev ## run what takes minutes each: thirty nights of every table, and of a CRM; a day with runs in it; a purge; hashed addresses; 500 waterfalls; killed nights
	@STAGELEDGER_LONG_TESTS=1 $(BIN)/python -m pytest tests/ledger/test_incremental.py tests/reliability/test_salesforce_nights.py tests/pipeline/test_intraday.py tests/pipeline/test_backfills.py tests/reliability/test_publish_readers.py tests/pipeline/test_purge_nightly.py tests/pipeline/test_email_hashing_nightly.py tests/marts/test_waterfall_properties.py tests/reliability/test_nightly_kills.py -k "thirty or 30 or intraday or its_plan or 50 or purged_deal or no_address or random_books or killed_nights"

# A nightly run is killed 100 times where the machine is quick enough; the report says how often it was.
MINUTES ?= 60
soak: $(VENV)/.installed-dev $(FUZZER)/.installed ## disturb the product for an hour (kills, fuzzing, full disks, clocks, readers), and write the report; MINUTES=10
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --out tests/soak/soak.txt

# What has an answer in docs/survival.md is left out. --strict: a version that cannot be looked up is no good news.
LOCKS := requirements.lock requirements-dev.lock requirements-ml.lock requirements-postgres.lock
audit: $(AUDIT)/.installed ## ask for known weaknesses of every locked dependency (needs the network)
	@answered=$$(sed -nE 's/^\| ((GHSA|CVE|PYSEC|OSV)-[^ |]+) .*/--ignore-vuln \1/p' docs/survival.md); \
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes $$answered $(addprefix -r ,$(LOCKS))

lint: $(VENV)/.installed-dev ## check style: ruff on Python, sqlfluff on SQL
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/sqlfluff lint --processes 2 --disable-progress-bar -q dbt/models

format: $(VENV)/.installed-dev ## bring Python into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## measure on the bundled example what dbt costs beside its SQL alone, and Dagster beside dbt alone
	@$(BIN)/python -m tests.benchmark.overhead

bench-build: $(VENV)/.installed-dev ## measure builds of 100,000 and a million deals beside the floor, their growth, and a night
	@$(BIN)/python -m tests.benchmark.build_speed --out tests/benchmark/build_speed.txt

bench-extract: $(VENV)/.installed-dev $(DLT_VENV)/.installed ## measure extraction beside requests with pandas, and dlt, on a local server
	@$(BIN)/python -m tests.benchmark.extract.speed --dlt $(DLT_VENV)

bench-report: $(VENV)/.installed-dev ## measure what the report costs at a million deals, in a published file grown to them (two minutes)
	@$(BIN)/python -m tests.benchmark.report_at_scale

screenshot: $(VENV)/.installed-dev ## take the picture of the report for the README (needs chromium and a published file)
	@$(BIN)/python -m tests.report.screenshot

bench-forecast: $(VENV)/.installed-dev ## measure what the forecast costs at a million deals, and write the report (about ten minutes)
	@$(BIN)/python -m tests.benchmark.forecast_speed --out tests/benchmark/forecast_speed.txt

forecast-report: $(VENV)/.installed-dev ## measure the forecast in simulated businesses whose law is known, and write the report
	@$(BIN)/python -m tests.benchmark.forecast_report --out tests/benchmark/forecast_report.txt

# The development lock comes first, so that the other locks can be held to the same versions.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --generate-hashes
lock: $(VENV)/.installed ## resolve the four requirement locks anew from pyproject.toml
	@$(BIN)/$(LOCK) --upgrade --extra dev --output-file requirements-dev.lock pyproject.toml
	@$(BIN)/$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml
	@$(BIN)/$(LOCK) --constraint requirements-dev.lock --extra ml --output-file requirements-ml.lock pyproject.toml
	@$(BIN)/$(LOCK) --constraint requirements-dev.lock --extra postgres --output-file requirements-postgres.lock pyproject.toml

clean: ## remove the virtual environment and tool caches; the data folder stays
	@rm -rf $(VENV) $(TRYTON_VENV) $(DLT_VENV) $(READERS) $(SUPERSET_VENV) $(FUZZER) $(AUDIT) .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: requirements.lock $(VENV)/.created
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/.installed-ml: requirements-ml.lock $(VENV)/.created
	@$(call install,requirements-ml.lock)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-postgres: requirements-postgres.lock $(VENV)/.created
	@$(call install,requirements-postgres.lock)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.created
	@$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/.installed

# A name on the path is no proof of an interpreter (version managers leave shims), so each is asked.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
$(VENV)/.created:
	@found=; \
	for name in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
		if "$$name" -c '$(SUPPORTED)' >/dev/null 2>&1; then found="$$name"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		have=$$("$(or $(PYTHON),python3)" -c 'import platform; print("is " + platform.python_version())' 2>/dev/null || echo "cannot be run"); \
		echo "Stageledger needs Python 3.11, 3.12 or 3.13, but $(or $(PYTHON),python3) $$have. Install one of them, or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
		echo "$$("$$found" -V) cannot make virtual environments, because its module ensurepip is missing. On Debian and Ubuntu: apt install $$("$$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" -V)"; \
	"$$found" -m venv $(VENV)
	@touch $@

$(TRYTON_VENV)/.installed: tests/tryton/requirements.txt $(VENV)/.created
	@echo "Making $(TRYTON_VENV) (about a minute the first time)"
	@$(BIN)/python -m venv --clear $(TRYTON_VENV)
	@$(TRYTON_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/tryton/requirements.txt
	@touch $@

$(DLT_VENV)/.installed: tests/benchmark/extract/requirements.txt $(VENV)/.created
	@echo "Making $(DLT_VENV) (half a minute the first time)"
	@$(BIN)/python -m venv --clear $(DLT_VENV)
	@$(DLT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/benchmark/extract/requirements.txt
	@touch $@

$(AUDIT)/.installed: Makefile $(VENV)/.created
	@echo "Making $(AUDIT) (about ten seconds the first time)"
	@$(BIN)/python -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

# There is no wheel of it for every system: without it nothing is guided by coverage, and the report says so.
$(FUZZER)/.installed: tests/soak/requirements.txt $(VENV)/.created
	@mkdir -p $(FUZZER)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(FUZZER) --only-binary :all: -r tests/soak/requirements.txt \
	|| echo "atheris has no wheel for this system; fuzzing goes on without it"
	@touch $@

$(SUPERSET_VENV)/.installed: tests/bi/superset_requirements.txt $(VENV)/.created
	@echo "Making $(SUPERSET_VENV) (about two minutes the first time)"
	@$(BIN)/python -m venv --clear $(SUPERSET_VENV)
	@$(SUPERSET_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bi/superset_requirements.txt
	@touch $@

READER_VERSIONS := 1.1.3 1.4.4 2.0.0
$(READERS)/.installed: Makefile $(VENV)/.created
	@for version in $(READER_VERSIONS); do \
		$(BIN)/python -m venv --clear $(READERS)/$$version && \
		$(READERS)/$$version/bin/python -m pip install --quiet --disable-pip-version-check duckdb==$$version || exit 1; \
	done
	@touch $@

# uv comes from the lock itself. It does not read pip's settings, so the index that pip would use is handed
# over; where uv cannot reach the index at all, pip installs the same lock, more slowly.
define install
echo "Installing $(1) (about a minute the first time)"; \
awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' $(1) > $(VENV)/uv.lock.txt; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock.txt || exit 1; \
index="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}}"; \
index="$${index:-$$PIP_INDEX_URL}"; \
VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes $${index:+--index-url "$$index"} -r $(1) \
|| { echo "uv could not install; trying pip"; $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); }
endef
