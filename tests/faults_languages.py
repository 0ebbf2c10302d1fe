"""Faults of what languages differ in: scripts, tokens, text, what is counted."""

from __future__ import annotations

from fault import Fault

WRITING, TEXTS, SOURCES = "tests/test_writing.py", "tests/test_texts.py", "tests/test_sources.py"
STREAM, FILES = "tests/test_contract_mandarin.py", "tests/test_token_files.py"

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
)
