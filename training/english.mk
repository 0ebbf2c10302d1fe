# The embedded English model, from recordings and texts to the bundle:
#
#     make lm-tools
#     make -f training/english.mk model SPEECH=speech TEXT=text
#
# Each step is done once, and again when what it is made of has changed; interrupted, the same
# command goes on, within a training run, too. Everything is written below WORK.

include training/recipe.mk

WORK ?= build/english
STEADY ?= --each 60
TURNS ?= --hours 2
LM ?= --prune 0 0 2 3
# What finds the words that are cut out of recordings, and what hears those without transcripts.
LISTENER ?= --checkpoint $(WORK)/first/best.npz
LABELLER ?= --bundle $(WORK)/labeller
SYNTH ?= --engine flite --engine espeak-ng --pitch 0.8 1.35
TUNE ?= --beam 512
# The prior's weight is what `ds2edge tune` found on split dev.
CONVERT ?= --beam 512 --max-ambiguity 27 --delay 0.16 --prior-weight 0.7 --licence CC-BY-4.0

# All that the configurations name but what is made here.
CORPORA := $(filter-out steady turns heard words,$(shell grep -oh 'folder = "[^"/]*"' $(CONFIGS)/en-*.toml | cut -d'"' -f2 | sort -u))
DATA := $(WORK)/speech
LIBRISPEECH := $(DATA)/librispeech/manifest.tsv
# Who takes turns: LibriSpeech twice as often as it is long.
SPEAKING := librispeech librispeech speechocean762 kathleen ljspeech philipp
# Words with nothing around them: pieces between pauses, however short these are.
SHORT := librispeech speechocean762
# Of numbers, so often, and of the text's most frequent words.
NUMBERS := $(addsuffix /60,zero one two three four five six seven eight nine) $(addsuffix /8,ten eleven \
  twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty \
  sixty seventy eighty ninety hundred thousand)
FREQUENT := 600
PIECES := --target 0.6 --longest 1.5 --shortest 0.15 --pause 0.05 --margin 0.02

.PHONY: help model filter tune evaluate student

help:
	@echo "make -f training/english.mk model [SPEECH=speech] [TEXT=text] [WORK=build/english]"
	@echo "  $(DATA)      the corpora, and five that are made: steady sounds, cut words,"
	@echo "                      turns, words of a synthesiser, what the model itself hears"
	@echo "  $(WORK)/lm          ds2edge lm: lexicon and language model"
	@echo "  $(WORK)/first       ds2edge train: a forward model, from random weights"
	@echo "  $(WORK)/forward     ds2edge train --start: it goes on, in noise, rooms, with single words"
	@echo "  $(WORK)/heard       ds2edge train --start: and with what it heard, ds2edge data label"
	@echo "  $(WORK)/en          ds2edge convert: the bundle"
	@echo "and, of that model:"
	@echo "  filter     ds2edge data train-filter: which transcripts are right, by split dev"
	@echo "  tune       ds2edge tune: the label prior's weight, on split dev, for CONVERT"
	@echo "  evaluate   ds2edge evaluate: error rates on split test; each such look is logged"
	@echo "  student    ds2edge train --start, distill: the model grows a way back, and one like it"
	@echo "             learns from that: no better with these recordings, so it is not embedded"

model: $(WORK)/en/manifest.json

filter: $(WORK)/transcript_filter.json

student: $(WORK)/student/.done

tune: $(WORK)/heard/.done $(WORK)/lm/language_model.json
	$(DS2EDGE) tune $(LIBRISPEECH) --checkpoint $(WORK)/heard/best.npz \
	  --language-model $(WORK)/lm --study $(WORK)/tune.study --plot $(WORK)/tune.png $(TUNE)

evaluate: $(WORK)/en/manifest.json
	$(DS2EDGE) evaluate $(LIBRISPEECH) --split test --bundle $(WORK)/en \
	  --report $(WORK)/test.html --json $(WORK)/test.json

# Links: SPEECH is never written to.
$(DATA)/.linked: $(CORPORA:%=$(SPEECH)/%/manifest.tsv)
	mkdir -p $(DATA)
	ln -sfn $(CORPORA:%=$(abspath $(SPEECH))/%) $(DATA)
	touch $@

$(DATA)/steady/manifest.tsv: | $(DATA)/.linked
	$(PYTHON) -P -m ds2edge.training.steady_sounds $(DATA)/steady $(STEADY)

$(DATA)/turns/manifest.tsv: $(DATA)/.linked
	$(PYTHON) -P -m ds2edge.training.turns $(SPEAKING:%=$(DATA)/%/manifest.tsv) -o $(@D) $(TURNS)

$(WORK)/lm/language_model.json: $(wildcard $(TEXT)/en-*)
	$(DS2EDGE) lm $^ -o $(@D) --tools $(TOOLS) $(LM)

$(WORK)/first/.begun: $(CONFIGS)/en-first.toml $(DATA)/.linked $(DATA)/steady/manifest.tsv
	$(begin)

$(WORK)/first/.done: $(WORK)/first/.begun
	$(DS2EDGE) train $(CONFIGS)/en-first.toml --data $(DATA) --out $(@D)
	touch $@

# 1: some recordings, in which the words are not found, are left out.
$(DATA)/short/%/manifest.tsv: $(WORK)/first/.done
	$(DS2EDGE) data align $(DATA)/$*/manifest.tsv -o $(WORK)/aligned/$* $(LISTENER) || test $$? -eq 1
	$(DS2EDGE) data segment $(WORK)/aligned/$* -o $(@D) $(PIECES)

$(WORK)/forward/.begun: $(CONFIGS)/en-forward.toml $(WORK)/first/.done $(DATA)/turns/manifest.tsv $(SHORT:%=$(DATA)/short/%/manifest.tsv)
	$(begin)

$(WORK)/forward/.done: $(WORK)/forward/.begun
	$(DS2EDGE) train $(CONFIGS)/en-forward.toml --data $(DATA) --out $(@D) \
	  --start $(WORK)/first/best.npz
	touch $@

# The forward model as a bundle, which hears best, takes recordings without transcripts down.
$(WORK)/labeller/manifest.json: $(WORK)/forward/.done $(WORK)/lm/language_model.json
	$(DS2EDGE) convert $(WORK)/forward/best.npz -o $(@D) --language-model $(WORK)/lm \
	  --dev $(LIBRISPEECH) $(CONVERT)

$(DATA)/heard/manifest.tsv: $(WORK)/labeller/manifest.json
	$(DS2EDGE) data label $(DATA)/librispeech-unlabelled/manifest.tsv -o $(@D) $(LABELLER)

$(WORK)/words.txt: $(wildcard $(TEXT)/en-*)
	mkdir -p $(@D)
	for number in $(NUMBERS); do yes $${number%/*} | head -n $${number#*/}; done > $@.part
	for text in $^; do xz -dcf $$text; done | tr A-Z a-z | tr -cs "a-z'" '\n' \
	  | awk '/^[a-z]/ { n[$$0]++ } END { for (word in n) print n[word], word }' \
	  | LC_ALL=C sort -k1,1nr -k2 | head -n $(FREQUENT) | awk '{ print $$2; print $$2 }' >> $@.part
	mv $@.part $@

$(DATA)/words/manifest.tsv: $(WORK)/words.txt
	$(DS2EDGE) data synth $< -o $(@D) $(SYNTH)

$(WORK)/heard/.begun: $(CONFIGS)/en-heard.toml $(WORK)/forward/.done $(DATA)/heard/manifest.tsv $(DATA)/words/manifest.tsv
	$(begin)

$(WORK)/heard/.done: $(WORK)/heard/.begun
	$(DS2EDGE) train $(CONFIGS)/en-heard.toml --data $(DATA) --out $(@D) \
	  --start $(WORK)/forward/best.npz
	touch $@

$(WORK)/teacher/.begun: $(CONFIGS)/en-teacher.toml $(WORK)/forward/.done
	$(begin)

$(WORK)/teacher/.done: $(WORK)/teacher/.begun
	$(DS2EDGE) train $(CONFIGS)/en-teacher.toml --data $(DATA) --out $(@D) \
	  --start $(WORK)/forward/best.npz
	touch $@

$(WORK)/student/.begun: $(CONFIGS)/en-student.toml $(WORK)/teacher/.done
	$(begin)

$(WORK)/student/.done: $(WORK)/student/.begun
	$(DS2EDGE) distill $(CONFIGS)/en-student.toml --data $(DATA) --out $(@D) \
	  --teacher $(WORK)/teacher/best.npz --start $(WORK)/forward/best.npz
	touch $@

$(WORK)/en/manifest.json: $(WORK)/heard/.done $(WORK)/lm/language_model.json $(CONFIGS)/en.md
	$(DS2EDGE) convert $(WORK)/heard/best.npz -o $(@D) --language-model $(WORK)/lm \
	  --dev $(LIBRISPEECH) --test $(LIBRISPEECH) --notes $(CONFIGS)/en.md $(CONVERT)

$(WORK)/transcript_filter.json: $(WORK)/en/manifest.json
	$(DS2EDGE) data train-filter $(LIBRISPEECH) --split dev --bundle $(WORK)/en -o $@
