# make course   install, run every notebook, leave build/index.html: pages, decks, exercises, answers, reference
# make test     install, run every test and check every notebook's numbers
# make lab      install, open JupyterLab on notebooks/
# make test-browser  install, try labs and decks in Chromium, which must be there; pictures in build/browser
# make lint     install, check the style of all code with ruff; make format mends what ruff can mend
# make lines    print how long the package and its tests are, against what the house plan allows
# make figures  install, draw the README's pictures anew
# make lock     refresh requirements.lock and requirements-dev.lock from pyproject.toml
# make lowest   install the lowest versions that pyproject.toml allows into .lowest, run the unit tests there
# make help     print these lines

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
# PyTorch's threads spin for some microseconds and then sleep while they wait for one another. Spinning for long makes
# a step twenty times as slow beside another busy program; never spinning makes it twice as slow on an idle computer.
export GOMP_SPINCOUNT ?= 1000
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
export UV_PYTHON_PREFERENCE := only-system
export UV_SYSTEM_CERTS := 1

.PHONY: course test test-browser lab lint format lines figures lock lowest clean help
.DELETE_ON_ERROR:

course: .venv/synced
	$(BIN)/python -m tools.site.course

test: .venv/synced-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations=25 tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/sanitize.cfg \
		--nbval-cell-timeout=480 --numprocesses 2 --dist loadfile --durations=5 --ignore notebooks/exercises notebooks

lab: .venv/synced
	$(BIN)/jupyter lab --ServerApp.tornado_settings="{'websocket_max_message_size': 67108864}" notebooks

test-browser: .venv/synced-dev
	$(BIN)/python -m pytest tests/browser --durations=5

lint: .venv/synced-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/synced-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lines:
	@$(PYTHON) tools/lines.py

figures: .venv/synced
	$(BIN)/python notebooks/figures/make_figures.py

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'd2lstyle needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 2; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# A stamp is younger than its lock exactly when .venv holds what the lock names. Both locks agree on what they share:
# students get what runs the course, developers also what tests and measures it.
.venv/synced: requirements.lock pyproject.toml | $(UV)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(call install,requirements.lock)

.venv/synced-dev: requirements-dev.lock .venv/synced
	$(call install,requirements-dev.lock)

define install
	VIRTUAL_ENV=.venv $(UV) pip sync --require-hashes $(1)
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
endef

lock: $(UV)
	$(UV) lock --upgrade
	$(UV) export --quiet --group build --no-emit-project --output-file requirements.lock
	$(UV) export --quiet --all-groups --all-extras --no-emit-project --output-file requirements-dev.lock
	@! grep -n '://' requirements*.lock || { echo 'a lock names a host'; exit 1; }

lowest: $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) .lowest
	VIRTUAL_ENV=.lowest $(UV) pip install --quiet --resolution lowest-direct --editable '.[test,peers]'
	OMP_NUM_THREADS=1 .lowest/bin/python -m pytest --numprocesses 2 --dist worksteal tests

help:
	@sed -n 's/^# make/make/p' Makefile

clean:
	rm -rf build .venv .tools .lowest
