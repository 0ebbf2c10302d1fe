"""Faults of a stream: what it says, who uses it, its options."""

from __future__ import annotations

from fault import Fault

SAID, THREADS = "tests/test_contract.py", "tests/test_contract_threads.py"
INPUT, PROCESS = "tests/test_contract_input.py", "tests/test_contract_process.py"
OPTIONS = "tests/test_options.py"

STREAM_FAULTS = (
    # ---- what is said
    Fault(
        "no flush",
        "ds2edge/pipeline.py",
        "        for piece in [*self.extractor.cut_rest(state.features), FLUSH]:\n",
        "        for piece in self.extractor.cut_rest(state.features):\n",
        (SAID, "-k", "test_2_finish"),
    ),
    Fault(
        "state reset at every feed",
        "ds2edge/stream.py",
        "            finals = self._run(self._segments.advance(",
        "            self._segments.state.acoustic = self._transcriber._pipeline.backend.start()\n"
        "            finals = self._run(self._segments.advance(",
        (SAID, "-k", "test_1_it_is"),
    ),
    Fault(
        "stale state between streams",
        "ds2edge/features.py",
        "        return FeatureState(self._mean.copy())\n",
        "        return FeatureState(self._mean)\n",
        (SAID, "-k", "test_1_log_probs"),
    ),
    Fault(
        "resampler tail lost",
        "ds2edge/audio.py",
        "        return self._resample(np.zeros(0, np.float32), last=True)\n",
        "        return np.zeros(0, np.float32)\n",
        ("tests/test_audio.py",),
    ),
    Fault(
        "flush loses what the resampler holds",
        "ds2edge/stream.py",
        "self._segments.finish(self._input.finish(), ",
        "self._segments.finish(self._input.finish()[:0], ",
        (SAID, "-k", "test_2_finish"),
    ),
    Fault(
        "flush loses what is no whole chunk",
        "ds2edge/segments.py",
        "        yield from self._pipeline.finish(self.state)\n",
        "        yield from ()\n",
        (SAID, "-k", "test_2_segments"),
    ),
    Fault(
        "time stands still at a flush",
        "ds2edge/segments.py",
        "        self._input_start, self._taken, self._input_end = seconds, 0, math.inf\n",
        "        self._taken, self._input_end = 0, math.inf\n",
        (SAID, "-k", "test_3_each"),
    ),
    Fault(
        "a segment begins after the end",
        "ds2edge/segments.py",
        "        return min(self._input_start + self._taken / self._rate, self._input_end)\n",
        "        return self._input_start + self._taken / self._rate\n",
        (SAID, "-k", "test_3_a_segment"),
    ),
    Fault(
        "stable part too long",
        "ds2edge/segments.py",
        "        count = len(self._joined(stable, more=True))\n",
        "        count = len(words)\n",
        (SAID, "-k", "test_4_the_stable"),
    ),
    Fault(
        "stable words go to the next segment",
        "ds2edge/segments.py",
        "        self._stable: list[Word] = []  # words that never change again\n",
        '        self._stable: list[Word] = getattr(self, "_stable", [])\n',
        ("tests/test_endpoint.py", "-k", "segments_of_its_own"),
    ),
    Fault(
        "an old ambiguity stays open",
        "native/search_state.cc",
        "  if (frame_ - certain_end_ > search_->options().max_ambiguity) resolve_old();\n",
        "",
        (SAID, "-k", "test_4_an_old"),
    ),
    Fault(
        "closed segments are kept",
        "ds2edge/segments.py",
        "                    finals.append((yield from self._end_segment(self._position)))\n",
        "                    finals.append((yield from self._end_segment(self._position)))\n"
        '                    self._kept = [*getattr(self, "_kept", []), finals[-1]]\n',
        (SAID, "-k", "test_5"),
    ),
    Fault(
        "every chunk is run twice",
        "ds2edge/pipeline.py",
        "        found = self.backend.step_together([step",
        "        self.backend.step_together([self.backend.start() for _ in chunks], frames)\n"
        "        found = self.backend.step_together([step",
        (SAID, "-k", "test_5"),
    ),
    Fault(
        "delay not taken off",
        "ds2edge/segments.py",
        "            return max(start, round(start + frame * step - delay, 3))",
        "            return max(start, round(start + frame * step, 3))",
        ("tests/test_bundle.py", "-k", "times"),
    ),
    Fault(
        "words begin before their segment",
        "ds2edge/segments.py",
        "            return max(start, round(start + frame * step - delay, 3))",
        "            return round(start + frame * step - delay, 3)",
        (SAID, "-k", "test_6_words"),
    ),
    # ---- who uses it
    Fault(
        "options shared by the streams of a Transcriber",
        "ds2edge/stream.py",
        "            self._segments.use(options, self._transcriber.decoder(options))\n",
        "            self._segments.use(options, self._transcriber.decoder(options))\n"
        "            self._transcriber._decoder = self._transcriber.decoder(options)\n",
        (OPTIONS, "-k", "another_vocabulary"),
    ),
    Fault(
        "a boost of another stream",
        "ds2edge/transcriber.py",
        "            decoder = decoder.with_phrases(phrases) if phrases else decoder\n",
        "            decoder = decoder.with_phrases(phrases) if phrases else decoder\n"
        "            self._decoder = decoder if options.language_model else self._decoder\n",
        (THREADS, "-k", "knows_nothing"),
    ),
    Fault(
        "two threads in a stream",
        "ds2edge/stream.py",
        "        if not self._lock.acquire(blocking=False):\n",
        "        if self._lock.acquire(blocking=False) is None:\n",
        (THREADS, "-k", "two_threads"),
    ),
    Fault(
        "a stream that another thread finished goes on",
        "ds2edge/stream.py",
        "            self.check_open()  # the thread that had it may have finished it\n",
        "",
        (THREADS, "-k", "just_finished"),
    ),
    Fault(
        "a Stream survives fork",
        "ds2edge/stream.py",
        '        if os.getpid() != self._process:\n            raise StreamError("a Stream does',
        '        if False:\n            raise StreamError("a Stream does',
        (THREADS, "-k", "forked"),
    ),
    Fault(
        "a Transcriber survives fork",
        "ds2edge/transcriber.py",
        "        if os.getpid() != self._process:\n",
        "        if False:\n",
        (THREADS, "-k", "forked"),
    ),
    Fault(
        "pickled with the model",
        "ds2edge/transcriber.py",
        "partial(Transcriber, self._reference, ",
        "partial(Transcriber, self.bundle, ",
        (THREADS, "-k", "pickles"),
    ),
    Fault(
        "left open by an exception",
        "ds2edge/stream.py",
        "    def __exit__(self, *_: object) -> None:\n        self.close()\n",
        "    def __exit__(self, *_: object) -> None:\n        pass\n",
        (PROCESS, "-k", "callers_loop"),
    ),
    # ---- options
    Fault(
        "options half applied",
        "ds2edge/stream.py",
        "            self._segments.use(options, self._transcriber.decoder(options))\n",
        "            self._segments.options = options\n"
        "            self._segments.use(options, self._transcriber.decoder(options))\n",
        (INPUT, "-k", "bad_options"),
    ),
    Fault(
        "phrases change with the next segment only",
        "ds2edge/segments.py",
        "            self.state.decoder.use(decoder)\n",
        "            pass\n",
        (OPTIONS, "-k", "phrases_change"),
    ),
    Fault(
        "closed vocabulary ignored",
        "ds2edge/transcriber.py",
        "            decoder = decoder.with_vocabulary(map(spoken, options.vocabulary))\n",
        "            pass\n",
        (OPTIONS, "-k", "another_vocabulary"),
    ),
)
