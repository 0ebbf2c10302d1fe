"""Faults of the training loop, its checkpoints, its optimisers and what it reads."""

from __future__ import annotations

from fault import Fault

LOOP, STEP, RUN_LOG = (
    "tests/test_train_loop.py",
    "tests/test_train_step.py",
    "tests/test_run_log.py",
)
MANIFEST, COMMAND = "tests/test_manifest.py", "tests/test_train_command.py"

TRAINING_FAULTS = (
    # ---- going on
    Fault(
        "dropout's random state forgotten",
        "training/snapshot.py",
        "        assign(self.objective, checkpoint.training)\n",
        "        from keras import random\n"
        "        seeds = [v for v in self.objective.variables if 'seed' in v.path]\n"
        "        kept = [v.numpy() for v in seeds]\n"
        "        assign(self.objective, checkpoint.training)\n"
        "        for v, value in zip(seeds, kept):\n"
        "            v.assign(value)\n",
        (LOOP, "-k", "is_stopped"),
    ),
    Fault(
        "the optimiser begins anew",
        "training/snapshot.py",
        "        assign(self.optimizer, checkpoint.training)\n",
        "",
        (LOOP, "-k", "is_stopped"),
    ),
    Fault(
        "averaged weights are trained on",
        "training/snapshot.py",
        "            yield\n        finally:\n            assign(self.objective, own)\n",
        "            yield\n        finally:\n            pass\n",
        (LOOP, "-k", "same_seed"),
    ),
    Fault(
        "masks drawn from where the process began",
        "training/run.py",
        "np.random.default_rng([self.config.optimizer.seed, epoch, number + 1])\n",
        "self.__dict__.setdefault('rng', np.random.default_rng(epoch))\n",
        (LOOP, "-k", "is_stopped"),
    ),
    Fault(
        "updates after the checkpoint are written twice",
        "training/run_log.py",
        '        self.steps = read_records(folder / "steps.jsonl")[:updates]\n',
        '        self.steps = read_records(folder / "steps.jsonl")\n',
        (RUN_LOG, "-k", "goes_on"),
    ),
    Fault(
        "other recordings go on",
        "training/loop.py",
        '    if progress.data not in ("", digest):\n',
        "    if False:\n",
        (LOOP, "-k", "other_recordings"),
    ),
    Fault(
        "another configuration goes on",
        "training/snapshot.py",
        "    if apart := differences(checkpoint.config.as_dict(), config.as_dict()):\n",
        "    if apart := []:\n",
        (LOOP, "-k", "another_configuration"),
    ),
    # ---- checkpoints
    Fault(
        "half a file is moved into place",
        "training/files.py",
        "        part.unlink(missing_ok=True)\n        if isinstance",
        "        os.replace(part, path)\n        if isinstance",
        (COMMAND, "-k", "full_disk"),
    ),
    Fault(
        "the part of a file is left",
        "training/files.py",
        "        part.unlink(missing_ok=True)\n        if isinstance",
        "        if isinstance",
        (COMMAND, "-k", "full_disk"),
    ),
    Fault(
        "no number goes on",
        "training/loop.py",
        "        if math.isfinite(update.loss) and math.isfinite(update.gradient_norm):\n",
        "        if True:\n",
        (LOOP, "-k", "no_number"),
    ),
    Fault(
        "the average of one epoch",
        "training/loop.py",
        "            mean = mean_weights([load_checkpoint(path) for path in paths])\n",
        "            mean = mean_weights([load_checkpoint(path) for path in paths[-1:]])\n",
        (LOOP, "-k", "of_the_last_epochs"),
    ),
    # ---- updates
    Fault(
        "batches weigh the same, whatever they hold",
        "training/step.py",
        "[np.float32(batch.weight / total) for batch in batches]",
        "[np.float32(1 / len(batches)) for batch in batches]",
        (STEP, "-k", "one_large_batch"),
    ),
    Fault(
        "each gradient is clipped alone",
        "training/step.py",
        "    norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))\n",
        "    norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients[:1]))\n",
        (STEP, "-k", "clipped"),
    ),
    Fault(
        "momentum does not look ahead",
        "training/optimizer.py",
        "nesterov=True",
        "nesterov=False",
        (STEP, "-k", "nesterov_is"),
    ),
    Fault(
        "annealed an epoch late",
        "training/optimizer.py",
        "        epoch = ops.sum(ops.cast(step >= ",
        "        epoch = ops.sum(ops.cast(step > ",
        (STEP, "-k", "schedules"),
    ),
    # ---- manifests
    Fault(
        "lines counted without the header",
        "training/data/manifest.py",
        "            rows = [(reader.line_num, row) for row in reader]\n",
        "            rows = [(reader.line_num - 1, row) for row in reader]\n",
        (MANIFEST, "-k", "bad_row"),
    ),
    Fault(
        "an empty text teaches silence",
        "training/data/corpora.py",
        "    elif not wordless and not normalise(utterance.text, token_set):\n",
        "    elif False:\n",
        (MANIFEST, "-k", "left_out"),
    ),
    Fault(
        "texts only have to fit at normal speed",
        "training/data/corpora.py",
        "    shortest = np.min([c.lengths for c in caches], axis=0)\n",
        "    shortest = caches[0].lengths\n",
        (MANIFEST, "-k", "highest_speed"),
    ),
    Fault(
        "mended recordings stay as they were",
        "training/data/feature_cache.py",
        "    files = [(str(u.path), *file_state(u.file)) for u in utterances]\n",
        "    files = [str(u.path) for u in utterances]\n",
        (MANIFEST, "-k", "mended"),
    ),
    Fault(
        "louder recordings of the same size stay as they were",
        "training/files.py",
        "    return found.st_size, found.st_mtime_ns\n",
        "    return found.st_size, 0\n",
        (MANIFEST, "-k", "louder"),
    ),
    Fault(
        "a recording may be half as long as promised",
        "training/data/manifest.py",
        "APART = 1.25",
        "APART = 2.0",
        (MANIFEST, "-k", "left_out_with_file"),
    ),
    Fault(
        "a bundle takes the place of recordings",
        "ds2edge/bundle.py",
        "    check_replaceable(folder)\n",
        "",
        ("tests/test_bundle.py", "-k", "is_not_replaced"),
    ),
    Fault(
        "a slow worker waits for an answer that does not come",
        "training/cluster.py",
        "                connection.close()  # so that a worker knocks again\n",
        "",
        ("tests/test_workers.py", "-k", "slow_to_speak"),
    ),
    # ---- warnings
    Fault(
        "a rise is told at every update",
        "training/watch.py",
        "        return self._high and not before\n",
        "        return self._high\n",
        (RUN_LOG, "-k", "rising"),
    ),
)
