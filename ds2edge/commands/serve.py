"""`ds2edge serve`: live streams and recordings of many clients at once."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS, show_warnings
from ds2edge.commands.flags import (
    add_backend,
    add_bundle,
    add_options,
    given_backend,
    given_options,
)
from ds2edge.errors import MissingExtraError
from ds2edge.serving.limits import TOKEN_VARIABLE, ServerOptions
from ds2edge.transcriber import Transcriber

# Warn of what single clients do and say, as often as they like; metrics and answers tell of that.
QUIET = ("ds2edge.audio_check", "python_multipart", "uvicorn.error")
COMPILED = "CompiledModel, CPU"  # in the name of a runtime
DESCRIPTION = f"""\
Transcribe what many clients say, at once, until Ctrl-C or SIGTERM.

Live audio comes over WebSockets, files by HTTP; OpenAI's clients work, too. A
page to speak to is at /, measurements for Prometheus at /metrics, and the
protocol at /v1/protocol.json.

Only this machine can connect, unless --host says otherwise. Then clients need
a token, which is in a file or in the environment as {TOKEN_VARIABLE}: other
users can read a command line. Without --tls-certificate all is sent in clear.

When it is asked to stop, nobody is let in any more, and every stream is
finished; asked again, it stops at once.
"""
EXAMPLES = """\
examples:
  ds2edge serve
  ds2edge serve --host 0.0.0.0 --token-file token --tls-certificate cert.pem --tls-key key.pem
  ds2edge serve --connections 50 --longest-recording 600
  curl --data-binary @meeting.mp3 http://127.0.0.1:8300/v1/transcribe?format=text
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "serve",
        help="transcribe for many clients at once (needs ds2edge[serve])",
        usage="%(prog)s [options]",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    add_bundle(parser)
    add_options(parser, ServerOptions, "what is allowed", {"token_needed": "--no-token"})
    add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    show_warnings()
    with _quiet():
        return _serve(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    options = given_options(ServerOptions, arguments)
    token = options.read_token()
    try:
        from ds2edge.serving.server import Server
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"`ds2edge serve` needs the package {error.name}: pip install 'ds2edge[serve]'"
        ) from None
    from ds2edge.serving.dispatcher import Dispatcher  # late: slower to import than the others

    with Dispatcher(
        _transcriber(arguments), max_batch=options.max_batch, threads=options.threads
    ) as dispatcher:
        server = Server(dispatcher, options, token)
        print(f"listening at {server.url}", flush=True)
        server.run()
    return SUCCESS


def _transcriber(arguments: argparse.Namespace) -> Transcriber:
    """On a CPU with LiteRT's Interpreter, unless another runtime is asked for.

    LiteRT's CompiledModel keeps Python's lock while it computes, and the network has to wait: far
    fewer streams are served (benchmarks/serving.py --backend litert).
    """
    given = given_backend(arguments)
    transcriber = Transcriber(arguments.bundle, **given)
    if given.get("backend", "auto") == "auto" and COMPILED in transcriber.info()["runtime"]:
        given["backend"] = "litert-interpreter"
        transcriber = Transcriber(transcriber.bundle, **given)
    return transcriber


@contextmanager
def _quiet() -> Iterator[None]:
    """Meanwhile, loggers of what clients do tell of failures only."""
    before = {logger: logger.level for logger in map(logging.getLogger, QUIET)}
    for logger in before:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
