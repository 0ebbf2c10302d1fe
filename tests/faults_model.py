"""Faults of the native search, the conversion and the bundle."""

from __future__ import annotations

from fault import Fault

CONVERT, BUNDLE = "tests/test_convert.py", "tests/test_bundle.py"
DECODER = (
    "tests/test_decoder.py",
    "tests/test_decoder_modes.py",
    "tests/test_decoder_streaming.py",
    "tests/test_language_model.py",
)

MODEL_FAULTS = (
    Fault(
        "look-ahead off by one",
        "ds2edge/acoustic.py",
        "        begin = max(0, self._grid.look_ahead - state.steps)\n",
        "        begin = max(0, self._grid.look_ahead - 1 - state.steps)\n",
        (CONVERT, "-k", "streaming_float"),
    ),
    Fault(
        "blank collapsed wrongly",
        "native/step.cc",
        "const float total = (token == last ? blank : before) + symbol->log_prob;",
        "const float total = before + symbol->log_prob;",
        DECODER,
    ),
    Fault(
        "batch norm not folded",
        "convert/fold.py",
        "    return kernel * scale / incoming, shift\n",
        "    return kernel / incoming, shift\n",
        (CONVERT, "-k", "streaming_float"),
    ),
    Fault(
        "language model score dropped",
        "native/search.h",
        "    prefix.word_language += search_->alpha() * search_->language_model().score(\n",
        "    prefix.word_language += 0.0f * search_->language_model().score(\n",
        DECODER,
    ),
    Fault(
        "wrong log base",
        "native/language_model.cc",
        "constexpr float kLn10 = 2.302585092994046f;",
        "constexpr float kLn10 = 1.0f;",
        DECODER,
    ),
    Fault(
        "boost kept when a phrase breaks off",
        "native/vocabulary.h",
        "float word_boost(const Place& place) const { return phrases.paid(place.phrase); }",
        "float word_boost(const Place& place) const { return phrases.credit(place.phrase); }",
        DECODER,
    ),
    Fault(
        "unknown words for nothing",
        "native/vocabulary.h",
        "float word_gain(const Place& place) const { return knows(place) ? 0.0f : -cost; }",
        "float word_gain(const Place&) const { return 0.0f; }",
        DECODER,
    ),
    Fault(
        "label prior not normalised",
        "native/frame.cc",
        "  highest += std::log(sum);\n",
        "",
        DECODER,
    ),
    Fault(
        "damaged language model not refused",
        "native/language_model.cc",
        "    check_kenlm_file(path);\n",
        "",
        ("tests/test_language_model_damage.py",),
    ),
    Fault(
        "int8 artefact of another checkpoint",
        "convert/artefacts.py",
        '    return Converted(grid, "stream", form.batches, float32, '
        "_files(float32, form, static))\n",
        "    from ds2edge.features import FeatureSettings\n"
        "    from ds2edge.training.network.model import build_model\n"
        "    other = build_model(model.config, FeatureSettings(bins=model.feature_size))\n"
        "    graph = build_step_graph(other, form.chunk_outputs)\n"
        "    other_files = _files(to_tflite(graph, form.batches), form, static)\n"
        '    return Converted(grid, "stream", form.batches, float32, other_files)\n',
        (CONVERT, "-k", "smaller_weights"),
    ),
    Fault(
        "stored answer not compared",
        "ds2edge/backends.py",
        "    if not difference <= allowed:\n",
        "    if False:\n",
        (CONVERT, "-k", "artefact"),
    ),
    Fault(
        "fitted confidence not used",
        "ds2edge/pipeline.py",
        '        confidence=bundle.manifest.confidence.get("language_model"),\n',
        "",
        (BUNDLE, "-k", "confidences"),
    ),
)
