# The two commands of a newcomer: `make demo` and `make test`. Both work in .venv/ and build/ only.

PYTHON ?= python3
# The recording that `make demo` transcribes; a line of its folder's manifest.tsv tells who speaks.
DEMO ?= tests/data/speech/2428-83705-0017.mp3
# Of the server's soak, and how many bad frames its fuzzer sends.
MINUTES ?= 30
STREAMS ?= 40
FRAMES ?= 100000

VENVS := .venv
WHEEL := build/wheel
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
NEEDED_PACKAGES := python3-dev python3-venv g++ make
LM_PACKAGES := libboost-program-options-dev libboost-system-dev libboost-thread-dev
SYSTEM_PACKAGES := $(LM_PACKAGES) \
  libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils ffmpeg xvfb python3-tk \
  flite espeak-ng festival festvox-kallpc16k festvox-us-slt-hts chromium chromium-driver
# What runs where only tflite-runtime is, as on boards for which LiteRT has no wheel; no training.
TFLITE_TESTS := tests/test_bundle.py \
  $(filter-out tests/test_contract_mandarin.py,$(wildcard tests/test_contract*.py))
LAVAPIPE := tests/install_lavapipe.sh

PACKAGE_FOLDERS := $(wildcard ds2edge native training convert LICENSES)
SOURCES := pyproject.toml CMakeLists.txt \
  $(shell find $(PACKAGE_FOLDERS) -type f -not -name '*.pyc' -not -name '.*' \
    -not -path 'native/tests/*' -not -path 'native/fuzz/*')
# Changes when a source is added or removed, which no file's time tells.
SOURCE_LIST := $(VENVS)/sources
$(shell mkdir -p $(VENVS); echo '$(SOURCES)' | cmp -s - $(SOURCE_LIST) || echo '$(SOURCES)' > $(SOURCE_LIST))

.PHONY: help demo test test-slow test-system docs faults server-soak server-fuzz lm-tools system-packages check lm-check system-check clean

# $(call need_packages,NAMES): all that are missing, in one line; says nothing outside Debian.
define need_packages
	@missing=; ! command -v dpkg-query >/dev/null || for name in $(1); do \
	  dpkg-query --show --showformat='$${Status}' $$name 2>/dev/null | grep -q ' installed' \
	    || missing="$$missing $$name"; done; \
	  test -z "$$missing" || { echo "make: missing$$missing; install with: sudo apt-get install$$missing" >&2; exit 1; }
endef

COMMA := ,
# $(call install,VENV,EXTRAS,PACKAGES): a wheel of the same version is not installed again by itself.
define install
	@test -x $(VENVS)/$(1)/bin/pip || $(PYTHON) -m venv $(VENVS)/$(1)
	@wheel=$$(ls $(WHEEL)/*.whl) && cd $(VENVS)/$(1) && \
	  bin/python $(PIP_INSTALL) --force-reinstall --no-deps "$(CURDIR)/$$wheel" && \
	  bin/python $(PIP_INSTALL) "$(CURDIR)/$$wheel$(2)" $(3)
	@touch $(VENVS)/$(1)/.installed
endef

.DEFAULT_GOAL := help
include native/checks.mk

help:
	@echo "make demo         build, install into $(VENVS)/demo, transcribe a recording"
	@echo "make test         build, install into $(VENVS)/test with TensorFlow, run all checks and tests"
	@echo "make test-slow    tests that train or measure for some minutes"
	@echo "make test-system  the tests that need Debian packages: $(SYSTEM_PACKAGES)"
	@echo "                  and Mesa 25's software Vulkan: $(LAVAPIPE)"
	@echo "make docs         build the documentation into build/docs"
	@echo "make faults       plant faults in a copy of the source; each must make a test fail; needs chromium"
	@echo "make lm-tools     build KenLM's lmplz and build_binary into build/tools, for ds2edge lm"
	@echo "make sanitize     native tests and threads under AddressSanitizer, UBSan and ThreadSanitizer"
	@echo "make fuzz SECONDS=600    fuzz the native code, so long with each of the three fuzzers"
	@echo "make fuzz-check   plant memory errors in a copy of the source; a fuzzer must find each"
	@echo "make sanitize-threads SECONDS=600    mixed work on eight threads under ThreadSanitizer"
	@echo "make threads-check   plant data races in a copy of the source; the threads must show each"
	@echo "make server-soak MINUTES=30 STREAMS=40    the server with clients that vanish, stall and send garbage"
	@echo "make server-fuzz FRAMES=100000    bad frames for the server"
	@echo "make soak         make test-slow, fuzz, fuzz-check, sanitize-threads, threads-check, server-soak"
	@echo "                  and server-fuzz; those of native code need Debian packages: $(NATIVE_PACKAGES)"
	@echo "make clean        remove $(VENVS)/ and build/"
	@echo "PYTHON=python3.12 chooses another Python, 3.11 or newer"

demo: $(VENVS)/demo/.installed
	@row=$$(awk -F '\t' -v name='$(notdir $(DEMO))' '$$1 == name' '$(dir $(DEMO))manifest.tsv'); \
	  printf '\nRecording  %s (speaker: %s)\n' '$(DEMO)' "$$(printf %s "$$row" | cut -f 4)"; \
	  printf 'Said       %s\n' "$$(printf %s "$$row" | cut -f 3)"
	@printf 'Heard      ' && $(VENVS)/demo/bin/ds2edge transcribe '$(DEMO)'

test: $(VENVS)/test/.installed
	$(VENVS)/test/bin/ruff check .
	cd tests && ../$(VENVS)/test/bin/mypy --config-file ../pyproject.toml --package ds2edge
	$(VENVS)/test/bin/pytest -n 2 --dist loadfile -m 'not system and not slow'

test-slow: $(VENVS)/test/.installed
	$(VENVS)/test/bin/pytest -m slow

test-system: $(VENVS)/test/.installed $(VENVS)/tflite/.installed system-check lm-tools
	$(VENVS)/test/bin/pytest -m system
	$(VENVS)/tflite/bin/pytest -n 2 --dist loadfile -m 'not system' $(TFLITE_TESTS)

docs: $(VENVS)/docs/.installed
	$(VENVS)/docs/bin/sphinx-build -q -W --keep-going -n docs build/docs
	@echo "build/docs/index.html"

faults: $(VENVS)/test/.installed
	PATH="$(CURDIR)/$(VENVS)/test/bin:$$PATH" $(VENVS)/test/bin/python tests/plant_faults.py

server-soak: $(VENVS)/test/.installed
	$(VENVS)/test/bin/python benchmarks/serving_soak.py --minutes $(MINUTES) --streams $(STREAMS)

server-fuzz: $(VENVS)/test/.installed
	$(VENVS)/test/bin/python tests/fuzz_server.py --frames $(FRAMES)

lm-tools: | check lm-check $(TOOLS)/.installed
	$(call configure,tools,-DDS2_LM_TOOLS=ON)
	$(call compile,tools,lmplz build_binary)
	@echo "build/tools has lmplz and build_binary"

# Built once, for all environments but those of the sanitizers.
$(WHEEL)/.built: $(SOURCES) $(SOURCE_LIST) | check
	@echo "Building ds2edge: some minutes the first time ..."
	@rm -rf $(WHEEL)
	@test -x $(VENVS)/wheel/bin/pip || $(PYTHON) -m venv $(VENVS)/wheel
	@$(VENVS)/wheel/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w $(WHEEL) .
	@touch $@

$(VENVS)/demo/.installed: $(WHEEL)/.built
	$(call install,demo)

$(VENVS)/test/.installed: $(WHEEL)/.built
	@echo "Installing it with TensorFlow into $(VENVS)/test; TensorFlow is large: the first time some 700 MB are downloaded ..."
	$(call install,test,[train$(COMMA)dev])

$(VENVS)/tflite/.installed: $(WHEEL)/.built
	$(call install,tflite,[tflite$(COMMA)native-tests],'jiwer>=4' 'pytest-xdist>=3.6')
	@$(VENVS)/tflite/bin/python -m pip uninstall --quiet --yes ai-edge-litert

$(VENVS)/docs/.installed: $(WHEEL)/.built
	$(call install,docs,[docs])

# All that is missing, in one line.
check:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "make: missing $(PYTHON); install with: sudo apt-get install python3 $(NEEDED_PACKAGES)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: ds2edge needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V); name another: make PYTHON=python3.12" >&2; exit 1; }
	@missing=; \
	  $(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
	    || missing="$$missing python3-dev"; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	  command -v $(CXX) >/dev/null || missing="$$missing g++"; \
	  command -v make >/dev/null || missing="$$missing make"; \
	  test -z "$$missing" || { echo "make: missing$$missing; install with: sudo apt-get install$$missing" >&2; exit 1; }

lm-check:
	$(call need_packages,$(LM_PACKAGES))

system-check:
	$(call need_packages,$(SYSTEM_PACKAGES))
	@! command -v dpkg-query >/dev/null || $(LAVAPIPE) --check || \
	  { echo "make: missing Mesa 25's software Vulkan; install with: sudo $(LAVAPIPE)" >&2; exit 1; }

system-packages: # for .ci/run
	@echo $(SYSTEM_PACKAGES)

clean:
	rm -rf $(VENVS) build
