"""Faults of what goes into a conversion and what is done with bundles afterwards."""

from __future__ import annotations

from fault import Fault

KERAS, BUNDLES = "tests/test_keras_files.py", "tests/test_bundle_command.py"
KERAS_FILES, CHECKPOINT = "training/keras_files.py", "training/checkpoint.py"
TOOLS, COMMAND = "ds2edge/bundle_tools.py", "ds2edge/commands/bundle.py"

BUNDLE_FAULTS = (
    # ---- models in Keras's files
    Fault(
        "NaN in a checkpoint accepted",
        CHECKPOINT,
        "    check_numbers(str(path), {_short(name): value for name, value in weights.items()})\n",
        "",
        (KERAS, "-k", "checkpoint_of_nan"),
    ),
    Fault(
        "NaN in a Keras file accepted",
        KERAS_FILES,
        "    check_numbers(str(path), {names[place]: found[place] for place in places})\n",
        "",
        (KERAS, "-k", "do_not_fit"),
    ),
    Fault(
        "weights too many accepted",
        CHECKPOINT,
        "    if extra := names - wanted:\n",
        "    if extra := Counter[str]():\n",
        (KERAS, "-k", "fit"),
    ),
    Fault(
        "weights from another file",
        KERAS_FILES,
        " and not (values.external or values.is_virtual)",
        "",
        (KERAS, "-k", "do_not_fit"),
    ),
    Fault(
        "a Keras model of any class",
        KERAS_FILES,
        "    if found != CLASS:\n",
        "    if False:\n",
        (KERAS, "-k", "another_class or executed"),
    ),
    Fault(
        "features not taken from a Keras file",
        KERAS_FILES,
        'FeatureSettings.from_dict(values["features"])',
        "FeatureSettings()",
        (KERAS, "-k", "holds"),
    ),
    Fault(
        "another configuration passed over",
        KERAS_FILES,
        "    if config:\n        raise ConfigError(",
        "    if False:\n        raise ConfigError(",
        (KERAS, "-k", "second_configuration"),
    ),
    # ---- bundles made of bundles
    Fault(
        "an older format not read",
        "ds2edge/bundle.py",
        'values.get("artefacts", FORMAT_2)',
        'values["artefacts"]',
        (BUNDLES, "-k", "every_format"),
    ),
    Fault(
        "error rates of another language model kept",
        TOOLS,
        "accuracy=_without(old.accuracy)",
        "accuracy=old.accuracy",
        (BUNDLES, "-k", "old_figures"),
    ),
    Fault(
        "confidences of another language model kept",
        TOOLS,
        "if same and weighed else _without(old.confidence)",
        "if old.confidence else {}",
        (BUNDLES, "-k", "old_figures"),
    ),
    Fault(
        "words unknown to the language model taken",
        TOOLS,
        "    if lacking:\n",
        "    if False:\n",
        (BUNDLES, "-k", "lexicon_is_taken"),
    ),
    Fault(
        "a language model of other tokens taken",
        TOOLS,
        "        model.check_tokens(tokens)\n",
        "        pass\n",
        (BUNDLES, "-k", "does_not_fit"),
    ),
    Fault(
        "the model card notes every change",
        TOOLS,
        " if not p.startswith(NOTE)",
        "",
        (BUNDLES, "-k", "card"),
    ),
    Fault(
        "artefacts that are dropped stay",
        TOOLS,
        " if member not in dropped",
        "",
        (BUNDLES, "-k", "drop_artefacts"),
    ),
    Fault(
        "any file is replaced",
        TOOLS,
        "    check_output(out)\n",
        "",
        (BUNDLES, "-k", "no_bundle_is_not_replaced"),
    ),
    Fault(
        "half a bundle left on a full disk",
        TOOLS,
        "os.replace(pack_bundle(new, Path(temporary) / out.name), out)",
        "pack_bundle(new, out)",
        (BUNDLES, "-k", "full_disk"),
    ),
    Fault(
        "only the first artefact verified",
        COMMAND,
        "for artefact in manifest.artefacts]",
        "for artefact in manifest.artefacts[:1]]",
        (BUNDLES, "-k", "every_artefact or what_it_checked"),
    ),
    Fault(
        "names taken for markup",
        "ds2edge/commands/bundle_facts.py",
        "markup=False, emoji=False",
        "emoji=False",
        (BUNDLES, "-k", "literally"),
    ),
)
