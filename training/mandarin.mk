# A Mandarin model, from recordings and texts to the bundle:
#
#     make lm-tools
#     make -f training/mandarin.mk model SPEECH=speech TEXT=text
#
# RECIPE names the configuration, and with it the corpora. As it stands, `zh`: single words of one
# speaker, and sentences that espeak-ng speaks, for a model that begins with what the embedded English
# one has learned of speech, in two stages: `zh-first`, then `zh`. `zh-aishell`, from random weights
# and in one: AISHELL-1 and THCHS-30, as they were downloaded to DOWNLOADS/aishell-1 and
# DOWNLOADS/thchs-30.
#
# Each step is done once, and again when what it is made of has changed; interrupted, the same
# command goes on, within a training run, too. Everything is written below WORK.

include training/recipe.mk

WORK ?= build/mandarin
RECIPE ?= zh
DOWNLOADS ?= downloads
CONFIG := $(CONFIGS)/$(RECIPE).toml
# The stage before, of a recipe that has one.
FIRST := $(wildcard $(CONFIGS)/$(RECIPE)-first.toml)
# --simplify needs ds2edge[zh].
PREPARE ?= --numerals zh --simplify
TOKENS ?= --coverage 0.9995
LM ?= --order 5 --prune 0 0 1 1 2
# espeak-ng 1.51 reads what is meant for its voice cmn as if it were English; this one is right.
VOICES ?= 'espeak-ng-cmn-Latn-pinyin*'
SYNTH ?= --hours 6
SYNTH_HELD ?= --limit 600
JOBS ?= 2
# What training begins with; nothing: random weights.
START ?= $(if $(filter zh,$(RECIPE)),$(WORK)/start.npz)
# Of the weights, as their corpora have it.
LICENCE ?= $(if $(filter mandarin-words,$(NAMED)),CC-BY-SA-4.0,Apache-2.0)
CONVERT ?= --beam 200

DATA := $(WORK)/speech
NAMED := $(shell grep -oh 'folder = "[^"]*"' $(CONFIG) | cut -d'"' -f2 | sort -u)
MADE := $(filter synthetic synthetic-held,$(NAMED))
IMPORTED := $(filter aishell-1 thchs-30,$(NAMED))
GIVEN := $(filter-out $(MADE) $(IMPORTED),$(NAMED))
# Each corpus is there when its file is.
GIVEN_THERE := $(if $(GIVEN),$(DATA)/.linked)
IMPORTED_THERE := $(IMPORTED:%=$(DATA)/%/manifest.tsv)
MADE_THERE := $(MADE:%=$(DATA)/%/manifest.tsv)
THERE := $(GIVEN_THERE) $(IMPORTED_THERE) $(MADE_THERE)
RECORDED := $(foreach name,$(GIVEN) $(IMPORTED),$(DATA)/$(name)/manifest.tsv)
# Of split dev and test.
HELD := $(RECORDED) $(filter %-held/manifest.tsv,$(MADE_THERE))
SPLIT_COLUMN = $$5

speak = $(DS2EDGE) data synth $< -o $(@D) --tokens $(WORK)/tokens --jobs $(JOBS) \
  --language cmn --engine espeak-ng --voices $(VOICES)

train = $(DS2EDGE) train $(1) --tokens $(WORK)/tokens --data $(DATA) --out $(@D) $(2:%=--start %)

.PHONY: help model evaluate

help:
	@echo "make -f training/mandarin.mk model [SPEECH=speech] [TEXT=text] [WORK=build/mandarin]"
	@echo "                                   [RECIPE=zh|zh-aishell] [DOWNLOADS=downloads]"
	@echo "  $(WORK)/text      ds2edge data text: sentences as they are said, some held out"
	@echo "  $(WORK)/tokens    ds2edge data tokens: the characters that cover them"
	@echo "  $(DATA)    the corpora: given, imported or spoken by espeak-ng"
	@echo "  $(WORK)/lm        ds2edge lm: a 5-gram of characters"
	@echo "  $(WORK)/start.npz ds2edge restore: the weights of the embedded model"
	@echo "  $(WORK)/first     ds2edge train: a model that knows characters"
	@echo "  $(WORK)/train     ds2edge train --start: it goes on; zh-aishell has but this one"
	@echo "  $(WORK)/zh        ds2edge convert: the bundle"
	@echo "and, of that model:"
	@echo "  evaluate   ds2edge evaluate: error rates on split test; each such look is logged"

model: $(WORK)/zh/manifest.json

evaluate: $(WORK)/zh/manifest.json
	$(DS2EDGE) evaluate $(HELD) --split test --bundle $(WORK)/zh \
	  --seen $(RECORDED) $(filter %/synthetic/manifest.tsv,$(MADE_THERE)) \
	  --report $(WORK)/test.html --json $(WORK)/test.json

# Links: SPEECH is never written to.
$(DATA)/.linked: $(GIVEN:%=$(SPEECH)/%/manifest.tsv)
	mkdir -p $(DATA)
	ln -sfn $(GIVEN:%=$(abspath $(SPEECH))/%) $(DATA)
	touch $@

$(IMPORTED_THERE): $(DATA)/%/manifest.tsv: $(DOWNLOADS)/%
	$(DS2EDGE) data import $* $< -o $(@D) --jobs $(JOBS)

# Each sentence once, in an order of their own, always the same; one in fifty is for dev and test
# alone.
$(WORK)/text/all.txt: $(wildcard $(TEXT)/zh-*)
	@test "$^" || { echo "no text: needed $(TEXT)/zh-*; give its folder as TEXT=" >&2; exit 2; }
	mkdir -p $(@D)
	$(DS2EDGE) data text $^ -o $@.sorted $(PREPARE)
	awk 'BEGIN { srand(1) } !said[$$0]++ { printf "%.9f\t%s\n", rand(), $$0 }' $@.sorted \
	  | LC_ALL=C sort | cut -f 2- > $@
	rm $@.sorted

$(WORK)/text/zh.txt: $(WORK)/text/all.txt
	awk 'NR % 50' $< > $@

$(WORK)/text/held-out.txt: $(WORK)/text/all.txt
	awk 'NR % 50 == 0' $< > $@

# What is said in the recordings that are trained on.
$(WORK)/text/said.txt: $(GIVEN_THERE) $(IMPORTED_THERE)
	mkdir -p $(@D)
	awk -F '\t' '$(SPLIT_COLUMN) == "train" { print $$3 }' $(RECORDED) > $@

$(WORK)/tokens: $(WORK)/text/zh.txt $(WORK)/text/said.txt
	$(DS2EDGE) data tokens $^ -o $@ --examples $(RECORDED) $(TOKENS)

$(WORK)/lm/language_model.json: $(WORK)/text/zh.txt $(WORK)/text/said.txt $(WORK)/tokens
	$(DS2EDGE) lm $(WORK)/text/zh.txt $(WORK)/text/said.txt -o $(@D) --tokens $(WORK)/tokens \
	  --tools $(TOOLS) $(LM)

$(DATA)/synthetic/manifest.tsv: $(WORK)/text/zh.txt $(WORK)/tokens
	$(speak) $(SYNTH)

$(DATA)/synthetic-held/manifest.tsv: $(WORK)/text/held-out.txt $(WORK)/tokens
	$(speak) --seed 1 --dev-share 0.4 --split test $(SYNTH_HELD)

$(WORK)/start.npz:
	mkdir -p $(@D)
	$(DS2EDGE) restore en -o $@

$(WORK)/first/.begun: $(FIRST) $(WORK)/tokens $(START) $(THERE)
	$(begin)

$(WORK)/first/.done: $(WORK)/first/.begun
	$(call train,$(FIRST),$(START))
	touch $@

$(WORK)/train/.begun: $(CONFIG) $(WORK)/tokens $(if $(FIRST),$(WORK)/first/.done,$(START)) $(THERE)
	$(begin)

$(WORK)/train/.done: $(WORK)/train/.begun
	$(call train,$(CONFIG),$(if $(FIRST),$(WORK)/first/best.npz,$(START)))
	touch $@

# One manifest for all that tunes and measures.
$(DATA)/held-out.tsv: $(GIVEN_THERE) $(IMPORTED_THERE) $(MADE_THERE)
	awk -F '\t' -v OFS='\t' 'NR == 1 { print } \
	  FNR == 1 { n = split(FILENAME, parts, "/"); folder = parts[n - 1]; next } \
	  $(SPLIT_COLUMN) != "train" { $$1 = folder "/" $$1; print }' $(HELD) > $@

$(WORK)/zh/manifest.json: $(WORK)/train/.done $(WORK)/lm/language_model.json $(DATA)/held-out.tsv
	$(DS2EDGE) convert $(WORK)/train/best.npz -o $(@D) --language-model $(WORK)/lm \
	  --dev $(DATA)/held-out.tsv --test $(DATA)/held-out.tsv \
	  --notes $(CONFIGS)/$(RECIPE).md --language zh --licence $(LICENCE) $(CONVERT)
