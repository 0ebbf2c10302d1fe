"""Faults of what is around a stream: its input, its endpoints, the microphone, what is shown."""

from __future__ import annotations

from fault import Fault

INPUT, PROCESS = "tests/test_contract_input.py", "tests/test_contract_process.py"
AUDIO_CHECK, ENDPOINT = "tests/test_audio_check.py", "tests/test_endpoint.py"
RING, MICROPHONE = "tests/test_ring.py", "tests/test_microphone.py"
LOSSES = "tests/test_microphone_losses.py"
SUBTITLES, DISPLAY = "tests/test_subtitles.py", "tests/test_display.py"

FAULTS_AROUND = (
    # ---- input
    Fault(
        "NaN accepted",
        "ds2edge/audio.py",
        "            check_range(column)\n",
        "            pass\n",
        (INPUT, "-k", "bad_block"),
    ),
    Fault(
        "a bad block counts",
        "ds2edge/audio.py",
        "        mono = _mono(array)\n        if len(array):\n",
        "        self._frames += len(array)\n"
        "        mono = _mono(array)\n"
        "        self._frames -= len(array)\n"
        "        if len(array):\n",
        (INPUT, "-k", "bad_block"),
    ),
    Fault(
        "int32 too loud",
        "ds2edge/audio.py",
        '"int32": 2.0**-31',
        '"int32": 2.0**-30',
        (INPUT, "-k", "every_type"),
    ),
    Fault(
        "channels forgotten at a flush",
        "ds2edge/audio.py",
        "        following._channels = self._channels\n",
        "",
        ("tests/test_stream.py", "-k", "channels"),
    ),
    Fault(
        "a changed rate not noticed",
        "ds2edge/transcriber.py",
        "                if own != rate:\n",
        "                if False:\n",
        (INPUT, "-k", "changed_rate or another_rate"),
    ),
    Fault(
        "audio check muted",
        "ds2edge/audio_check.py",
        '            log.warning("%s", message)\n',
        "            pass\n",
        (AUDIO_CHECK,),
    ),
    Fault(
        "audio check looks at the end of blocks only",
        "ds2edge/audio_check.py",
        "            piece = samples[: len(self._block) - self._filled]\n",
        "            piece = samples\n",
        (AUDIO_CHECK,),
    ),
    Fault(
        "warnings printed though nobody asked",
        "ds2edge/audio_check.py",
        "log.addHandler(logging.NullHandler())",
        "log.addHandler(logging.StreamHandler())",
        (PROCESS, "-k", "test_9"),
    ),
    Fault(
        "captured standard error swallowed",
        "ds2edge/runtimes/stderr.py",
        "            os.write(descriptor, line)\n",
        "            pass\n",
        ("tests/test_import.py", "-k", "foreign"),
    ),
    # ---- endpoints
    Fault(
        "loud is quiet",
        "ds2edge/endpoint.py",
        " or level.pause(look_ahead / 2) < min(look_ahead, pause):\n",
        ":\n",
        (ENDPOINT,),
    ),
    Fault(
        "level of the surroundings not followed",
        "ds2edge/endpoint.py",
        "            self.quietest = min(self.quietest + RISE * seconds, level)\n",
        "            self.quietest = min(self.quietest, level)\n",
        (ENDPOINT,),
    ),
    Fault(
        "silence before words ignored",
        "ds2edge/endpoint.py",
        "    return seconds >= min(options.silence_before, options.longest) or has_words()\n",
        "    return has_words()\n",
        (ENDPOINT,),
    ),
    Fault(
        "silence after words ignored",
        "ds2edge/endpoint.py",
        "        return options.silence_after\n",
        "        return options.longest\n",
        (ENDPOINT,),
    ),
    Fault(
        "silence without words counts as after words",
        "ds2edge/endpoint.py",
        " or has_words()\n",
        " or True\n",
        (ENDPOINT,),
    ),
    Fault(
        "longest segment ignored",
        "ds2edge/endpoint.py",
        "    if is_too_long(silence, options, look_ahead):\n",
        "    if False:\n",
        (ENDPOINT,),
    ),
    Fault(
        "a segment without a pause ends inside a word",
        "ds2edge/segments.py",
        "return 0.0 if gap is None else",
        "return 0.0 if gap is None or True else",
        (ENDPOINT,),
    ),
    # ---- microphone
    Fault(
        "no silence where samples were lost",
        "ds2edge/ring.py",
        "        if count <= 0:\n            return\n",
        "        if True:\n            return\n",
        (RING,),
    ),
    Fault(
        "lost samples not counted",
        "ds2edge/ring.py",
        "        self._lost += count\n",
        "",
        (RING,),
    ),
    Fault(
        "a slow reader hears a piece of every word",
        "ds2edge/ring.py",
        "            self._full = self._full and 4 * free < len(self._samples)\n",
        "            self._full = False\n",
        (RING,),
    ),
    Fault(
        "no lag",
        "ds2edge/microphone.py",
        "        return self._ring.waiting / self.sample_rate\n",
        "        return 0.0\n",
        (MICROPHONE, "-k", "slow"),
    ),
    Fault(
        "an overflow loses nothing",
        "ds2edge/microphone.py",
        "        return min(late, by_stamp) if overflow else self._unreported(now, late)\n",
        "        return self._unreported(now, late)\n",
        (LOSSES, "-k", "overflow"),
    ),
    Fault(
        "only what is reported is lost",
        "ds2edge/microphone.py",
        "        return min(late, before) if now - since > UNREPORTED_LOSS else 0\n",
        "        return 0\n",
        (LOSSES, "-k", "nobody_reports"),
    ),
    Fault(
        "unplugged without a word",
        "ds2edge/microphone.py",
        "        self._release()\n        raise AudioError(\n",
        "        self._release()\n        raise StopIteration(\n",
        (MICROPHONE, "-k", "one_error"),
    ),
    # ---- what is shown
    Fault(
        "lines break after link words",
        "ds2edge/subtitles.py",
        "    if before.text.lower() in _LINKS or after.text in _TAILS:\n        grade = 4.0\n",
        "",
        (SUBTITLES, "-k", "line_breaks"),
    ),
    Fault(
        "cues overlap",
        "ds2edge/subtitles.py",
        "        end = min([end, *starts[i + 1 : i + 2]])\n",
        "",
        (SUBTITLES, "-k", "overlap"),
    ),
    Fault(
        "times in hundredths",
        "ds2edge/subtitles.py",
        "{point}{milliseconds:03}",
        "{point}{milliseconds // 10:02}",
        (SUBTITLES, "-k", "printed"),
    ),
    Fault(
        "display loses words",
        "ds2edge/display.py",
        "            shown += words[at:end]\n",
        "",
        (DISPLAY,),
    ),
    Fault(
        "display differs from time to time",
        "ds2edge/display.py",
        "        if reading:\n            written",
        "        if reading and id(reading) // 64 % 2:\n            written",
        (DISPLAY,),
    ),
    Fault(
        "display instead of text",
        "ds2edge/results.py",
        "        return join(segment.text for segment in self.segments if segment.words)\n",
        "        return join(segment.display for segment in self.segments if segment.words)\n",
        ("tests/test_stream.py", "tests/test_options.py", "-k", "flush_ends or boost_finds"),
    ),
    Fault(
        "some files failed, exit code 0",
        "ds2edge/commands/transcribe.py",
        "    return SOME_FAILED if failed else SUCCESS\n",
        "    return SUCCESS\n",
        ("tests/test_cli.py", "-k", "exit_code_1"),
    ),
)
