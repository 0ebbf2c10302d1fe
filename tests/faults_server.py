"""Faults of the server: who may come, what is bounded, and the end; see plant_faults.py."""

from __future__ import annotations

from fault import Fault

SERVER, LIMITS = "tests/test_server.py", "tests/test_server_limits.py"
STALLS = "tests/test_server_stalls.py"
FILES, END = "tests/test_server_files.py", "tests/test_server_end.py"
SERVICE, SESSION = "ds2edge/serving/service.py", "ds2edge/serving/session.py"
SOCKETS, UPLOADS = "ds2edge/serving/connections.py", "ds2edge/serving/files.py"

SERVER_FAULTS = (
    Fault(
        "any sample rate in a start",
        "ds2edge/serving/protocol.py",
        "        checked_rate(start.sample_rate)\n",
        "        pass\n",
        ("tests/test_protocol.py", "-k", "whatever"),
    ),
    Fault(
        "any token will do",
        SERVICE,
        "        return hmac.compare_digest(token, self._token)\n",
        "        return True\n",
        (LIMITS, "-k", "no_token"),
    ),
    Fault(
        "a name of another site's that leads here",
        SERVICE,
        "        return self.needs_token or name in known or is_address(name)\n",
        "        return True\n",
        (LIMITS, "-k", "other_sites"),
    ),
    Fault(
        "streams without a bound",
        SERVICE,
        "        if len(getattr(self, kind)) >= most:\n",
        "        if False:\n",
        (LIMITS, "-k", "too_many_streams"),
    ),
    Fault(
        "memory without a bound",
        SERVICE,
        "        if used >= allowed:\n",
        "        if False:\n",
        (LIMITS, "-k", "memory"),
    ),
    Fault(
        "a beam as wide as one likes",
        SERVICE,
        "            if (getattr(options, name) or 0) > most:\n",
        "            if (getattr(options, name) or 0) > 2**40:\n",
        (LIMITS, "-k", "expensive"),
    ),
    Fault(
        "draining drops the streams",
        SERVICE,
        "            guest.wind_up(",
        "            guest.stop(",
        (END, "-k", "draining_finishes"),
    ),
    Fault(
        "nothing is too long",
        SESSION,
        "            if stream.seconds >= self._options.longest_recording:\n",
        "            if False:\n",
        (LIMITS, "-k", "that_is_too_long"),
    ),
    Fault(
        "a long message waits as a whole",
        SESSION,
        "        length = max(1, round(PIECE * start.sample_rate))\n",
        "        length = max(1, len(samples))\n",
        (STALLS, "-k", "faster"),
    ),
    Fault(
        "what was said before a silence is lost",
        SESSION,
        '            self.wind_up(RefusalError("idle"',
        '            self.stop(RefusalError("idle"',
        (STALLS, "-k", "silence"),
    ),
    Fault(
        "whoever is silent may stay",
        SESSION,
        "now - self._waits_since > options.idle_seconds:\n",
        "now - self._waits_since > 1e9:\n",
        (STALLS, "-k", "byte_by_byte"),
    ),
    Fault(
        "samples overtake what was said before them",
        SOCKETS,
        "        if not is_text and self.queue.empty() and",
        "        if not is_text and",
        (SERVER, "-k", "its_order"),
    ),
    Fault(
        "whoever speaks counts as silent",
        SESSION,
        "            return False\n        self._waits_since = self._loop.time()\n",
        "            return False\n",
        (STALLS, "-k", "speaks_slowly"),
    ),
    Fault(
        "a message after the finish",
        SESSION,
        '            raise RefusalError("bad_message", "nothing may follow the finish")\n',
        "            return\n",
        (LIMITS, "-k", "follow_the_finish"),
    ),
    Fault(
        "a code of the library's for long messages",
        SOCKETS,
        "        if code == CloseCode.MESSAGE_TOO_BIG and",
        "        if False and",
        (LIMITS, "-k", "long_message or fragments"),
    ),
    Fault(
        "pongs fill the memory",
        SOCKETS,
        "        if self.writable.is_set() and",
        "        if True and",
        (STALLS, "-k", "pongs"),
    ),
    Fault(
        "headers take as long as they like",
        SOCKETS,
        "(now, rests and not unread) > options.start_seconds\n",
        "(now, rests and not unread) > 1e9\n",
        (STALLS, "-k", "request_byte_by_byte"),
    ),
    Fault(
        "who does not read is waited for",
        SOCKETS,
        "            self.talk.drop_slow_reader()\n",
        "            pass\n",
        (STALLS, "-k", "does_not_read"),
    ),
    Fault(
        "an upload without a bound",
        UPLOADS,
        "            if received > self._most_bytes:\n",
        "            if False:\n",
        (FILES, "-k", "too_large"),
    ),
    Fault(
        "a header is believed",
        UPLOADS,
        "                if text.seconds > longest:  # whatever the header says\n",
        "                if False:\n",
        (FILES, "-k", "promises_less"),
    ),
    Fault(
        "a path is told",
        UPLOADS,
        'str(error).replace(path, "the recording")',
        "str(error)",
        (FILES, "-k", "refused"),
    ),
    Fault(
        "a browser may guess what a file is",
        "ds2edge/serving/application.py",
        '    "x-content-type-options": "nosniff",\n',
        "",
        (SERVER, "-k", "page"),
    ),
)
