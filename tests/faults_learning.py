"""Faults of learning from a teacher, of fine-tuning and of adapted language models."""

from __future__ import annotations

from fault import Fault

DISTILL, FINETUNE, MIXTURE = (
    "tests/test_distill.py",
    "tests/test_finetune.py",
    "tests/test_arpa_mixture.py",
)

LEARNING_FAULTS = (
    # ---- a teacher
    Fault(
        "the student is to say it earlier",
        "training/network/distillation.py",
        "    later = ops.pad(teacher, ((0, 0), (shift, 0), (0, 0)))[:, :count]\n",
        "    later = ops.pad(teacher, ((0, 0), (0, shift), (0, 0)))[:, shift : shift + count]\n",
        (DISTILL, "-k", "divergence"),
    ),
    Fault(
        "the divergence of the teacher from the student",
        "training/network/distillation.py",
        "    divergence = ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)\n",
        "    divergence = ops.sum(ops.exp(found) * (found - wanted), axis=-1)\n",
        (DISTILL, "-k", "divergence"),
    ),
    Fault(
        "what is beyond the end is learned",
        "training/network/distillation.py",
        "    told = step_mask(steps, count) * ",
        "    told = step_mask(steps + 1, count) * ",
        (DISTILL, "-k", "divergence"),
    ),
    Fault(
        "the first steps are compared with nothing",
        "training/network/distillation.py",
        "ops.cast(ops.arange(count) >= shift",
        "ops.cast(ops.arange(count) >= 0",
        (DISTILL, "-k", "divergence"),
    ),
    Fault(
        "a flat teacher pulls less",
        "training/network/distillation.py",
        "    return temperature**2 * ops.sum(",
        "    return ops.sum(",
        (DISTILL, "-k", "divergence"),
    ),
    Fault(
        "CTC learns the text that nobody gave",
        "training/network/model.py",
        "            losses = losses * labelled\n",
        "            pass\n",
        (DISTILL, "-k", "are_weighted"),
    ),
    Fault(
        "the teacher is asked about another speed",
        "training/data/batches.py",
        "padded([recordings.teacher[change][i] for i, change in chosen])",
        "padded([recordings.teacher[change - 1][i] for i, change in chosen])",
        (DISTILL, "-k", "at_each_speed"),
    ),
    Fault(
        "another teacher's answers are taken",
        "training/checkpoint.py",
        "            digest.update(np.ascontiguousarray(value).tobytes())\n",
        "            pass\n",
        (DISTILL, "-k", "another_teacher"),
    ),
    Fault(
        "the teacher is asked again from the start",
        "training/data/teacher_log_probs.py",
        "        if not part.exists():\n",
        "        if True:\n",
        (DISTILL, "-k", "asked_once"),
    ),
    Fault(
        "a teacher of another time stride",
        "training/data/teacher_log_probs.py",
        "    if ours.time_stride != theirs.time_stride:\n",
        "    if False:\n",
        (DISTILL, "-k", "does_not_fit"),
    ),
    Fault(
        "silence is learned where there is no text",
        "training/train.py",
        "        for corpus in (c for c in config.data.train if c.unlabelled):\n",
        "        for corpus in ():\n",
        (DISTILL, "-k", "without_a_teacher"),
    ),
    # ---- fine-tuning
    Fault(
        "a new token is as likely as its relative",
        "training/network/extra_tokens.py",
        "np.log(SHARE) if len(row) == 1 else 0.0",
        "0.0",
        (FINETUNE, "-k", "new_outputs"),
    ),
    Fault(
        "accents are dropped though the set has them",
        "ds2edge/text.py",
        "    if own := tokens._accented:\n",
        "    if own := frozenset():\n",
        (FINETUNE, "-k", "accents"),
    ),
    Fault(
        "fine-tuning begins with random weights",
        "convert/finetune.py",
        "    return run_to_the_end(prepared, folder, options, start, config, ",
        "    return run_to_the_end(prepared, folder, options, None, config, ",
        (FINETUNE, "-k", "goes_on_where"),
    ),
    Fault(
        "another model goes on in the same folder",
        "training/fine_tuning.py",
        "-{weights_digest(start)[:6]}",
        "",
        (FINETUNE, "-k", "another_folder"),
    ),
    Fault(
        "what is kept drowns what is new",
        "training/fine_tuning.py",
        "    repeat = max(1, round(kept / max(new, 1.0)))  # half",
        "    repeat = 1  # half",
        (FINETUNE, "-k", "seen_often"),
    ),
    Fault(
        "the delay of the bundle is forgotten",
        "convert/command.py",
        "    delay = like.manifest.delay if like else 0.0\n",
        "    delay = 0.0\n",
        (FINETUNE, "-k", "like_another_one"),
    ),
    # ---- language models
    Fault(
        "the weight is the other model's",
        "training/arpa_mixture.py",
        "(1 - weight) * 10 ** log_probs[0]",
        "weight * 10 ** log_probs[0]",
        (MIXTURE, "-k", "are_exact"),
    ),
    Fault(
        "back-offs are the first model's",
        "training/arpa_mixture.py",
        "    left = np.maximum(1 - seen, LEAST) / np.maximum(1 - shorter, LEAST)\n",
        "    left = np.maximum(1 - seen, LEAST)\n",
        (MIXTURE, "-k", "sums_up"),
    ),
)
