"""Faults of training with several workers, and of recordings in shards."""

from __future__ import annotations

from fault import Fault

WORKERS, TOGETHER = "tests/test_workers.py", "tests/test_workers_together.py"
SHARDS = "tests/test_shards.py"

SCALE_FAULTS = (
    # ---- the same update as one worker's
    Fault(
        "batch norm of a worker's own part",
        "training/workers.py",
        "                layer.total = self.total\n",
        "                pass\n",
        (TOGETHER,),
    ),
    Fault(
        "the gradient of a sum is a worker's own",
        "training/workers.py",
        "        return plain(x), plain  # the",
        "        return plain(x), tf.identity  # the",
        (TOGETHER,),
    ),
    Fault(
        "gradients are not summed",
        "training/step.py",
        "        loss, *gradients = workers.total([loss, *gradients])\n",
        "        (loss,) = workers.total([loss])\n",
        (WORKERS, "-k", "weigh_by_their_tokens"),
    ),
    Fault(
        "workers weigh the same, whatever they have",
        "training/step.py",
        "        total = sum(batch.weight + batch.others for batch in batches)\n",
        "        total = sum(batch.weight * 2 for batch in batches)\n",
        (WORKERS, "-k", "weigh_by_their_tokens"),
    ),
    Fault(
        "masks of a worker's own",
        "training/data/batches.py",
        "mask(one, masks[row]) for row, one in zip(rows, heard, strict=True)]\n",
        "mask(one, masks[number]) for number, one in enumerate(heard)]\n",
        (WORKERS, "-k", "masked_as_if"),
    ),
    Fault(
        "a stand-in of one step",
        "training/data/batches.py",
        ", frames=np.zeros(1, np.int32))",
        ", frames=np.ones(1, np.int32))",
        (WORKERS, "-k", "without_a_recording"),
    ),
    Fault(
        "a recording without a step has a loss",
        "training/network/loss.py",
        "lengths == 0), steps > 0)",
        "lengths == 0), steps > -1)",
        (WORKERS, "-k", "without_a_recording"),
    ),
    Fault(
        "all workers draw the same dropout",
        "training/workers.py",
        "            own = np.array([self.index, 0], np.uint32)\n",
        "            own = np.array([0, 0], np.uint32)\n",
        (WORKERS, "-k", "other_dropout"),
    ),
    Fault(
        "each worker begins with weights of its own",
        "training/workers.py",
        "self._numbers(own if self.is_chief else np.zeros_like(own))",
        "own",
        (WORKERS, "-k", "other_dropout"),
    ),
    # ---- together, or not at all
    Fault(
        "other recordings are not noticed",
        "training/workers.py",
        "            if not np.array_equal(rows[worker], rows[0]):\n",
        "            if False:\n",
        (WORKERS, "-k", "other_recordings"),
    ),
    Fault(
        "other configurations are not noticed",
        "training/cluster.py",
        '    apart = differences(own["settings"], hello["settings"])\n',
        "    apart: list[str] = []\n",
        (WORKERS, "-k", "do_not_fit"),
    ),
    Fault(
        "only the chief knows what is wrong",
        "training/cluster.py",
        '                connection.sendall(json.dumps(problem).encode() + b"\\n")\n',
        '                connection.sendall(json.dumps("").encode() + b"\\n")\n',
        (WORKERS, "-k", "do_not_fit"),
    ),
    Fault(
        "a worker that failed is waited for",
        "training/cluster.py",
        "            check()\n            server",
        "            server",
        (WORKERS, "-k", "fails_at_the_start"),
    ),
    Fault(
        "every worker stops for itself",
        "training/loop.py",
        "        if self.run.workers.any(bool(self.interrupt and self.interrupt.asked)):\n",
        "        if self.interrupt and self.interrupt.asked:\n",
        (TOGETHER,),
    ),
    Fault(
        "a lost worker is TensorFlow's traceback",
        "training/workers.py",
        "        if error and self._is_of_a_peer(error):\n",
        "        if False:\n",
        (TOGETHER,),
    ),
    # ---- shards
    Fault(
        "the next record is taken",
        "training/data/shards.py",
        "            while number < utterance.record:\n",
        "            while number <= utterance.record:\n",
        (SHARDS, "-k", "same_recordings"),
    ),
    Fault(
        "whose record it is does not matter",
        "training/data/shards.py",
        "    if name.decode() != _name(utterance):\n",
        "    if False:\n",
        (SHARDS, "-k", "damage_is_named"),
    ),
    Fault(
        "half a shard is moved into place",
        "training/data/shards.py",
        "    finally:\n        part.unlink(missing_ok=True)\n",
        "    finally:\n        part.exists() and os.replace(part, shard.path)\n",
        (SHARDS, "-k", "whole_or_not_at_all"),
    ),
    Fault(
        "a changed recording stays in its shard",
        "training/data/shards.py",
        ", status.st_size, status.st_mtime_ns]",
        ", status.st_size]",
        (SHARDS, "-k", "changed_recording"),
    ),
    Fault(
        "shards replace a corpus's manifest",
        "training/data/shards.py",
        "    if target.exists() and not read_manifest(target)[0].shard:\n",
        "    if False:\n",
        (SHARDS, "-k", "bad_use"),
    ),
)
