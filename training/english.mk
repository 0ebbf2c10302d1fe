# The embedded English model, from recordings and texts to the bundle:
#
#     make -f training/english.mk model SPEECH=speech TEXT=text
#
# Each step is done once, and again when what it is made of has changed; interrupted, the same
# command goes on, within a training run, too. Everything is written below WORK.

SPEECH ?= speech
TEXT ?= text
WORK ?= build/english
CONFIGS ?= training/configs
DS2EDGE ?= ds2edge
PYTHON ?= python
# Folder of lmplz and build_binary, which `make lm-tools` builds.
TOOLS ?= build/tools
STEADY ?= --each 60
LM ?= --prune 0 0 2 3
# What finds the words that are cut out of recordings.
LISTENER ?= --checkpoint $(WORK)/first/best.npz
# The prior's weight is what `ds2edge tune` found on split dev.
CONVERT ?= --beam 256 --max-ambiguity 27 --delay 0.16 --prior-weight 0.6 --licence CC-BY-4.0

DATA := $(WORK)/speech
DEV := $(DATA)/librispeech/manifest.tsv
# Words with nothing around them: pieces between pauses, however short these are.
SHORT := librispeech speechocean762
PIECES := --target 0.6 --longest 1.5 --shortest 0.15 --pause 0.05 --margin 0.02

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help model

help:
	@echo "make -f training/english.mk model [SPEECH=speech] [TEXT=text] [WORK=build/english]"
	@echo "  $(DATA)      the corpora, and two that are made: steady sounds, cut words"
	@echo "  $(WORK)/lm          ds2edge lm: lexicon and language model"
	@echo "  $(WORK)/first       ds2edge train: a forward model, from random weights"
	@echo "  $(WORK)/teacher     ds2edge train --start: it grows a way back"
	@echo "  $(WORK)/student     ds2edge distill --start: the forward model learns from the teacher"
	@echo "  $(WORK)/en          ds2edge convert: the bundle"

model: $(WORK)/en/manifest.json

$(DATA)/.linked:
	mkdir -p $(DATA)
	ln -sfn $(abspath $(SPEECH))/* $(DATA)
	touch $@

$(DATA)/steady/manifest.tsv: | $(DATA)/.linked
	$(PYTHON) -m ds2edge.training.steady_sounds $(DATA)/steady $(STEADY)

$(WORK)/lm/language_model.json: $(wildcard $(TEXT)/en-*)
	$(DS2EDGE) lm $^ -o $(@D) --tools $(TOOLS) $(LM)

# best.npz is there before a run has ended: .done tells that it has.
$(WORK)/first/.done: $(CONFIGS)/en-first.toml $(DATA)/steady/manifest.tsv
	$(DS2EDGE) train $< --data $(DATA) --out $(@D)
	touch $@

# Recordings in which the words are not found are left out, which `data align` calls a failure.
$(DATA)/short/%/manifest.tsv: $(WORK)/first/.done
	-$(DS2EDGE) data align $(DATA)/$*/manifest.tsv -o $(WORK)/aligned/$* $(LISTENER)
	$(DS2EDGE) data segment $(WORK)/aligned/$* -o $(@D) $(PIECES)

$(WORK)/teacher/.done: $(CONFIGS)/en-teacher.toml $(WORK)/first/.done
	$(DS2EDGE) train $< --data $(DATA) --out $(@D) --start $(WORK)/first/best.npz
	touch $@

$(WORK)/student/.done: $(CONFIGS)/en-student.toml $(WORK)/teacher/.done $(SHORT:%=$(DATA)/short/%/manifest.tsv)
	$(DS2EDGE) distill $< --data $(DATA) --out $(@D) --teacher $(WORK)/teacher/best.npz \
	  --start $(WORK)/first/best.npz
	touch $@

$(WORK)/en/manifest.json: $(WORK)/student/.done $(WORK)/lm/language_model.json $(CONFIGS)/en.md
	$(DS2EDGE) convert $(WORK)/student/best.npz -o $(@D) --language-model $(WORK)/lm \
	  --dev $(DEV) --test $(DEV) --notes $(CONFIGS)/en.md $(CONVERT)
