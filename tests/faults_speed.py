"""Faults of what is written by hand to be fast, and of what tells how fast it is."""

from __future__ import annotations

from fault import Fault

LAYERS, LOSS, PROFILE = "tests/test_layers.py", "tests/test_loss.py", "tests/test_profile.py"

SPEED_FAULTS = (
    # ---- recurrence
    Fault(
        "reset gate with a linear slope",
        "training/network/recurrent.py",
        "        d_reset = through * (1 - reset) * recurrent\n",
        "        d_reset = through * recurrent\n",
        (LAYERS, "-k", "gradients"),
    ),
    Fault(
        "loop backwards begins one step late",
        "training/network/scan.py",
        "count - 1 - number if reverse",
        "tf.maximum(count - 2 - number, 0) if reverse",
        (LAYERS, "-k", "gradients"),
    ),
    # ---- batch norm
    Fault(
        "padding pulls at the variance",
        "training/network/layers.py",
        "return (x * (2 * d_second) + d_first) * weights",
        "return x * (2 * d_second) + d_first",
        (LAYERS, "-k", "norm_s_gradients"),
    ),
    Fault(
        "scale learns from the sum of the gradient",
        "training/network/layers.py",
        "(_column_sums(ones, upstream * x), _column_sums(ones, upstream))",
        "(_column_sums(ones, upstream), _column_sums(ones, upstream))",
        (LAYERS, "-k", "norm_s_gradients"),
    ),
    # ---- CTC
    Fault(
        "the blank of a repeat may be left out",
        "training/network/loss.py",
        "    other = states[:, 2:] != states[:, :-2]\n",
        "    other = states[:, 2:] != BLANK\n",
        (LOSS, "-k", "kernel"),
    ),
    Fault(
        "repeats do not count in what fits",
        "training/network/loss.py",
        "lengths + _repeats(tokens, lengths) <= steps",
        "lengths <= steps",
        (LOSS, "-k", "does_not_fit"),
    ),
    Fault(
        "padding has a gradient",
        "training/network/loss.py",
        "ops.exp(log_probs) * valid[:, :, None]",
        "ops.exp(log_probs)",
        (LOSS, "-k", "kernel"),
    ),
    Fault(
        "every recording ends with the longest",
        "training/network/loss.py",
        "== steps[None] - 1, ",
        "== count - 1 + 0 * steps[None], ",
        (LOSS, "-k", "kernel"),
    ),
    # ---- profile
    Fault(
        "gradients are one product",
        "training/flops.py",
        "flops = {part: 3 * value",
        "flops = {part: 2 * value",
        (PROFILE, "-k", "by_hand"),
    ),
    Fault(
        "features get a gradient",
        "training/flops.py",
        '    flops["convolutions"] -= 2.0 * first\n',
        "",
        (PROFILE, "-k", "by_hand"),
    ),
    Fault(
        "an operation inside another counts as that one",
        "training/trace.py",
        "        around.append((end, part_of(name) or ",
        "        around.append((end, (around and around[-1][1]) or part_of(name) or ",
        (PROFILE, "-k", "counted_once"),
    ),
    Fault(
        "threads count each for itself",
        "training/trace.py",
        "(now - last) * count / threads",
        "(now - last) * count",
        (PROFILE, "-k", "side_by_side"),
    ),
    Fault(
        "the optimiser has no name",
        "training/step.py",
        'with keras.name_scope("optimiser"):',
        'with keras.name_scope("update"):',
        (PROFILE, "-k", "every_one_is_named"),
    ),
    Fault(
        "input is left out",
        "training/profile.py",
        "_Timing(ready - begin, end - ready, audio)",
        "_Timing(0.0, end - ready, audio)",
        (PROFILE, "-k", "every_one_is_named"),
    ),
)
