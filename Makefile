# Two commands matter: `make run` and `make test`. Each sets up what it needs on first use, and reports its progress.
PYTHON ?= python3

# A shell may have variables for other programs (PYTHONHOME, PYTHONWARNINGS, PYTEST_ADDOPTS, ...): do not pass them on.
unexport $(filter PYTHON% PYTEST_%,$(.VARIABLES))
export PYTHONUTF8 := 1

# `make help` prints each goal that has a text: `goal: prerequisites ## Group: text`.
GROUPS := Run Test Ship Operate Measure

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: $(shell awk -F ':' '/^[a-z-]+:/{print $$1}' $(firstword $(MAKEFILE_LIST)))

help: ## Run: print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{group = $$2; sub(/:.*/, "", group); sub(/^[A-Za-z]+: /, "", $$2); goals[group] = goals[group] sprintf("  make %-14s  %s\n", $$1, $$2)} \
	  END {count = split("$(GROUPS)", groups, " "); for (i = 1; i <= count; i++) printf "%s%s\n%s", (i > 1 ? "\n" : ""), groups[i], goals[groups[i]]}' $(firstword $(MAKEFILE_LIST))

run: setup-local ## Run: start everything on this machine; Ctrl-C ends it (API_PORT, TERRA_PORT, DEMO_PORT, ... set the ports)
	@exec .venv/bin/python -m local.stack --parent $$PPID

sam-local: build ## Run: start the same stack with the functions in containers, by sam local (needs Docker); Ctrl-C ends it
	@exec .venv/bin/python -m local.stack --sam --parent $$PPID

invoke: setup-local ## Run: run a function with its event in events/, beside a running `make sam-local` (F=create_session)
	@.venv/bin/python -m local.sam_invoke $(F)

reconcile: setup-local ## Run: start a sweep in the running local stack now, as its schedule does
	@.venv/bin/python -m local.invoke reconcile

data: setup-local ## Run: let the simulator send data: C="send sleep" (TERRA_PORT; C=--help lists the commands)
	@.venv/bin/python -m terra_simulator data --url http://127.0.0.1:$(or $(TERRA_PORT),4102) $(C)

doctor: setup-local ## Operate: diagnose the running local stack, or a deployed one (STAGE=dev of samconfig.toml)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.doctor $(addprefix --stage ,$(STAGE))

logs: setup-local ## Operate: follow the lines of the running local stack, or the functions' logs of STAGE=dev (FILTER=alice, SINCE=1h)
	@.venv/bin/python -m tools.logs $(addprefix --stage ,$(STAGE)) $(if $(FILTER),--filter "$(FILTER)") $(addprefix --since ,$(SINCE))

test: setup-tests ## Test: run every test, on free ports; `make run` may be running, too. One suite: make test T=tests/unit
	@.venv/bin/python -m local.stack --fetch-only
	@.venv/bin/python -m pytest --numprocesses auto $(T)
	@$(if $(T),,.venv/bin/python -m pytest tests/least_privilege)

test-sam: setup-tests build ## Test: run the end-to-end tests and every event with sam local (needs Docker)
	@.venv/bin/python -m local.stack --sam --fetch-only
	@STACK=sam-local .venv/bin/python -m pytest --timeout 900 $(or $(T),tests/e2e tests/sam --ignore tests/e2e/test_running_api.py)

test-deploy: setup-tests build ## Test: deploy the build into an emulated AWS account, and test it (needs Python 3.13)
	@.venv/bin/python -m tests.support.account
	@.venv/bin/python -m pytest --numprocesses 2 --dist loadfile --exitfirst -v $(or $(T),tests/deployed)

check: setup-tests lint-template ## Test: run ruff, mypy --strict, cfn-lint and checkov, and check the generated clients
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	@.venv/bin/python -m tools.clients check

flat-cost: setup-tests ## Measure: measure requests with 1,000 and with 100,000 connections (SIZES, ROUNDS; WRITE=1 writes docs/performance.md)
	@.venv/bin/python -m local.stack --fetch-only
	@.venv/bin/python -m benchmarks.flat_cost $(if $(SIZES),--sizes $(SIZES)) $(addprefix --rounds ,$(ROUNDS)) $(if $(WRITE),--write)

data-soak: setup-tests ## Measure: deliver data during failures, and check that nothing is lost (DELIVERIES=100000, SEED)
	@.venv/bin/python -m local.stack --fetch-only
	@.venv/bin/python -m benchmarks.data_soak $(addprefix --deliveries ,$(DELIVERIES)) $(addprefix --seed ,$(SEED))

costs: setup-tests ## Measure: compute docs/costs.md (MEASURE=1 measures what requests consume first)
	@.venv/bin/python -m local.stack --fetch-only
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m benchmarks.costs $(if $(MEASURE),--measure)

sweep-time: setup-tests ## Measure: measure how long a sweep of a million connections takes (SIZE; WRITE=1 writes docs/architecture.md)
	@.venv/bin/python -m local.stack --fetch-only
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m benchmarks.sweep_time $(if $(SIZE),--size $(SIZE)) $(if $(WRITE),--write)

format: setup-tests ## Test: format the code with ruff, and apply its automatic fixes
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lint-template: setup-tests ## Test: run cfn-lint with the serverless rules, and checkov
	.venv/bin/cfn-lint -a cfn_lint_serverless.rules -- template.yaml deployer.yaml
	@echo "checkov template.yaml and deployer.yaml (about a minute)"
	@$(PYTHON) -m tools.setup checkov

build: setup-local ## Ship: build the deployment artefacts (.aws-sam/), and list their contents
	@$(PYTHON) -m tools.setup sam build
	@$(PYTHON) -m tools.build report

bench: setup-tests ## Measure: measure cold starts of the `make build` output, and write docs/performance.md
	@.venv/bin/python -m benchmarks.cold_start

audit: build ## Test: check all packages for known vulnerabilities; write a bill of materials (build/sbom.cdx.json)
	@$(PYTHON) -m tools.setup audit

# A mistake in the stage or in the AWS configuration is reported before the build, which takes half a minute.
check-stage: setup-local
	@.venv/bin/python -m tools.deploy --check $(STAGE) $(OPTIONS)

deploy: check-stage build ## Ship: deploy the stage STAGE of samconfig.toml (OPTIONS for `sam deploy`)
	@.venv/bin/python -m tools.deploy $(STAGE) $(OPTIONS)

package: build ## Ship: make the archive of a release and the clients' packages (build/), and upload the code (BUCKET, REGION)
	@.venv/bin/python -m tools.clients package
	@.venv/bin/python -m tools.package archive $(addprefix --bucket ,$(BUCKET)) $(addprefix --region ,$(REGION))

clients: setup-tests ## Ship: generate the types of the clients anew, after a change of openapi.yaml or of an event's schema
	@.venv/bin/python -m tools.clients generate

deploy-package: check-stage ## Ship: deploy the archive in build/package/ as make deploy does, without a build
	@.venv/bin/python -m tools.package unpack
	@.venv/bin/python -m tools.deploy $(STAGE) $(OPTIONS)

secrets: setup-local ## Ship: store Terra's API key and signing secret in the secrets of STAGE (NAME, FORGET: docs/deploying.md)
	@.venv/bin/python -m tools.put_secrets $(STAGE) $(addprefix --name ,$(NAME)) $(addprefix --forget ,$(FORGET))

terra: setup-local ## Ship: create or update the webhook destination of STAGE at Terra (ROTATE=1, DRY_RUN=1: docs/terra.md)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.terra $(STAGE) $(if $(ROTATE),--rotate) $(addprefix --destination ,$(DESTINATION)) $(if $(DRY_RUN),--dry-run) $(if $(YES),--yes)

recover: setup-local ## Operate: let Terra resend the deliveries to STAGE that failed (SINCE=6h or a time, DRY_RUN=1, YES=1)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.terra.recover $(STAGE) --since "$(SINCE)" $(if $(DRY_RUN),--dry-run) $(if $(YES),--yes)

verify-live: setup-local ## Operate: settle open questions about Terra in a test environment (DEV_ID, RECEIVER_URL: docs/terra.md)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.verify_live --dev-id "$(DEV_ID)" --receiver-url "$(RECEIVER_URL)" $(addprefix --port ,$(RECEIVER_PORT)) $(if $(FACTS),--facts "$(FACTS)") $(if $(ROTATE),--rotate) $(if $(LOGIN),--login) $(if $(SDK),--sdk) $(if $(DRY_RUN),--dry-run) $(if $(YES),--yes)

refetch: setup-local ## Operate: let Terra send the payloads to STAGE again that could not be fetched (DRY_RUN=1, YES=1)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.terra.refetch $(STAGE) $(if $(DRY_RUN),--dry-run) $(if $(YES),--yes)

import: setup-local ## Ship: adopt users' connections at Terra into STAGE, from FILE=users.csv or Terra's list (docs/moving-in.md)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.import_users $(STAGE) $(if $(FILE),--file "$(FILE)") $(if $(APPLY),--apply) $(if $(REPORTS),--reports "$(REPORTS)")

restore: setup-local ## Operate: merge a restored or retained table (FROM) into the Connections of STAGE (docs/runbook.md)
	@PYTHONPATH=layers/terra_connections .venv/bin/python -m tools.restore $(STAGE) $(addprefix --source ,$(FROM))

docs: setup-local ## Ship: build the documentation site (build/site/), and check its links
	@$(PYTHON) -m tools.setup docs
	@echo "build/site/index.html is the site; python3 -m http.server --directory build/site serves it, with search"

screenshot: setup-tests ## Ship: take README's picture of the demo app again (docs/images/demo.png; needs Chromium)
	@.venv/bin/python -m local.stack --fetch-only
	@.venv/bin/python -m tests.support.screenshot

validate: setup-local ## Test: run sam validate --lint
	@$(PYTHON) -m tools.setup sam validate --lint

lock: python ## Test: write every requirements lock anew (LOCK_OPTIONS=--upgrade for newer versions)
	@$(PYTHON) -m tools.setup lock

clean: python ## Run: delete local data, keys and build output
	@$(PYTHON) -m tools.setup clean

setup-local: python
	@$(PYTHON) -m tools.setup local

setup-tests: python
	@$(PYTHON) -m tools.setup tests

# A Python that is too old cannot parse the project's programs: this check uses only syntax that every version has.
python:
	@command -v "$(PYTHON)" >/dev/null || { echo '$(PYTHON) is not installed. Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1), and 3.11 to 3.14 is needed. Name another one (make PYTHON=python3.13 ...) or install one; Debian and Ubuntu: apt install python3.11 python3.11-venv; macOS: brew install python@3.13" >&2; exit 1; }
