"""Errors as answers of the server, in the form of OpenAI's API."""

import json
import sys
import traceback
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..pipelines.failures import AudioError
from .batching import ClosingError

KINDS = {401: "authentication_error", 429: "rate_limit_error"}  # of 4xx; others are invalid_request_error


class RequestError(Exception):
    """An answer other than success: its status, one line that says why, the parameter that is wrong and a code."""

    def __init__(
        self,
        status: int,
        message: object,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(" ".join(str(message).split()))
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})

    @property
    def body(self) -> dict:
        """The JSON object {"error": {"message", "type", "param", "code"}}."""
        kind = "server_error" if self.status >= 500 else KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Returns the answer."""
        return json_response(self.body, self.status, self.headers)


def as_request_error(error: Exception) -> RequestError:
    """Returns the answer to an exception: 400 for wrong input, 500 if no seed gave a valid sound, 503 at the end.

    Any other is a fault of the server: 500 without details, which stderr gets."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, AudioError):  # other seeds were tried already
        return RequestError(500, error, "no_valid_audio", headers={"x-should-retry": "false"})
    if isinstance(error, ClosingError):
        return RequestError(503, error, "shutting_down", headers={"retry-after": "5"})
    if isinstance(error, ValueError):
        return RequestError(400, error, "invalid_value")
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, error.detail, headers=error.headers)
    traceback.print_exception(error, file=sys.stderr)
    return RequestError(500, "the server met an unexpected error, which its stderr tells", "internal_error")


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a value as JSON in ASCII, which can hold any text, lone surrogates included."""
    return Response(json.dumps(value), status, dict(headers or {}), "application/json")
