"""Faults of what languages differ in: scripts, tokens, text, what is counted."""

from __future__ import annotations

from fault import Fault

WRITING, TEXTS, SOURCES = "tests/test_writing.py", "tests/test_texts.py", "tests/test_sources.py"
STREAM, FILES = "tests/test_contract_mandarin.py", "tests/test_token_files.py"
MODELS, ENCODINGS = "tests/test_language_model.py", "tests/test_encodings.py"

LANGUAGE_FAULTS = (
    Fault(
        "spaces between characters",
        "ds2edge/writing.py",
        "        if parts and stands_apart(parts[-1], text):\n",
        "        if parts:\n",
        (WRITING,),
    ),
    Fault(
        "Han characters as narrow as letters",
        "ds2edge/writing.py",
        "    return 2 if unicodedata.east_asian_width",
        "    return 1 if unicodedata.east_asian_width",
        (WRITING, "-k", "columns or subtitles"),
    ),
    Fault(
        "letters that may go on are stable",
        "ds2edge/results.py",
        "    if more and runs and _is_letter(runs[-1][-1].text):\n        runs.pop()\n",
        "",
        (WRITING, "-k", "may_go_on"),
    ),
    Fault(
        "words go over pauses",
        "ds2edge/segmentation.py",
        "word.start - run[-1].end < PAUSE",
        "True",
        (WRITING, "-k", "pause"),
    ),
    Fault(
        "a language model of characters is not asked",
        "ds2edge/pipeline.py",
        "    if bundle.words is None and bundle.language_model is None and options is None:\n",
        "    if bundle.words is None and options is None:\n",
        (STREAM, "-k", "model_is_used"),
    ),
    Fault(
        "whole sentences count as words",
        "training/evaluation/metrics.py",
        '    return [" ".join(units(text)) for text in texts]\n',
        "    return list(texts)\n",
        (WRITING, SOURCES, "-k", "mixed"),
    ),
    Fault(
        "characters without a token do not count",
        "training/evaluation/evaluate.py",
        "wanted=reference(utterance.text, tokens),",
        "wanted=reference(utterance.text, tokens).replace('\\u56e7', ''),",
        (SOURCES, "-k", "without_a_token"),
    ),
    Fault(
        "new texts that training heard",
        "training/evaluation/sources.py",
        "    if spelled in texts:\n",
        "    if spelled in texts or True:\n",
        (SOURCES,),
    ),
    Fault(
        "no zero is said between",
        "training/texts/chinese_numbers.py",
        '        if parts and (gap or group.startswith("0")):\n',
        "        if parts and gap:\n",
        (TEXTS, "-k", "names"),
    ),
    Fault(
        "traditional text taken",
        "training/texts/prepare.py",
        "    script.check(path)\n",
        "",
        (TEXTS, "-k", "traditional"),
    ),
    Fault(
        "tokens beyond what is asked for",
        "training/texts/tokens_command.py",
        "        if covered >= coverage * total or len(taken) >= most:\n",
        "        if len(taken) >= most:\n",
        (TEXTS, "-k", "coverage"),
    ),
    Fault(
        "the tokens of a file are lost",
        "training/network/model.py",
        "    named = TokenSet(listed) if listed else TOKEN_SETS[config.tokens]()\n",
        '    named = TOKEN_SETS.get(config.tokens, TOKEN_SETS["english_characters"])()\n',
        (FILES,),
    ),
    Fault(
        "lines begin with what belongs to the line before",
        "ds2edge/subtitles.py",
        '_TAILS = frozenset("',
        '_TAILS = frozenset("") - frozenset("',
        (WRITING, "-k", "belong"),
    ),
    Fault(
        "lines end with what belongs to the next",
        "ds2edge/subtitles.py",
        "_LINKS = frozenset(_LINK_WORDS.split())",
        "_LINKS = frozenset()",
        (WRITING, "-k", "belong"),
    ),
    Fault(
        "letters go on after a pause",
        "ds2edge/results.py",
        "together and after.start - before.end < LETTER_PAUSE",
        "together",
        (WRITING, "-k", "letters"),
    ),
    Fault(
        "the search does not avoid phrases of characters",
        "ds2edge/decoder.py",
        "_native.Phrases(list(phrases.items()), self._speller)",
        "_native.Phrases([(t, max(0.0, b)) for t, b in phrases.items()], self._speller)",
        (STREAM, "-k", "are_heard"),
    ),
    Fault(
        "sentences lose what cannot be spelled",
        "training/language_model.py",
        "            if unknown and tokens.space is None:",
        "            if unknown and tokens.space == 0:",
        (TEXTS, "-k", "spelled"),
    ),
    Fault(
        "short texts in traditional characters taken",
        "training/texts/traditional.py",
        "min(FEW, MOST_OF_FEW * self.han)",
        "FEW",
        (TEXTS, "-k", "refused"),
    ),
    Fault(
        "noise read as Chinese",
        "training/texts/lines.py",
        "            _check_sense(path, encoding)\n",
        "            pass\n",
        (ENCODINGS,),
    ),
    Fault(
        "a hyphen in a range is a minus",
        "training/texts/chinese_numbers.py",
        '\\s*{_DASH}\\s*(?=\\d)"',
        '\\s*~\\s*(?=\\d)"',
        (TEXTS, "-k", "numerals"),
    ),
    Fault(
        "a model of words taken for one of characters",
        "native/search.cc",
        " || others > 8 * token_count() ||",
        " ||",
        (MODELS, "-k", "tokens"),
    ),
    Fault(
        "UTF-8 read as another encoding",
        "training/texts/encodings.py",
        'return "" if encoding.startswith("gb") and _by_chance(sample) else sure',
        'return ""',
        (ENCODINGS,),
    ),
    Fault(
        "tokens that no text has",
        "ds2edge/token_files.py",
        "if reason := unspelled(token, tokens):",
        'if reason := "":',
        (FILES,),
    ),
    Fault(
        "no room left out for silent steps",
        "training/data/corpora.py",
        " - model.silent)",
        ")",
        ("tests/test_manifest.py", "-k", "silent"),
    ),
    Fault(
        "the second stage begins where the first did",
        "training/mandarin.mk",
        "$(call train,$(CONFIG),$(if $(FIRST),$(WORK)/first/best.npz,$(START)))",
        "$(call train,$(CONFIG),$(START))",
        ("tests/test_mandarin_recipe.py", "-k", "stage"),
    ),
)
