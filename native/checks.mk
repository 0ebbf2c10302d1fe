# The native code under sanitizers and fuzzers; included by the Makefile. All build in build/ only.

NATIVE_PACKAGES := clang libclang-rt-dev llvm doctest-dev
TOOLS := $(VENVS)/tools/bin
# KenLM's source distribution, if some build has it already.
KENLM_SDIST := $(firstword $(wildcard build/*/kenlm/kenlm-*.tar.gz))
# For each fuzzer, and for the threads.
SECONDS ?= 60
# The Python tests of the native module, for its build under AddressSanitizer.
NATIVE_PYTEST := $(wildcard tests/test_decoder*.py tests/test_confidence.py) tests/test_lexicon.py \
  tests/test_alignment.py \
  tests/test_language_model.py tests/test_language_model_damage.py
SANITIZED := UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=1

.PHONY: sanitize sanitize-native sanitize-python sanitize-threads threads-check fuzz fuzz-check soak \
  native-check native-packages

# $(call configure,FOLDER,OPTIONS) and $(call compile,FOLDER,TARGETS) are quiet unless they fail.
define configure
	@mkdir -p build && $(TOOLS)/cmake -S . -B build/$(1) $(2) \
	  $(if $(KENLM_SDIST),-DDS2_KENLM_SDIST="$(CURDIR)/$(KENLM_SDIST)") \
	  -DPython_EXECUTABLE="$(CURDIR)/$(TOOLS)/python" \
	  -Dpybind11_DIR="$$($(TOOLS)/python -m pybind11 --cmakedir)" >build/$(1).log 2>&1 \
	  || { tail -n 20 build/$(1).log >&2; exit 1; }
endef
define compile
	@$(TOOLS)/cmake --build build/$(1) --target $(2) -j 2 >build/$(1).log 2>&1 \
	  || { tail -n 20 build/$(1).log >&2; exit 1; }
endef
WITH_CLANG := -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
ADDRESS := "-DDS2_SANITIZE=address,undefined"
# The compiler of Python's modules: its runtime can be loaded into a Python that was built without.
FOR_PYTHON := -DCMAKE_C_COMPILER=$(CC) -DCMAKE_CXX_COMPILER=$(CXX) -DDS2_NATIVE_TESTS=ON
THREAD := $(FOR_PYTHON) -DDS2_SANITIZE=thread
# All of ds2edge but the native module, which comes from build/asan or build/tsan.
SANITIZED_PYTHON := $(VENVS)/sanitized/bin/python
# $(call install_native,FOLDER)
define install_native
	@$(TOOLS)/cmake --install build/$(1) >build/$(1).log --prefix \
	  "$$($(SANITIZED_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
endef

$(TOOLS)/.installed: | check
	@test -x $(TOOLS)/pip || $(PYTHON) -m venv $(VENVS)/tools
	@$(TOOLS)/python $(PIP_INSTALL) cmake pybind11 setuptools wheel
	@touch $@

sanitize: SECONDS = 10
sanitize: sanitize-native sanitize-python sanitize-threads

sanitize-native: | native-check $(TOOLS)/.installed
	@echo "Building native tests and module with AddressSanitizer and UBSan, and with ThreadSanitizer ..."
	$(call configure,asan,$(FOR_PYTHON) $(ADDRESS))
	$(call compile,asan,native_tests native_stress _native)
	$(call configure,tsan,$(THREAD))
	$(call compile,tsan,native_tests native_stress _native)
	$(SANITIZED) build/asan/native/tests/native_tests --minimal
	$(SANITIZED) build/asan/native/tests/native_stress
	build/tsan/native/tests/native_tests --minimal
	build/tsan/native/tests/native_stress

# libstdc++ as well, or AddressSanitizer does not find what throws exceptions.
sanitize-python: sanitize-native $(VENVS)/sanitized/.installed
	$(call install_native,asan)
	$(SANITIZED):detect_leaks=0 LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) \
	  $$($(CXX) -print-file-name=libstdc++.so.6)" \
	  $(SANITIZED_PYTHON) -P -m pytest -q -p no:cacheprovider $(NATIVE_PYTEST)

# Eight threads and one Transcriber, under ThreadSanitizer.
sanitize-threads: $(VENVS)/sanitized/.installed | native-check $(TOOLS)/.installed
	@echo "Building the native module with ThreadSanitizer ..."
	$(call configure,tsan,$(THREAD))
	$(call compile,tsan,_native)
	$(call install_native,tsan)
	@CXX="$(CXX)" bash native/tests/race_free.sh $(SANITIZED_PYTHON) --seconds $(SECONDS)

$(VENVS)/sanitized/.installed: $(SOURCES) $(SOURCE_LIST) | check
	@echo "Installing ds2edge into $(VENVS)/sanitized ..."
	@test -x $(VENVS)/sanitized/bin/pip || $(PYTHON) -m venv $(VENVS)/sanitized
	@$(SANITIZED_PYTHON) $(PIP_INSTALL) -C wheel.cmake=false '.[native-tests]'
	@touch $@

threads-check: $(VENVS)/sanitized/.installed | native-check $(TOOLS)/.installed
	@CC="$(CC)" CXX="$(CXX)" TOOLS=$(TOOLS) bash native/tests/planted_races.sh build/threads-check \
	  $(SANITIZED_PYTHON) "$(if $(KENLM_SDIST),$(CURDIR)/$(KENLM_SDIST))"

fuzz: | native-check $(TOOLS)/.installed
	$(call configure,fuzz,$(WITH_CLANG) $(ADDRESS) -DDS2_FUZZ=ON)
	$(call compile,fuzz,fuzz_language_model fuzz_lexicon fuzz_search)
	@bash native/fuzz/fuzz.sh build/fuzz $(SECONDS)

fuzz-check: | native-check $(TOOLS)/.installed
	@TOOLS=$(TOOLS) bash native/fuzz/planted.sh build/fuzz-check \
	  "$(if $(KENLM_SDIST),$(CURDIR)/$(KENLM_SDIST))"

soak: test-slow fuzz fuzz-check sanitize-threads threads-check

native-check:
	$(call need_packages,$(NATIVE_PACKAGES))

native-packages: # for .ci/run
	@echo $(NATIVE_PACKAGES)
