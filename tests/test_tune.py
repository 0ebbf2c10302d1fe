"""Decoder weights: the search finds planted ones, believes no noise, and goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH
from hypothesis import given
from hypothesis import strategies as st
from language_model_folder import write_language_model

from ds2edge import Bundle, cli
from ds2edge.acoustic import log_softmax
from ds2edge.decoder import Decoder, SearchOptions
from ds2edge.errors import ConfigError, DataError
from ds2edge.text import english_characters
from ds2edge.training.checkpoint import Checkpoint, save_checkpoint
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.evaluation.metrics import Counts
from ds2edge.training.evaluation.prior import label_prior, shifted_bias, subtract_prior
from ds2edge.training.evaluation.search import KnownErrors, Setting, Trial, Tuned, choose, search
from ds2edge.training.evaluation.tune import report, tune, tuned_decoder

TOKENS = english_characters()
MANIFEST = str(SPEECH / "manifest.tsv")
WORDS = np.full(200, 10)
BEST = Setting(0.7, 1.5, 0.3)


def planted(best: Setting, slope: float = 4.0) -> Callable[[Setting], Counts]:
    """Errors that grow with the square of the distance from `best`; utterances round their own."""
    rounding = np.random.default_rng(0).random(len(WORDS))

    def count(setting: Setting) -> Counts:
        away = ((np.array(setting) - best) / (0.5, 2.0, 0.3)) ** 2
        return np.minimum(np.floor(2 + slope * away.sum() + rounding), 10).astype(np.int64)

    return count


def test_a_planted_optimum_of_three_weights_is_found() -> None:
    tuned = search(planted(BEST), WORDS, trials=80, start=Setting(1.0, 1.0), prior=True)
    assert tuned.trials[0].setting == Setting(1.0, 1.0, 0.0)
    for found in (tuned.best.setting, tuned.chosen.setting):
        assert found.alpha == pytest.approx(BEST.alpha, abs=0.25)
        assert found.beta == pytest.approx(BEST.beta, abs=1.0)
        assert found.prior == pytest.approx(BEST.prior, abs=0.15)
    assert tuned.best.total <= tuned.chosen.total < tuned.trials[0].total


def test_without_a_prior_two_weights_are_searched() -> None:
    tuned = search(planted(BEST._replace(prior=0)), WORDS, trials=40)
    assert {trial.setting.prior for trial in tuned.trials} == {0}
    assert tuned.chosen.setting.alpha == pytest.approx(BEST.alpha, abs=0.25)
    assert tuned.chosen.setting.beta == pytest.approx(BEST.beta, abs=1.0)


def test_the_seed_decides() -> None:
    one, same = (search(planted(BEST), WORDS, trials=15, prior=True) for _ in range(2))
    other = search(planted(BEST), WORDS, trials=15, prior=True, seed=1)
    settings = [[trial.setting for trial in each.trials] for each in (one, same, other)]
    assert settings[0] == settings[1]
    assert settings[0] != settings[2]


def test_a_start_out_of_range_begins_at_its_edge() -> None:
    tuned = search(planted(BEST), WORDS, trials=1, start=Setting(0.72, -50.0))
    assert tuned.trials[0].setting == Setting(0.7, -1.0)


def trial(errors: int | Counts, alpha: float, beta: float = 1.0, prior: float = 0.0) -> Trial:
    spread = np.resize([errors], len(WORDS)) if isinstance(errors, int) else errors
    return Trial(Setting(alpha, beta, prior), spread)


def noisy(seed: int, rate: float) -> Counts:
    return np.random.default_rng(seed).binomial(WORDS, rate)


def test_of_settings_that_only_luck_tells_apart_the_middle_is_taken() -> None:
    base = noisy(0, 0.3)
    alike = [trial(base + noise(i), alpha) for i, alpha in enumerate((0.6, 0.8, 1.0, 1.2))]
    clearly_worse = trial(base + 1, 0.7)
    tuned = choose([*alike, clearly_worse], WORDS)
    assert set(tuned.alike) == set(alike)
    assert tuned.best.setting.alpha == 0.6
    assert tuned.chosen.setting.alpha in (0.8, 1.0)


def noise(errors: int) -> Counts:
    """So many errors more, as the sum of many that go either way."""
    signs = np.resize([1, -1], len(WORDS))
    signs[: 2 * errors : 2] += 1
    return np.random.default_rng(errors).permutation(signs)


def test_a_prior_has_to_earn_its_weight() -> None:
    base = noisy(0, 0.3) + 1
    without = trial(base + noise(1), 0.8)
    lucky, better = trial(base, 0.8, prior=0.3), trial(base - 1, 0.8, prior=0.3)
    assert choose([without, lucky], WORDS).chosen == without
    assert choose([without, lucky], WORDS).best == without
    assert choose([without, better], WORDS).chosen == better


def test_equal_settings_choose_the_middle_and_few_utterances_do_too() -> None:
    for count in (1, 200):
        rows = [Trial(Setting(a, 1.0), np.ones(count, int)) for a in (0.4, 0.6, 0.8)]
        assert choose(rows, np.full(count, 10)).chosen.setting.alpha == 0.6
    worse = Trial(Setting(0.2, 1.0), np.array([2]))
    assert (
        worse
        not in choose([*[Trial(t.setting, np.ones(1, int)) for t in rows], worse], WORDS[:1]).alike
    )


def interrupted(path: Path, calls: int) -> Tuned:
    """A search that may count so many settings' errors."""
    left, errors = iter(range(calls)), planted(BEST)

    def count(setting: Setting) -> Counts:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return errors(setting)

    return search(count, WORDS, trials=20, prior=True, known=KnownErrors(path))


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = search(planted(BEST), WORDS, trials=20, prior=True)
    path = tmp_path / "weights.study"
    for calls in (7, 4):
        with pytest.raises(KeyboardInterrupt):
            interrupted(path, calls)
    with path.open("a") as file:
        file.write('{"setting": [0.3, ')  # killed while it was written
    resumed = interrupted(path, 9)  # 20 less those before, of which none is made twice
    assert [t.setting for t in resumed.trials] == [t.setting for t in whole.trials]
    assert resumed.chosen.setting == whole.chosen.setting
    assert interrupted(path, 0).chosen.setting == whole.chosen.setting


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.study"
    KnownErrors(path, "one").add(BEST, WORDS)
    assert KnownErrors(path, "one").get(BEST).tolist() == WORDS.tolist()
    with pytest.raises(ConfigError, match=r"weights\.study is of another model"):
        KnownErrors(path, "two")


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"text\n", b"[]\n", b'{"key": ""}\n{}\n'])
def test_another_file_is_no_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.study"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.study"):
        KnownErrors(path)


def spell(text: str, sure: float = 0.9) -> np.ndarray:
    """Logits that spell `text`, a blank after each letter."""
    path = [token for letter in TOKENS.encode(text) for token in (letter, 0)]
    probabilities = np.full((len(path), len(TOKENS)), (1 - sure) / (len(TOKENS) - 1), np.float32)
    probabilities[range(len(path)), path] = sure
    return np.log(probabilities)


def words_of(decoder: Decoder, block: np.ndarray) -> str:
    return decoder.decode([block])[0][0].text


def test_tuning_finds_the_weights_that_recognise_best() -> None:
    said = [Utterance(Path("x"), 1.0, "A ab", "me", "dev")]
    start = Decoder(TOKENS, words=["a", "ab", "b"], options=SearchOptions(beta=-50.0, beam=16))
    blocks = [spell("a ab", 0.99)]
    assert words_of(start, blocks[0]) != "a ab"
    tuned = tuned_decoder(start, said, blocks)
    assert words_of(tuned, blocks[0]) == "a ab"
    assert tuned.options.beam == 16


LONG_WORDS = ["abababababab", "babababababa", "abbabaabbaba"]  # no reward for words saves them
TEXTS = [" ".join(LONG_WORDS[i] for i in row) for row in ((0, 1), (1,), (2, 0), (2,), (0,), (1, 2))]


def test_a_planted_surplus_of_blanks_is_divided_out() -> None:
    """Blanks drown the letters; only the prior's weight brings them back."""
    decoder = Decoder(TOKENS, words=LONG_WORDS)
    surplus = np.zeros(len(TOKENS), np.float32)
    surplus[0] = 6.0
    drowned = [log_softmax(spell(text) + surplus) for text in TEXTS]
    tuned = tune(decoder, TEXTS, drowned, trials=40, prior=True)
    best_without = min(t.total for t in tuned.trials if not t.setting.prior)
    assert tuned.chosen.setting.prior > 0
    assert tuned.chosen.total < best_without
    clear = tune(decoder, TEXTS, [spell(text, 0.99) for text in TEXTS], trials=20, prior=True)
    assert clear.chosen.total == 0
    assert clear.chosen.setting.prior == 0


def random_blocks(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, 3, len(TOKENS))
    shapes = ((int(n), len(TOKENS)) for n in rng.integers(5, 60, size=4))
    return [log_softmax((rng.normal(0, 2, s) + shift).astype(np.float32)) for s in shapes]


def test_label_prior_is_the_mean_probability() -> None:
    blocks = random_blocks(0)
    prior = label_prior(blocks)
    np.testing.assert_allclose(np.exp(prior), np.exp(np.concatenate(blocks)).mean(0), rtol=1e-4)
    assert np.exp(prior).sum() == pytest.approx(1, abs=1e-4)
    never = np.full((3, len(TOKENS)), -np.inf, np.float32)
    never[:, 1] = 0
    assert np.isfinite(label_prior([never])).all()


@given(st.integers(0, 1000), st.floats(0, 1, width=32))
def test_a_shifted_bias_is_the_same_as_subtracting_the_prior(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    hidden = rng.normal(0, 1, (20, 8)).astype(np.float32)
    head = rng.normal(0, 1, (8, len(TOKENS))).astype(np.float32)
    bias = rng.normal(0, 1, len(TOKENS)).astype(np.float32)
    prior = label_prior([log_softmax(hidden @ head + bias)])
    subtracted = subtract_prior(log_softmax(hidden @ head + bias), prior, weight)
    shifted = log_softmax(hidden @ head + shifted_bias(bias, prior, weight))
    np.testing.assert_allclose(subtracted, shifted, atol=1e-4)
    np.testing.assert_allclose(np.exp(subtracted).sum(1), 1, rtol=1e-4)


def test_subtracting_is_what_the_decoder_itself_does_with_a_prior() -> None:
    blocks = random_blocks(1)
    prior = label_prior(blocks)
    options = SearchOptions(beam=64, beta=0.0)
    plain = Decoder(TOKENS, options=options)
    own = Decoder(TOKENS, prior=prior.tolist(), options=SearchOptions(beam=64, beta=0.0, prior=0.4))
    changed = 0
    for block in blocks:
        subtracted = words_of(plain, subtract_prior(block, prior, 0.4))
        assert subtracted == words_of(own, block)
        changed += subtracted != words_of(plain, block)
    assert changed


def test_report_says_what_was_found_and_how_sure_it_is() -> None:
    base = noisy(0, 0.3)
    alike = [trial(base + noise(i), a, prior=0.2) for i, a in enumerate((0.6, 0.8, 1.0))]
    tuned = choose([trial(base + 2, 1.0), *alike], WORDS)
    first, best, same, chosen, *_, last = report(tuned).splitlines()
    assert first.startswith("first    alpha 1, beta 1, prior 0: WER ")
    assert "alpha 0.6, beta 1, prior 0.2: WER" in best
    assert "3 of 4 settings" in same
    assert "alpha 0.6 to 1, beta 1, prior 0.2" in same
    low, high = (100 * end for end in tuned.interval(tuned.chosen))
    assert f"alpha 0.8, beta 1, prior 0.2: WER {100 * tuned.rate(tuned.chosen):.2f} %" in chosen
    assert f"({low:.1f}-{high:.1f})" in chosen
    assert "ds2edge convert --prior-weight 0.2" in last


@pytest.fixture
def language_model(tmp_path: Path) -> str:
    return str(write_language_model(tmp_path / "lm"))


def run(*arguments: str) -> int:
    return cli.main(["tune", MANIFEST, "--split", "train", *arguments])


def test_command_tunes_a_bundle_and_draws(
    tiny_bundle: Bundle, language_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, study = tmp_path / "weights.png", tmp_path / "weights.study"
    model = ["--bundle", str(tiny_bundle.folder), "--language-model", language_model]
    more = ["--trials", "6", "--beam", "8", "--plot", str(plot), "--study", str(study)]
    assert run(*model, *more) == 0
    first = capsys.readouterr().out
    assert "chosen   alpha" in first
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.stat().st_size > 10_000
    assert run(*model, *more) == 0  # all trials are there
    assert capsys.readouterr().out == first
    assert run(*model, *more, "--beam", "9") == 2
    assert "another model, language model, split or options" in capsys.readouterr().err


def test_command_tunes_a_checkpoint_without_a_prior(
    checkpoint: Checkpoint,
    language_model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_checkpoint(tmp_path / "c.npz", checkpoint)
    model = ["--checkpoint", str(tmp_path / "c.npz"), "--language-model", language_model]
    plot = tmp_path / "weights.svg"
    assert run(*model, "--trials", "3", "--no-prior", "--plot", str(plot)) == 0
    assert "prior 0\n" in capsys.readouterr().out
    assert "alpha" in plot.read_text()
    assert "label prior" not in plot.read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--split", "test"], "tuning must not see the test split, got split 'test'"),
        (["--split", "test-clean"], "got split 'test-clean'"),
        (["--split", "dev"], "dev"),
        (["--trials", "0"], "--trials needs 1 or more"),
        (["--seed", "-1"], "--seed 0 or more"),
        (["--plot", "weights.txt"], ".png, .svg, .pdf, got weights.txt"),
        (["--plot", "nowhere/weights.png"], "there is no folder nowhere"),
        (["--study", "nowhere/weights"], "there is no folder nowhere"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--beam", "0"], "beam"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error


def test_a_language_model_is_needed(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--bundle", str(tiny_bundle.folder)) == 2
    assert "give --language-model FOLDER" in capsys.readouterr().err
