"""The ASGI application: what is answered at which path."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ds2edge.serving.answers import Answer, openai_answer, own_answer
from ds2edge.serving.exported import Exporter
from ds2edge.serving.files import Fields, Upload
from ds2edge.serving.protocol import RefusalError
from ds2edge.serving.schema import protocol_schema
from ds2edge.serving.service import Service
from ds2edge.serving.session import Session

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
HEADERS = {
    # Nothing but what lies here; worklets are scripts, and 'self' covers WebSockets.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "worker-src 'self'; connect-src 'self'; img-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
COUNTED = ("/", "/health", "/metrics", "/v1/transcribe", "/v1/audio/transcriptions")  # by path
TEXT_OF_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


class Application:
    """Answers requests; what they share is in `service`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._exporter = Exporter(service)
        self._pool = ThreadPoolExecutor(service.options.files, thread_name_prefix="ds2edge-file")
        self._schema = protocol_schema()
        self._bundle = service.dispatcher.transcriber.bundle.manifest.name

    def asgi(self) -> ASGIApp:
        """What a server of ASGI is given."""
        for_openai = partial(openai_answer, language=self._bundle)
        origins = list(self.service.options.allow_origin)
        allowed = Middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
        )
        inside = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/protocol.json", self._protocol),
                Route("/v1/transcribe", self._uploaded(own_answer), methods=["POST"]),
                Route("/v1/audio/transcriptions", self._uploaded(for_openai), methods=["POST"]),
                WebSocketRoute("/v1/stream", self._stream),
                Route("/", self._page),
                Route("/page/{name}", self._page),
            ],
            middleware=[allowed] if origins else [],
            exception_handlers={
                RefusalError: _refused,
                HTTPException: _no_answer,
                Exception: _failed,
            },
        )
        return _Outside(inside, self.service.answers)

    def close(self) -> None:
        """Let no thread be left."""
        self._pool.shutdown(wait=True)

    async def _health(self, request: Request) -> Response:
        status = "ok" if self.service.dispatcher.is_open else "failed"
        if self.service.draining:
            status = "draining"
        streams = len(self.service.streams)
        facts = {"status": status, "bundle": self._bundle, "streams": streams}
        return JSONResponse(facts, status_code=200 if status == "ok" else 503)

    async def _metrics(self, request: Request) -> Response:
        self._check_token(request)
        return Response(self._exporter.text(), media_type=TEXT_OF_PROMETHEUS)

    async def _protocol(self, request: Request) -> Response:
        return JSONResponse(self._schema)

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        # Compared with what there is: no name leads elsewhere.
        files = {path.name: path for path in PAGE.glob("*") if path.suffix in TYPES}
        if name not in files:
            raise HTTPException(404, f"there is no {request.url.path}")
        kind = TYPES[files[name].suffix]
        headers = {"cache-control": "no-cache"}
        return Response(files[name].read_bytes(), media_type=kind, headers=headers)

    async def _stream(self, socket: WebSocket) -> None:
        await Session(socket, self.service).run()

    def _uploaded(
        self, answer: Callable[[Mapping[str, str], Fields], Answer]
    ) -> Callable[[Request], object]:
        async def respond(request: Request) -> Response:
            self.service.check_origin(request.headers)
            self._check_token(request)
            upload = Upload(request, self.service, self._pool)
            try:
                return await upload.answer(lambda fields: answer(request.query_params, fields))
            except ClientDisconnect:
                return Response(status_code=499)  # which nobody reads

        return respond

    def _check_token(self, request: Request) -> None:
        if not self.service.check_header(request.headers):
            raise RefusalError("unauthorised", "the header Authorization must be: Bearer TOKEN")


class _Outside:
    """Every answer is counted, and has the same headers for the safety of browsers."""

    def __init__(self, app: ASGIApp, answers: Counter[tuple[str, int]]) -> None:
        self._app, self._answers = app, answers
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
                path = scope["path"] if scope["path"] in COUNTED else "other"
                self._answers[path, message["status"]] += 1
            await send(message)

        await self._app(scope, receive, send_more if scope["type"] == "http" else send)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    headers = {"retry-after": "5"} if error.fault.status in (429, 503) else {}
    if error.fault.status == 401:
        headers["www-authenticate"] = "Bearer"
    return _error(error.fault.status, error.message, error.code, headers)


def _no_answer(request: Request, error: Exception) -> Response:
    """No such path or method."""
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, "not_found", dict(error.headers or {}))


def _failed(request: Request, error: Exception) -> Response:
    return _error(500, "the server failed; its log tells more", "internal", {})


def _error(status: int, message: str, code: str, headers: Mapping[str, str]) -> Response:
    """As OpenAI's clients read it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    facts = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": facts}, status_code=status, headers=dict(headers))
