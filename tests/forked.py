"""What is refused in a forked child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from ds2edge.errors import StreamError


def refused_in_a_child(
    uses: Sequence[Callable[[], Any]], afterwards: Sequence[Callable[[], Any]] = ()
) -> int:
    """How many uses raise an error that tells of fork(); then what is allowed is done."""
    child = os.fork()
    if not child:
        signal.alarm(20)  # rather than to hang
        refused = 0
        for use in uses:
            try:
                use()
            except StreamError as error:
                refused += "fork()" in str(error)
        for use in afterwards:
            use()
        os._exit(refused)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
