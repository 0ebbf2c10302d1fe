"""Faults of the models that can be configured: loops, layers, token sets, what converts."""

from __future__ import annotations

from fault import Fault

LAYERS, MODELS = "tests/test_layers.py", "tests/test_models.py"
CONVERSION, TOKENS = "tests/test_model_conversion.py", "tests/test_token_sets.py"

NETWORK_FAULTS = (
    # ---- loops
    Fault(
        "way back learns from the wrong states",
        "training/network/recurrent.py",
        "return ops.concatenate([states[1:], initial[None]], axis=0)",
        "return ops.concatenate([initial[None], states[:-1]], axis=0)",
        (LAYERS, "-k", "gradients"),
    ),
    Fault(
        "gradient goes through the clip at 20",
        "training/network/recurrent.py",
        "ops.logical_and(y > 0, y < CLIP)",
        "y > 0",
        (LAYERS, "-k", "gradients"),
    ),
    # ---- layers
    Fault(
        "way back begins in the padding",
        "training/network/layers.py",
        "self._run(x * mask[:, :, None], self.recurrent_back",
        "self._run(x, self.recurrent_back",
        (LAYERS, "-k", "each_direction"),
    ),
    Fault(
        "both directions share a matrix",
        "training/network/layers.py",
        "x * mask[:, :, None], self.recurrent_back",
        "x * mask[:, :, None], self.recurrent",
        (LAYERS, "-k", "each_direction"),
    ),
    Fault(
        "centred convolution off centre",
        "training/network/layers.py",
        "return (self.time - self.time_stride) // 2",
        "return (self.time - self.time_stride + 1) // 2",
        (LAYERS, "-k", "convolution"),
    ),
    Fault(
        "connected layer not clipped",
        "training/network/layers.py",
        "return clipped_relu(self.term(x, mask, training))",
        "return ops.relu(self.term(x, mask, training))",
        (LAYERS, "-k", "connected"),
    ),
    Fault(
        "no bias in the place of a norm",
        "training/network/layers.py",
        "        return x + self.bias\n",
        "        return x\n",
        (LAYERS, "-k", "connected"),
    ),
    # ---- models
    Fault(
        "centred convolutions see the padding",
        "training/network/model.py",
        "                x = x * mask[:, :, None, None]\n",
        "                pass\n",
        (MODELS, "-k", "padding"),
    ),
    Fault(
        "a recording's end differs in batch and stream",
        "training/network/model.py",
        "(0, -ops.shape(x)[1] % self.config.time_stride), (0, 0)))",
        "(0, 0), (0, 0)))",
        (CONVERSION, "-k", "is_the_model and stride"),
    ),
    Fault(
        "forward models see the future",
        "training/network/model.py",
        "CentredConvolution if self.both else CausalConvolution",
        "CentredConvolution",
        (MODELS, "-k", "far_ahead"),
    ),
    Fault(
        "tokens are aligned before anything was heard",
        "training/network/loss.py",
        "    if silent:\n",
        "    if silent > 99:\n",
        ("tests/test_loss.py", "-k", "silent"),
    ),
    Fault(
        "another token is taken for the blank",
        "training/network/loss.py",
        "    blanks = ops.zeros_like(tokens) + BLANK\n",
        "    blanks = ops.zeros_like(tokens) + 1\n",
        ("tests/test_loss.py", "-k", "kernel"),
    ),
    Fault(
        "2-D convolution after a 1-D one",
        "training/config.py",
        "            if after.frequency > 1 and not before.frequency:",
        "            if False:",
        (MODELS, "-k", "bad_models"),
    ),
    # ---- conversion
    Fault(
        "update and reset gate swapped",
        "convert/step_graph.py",
        "update, reset = gates[:, :units], gates[:, units:]",
        "reset, update = gates[:, :units], gates[:, units:]",
        (CONVERSION, "-k", "is_the_model and tiny"),
    ),
    Fault(
        "converted convolutions do not clip",
        "convert/step_graph.py",
        "return tf.nn.relu6(x + layer.bias)",
        "return tf.nn.relu(x + layer.bias)",
        (CONVERSION, "-k", "is_the_model and tiny"),
    ),
    Fault(
        "gates see a shrunk state",
        "convert/fold.py",
        "product[: 2 * units] = SHRINK, 1 / SHRINK",
        "product[: 2 * units] = SHRINK, 1",
        (CONVERSION, "-k", "is_the_model and icml"),
    ),
    Fault(
        "shift of a normalised input is lost",
        "convert/fold.py",
        "shift @ kernel + numpy_of(layer.bias)",
        "numpy_of(layer.bias)",
        (CONVERSION, "-k", "is_the_model and bigrams"),
    ),
    Fault(
        "converted directions share a matrix",
        "convert/fold.py",
        '("recurrent", "recurrent_back")',
        '("recurrent", "recurrent")',
        (CONVERSION, "-k", "is_the_model and past"),
    ),
    Fault(
        "head takes the states for unshrunk",
        "convert/layer_graph.py",
        "fold_output(model, incoming)",
        "fold_output(model, 1.0)",
        (CONVERSION, "-k", "is_the_model and ways and rectified"),
    ),
    Fault(
        "a whole recording's chunks lack what is before them",
        "ds2edge/whole.py",
        '{"before": -lengths.get("before", 0)',
        '{"before": 0',
        (CONVERSION, "-k", "is_the_model and ways and rectified"),
    ),
    Fault(
        "steps beyond the end go into the next layer",
        "ds2edge/whole.py",
        "-(-len(x) * self._chunk // frames)",
        "-(-len(x) // frames) * self._chunk",
        (CONVERSION, "-k", "is_the_model and ways and rectified"),
    ),
    Fault(
        "way back begins in every chunk anew",
        "ds2edge/whole.py",
        '            state = outputs["state"]\n',
        "",
        (CONVERSION, "-k", "is_the_model and past"),
    ),
    Fault(
        "frames of a recording are the caller's",
        "ds2edge/whole.py",
        "np.array(frames, np.float32)",
        "np.asarray(frames, np.float32)",
        (CONVERSION, "-k", "frames_are_kept"),
    ),
    Fault(
        "a layer more than two is held",
        "ds2edge/whole.py",
        "        for i in range(self._layers):\n",
        "        kept = x\n        for i in range(self._layers):\n",
        (CONVERSION, "-k", "two_layers"),
    ),
    # ---- token sets
    Fault(
        "Mandarin with spaces",
        "ds2edge/text.py",
        'return (" " if self.space is not None else "").join(words)',
        'return " ".join(words)',
        (TOKENS, "-k", "without_spaces"),
    ),
    Fault(
        "no bigrams with an apostrophe",
        "ds2edge/text.py",
        """parts = "'" + _LETTERS""",
        "parts = _LETTERS",
        (TOKENS, "-k", "bigrams"),
    ),
    Fault(
        "last row of GB 2312 missing",
        "ds2edge/text.py",
        "range(0xB0, 0xF8)",
        "range(0xB0, 0xF7)",
        (TOKENS, "-k", "gb_2312"),
    ),
)
