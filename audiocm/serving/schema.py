"""The bodies of requests. Unknown fields and wrong types are errors; limits of a model are checked by its pipeline."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Format = Literal["mp3", "opus", "flac", "wav", "pcm"]


def _voice_name(value: Any) -> Any:
    """OpenAI's API allows {"id": name} in the place of a name."""
    return value["id"] if isinstance(value, dict) and set(value) == {"id"} else value


class SpeechRequest(BaseModel):
    """The body of POST /v1/audio/speech: OpenAI's, and seed, guidance and steps as of `audiocm speak`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str = Field(description="English text to speak")
    voice: Annotated[str | None, BeforeValidator(_voice_name)] = Field(None, description="default: the model's first")
    response_format: Format = "mp3"
    speed: float = Field(1.0, description="speaking rate, 0.5 to 2")
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, description="of no use to these models: must be empty")
    seed: int = Field(0, ge=0, lt=2**62)
    guidance: float | None = None
    steps: int | None = None


class SoundRequest(BaseModel):
    """The body of POST /v1/audio/sounds: the options of `audiocm generate`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(description="description of a sound")
    model: str | None = Field(None, description="default: the server's")
    seconds: float = 4.0
    guidance: float | None = Field(None, description="0 ignores the prompt, 1 is plain, more exaggerates")
    temperature: float | None = Field(None, description="standard deviation of the initial noise")
    steps: int | None = None
    seed: int = Field(0, ge=0, lt=2**62, description="of the first sound; sound k has seed + k")
    n: int = Field(1, description="number of sounds; more than one are JSON")
    response_format: Format = "wav"


def explain(errors: list[dict[str, Any]]) -> tuple[str, str | None]:
    """Returns one line about the first of pydantic's errors, and the name of the field."""
    error = errors[0]
    place = [str(part) for part in error["loc"] if part != "body"]
    name = ".".join(place) or None
    if error["type"] == "json_invalid":
        return f"the request is not JSON: {error.get('ctx', {}).get('error', error['msg'])}", None
    if error["type"] == "extra_forbidden":
        return f"unknown field {name!r}", name
    if error["type"] == "missing":
        return (f"the field {name!r} is missing" if name else "the request has no body"), name
    message = error["msg"][0].lower() + error["msg"][1:]
    return (f"{name}: {message}" if name else f"the request must be a JSON object: {message}"), name
