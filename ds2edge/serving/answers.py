"""What is answered to a recording: in ds2edge's own forms, and in those of OpenAI's clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias

from starlette.responses import PlainTextResponse, Response

from ds2edge.options import StreamOptions
from ds2edge.results import Transcript
from ds2edge.serving.files import Fields
from ds2edge.serving.protocol import RefusalError, parse_options
from ds2edge.subtitles import to_srt, to_vtt

Write: TypeAlias = Callable[[Transcript], Response]

# What OpenAI's clients may say of a recording. A server has one model, which takes no prompt.
OPENAI_FIELDS = frozenset(
    (
        "model",
        "language",
        "prompt",
        "temperature",
        "response_format",
        "stream",
        "timestamp_granularities[]",
    )
)
QUERY = ("options", "format", "display")  # of ds2edge's own


class Answer(NamedTuple):
    """How a recording is to be transcribed, and what is to be made of the transcript."""

    options: StreamOptions
    write: Write


def own_answer(query: Mapping[str, str], fields: Fields) -> Answer:
    """To `/v1/transcribe`.

    Raises:
        RefusalError: something is asked for that there is not.
    """
    for name in (*query, *fields):
        if name not in query or name not in QUERY:
            _refuse(f"unknown field {name!r}; known, in the query: {', '.join(QUERY)}")
    format, display = query.get("format", "json"), query.get("display", "false")
    if display not in ("true", "false"):
        _refuse(f"display must be true or false, got {display!r}")
    displayed = display == "true"
    writers = {"json": lambda transcript: _json(transcript.as_dict(displayed)), **_texts(displayed)}
    return Answer(parse_options(query.get("options", "{}")), _chosen("format", format, writers))


def openai_answer(query: Mapping[str, str], fields: Fields, language: str) -> Answer:
    """To `/v1/audio/transcriptions`, as https://platform.openai.com/docs/api-reference/audio.

    Args:
        language: of the server's bundle.

    Raises:
        RefusalError: something is asked for that there is not.
    """
    for name in (*query, *fields):
        if name not in OPENAI_FIELDS or name in query:
            _refuse(f"unknown field {name!r}; known: {', '.join(sorted(OPENAI_FIELDS))}")
    if fields.get("stream", ["false"])[-1].lower() not in ("false", "0"):
        _refuse("stream=true is not supported; the WebSocket /v1/stream tells of text as it comes")
    granularities = fields.get("timestamp_granularities[]", ["segment"])
    if not {"word", "segment"}.issuperset(granularities):
        _refuse(f"timestamp_granularities[] are word and segment, got {granularities}")
    writers: dict[str, Write] = {
        "json": lambda transcript: _json({"text": transcript.text}),
        "verbose_json": lambda transcript: _json(_verbose(transcript, granularities, language)),
        **_texts(displayed=False),
    }
    format = fields.get("response_format", ["json"])[-1]
    return Answer(StreamOptions(), _chosen("response_format", format, writers))


def _texts(displayed: bool) -> dict[str, Write]:
    return {
        "text": lambda transcript: PlainTextResponse(
            f"{transcript.display if displayed else transcript.text}\n"
        ),
        "srt": lambda transcript: PlainTextResponse(to_srt(transcript.segments)),
        "vtt": lambda transcript: PlainTextResponse(
            to_vtt(transcript.segments), media_type="text/vtt"
        ),
    }


def _chosen(field: str, name: str, writers: Mapping[str, Write]) -> Write:
    if name not in writers:
        _refuse(f"{field} must be one of {', '.join(writers)}, got {name!r}")
    return writers[name]


def _verbose(transcript: Transcript, granularities: list[str], language: str) -> dict[str, Any]:
    """Without the figures of OpenAI's own model: tokens, log-probabilities, compression."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": transcript.duration,
        "text": transcript.text,
    }
    if "segment" in granularities:
        spoken = [segment for segment in transcript.segments if segment.words]
        found["segments"] = [
            {"id": i, "start": segment.start, "end": segment.end, "text": segment.text}
            for i, segment in enumerate(spoken)
        ]
    if "word" in granularities:
        found["words"] = [
            {"word": word.text, "start": word.start, "end": word.end} for word in transcript.words
        ]
    return found


def _json(values: Any) -> Response:
    text = json.dumps(values, ensure_ascii=False)
    return Response(text, media_type="application/json")


def _refuse(message: str) -> NoReturn:
    raise RefusalError("bad_message", message)
