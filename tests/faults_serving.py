"""Faults of the dispatcher, and of what recordings share; see plant_faults.py."""

from __future__ import annotations

from fault import Fault

DISPATCHER, FEATURES = "tests/test_dispatcher.py", "tests/test_features.py"
STREAMS = "tests/test_live_streams.py"

SERVING_FAULTS = (
    Fault(
        "answers of other streams of the batch",
        "ds2edge/pipeline.py",
        "frames)[::-1]\n",
        "frames)\n",
        (DISPATCHER, "-k", "interleaving"),
    ),
    Fault(
        "means of other recordings of the batch",
        "ds2edge/features.py",
        "        for state, piece, (_, mean, count, powers) in zip(states, pieces",
        "        for state, piece, (_, mean, count, powers) in zip(states[::-1], pieces",
        (FEATURES, "-k", "together"),
    ),
    Fault(
        "the latest stream first",
        "ds2edge/serving/board.py",
        "            return [self._due.popleft() for",
        "            return [self._due.pop() for",
        (DISPATCHER, "-k", "waited_longest"),
    ),
    Fault(
        "a segment's end waits for all others at each step",
        "ds2edge/serving/board.py",
        "            self._due.extendleft(",
        "            self._due.extend(",
        (DISPATCHER, "-k", "waited_longest"),
    ),
    Fault(
        "batches larger than allowed",
        "ds2edge/serving/board.py",
        "range(min(most, len(self._due)))]",
        "range(len(self._due))]",
        (DISPATCHER, "-k", "takes_what_waits"),
    ),
    Fault(
        "a queue without a bound",
        "ds2edge/serving/lane.py",
        "        return self._waiting < self._most_waiting and",
        "        return True or self._waiting < self._most_waiting and",
        (DISPATCHER, "-k", "no_room"),
    ),
    Fault(
        "short pieces fill the queue",
        "ds2edge/serving/lane.py",
        "        self._most_waiting = max(most_waiting, self._most_joined)\n",
        "        self._most_waiting = most_waiting\n",
        (DISPATCHER, "-k", "pieces_of_a_sample"),
    ),
    Fault(
        "events without a bound",
        "ds2edge/serving/lane.py",
        "        if self.ended or (len(self._events) >= MOST_UNREAD and not self.hurried):\n",
        "        if self.ended:\n",
        (DISPATCHER, "-k", "does_not_read"),
    ),
    Fault(
        "a stream whose reader came back is forgotten",
        "ds2edge/serving/live.py",
        "        self._board.schedule(self._lane)  # it may have waited for its reader\n",
        "",
        (DISPATCHER, "-k", "does_not_read"),
    ),
    Fault(
        "flushes and options overtake samples",
        "ds2edge/serving/lane.py",
        "        self._tasks.append(_Task(time.perf_counter(), np.zeros(0",
        "        self._tasks.appendleft(_Task(time.perf_counter(), np.zeros(0",
        (DISPATCHER, "-k", "in_their_order"),
    ),
    Fault(
        "a final gives way to a later event",
        "ds2edge/serving/lane.py",
        "                if self._events and isinstance(self._events[-1], Partial):\n",
        "                if self._events:\n",
        (DISPATCHER, "-k", "does_not_read"),
    ),
    Fault(
        "one bad stream ends those of its batch",
        "ds2edge/serving/dispatcher.py",
        "            if len(stepped) == 1:\n                stepped[0].lane.fail(error)\n",
        "            if [one.lane.fail(error) for one in stepped]:\n                pass\n",
        (STREAMS, "-k", "fails_alone"),
    ),
    Fault(
        "a dropped stream looks finished",
        "ds2edge/serving/live.py",
        "            self._lane.end(error)\n",
        "            self._lane.end()\n",
        (STREAMS, "-k", "closing_drops"),
    ),
    Fault(
        "draining forgets streams that were not finished",
        "ds2edge/serving/live.py",
        "            if is_open:\n",
        "            if False:\n",
        (STREAMS, "-k", "draining_finishes"),
    ),
    Fault(
        "a Dispatcher survives fork",
        "ds2edge/serving/board.py",
        "        if not self.is_own_process:\n",
        "        if False:\n",
        (STREAMS, "-k", "forked"),
    ),
    Fault(
        "batches with empty places for want of a small one",
        "ds2edge/acoustic.py",
        "            if size - count > SPARE:\n",
        "            if size < count:\n",
        ("tests/test_backends.py", "-k", "few_empty_places"),
    ),
)
