"""Faults of what makes training data: alignment, segments, filter, imports, augmented sound."""

from __future__ import annotations

from fault import Fault

NATIVE, ALIGN = "tests/test_alignment.py", "tests/test_align_command.py"
SEGMENTS, FILTER = "tests/test_segments.py", "tests/test_transcript_filter.py"
ARCHIVES, RESUME = "tests/test_import_archives.py", "tests/test_import_resume.py"
AUGMENT, EPOCHS = "tests/test_augment.py", "tests/test_augment_training.py"

DATA_FAULTS = (
    # ---- alignment
    Fault(
        "equal letters without a blank between them",
        "native/alignment.cc",
        "      if (token_column_[p] == token_column_[p - 1]) direct_[p] = kNever;\n",
        "",
        (NATIVE,),
    ),
    Fault(
        "words that are left out cost nothing more each",
        "native/alignment.cc",
        "options_.left_token * static_cast<float>(p - from)",
        "0 * static_cast<float>(p - from)",
        (NATIVE,),
    ),
    Fault(
        "a checkpoint forgets the tokens",
        "native/alignment.cc",
        "    std::copy_n(front.token.begin(), size, token_[0].begin() + low_ + 1);\n",
        "    std::fill_n(token_[0].begin() + low_ + 1, size, kNever);\n",
        (NATIVE,),
    ),
    Fault(
        "times not set back by the delay",
        "training/construction/forced_alignment.py",
        "output * self.step - self.delay",
        "output * self.step + self.delay",
        (ALIGN,),
    ),
    Fault(
        "what is loud is a pause where the model hears nothing",
        "training/construction/forced_alignment.py",
        "said = ~inside & (heard.loud | ~quiet)",
        "said = ~inside & ~quiet",
        (ALIGN,),
    ),
    Fault(
        "another text is not refused",
        "training/construction/forced_alignment.py",
        "min(left_out, 1 - path.explained) > 1 - OVERLAP:\n",
        "min(left_out, 1 - path.explained) > 1:\n",
        (ALIGN, "-k", "another_text"),
    ),
    Fault(
        "pieces cut anywhere",
        "training/construction/hearing.py",
        "            cut = shortest + _quietest(left[shortest:longest], rate)\n",
        "            cut = longest\n",
        (ALIGN, "-k", "pieces"),
    ),
    # ---- segments
    Fault(
        "shorter pauses cut in",
        "training/construction/segments.py",
        "pause.seconds >= options.pause]",
        "pause.seconds >= options.pause / 2]",
        (SEGMENTS,),
    ),
    Fault(
        "greedy segments",
        "training/construction/segments.py",
        "            cost = costs[begin] + (seconds / options.target - 1) ** 2\n",
        "            cost = (seconds / options.target - 1) ** 2\n",
        (SEGMENTS, "-k", "target"),
    ),
    Fault(
        "missing words never counted",
        "training/construction/segments.py",
        "if not missing or sum(stretch.seconds for stretch in said) < SPOKEN * letters:",
        "if True:",
        (SEGMENTS, "-k", "missing_word"),
    ),
    # ---- filter
    Fault(
        "blank between equal letters left out in the cost",
        "training/construction/ctc_cost.py",
        "    skips[3::2] = states[3::2] != states[1:-2:2]\n",
        "    skips[3::2] = True\n",
        (FILTER, "-k", "all_alignments"),
    ),
    Fault(
        "what cannot be read costs nothing",
        "training/construction/transcript_filter.py",
        "    worst = WORST * max(outputs, length)\n",
        "    worst = WORST * len(log_probs)\n",
        (FILTER, "-k", "keeps_the_right"),
    ),
    # ---- imports
    Fault(
        "members climb out",
        "training/importing/unpack.py",
        'or ".." in path.parts or',
        "or",
        (ARCHIVES,),
    ),
    Fault(
        "what was decoded is decoded again",
        "training/importing/engine.py",
        "if path not in found]",
        "]",
        (RESUME,),
    ),
    # ---- augmented sound
    Fault(
        "every epoch hears the same",
        "training/augmentation/epochs.py",
        "np.random.default_rng([hearing.seed, epoch, place, ASIDE])",
        "np.random.default_rng([hearing.seed, 0, place, ASIDE])",
        (EPOCHS,),
    ),
    Fault(
        "amplitude for power in the ratio of speech to noise",
        "training/augmentation/noise.py",
        "10 ** (-snr / 10))",
        "10 ** (-snr / 20))",
        (AUGMENT,),
    ),
)
