# What recipes share: english.mk and mandarin.mk include it.

SPEECH ?= speech
TEXT ?= text
CONFIGS ?= training/configs
DS2EDGE ?= ds2edge
PYTHON ?= python
# Folder of lmplz and build_binary, which `make lm-tools` builds.
TOOLS ?= build/tools

# A run that has not ended goes on, one of other data or settings begins anew and leaves the one
# that was there in NAME.before. best.npz is there before a run has ended: .done tells that it has.
define begin
	@test ! -e $(@D) || { rm -rf $(@D).before; mv $(@D) $(@D).before; }
	@mkdir -p $(@D)
	@touch $@
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
