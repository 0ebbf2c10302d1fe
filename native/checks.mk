# The native code under sanitizers and fuzzers; included by the Makefile. All build in build/ only.

NATIVE_PACKAGES := clang libclang-rt-dev llvm doctest-dev
TOOLS := $(VENVS)/tools/bin
# KenLM's source distribution, if some build has it already.
KENLM_SDIST := $(firstword $(wildcard build/*/kenlm/kenlm-*.tar.gz))
# For each fuzzer, and for the threads.
SECONDS ?= 60
# The Python tests of the native module, for its build under AddressSanitizer.
NATIVE_PYTEST := $(wildcard tests/test_decoder*.py tests/test_confidence.py) tests/test_lexicon.py \
  tests/test_alignment.py tests/test_features.py tests/test_native_arrays.py \
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
THREAD := -DCMAKE_C_COMPILER=$(CC) -DCMAKE_CXX_COMPILER=$(CXX) -DDS2_SANITIZE=thread \
  -DDS2_NATIVE_TESTS=ON

$(TOOLS)/.installed: | check
	@test -x $(TOOLS)/pip || $(PYTHON) -m venv $(VENVS)/tools
	@$(TOOLS)/python $(PIP_INSTALL) cmake pybind11 setuptools wheel
	@touch $@

sanitize: SECONDS = 10
sanitize: sanitize-native sanitize-python sanitize-threads

sanitize-native: | native-check $(TOOLS)/.installed
	@echo "Building the native tests with AddressSanitizer and UBSan ..."
	$(call configure,asan,$(WITH_CLANG) $(ADDRESS) -DDS2_NATIVE_TESTS=ON)
	$(call compile,asan,native_tests native_stress)
	$(SANITIZED) build/asan/native/tests/native_tests --minimal
	$(SANITIZED) build/asan/native/tests/native_stress

# libstdc++ as well, or AddressSanitizer does not find what throws exceptions.
sanitize-python: $(VENVS)/asan/.installed
	$(SANITIZED):detect_leaks=0 LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) \
	  $$($(CXX) -print-file-name=libstdc++.so.6)" \
	  $(VENVS)/asan/bin/pytest -q -p no:cacheprovider $(NATIVE_PYTEST)

$(VENVS)/asan/.installed: $(SOURCES) $(SOURCE_LIST) | check
	@echo "Installing ds2edge with AddressSanitizer and UBSan into $(VENVS)/asan ..."
	@test -x $(VENVS)/asan/bin/pip || $(PYTHON) -m venv $(VENVS)/asan
	@$(VENVS)/asan/bin/python $(PIP_INSTALL) -C build-dir=build/asan-python -C install.strip=false \
	  -C cmake.define.DS2_SANITIZE="address,undefined" '.[native-tests]'
	@touch $@

# The native tests, then eight threads and one Transcriber, under ThreadSanitizer.
sanitize-threads: $(VENVS)/tsan/.installed | native-check $(TOOLS)/.installed
	@echo "Building the native module and its tests with ThreadSanitizer ..."
	$(call configure,tsan,$(THREAD))
	$(call compile,tsan,_native native_tests native_stress)
	build/tsan/native/tests/native_tests --minimal
	build/tsan/native/tests/native_stress
	@$(TOOLS)/cmake --install build/tsan >build/tsan.log --prefix \
	  "$$($(VENVS)/tsan/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
	@CXX="$(CXX)" bash native/tests/race_free.sh $(VENVS)/tsan/bin/python --seconds $(SECONDS)

# All but the native module, which comes from build/tsan.
$(VENVS)/tsan/.installed: $(SOURCES) $(SOURCE_LIST) | check
	@echo "Installing ds2edge into $(VENVS)/tsan ..."
	@test -x $(VENVS)/tsan/bin/pip || $(PYTHON) -m venv $(VENVS)/tsan
	@$(VENVS)/tsan/bin/python $(PIP_INSTALL) -C wheel.cmake=false .
	@touch $@

threads-check: $(VENVS)/tsan/.installed | native-check $(TOOLS)/.installed
	@CC="$(CC)" CXX="$(CXX)" TOOLS=$(TOOLS) bash native/tests/planted_races.sh build/threads-check \
	  $(VENVS)/tsan/bin/python "$(if $(KENLM_SDIST),$(CURDIR)/$(KENLM_SDIST))"

fuzz: | native-check $(TOOLS)/.installed
	$(call configure,fuzz,$(WITH_CLANG) $(ADDRESS) -DDS2_FUZZ=ON)
	$(call compile,fuzz,fuzz_language_model fuzz_lexicon fuzz_search)
	@bash native/fuzz/fuzz.sh build/fuzz $(SECONDS)

fuzz-check: | native-check $(TOOLS)/.installed
	@TOOLS=$(TOOLS) bash native/fuzz/planted.sh build/fuzz-check \
	  "$(if $(KENLM_SDIST),$(CURDIR)/$(KENLM_SDIST))"

soak: test-slow fuzz fuzz-check sanitize-threads threads-check server-soak server-fuzz

native-check:
	$(call need_packages,$(NATIVE_PACKAGES))

native-packages: # for .ci/run
	@echo $(NATIVE_PACKAGES)
