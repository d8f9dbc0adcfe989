"""The HTTP application: OpenAI's speech endpoints, one for sounds, and a page that plays both."""

import asyncio
import base64
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from ..speech.pieces import SPEEDS
from ..version import __version__
from .batching import END, ClosingError
from .errors import RequestError, as_request_error, json_response
from .formats import MEDIA_TYPES, Encoder, encode
from .guard import Guard
from .schema import SoundRequest, SpeechRequest, explain
from .service import Made, Service

BODY_BYTES_A_CHARACTER = 12  # of JSON: "\\ud83d\\ude42"
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; media-src blob:; "
    "connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def build_app(service: Service, token: str | None = None, local_only: bool = False) -> Guard:
    """Returns the ASGI application of a service, with its guard; for `local_only` see `Guard`."""
    app = FastAPI(title="audiocm", version=__version__, docs_url=None, redoc_url=None)  # their pages load scripts
    for kind in (RequestError, ValueError, ClosingError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    started, page = int(time.time()), (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    models = {one["id"]: one for one in describe_models(service, started)}

    def check_model(name: str | None, wanted: str | None, task: str) -> None:
        if wanted is None:
            raise RequestError(404, f"this server has no model for {task}", "model_not_found", "model")
        if name not in (None, wanted):
            message = f"unknown model {name!r}: this server has {wanted} for {task}"
            raise RequestError(404, message, "model_not_found", "model")

    def check_length(text: str, field: str) -> None:
        if len(text) > (most := service.limits.characters):
            message = f"{field} has {len(text)} characters, at most {most} are allowed"
            raise RequestError(400, message, "string_above_max_length", field)

    def check_steps(steps: int | None) -> None:
        if steps is not None and steps > (most := service.limits.steps):
            raise RequestError(400, f"steps must be at most {most}, not {steps}", "invalid_value", "steps")

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"})

    @app.get("/health")
    async def report_health() -> Response:
        return json_response({"status": "ok", "requests": guard.requests, "waiting": service.worker.waiting})

    @app.get("/v1/models")
    async def list_models() -> Response:
        return json_response({"object": "list", "data": list(models.values())})

    @app.get("/v1/models/{name:path}")  # a hub id has a slash
    async def show_model(name: str) -> Response:
        if name not in models:
            message = f"unknown model {name!r}: this server has {', '.join(models)}"
            raise RequestError(404, message, "model_not_found", "model")
        return json_response(models[name])

    @app.get("/v1/audio/voices")
    async def list_voices() -> Response:
        voices = service.speech.voices if service.speech is not None else ()
        return json_response({"voices": [{"id": one, "name": one, "model": service.speech_name} for one in voices]})

    @app.post("/v1/audio/speech", response_class=Response)
    async def speak(asked: SpeechRequest) -> Response:
        check_model(asked.model, service.speech_name, "speech")
        check_length(asked.input, "input")
        check_steps(asked.steps)
        if asked.instructions:
            message = "instructions are of no use to this model: leave them out"
            raise RequestError(400, message, "unsupported_value", "instructions")
        options = {"voice": asked.voice, "speed": asked.speed, "guidance_scale": asked.guidance}
        speech = service.open_speech(asked.input, asked.seed, num_inference_steps=asked.steps, **options)
        heard: list[str] = []
        encoded = encode_speech(service, speech, asked.response_format, heard)
        events = sse_events(encoded, asked.input, service.speech) if asked.stream_format == "sse" else audio(encoded)
        first = await anext(events)  # before the status is sent, so that a failure up to here has one of its own
        media = "text/event-stream" if asked.stream_format == "sse" else MEDIA_TYPES[asked.response_format]
        return StreamedResponse(first, events, media, _headers(service.speech.sample_rate, heard))

    @app.post("/v1/audio/sounds", response_class=Response)
    async def make_sounds(asked: SoundRequest) -> Response:
        check_model(asked.model, service.sounds_name, "sounds")
        check_length(asked.prompt, "prompt")
        check_steps(asked.steps)
        if not 1 <= asked.n <= service.limits.takes:
            raise RequestError(400, f"n must be 1 to {service.limits.takes}, not {asked.n}", "invalid_value", "n")
        settings = service.sound_settings(asked.seconds, asked.steps, asked.guidance, asked.temperature)
        service.check_sound(asked.prompt, settings)
        jobs = [service.submit_sound(asked.prompt, settings, asked.seed + take) for take in range(asked.n)]
        results = await asyncio.gather(*map(asyncio.wrap_future, jobs), return_exceptions=True)
        rate, form = service.sounds.sample_rate, asked.response_format
        if asked.n == 1:
            if isinstance(results[0], BaseException):
                raise results[0]
            content = await asyncio.to_thread(encode, results[0].wav, rate, form)
            headers = _headers(rate, results[0].warnings) | {"audiocm-seed": str(results[0].seed)}
            return Response(content, headers=headers, media_type=MEDIA_TYPES[form])
        if all(isinstance(one, BaseException) for one in results):
            raise results[0]
        data = [await _sound_entry(one, rate, form) for one in results]
        return json_response({"created": int(time.time()), "sample_rate": rate, "data": data})

    limits = service.limits
    max_body = 16_384 + BODY_BYTES_A_CHARACTER * limits.characters

    def seconds_to_wait() -> int:
        return min(60, max(1, math.ceil(service.worker.waiting * service.worker.seconds_a_job)))

    guard = Guard(app, max_body, limits.requests, seconds_to_wait, token, local_only)
    return guard


def describe_models(service: Service, created: int) -> list[dict[str, Any]]:
    """Returns the models of a service as OpenAI's API lists them, with their tasks and what they allow."""
    models = []
    for task, name, pipe in (
        ("text-to-speech", service.speech_name, service.speech),
        ("text-to-audio", service.sounds_name, service.sounds),
    ):
        if pipe is None:
            continue
        config = pipe.config
        about = {"id": name, "object": "model", "created": created, "owned_by": "audiocm", "task": task}
        about |= {"sample_rate": pipe.sample_rate, "max_characters": service.limits.characters}
        about |= {"guidance_range": list(pipe.guidance_range), "guidance": config.guidance_scale}
        if task == "text-to-speech":
            about |= {"voices": list(pipe.voices), "speed_range": list(SPEEDS)}
        else:
            about |= {"seconds_range": list(config.seconds_range), "max_n": service.limits.takes}
        models.append(about)
    return models


# --- answers ---------------------------------------------------------------------------------------------------------


class StreamedResponse(Response):
    """An answer that is sent as it is made. One that fails on its way is cut off, which clients see as an error."""

    def __init__(self, first: bytes, others: AsyncIterator[bytes], media_type: str, headers: dict[str, str]):
        super().__init__(b"", headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self.first, self.others = first, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.others):
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": self.first, "more_body": True})
                async for chunk in self.others:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except Exception as error:
                reason = "the client stalled" if isinstance(error, asyncio.TimeoutError) else as_request_error(error)
                print(f"audiocm: an answer was cut off: {reason}", file=sys.stderr)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def encode_speech(
    service: Service, speech: Iterator[np.ndarray], form: str, heard: list[str]
) -> AsyncIterator[tuple[bytes, int]]:
    """Yields the encoded sentences of `Service.open_speech`, each with its number of samples, and the end of the file.

    Sentences are made while the ones before are sent, and none any more when the consumer has left; adds to `heard`
    what is to be said about the text."""
    encoder, loop, pieces = Encoder(form, service.speech.sample_rate), asyncio.get_running_loop(), asyncio.Queue()

    def deliver(piece: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    stream = service.submit_speech(speech, deliver)
    try:
        while (piece := await pieces.get()) is not END:
            if isinstance(piece, Exception):
                raise piece
            service.worker.take(stream)
            wav, warnings = piece
            heard += warnings
            yield await asyncio.to_thread(encoder.append, wav), len(wav)
        yield await asyncio.to_thread(encoder.finish), 0
    finally:
        service.worker.leave(stream)


async def audio(encoded: AsyncIterator[tuple[bytes, int]]) -> AsyncIterator[bytes]:
    """Yields the bytes of `encode_speech`, without empty pieces."""
    async with aclosing(encoded):
        async for chunk, _ in encoded:
            if chunk:
                yield chunk


async def sse_events(encoded: AsyncIterator[tuple[bytes, int]], text: str, pipe: Any) -> AsyncIterator[bytes]:
    """Yields OpenAI's server-sent events: speech.audio.delta, each with bytes of the file, and speech.audio.done.

    `usage` counts the characters of the text as input and the latent frames of the speech as output. A failure after
    the first event is an event {"error": ...}."""

    def event(value: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(value)}\n\n".encode()

    samples, began = 0, False
    async with aclosing(encoded):
        try:
            async for chunk, length in encoded:
                samples += length
                if chunk:
                    yield event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()})
                    began = True
        except Exception as error:
            if not began:
                raise
            print(f"audiocm: an answer was cut off: {as_request_error(error)}", file=sys.stderr)
            yield event({"type": "error"} | as_request_error(error).body)
            return
        counts = len(text), math.ceil(samples / pipe.codec.samples_per_frame)
        usage = dict(zip(("input_tokens", "output_tokens", "total_tokens"), (*counts, sum(counts)), strict=True))
        yield event({"type": "speech.audio.done", "usage": usage})


async def _sound_entry(result: Made | BaseException, sample_rate: int, form: str) -> dict[str, Any]:
    """Returns one of several sounds, or its error, in the form of OpenAI's images."""
    if isinstance(result, Exception):
        return as_request_error(result).body
    if isinstance(result, BaseException):
        raise result
    content = await asyncio.to_thread(encode, result.wav, sample_rate, form)
    entry = {"b64_audio": base64.b64encode(content).decode(), "seed": result.seed, "format": form}
    return entry | ({"warnings": result.warnings} if result.warnings else {})


def _headers(sample_rate: int, warnings: list[str]) -> dict[str, str]:
    line = "; ".join(" ".join(one.split()) for one in warnings)[:1000]
    about = {"audiocm-warning": line.encode("ascii", "backslashreplace").decode()} if warnings else {}
    return {"audiocm-sample-rate": str(sample_rate), "cache-control": "no-store"} | about


async def _answer_error(request: Request, error: Exception) -> Response:
    return as_request_error(error).response()


async def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return RequestError(400, "the Content-Type must be application/json", "invalid_value").response()
    message, field = explain(error.errors())
    return RequestError(400, message, "invalid_value", field).response()
