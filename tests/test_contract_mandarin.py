"""The contract of a stream with a Mandarin bundle: tokens without a space, some Latin letters.

Its model is trained here, on sounds that are called Chinese; the tests are those of English.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import test_contract as contract
from conftest import RECORDINGS
from contract_inputs import (
    FLUSH,
    RATE,
    Script,
    any_options,
    at_model_rate,
    finals_of,
    play,
    scripts,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_folder import write_character_model, write_language_model
from tiny_training import HEADER, tiny_config

from ds2edge import Partial, StreamOptions, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.cli import main as cli
from ds2edge.compat.deepspeech import Model
from ds2edge.convert.artefacts import Form
from ds2edge.convert.converter import Told, convert
from ds2edge.errors import DataError, DecoderError
from ds2edge.language_model import open_language_model
from ds2edge.results import join_words
from ds2edge.text import BLANK_TOKEN, TokenSet
from ds2edge.training.checkpoint import load_checkpoint
from ds2edge.training.loop import train
from ds2edge.training.train import prepare
from ds2edge.writing import is_unspaced

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = TokenSet((BLANK_TOKEN, *LETTERS, *"今天你好吗看谢北京"))
TEXTS = ("今天你好", "谢谢", "看cnn吗", "北京a好")
PIECE = 12_000  # samples
OPTIONS = any_options(
    [
        {},
        {"alpha": 0.3, "alternatives": 2},
        {"language_model": False, "alternatives": 1},
        {"boost": {"你好吗": 5.0, "看 cnn": 4.0, "天": -3.0}},
        {"add_words": ["北京"]},
        {"vocabulary": ["今天", "cnn", "谢谢"], "unknown": 4.0},
        {"vocabulary": ["你好"]},
    ]
)
SCRIPTS = scripts(acts=st.just(FLUSH) | OPTIONS, options=OPTIONS)
PLAIN = scripts(acts=None, options=OPTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("mandarin")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def transcriber(folder: Path) -> Transcriber:
    """From sound and texts to a bundle with a language model of characters."""
    corpus = folder / "corpora" / "speech"
    corpus.mkdir(parents=True)
    rows = []
    for i, text in enumerate(TEXTS):
        samples = read_audio(RECORDINGS[i], RATE)[:PIECE]
        soundfile.write(corpus / f"{i}.wav", samples, RATE)
        rows += [f"{i}.wav\t0.75\t{text}\tx\t{split}\n" for split in ("train", "dev")]
    (corpus / "manifest.tsv").write_text(HEADER + "".join(rows), encoding="utf-8")
    config = tiny_config(6)
    model = replace(config.model, tokens="zh", token_list=TOKENS.tokens, connected=12)
    data = replace(config.data, train=(replace(config.data.train[0], repeat=100),), batch_size=8)
    train(prepare(replace(config, model=model, data=data), corpus.parent, folder / "run"))
    language_model = open_language_model(write_character_model(folder / "lm", TOKENS))
    checkpoint = load_checkpoint(folder / "run" / "best.npz")
    form = Form(batches=(1,))
    return Transcriber(
        convert(checkpoint, folder / "zh", Told("zh"), form, language_model=language_model)
    )


def piece(number: int) -> np.ndarray:
    return read_audio(RECORDINGS[number], RATE)[:PIECE]


def test_it_learned_its_sounds_letters_and_all(transcriber: Transcriber) -> None:
    """Code-switching: Latin letters survive from the manifest to the text, as one word."""
    said = [transcriber.transcribe(piece(i), RATE) for i in range(len(TEXTS))]
    texts = [transcript.text for transcript in said]
    assert texts == list(TEXTS)
    assert [word.text for word in said[2].words] == ["看", "cnn", "吗"]


def test_the_language_model_is_used(transcriber: Transcriber) -> None:
    assert transcriber.bundle.words is None
    assert transcriber.bundle.language_model
    assert "language_model" in transcriber.decoder(StreamOptions())._parts


@given(st.data())
@settings(max_examples=8)
def test_1_log_probs_are_bit_identical_for_any_cut(
    transcriber: Transcriber, data: st.DataObject
) -> None:
    body_of(contract.test_1_log_probs_are_bit_identical_for_any_cut)(transcriber, data)


@given(script=SCRIPTS)
@settings(max_examples=10)
@pytest.mark.parametrize(
    "test",
    [
        contract.test_1_everything_said_is_the_same_for_any_cut,
        contract.test_3_each_segment_has_one_final_after_which_nothing_comes,
        contract.test_4_the_stable_part_begins_every_later_text,
        contract.test_6_words_have_times_and_confidence_in_partials_too,
    ],
)
def test_1_3_4_6_as_in_english(transcriber: Transcriber, test: Any, script: Script) -> None:
    body_of(test)(transcriber, script)


@given(script=PLAIN)
@settings(max_examples=10)
def test_1_it_is_what_transcribe_says(transcriber: Transcriber, script: Script) -> None:
    body_of(contract.test_1_it_is_what_transcribe_says)(transcriber, script)


def body_of(test: Any) -> Any:
    """A test of `test_contract` without what it draws."""
    return test.hypothesis.inner_test


@given(script=scripts(acts=None, options=contract.ONE_SEGMENT))
@settings(max_examples=12)
def test_2_finish_equals_the_offline_graph_at_every_length(
    transcriber: Transcriber, script: Script
) -> None:
    samples = at_model_rate(script.excerpt.samples, script.excerpt.rate)
    log_probs = transcriber._pipeline.log_probs(samples)
    best = transcriber.decoder(script.options).decode([log_probs])[0][0]
    (final,) = finals_of(play(script, transcriber)[0])
    assert final.text == join_words(final.words)
    spelled = TOKENS.join(word.text for word in best.words)
    assert final.text.replace(" ", "") == spelled  # letters that a pause parts are two words
    for word in final.words:
        assert word.text.isalpha()
        assert len(word.text) == 1 or not any(map(is_unspaced, word.text))


@given(script=scripts(acts=None, options=contract.RULES))
@settings(max_examples=10)
def test_2_segments_share_out_every_sample(transcriber: Transcriber, script: Script) -> None:
    body_of(contract.test_2_segments_share_out_every_sample)(transcriber, script)


@given(script=PLAIN)
@settings(max_examples=10)
def test_4_a_word_that_may_go_on_is_not_stable(transcriber: Transcriber, script: Script) -> None:
    for event in play(script, transcriber)[0]:
        if isinstance(event, Partial) and event.stable_words == len(event.words) > 0:
            assert is_unspaced(event.words[-1].text)


@given(which=contract.THREE, block=st.integers(400, 16_000), vocabulary=st.booleans())
@settings(max_examples=2)
def test_5_work_and_memory_do_not_grow(
    transcriber: Transcriber, which: list[int], block: int, vocabulary: bool
) -> None:
    body_of(contract.test_5_work_and_memory_do_not_grow)(transcriber, which, block, vocabulary)


@pytest.mark.parametrize("cnn", ["CNN", "\uff23\uff2e\uff2e"])
def test_phrases_of_characters_and_letters_are_heard(transcriber: Transcriber, cnn: str) -> None:
    avoided = StreamOptions(boost={cnn: -90.0, "你 好": -90.0}, beam=64)
    assert "你好" not in transcriber.transcribe(piece(0), RATE, avoided).text
    assert "cnn" not in transcriber.transcribe(piece(2), RATE, avoided).text


@pytest.mark.parametrize(("phrase", "named"), [("今天國", "國"), ("3个", "3"), ("謝謝", "謝")])
def test_phrases_that_cannot_be_spelled_are_refused(
    transcriber: Transcriber, phrase: str, named: str
) -> None:
    for options in (StreamOptions(boost={phrase: 2.0}), StreamOptions(vocabulary=[phrase])):
        with pytest.raises(DecoderError, match=f"the phrase '.*' has '{named}', .* not a token"):
            transcriber.decoder(options)


def test_a_language_model_of_words_is_refused(
    transcriber: Transcriber, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_language_model(folder / "words")
    bundle = str(transcriber.bundle.folder)
    command = ["bundle", "swap-lm", bundle, "-o", str(folder / "swapped")]
    assert cli([*command, "--language-model", str(other)]) == 2
    assert f"as a model of words; this one of {len(TOKENS)} tokens needs a model of its tokens" in (
        capsys.readouterr().err
    )
    checkpoint = load_checkpoint(folder / "run" / "best.npz")
    told, model = Told("zh"), open_language_model(other)
    with pytest.raises(DataError, match="a model of words"):
        convert(checkpoint, folder / "none", told, language_model=model)


def test_deepspeechs_tokens_spell_the_text(transcriber: Transcriber) -> None:
    model = Model(str(transcriber.bundle.folder))
    samples = np.round(piece(2) * 32767).astype(np.int16)
    (best,) = model.sttWithMetadata(samples).transcripts
    assert "".join(token.text for token in best.tokens) == model.stt(samples) == "看cnn吗"


def test_commands_show_mandarin(
    transcriber: Transcriber, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jieba")
    soundfile.write(folder / "heard.wav", piece(0), RATE)
    command = ["transcribe", "--bundle", str(transcriber.bundle.folder), str(folder / "heard.wav")]
    assert cli(command) == 0
    assert capsys.readouterr().out == "今天你好\n"
    assert cli([*command, "--words", "--segment"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[3] for row in rows] == ["今天", "你好"]
    assert cli([*command, "--srt"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "今天你好"
