"""The server as its clients meet it: OpenAI's own client, plain HTTP, errors, limits, and clients that leave."""

import base64
import concurrent.futures
import http.client
import io
import json
import socket
import threading
import time

import numpy
import openai
import pytest
import soundfile
import torch
from served import running, tiny_service
from spoilt import BROKEN, SILENT, seed_of, spoil

from audiocm.serving import guard
from audiocm.serving.guard import is_local
from audiocm.serving.service import route_warnings

TEXT = "Hello there. The train leaves at 5:45 p.m., doesn't it?"


@pytest.fixture(scope="module")
def service():
    return tiny_service(requests=4, characters=300)


@pytest.fixture(scope="module")
def address(service):
    with running(service) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def post(address: str, path: str, body: object = None, **headers) -> tuple[int, dict, bytes]:
    """Returns status, headers in lower case and content of an answer."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    content = body if isinstance(body, bytes | None) else json.dumps(body)
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if body is None else "POST", path, content, headers)
    answer = connection.getresponse()
    result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return result


def sounds(address: str, **fields) -> tuple[int, dict, bytes]:
    return post(address, "/v1/audio/sounds", {"prompt": "rain", "seconds": 1.0} | fields)


def read(content: bytes) -> numpy.ndarray:
    wav, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 24_000
    return wav


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hold_worker(service) -> threading.Event:
    """Keeps the worker busy until the event is set."""
    begun, free = threading.Event(), threading.Event()
    service.worker.submit(lambda items: [(begun.set(), free.wait(30))], None)
    assert begun.wait(30)
    return free


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not come true"
        time.sleep(0.01)


# --- speech ----------------------------------------------------------------------------------------------------------


def test_openai_s_client_speaks_in_every_format(client, service):
    same = service.speech(TEXT, voice="ben", speed=1.5, generator=seeded(3)).audios[0].numpy()
    for form in ("wav", "flac", "opus", "mp3", "pcm"):
        options = {"speed": 1.5, "response_format": form, "extra_body": {"seed": 3}}
        answer = client.audio.speech.create(model="tts", voice="ben", input=TEXT, **options)
        assert answer.response.headers["content-type"] == answer.response.headers["content-type"].lower()
        content = answer.content
        wav = numpy.frombuffer(content, "<i2") / 32768 if form == "pcm" else read(content)
        assert abs(len(wav) - len(same)) <= (2_400 if form == "mp3" else 0)
        if form in ("wav", "flac", "pcm"):
            assert numpy.abs(wav - same).max() < 2 / 32768


def test_speech_is_streamed_as_it_is_made(client, service):
    first, second = service.open_speech(TEXT)
    free = threading.Event()

    def slow(text, *_, **__):  # the second sentence waits until the first has arrived
        yield first
        assert free.wait(30)
        yield second

    service.open_speech = slow
    try:
        create = client.audio.speech.with_streaming_response.create
        with create(model="tts", voice="anna", input=TEXT, response_format="pcm") as answer:
            chunks, got = answer.iter_bytes(), b""
            while len(got) < 2 * len(first):
                got += next(chunks)
            assert len(got) == 2 * len(first) and not free.is_set()
            free.set()
            assert len(got + b"".join(chunks)) == 2 * (len(first) + len(second))
    finally:
        free.set()
        del service.open_speech


def test_events_hold_the_same_bytes_and_their_counts(client):
    options = {"model": "tts", "voice": "anna", "input": TEXT, "response_format": "pcm"}
    plain = client.audio.speech.create(**options).content
    with client.audio.speech.with_streaming_response.create(**options, stream_format="sse") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert [one["type"] for one in events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    assert b"".join(base64.b64decode(one["audio"]) for one in events[:2]) == plain
    usage = events[2]["usage"]
    assert usage["input_tokens"] == len(TEXT) and usage["total_tokens"] == len(TEXT) + usage["output_tokens"]


def test_models_voices_health_and_no_pages_of_others(client, address):
    assert [(one.id, one.task) for one in client.models.list()] == [("tts", "text-to-speech"), ("tta", "text-to-audio")]
    assert client.models.retrieve("tta").seconds_range == [0.5, 10.0]
    assert json.loads(post(address, "/v1/audio/voices")[2])["voices"][1] == {"id": "ben", "name": "ben", "model": "tts"}
    assert json.loads(post(address, "/health")[2]) == {"status": "ok", "requests": 0, "waiting": 0}
    status, headers, content = post(address, "/")
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    assert b"http://" not in content and b"https://" not in content
    assert post(address, "/docs")[0] == 404
    assert {"/v1/audio/speech", "/v1/audio/sounds"} <= set(json.loads(post(address, "/openapi.json")[2])["paths"])


def test_a_warning_comes_with_the_answer(address):
    speech = {"model": "tts", "input": "Hello 🙂 there."}
    with route_warnings():  # again: pytest has its own way of seeing warnings
        status, headers, _ = post(address, "/v1/audio/speech", speech)
        assert status == 200 and "not read: \\U0001f642 (slightly smiling face)" in headers["audiocm-warning"]
        status, headers, _ = sounds(address, prompt="rain and " * 30)
        assert status == 200 and "are cut" in headers["audiocm-warning"]
        assert "audiocm-warning" not in sounds(address)[1]


# --- sounds ----------------------------------------------------------------------------------------------------------


def test_sounds_of_equal_settings_share_a_call_and_are_those_of_their_seeds(address, service):
    free, sizes = hold_worker(service), []
    hook = service.sounds.transformer.register_forward_hook(lambda _m, args, _o: sizes.append(len(args[0])))
    asked = [{"prompt": "rain", "seed": 5}, {"prompt": "a dog barks", "seed": 6}, {"prompt": "wind", "guidance": 1.0}]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(sounds, address, **one) for one in asked]
        wait_until(lambda: service.worker.waiting == 3)
        free.set()
        wavs = [read(answer.result()[2]) for answer in answers]
    assert sorted(sizes) == [1, 2]
    hook.remove()
    for one, wav in zip(asked, wavs, strict=True):
        options = {"guidance_scale": one.get("guidance"), "generator": [seeded(one.get("seed", 0))]}
        alone = service.sounds(one["prompt"], 1.0, **options).audios[0].numpy()
        assert wav.shape == (24_000,) and numpy.abs(wav - alone).max() < 1e-3  # rounding of another batch size
    again = read(sounds(address, prompt="rain", seed=5)[2])
    assert numpy.abs(again - service.sounds("rain", 1.0, generator=[seeded(5)]).audios[0].numpy()).max() < 2 / 32768


def test_several_takes_are_json_and_a_bad_one_takes_no_other_with_it(address, monkeypatch):
    bad = seed_of(8)
    spoil(monkeypatch, {bad: BROKEN})
    monkeypatch.setattr("audiocm.serving.service.MAX_RETRIES", 0)
    status, _, content = sounds(address, n=3, seed=7, response_format="flac")
    entries = json.loads(content)["data"]
    assert status == 200 and [one.get("seed") for one in entries] == [7, None, 9]
    assert "has numbers that are not finite (seeds tried: 1)" in entries[1]["error"]["message"]
    assert all(len(read(base64.b64decode(entries[i]["b64_audio"]))) == 24_000 for i in (0, 2))


def test_a_sound_that_fails_is_made_again_and_its_seed_is_told(address, monkeypatch):
    spoil(monkeypatch, {seed_of(0): SILENT})
    status, headers, content = sounds(address)
    assert status == 200 and headers["audiocm-seed"] == "1000000" and read(content).any()
    monkeypatch.setattr("audiocm.serving.service.MAX_RETRIES", 0)
    status, headers, content = sounds(address)
    error = json.loads(content)["error"]
    assert (status, error["code"], error["type"]) == (500, "no_valid_audio", "server_error")
    assert "'rain' is silent (seeds tried: 1)" in error["message"] and headers["x-should-retry"] == "false"


# --- errors and limits -----------------------------------------------------------------------------------------------


def test_a_sentence_that_fails_is_an_error_and_never_silence(client, monkeypatch, capsys):
    monkeypatch.setattr("audiocm.serving.service.MAX_RETRIES", 0)
    options = {"model": "tts", "voice": "anna", "input": TEXT, "response_format": "pcm"}
    spoil(monkeypatch, {seed_of(0): SILENT})
    with pytest.raises(openai.InternalServerError, match=r"'Hello there\.' is silent"):
        client.audio.speech.create(**options)
    monkeypatch.undo()
    monkeypatch.setattr("audiocm.serving.service.MAX_RETRIES", 0)
    spoil(monkeypatch, {seed_of(0) + 1: SILENT})
    with pytest.raises(openai.InternalServerError, match="is silent"):  # nothing of a FLAC file goes out before its end
        client.audio.speech.create(**options | {"response_format": "flac"})
    capsys.readouterr()
    with pytest.raises(Exception) as cut:  # httpx's error of a body that ends early, or OpenAI's of the connection
        client.audio.speech.create(**options)
    assert "incomplete" in str(cut.value).lower() or isinstance(cut.value, openai.APIConnectionError)
    assert "an answer was cut off: the sound made for" in capsys.readouterr().err
    with client.audio.speech.with_streaming_response.create(**options, stream_format="sse") as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert events[0]["type"] == "speech.audio.delta" and events[1]["error"]["code"] == "no_valid_audio"


@pytest.mark.parametrize(
    ("path", "body", "status", "message", "param"),
    [
        ("speech", b"{", 400, "the request is not JSON", None),
        ("speech", b"[" * 3_000, 400, "", None),
        ("speech", [], 400, "the request must be a JSON object", None),
        ("speech", {"input": "Hi"}, 400, "the field 'model' is missing", "model"),
        ("speech", {"model": "tts-1", "input": "Hi"}, 404, "unknown model 'tts-1': this server has tts", "model"),
        ("speech", {"model": "tts", "input": " "}, 400, "the text is empty", None),
        ("speech", {"model": "tts", "input": "мир"}, 400, "Cyrillic letters", None),
        ("speech", {"model": "tts", "input": "\ud800"}, 400, "no character that can be pronounced", None),
        ("speech", {"model": "tts", "input": "Hi", "voice": "\udfff"}, 400, "this model has anna, ben", None),
        ("speech", {"model": "tts", "input": "Hi", "speed": 3}, 400, "speed 3 is outside what the model allows", None),
        ("speech", {"model": "tts", "input": "Hi", "speed": float("nan")}, 400, "speed nan is outside", None),
        ("speech", {"model": "tts", "input": "Hi", "speed": "1"}, 400, "speed: input should be a valid number", "speed"),
        ("speech", {"model": "tts", "input": "Hi", "tempo": 1}, 400, "unknown field 'tempo'", "tempo"),
        ("speech", {"model": "tts", "input": "Hi", "instructions": "whisper"}, 400, "instructions", "instructions"),
        ("speech", {"model": "tts", "input": "Hi", "response_format": "aac"}, 400, "'pcm'", "response_format"),
        ("speech", {"model": "tts", "input": "Hi", "steps": 0}, 400, "steps must be", None),
        ("speech", {"model": "tts", "input": "Hi", "steps": 10**9}, 400, "steps must be at most 100", "steps"),
        ("speech", {"model": "tts", "input": "a" * 301}, 400, "at most 300 are allowed", "input"),
        ("speech", b'{"model": "tts", "input": "' + b"a" * 1_000_000 + b'"}', 413, "larger than the 19984 bytes", None),
        ("sounds", {"prompt": ""}, 400, "the prompt is empty", None),
        ("sounds", {"prompt": "rain", "seconds": 10**400}, 400, "", "seconds"),
        ("sounds", {"prompt": "rain", "seconds": 60}, 400, "60 seconds is outside", None),
        ("sounds", {"prompt": "rain", "guidance": 9}, 400, "guidance 9 is outside what the model allows: 0 to 6", None),
        ("sounds", {"prompt": "rain", "n": 9}, 400, "n must be 1 to 8, not 9", "n"),
        ("sounds", {"prompt": "rain", "seed": 2**62}, 400, "seed: input should be less than", "seed"),
        ("sounds", {"prompt": "rain", "temperature": 0}, 400, "temperature must be a number above 0 and at most 2", None),
        ("nothing", {}, 404, "Not Found", None),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_in_the_form_of_openai(address, path, body, status, message, param):
    got, _, content = post(address, f"/v1/audio/{path}", body)
    error = json.loads(content)["error"]
    assert (got, error["param"], error["type"]) == (status, param, "invalid_request_error"), error
    assert (
        message in error["message"]
        and "\n" not in error["message"]
        and set(error) == {"message", "type", "param", "code"}
    )


def test_openai_s_client_raises_its_own_errors(client):
    with pytest.raises(openai.BadRequestError, match="unknown voice 'alloy': this model has anna, ben"):
        client.audio.speech.create(model="tts", voice="alloy", input="Hi")
    with pytest.raises(openai.NotFoundError, match="unknown model"):
        client.audio.speech.create(model="tts-1", voice="anna", input="Hi")


def test_a_full_queue_is_429_and_clients_that_leave_free_their_place_and_cost_nothing(address, service):
    free, calls = hold_worker(service), []
    hook = service.sounds.transformer.register_forward_hook(lambda *_: calls.append(1))
    waiting = [http.client.HTTPConnection(address.removeprefix("http://"), timeout=30) for _ in range(4)]
    body = json.dumps({"prompt": "rain", "seconds": 1.0})
    for connection in waiting:
        connection.request("POST", "/v1/audio/sounds", body, {"Content-Type": "application/json"})
    wait_until(lambda: service.worker.waiting == 4)
    status, headers, content = sounds(address)
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 60
    assert json.loads(content)["error"]["type"] == "rate_limit_error"
    assert json.loads(post(address, "/health")[2])["requests"] == 4  # reading is possible all the while
    for connection in waiting[1:]:
        connection.close()
    wait_until(lambda: json.loads(post(address, "/health")[2])["requests"] == 1)
    free.set()
    answer = waiting[0].getresponse()
    assert answer.status == 200 and len(read(answer.read())) == 24_000 and len(calls) == 1
    waiting[0].close()
    hook.remove()


def test_a_reader_that_leaves_a_stream_ends_the_speech(address, service):
    made, free = [], threading.Event()

    def endless(*_, **__):
        while True:
            made.append(1)
            yield numpy.full(24_000, 0.1, numpy.float32)
            assert free.wait(30)

    service.open_speech = endless
    try:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        body = json.dumps({"model": "tts", "input": TEXT, "response_format": "pcm"})
        connection.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200 and len(answer.read(1_000)) == 1_000 and len(made) == 1
        answer.close()
        connection.close()
        wait_until(lambda: json.loads(post(address, "/health")[2])["requests"] == 0)
        free.set()
        service.worker.submit(lambda items: items, None).result(30)
        time.sleep(0.1)
        assert len(made) <= 2
    finally:
        free.set()
        del service.open_speech


def test_a_reader_that_stalls_is_cut_off(address, service, monkeypatch, capsys):
    monkeypatch.setattr(guard, "STALL_SECONDS", 0.2)
    service.open_speech = lambda *_, **__: iter([numpy.full(5_000_000, 0.1, numpy.float32)] * 4)
    try:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        body = json.dumps({"model": "tts", "input": TEXT, "response_format": "pcm"})
        connection.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        wait_until(lambda: json.loads(post(address, "/health")[2])["requests"] == 0)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        assert "an answer was cut off: the client stalled" in capsys.readouterr().err
    finally:
        del service.open_speech
        connection.close()


def test_a_body_that_does_not_come_is_408(address, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        slow.sendall(b"POST /v1/audio/sounds HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_fault_of_the_server_is_told_without_its_details(address, service, monkeypatch, capsys):
    monkeypatch.setattr(service.sounds, "sample_latents", lambda *_, **__: {}["secret"])
    for takes in (1, 2):
        status, _, content = sounds(address, n=takes)
        assert status == 500 and json.loads(content)["error"]["code"] == "internal_error" and b"secret" not in content
        assert capsys.readouterr().err.count("KeyError: 'secret'\n") == 1
    monkeypatch.undo()
    assert sounds(address)[0] == 200


def test_a_token_is_needed_where_one_is_set():
    with running(tiny_service(), token="s3cret", local_only=False) as address:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer é"},
        ):
            status, given, content = post(address, "/v1/models", **headers)
            assert status == 401 and given["www-authenticate"] == "Bearer"
            assert json.loads(content)["error"]["type"] == "authentication_error"
        assert post(address, "/v1/audio/sounds", {"prompt": "rain"})[0] == 401
        assert post(address, "/v1/models", Authorization="Bearer s3cret", Host="example.org")[0] == 200
        assert post(address, "/health")[0] == post(address, "/")[0] == 200
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0).models.list()


def test_a_server_without_a_token_answers_to_this_machine_s_names_only(address):
    assert post(address, "/health", Host="rebound.example.org:8000")[0] == 403
    names = {
        "localhost": True,
        "LOCALHOST:80": True,
        "127.0.0.1:1": True,
        "[::1]:80": True,
        "::1": True,
        "a.localhost": True,
    }
    names |= {"localhost.example.org": False, "10.0.0.1": False, "": False, "[::2]": False, "0.0.0.0": False}
    assert {name: is_local(name) for name in names} == names
