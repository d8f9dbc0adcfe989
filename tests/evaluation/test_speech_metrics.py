"""Speech metrics through `score`: what is heard, who speaks, how high; judges are toys here and real where installed."""

import json
import sys
from importlib.metadata import version

import numpy as np
import pytest
import soundfile

from audiocm.audio import io
from audiocm.embedders import speech as speech_embedders
from audiocm.evaluation.scoring import compare, evaluate
from audiocm.evaluation.session import ScoreRequest
from audiocm.metrics import signal, speech

RATE = 16000


def voice(hertz, formants, seed, seconds=1.0):
    """A vowel with vibrato: harmonics of `hertz` under Gaussian formants."""
    at, phase = np.arange(int(seconds * RATE)) / RATE, np.random.default_rng(seed).uniform(0, 6, 2)
    turns = 2 * np.pi * np.cumsum(hertz * (1 + 0.02 * np.sin(2 * np.pi * 5 * at + phase[0]))) / RATE
    levels = [sum(np.exp(-0.5 * ((k * hertz - f) / 120) ** 2) for f in formants) for k in range(1, 25)]
    wav = sum(level * np.sin(k * turns) for k, level in enumerate(levels, 1))
    return (wav * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * at + phase[1])) * 0.3 / np.abs(wav).max()).astype(np.float32)


LOW, HIGH = (110, (500, 1500, 2500)), (220, (900, 2200, 3100))


def write(folder, wavs, rate=RATE):
    folder.mkdir()
    for name, wav in wavs.items():
        soundfile.write(folder / f"{name}.wav", wav, rate)
    return folder


def ask(generated, reference=None, metrics=(), **more):
    return ScoreRequest(generated, reference, metrics=metrics, **more)


class Listener:
    """Hears "low voice" or "high voice" by where the energy lies."""

    name, sample_rate, digest = "toy listener", RATE, "1"

    def __call__(self, wav):
        power = np.square(np.abs(np.fft.rfft(wav)))
        return f"a {'low' if power[: len(wav) * 700 // RATE].sum() > power.sum() / 10 else 'high'} voice"


class Voices:
    """Shares of energy in 200 Hz bands."""

    name, sample_rate, digest = "toy voices", RATE, "1"

    def features(self, wavs):
        powers = [np.square(np.abs(np.fft.rfft(wav))) for wav in wavs]
        return {"embedding": np.array([[part.sum() / p.sum() for part in np.array_split(p, 40)] for p in powers])}


def test_words_are_heard_and_silence_is_all_wrong(tmp_path, monkeypatch):
    pytest.importorskip("jiwer", reason="the extra speech is not installed")
    monkeypatch.setattr(speech_embedders, "Transcriber", Listener)
    said = {f"{i:02d}": voice(*(LOW if i % 2 else HIGH), i) for i in range(20)}
    lines = [{"file": f"{n}.wav", "prompt": "x", "text": f"A {'low' if int(n) % 2 else 'high'} voice."} for n in said]
    lines[0]["text"] = "No one."  # heard: a high voice
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)))
    request = ask(write(tmp_path / "a", said), prompts=prompts, metrics=("wer",))
    found = evaluate(request)
    rates = found.items["WER % toy listener, by clip"]
    assert rates["00"] == 150 and sum(rates.values()) == 150 and found.items["CER % toy listener, by clip"]["00"] > 0
    values = {name: score.value for name, score in found.scores.items()}
    assert values["WER % toy listener"] == pytest.approx(100 * 3 / 59)  # of all words, not a mean of rates
    assert values["WER without loops % toy listener"] == pytest.approx(100 * 2 / 59)
    other = compare(request, request).differences["WER % toy listener"]
    assert other.value == 0 and other.count == 20
    assert found.card["embedders"]["toy listener"]["digest"] == "1" and found.card["clips"] == {"generated": 20}
    soundfile.write(tmp_path / "a" / "07.wav", np.zeros(RATE), RATE)
    found = evaluate(request)
    assert found.items["WER % toy listener, by clip"]["07"] == 100
    assert found.scores["WER % toy listener"].count == 20
    assert "WER: 1 unusable clips count as empty transcripts" in found.warnings
    assert any("1 silent left out" in text for text in found.warnings)
    prompts.write_text("\n".join(map(json.dumps, [lines[0] | {"text": "(...)"}, *lines[1:]])))
    found = evaluate(request)
    assert found.scores["WER % toy listener"].count == 19 and found.scores["WER % toy listener"].low >= 0
    assert "WER: 1 texts hold no word after normalisation and are left out (first: 00)" in found.warnings
    (tmp_path / "a" / "08.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"2 of 20 clips cannot be used: 1 silent .*1 corrupt .*08\.wav"):
        evaluate(request)
    with pytest.raises(ValueError, match="--prompts"):
        evaluate(ask(tmp_path / "a", metrics=("wer",)))


def same_voices(judge, tmp_path):
    """Speaker similarity of one voice's clips with each other, with other takes of it, and with another voice."""
    takes = [{f"{n}": voice(*which, 10 * k + n) for n in range(4)} for k, which in enumerate((LOW, LOW, HIGH))]
    first, again, other = (write(tmp_path / f"{k}", wavs) for k, wavs in enumerate(takes))

    def mean(a, b):
        return evaluate(ask(a, b, ("speaker",))).scores[f"speaker similarity {judge}"]

    assert mean(first, first).value < 1 - 1e-9  # a clip is not compared with itself
    assert mean(first, again).value == pytest.approx(mean(first, first).value, abs=0.02)
    assert mean(first, again).low > mean(other, again).high + 0.1
    one = write(tmp_path / "one", {"0": takes[0]["0"]})
    with pytest.raises(ValueError, match="besides the clip of the same name"):
        evaluate(ask(first, one, ("speaker",)))


def test_one_voice_is_nearer_than_another(tmp_path, monkeypatch):
    monkeypatch.setattr(speech_embedders, "SpeakerEmbedder", Voices)
    same_voices("toy voices", tmp_path)


def test_resemblyzer_knows_a_voice(tmp_path):
    pytest.importorskip("resemblyzer", reason="pip install --no-deps resemblyzer webrtcvad-wheels")
    same_voices("resemblyzer", tmp_path)


def test_pitch_has_two_numbers(tmp_path):
    at = np.arange(RATE) / RATE
    low, high = (sum(np.sin(2 * np.pi * f * k * at) / k for k in range(1, 9)) * 0.1 for f in (200, 200 * 2 ** (2 / 12)))
    folders = write(tmp_path / "x", {"a": high}), write(tmp_path / "y", {"a": low})
    result = evaluate(ask(*folders, ("f0",)))
    assert result.card["embedders"]["librosa"]["digest"] == version("librosa")  # another version, another measure
    found = result.scores
    assert found["F0 RMSE cents"].value == pytest.approx(200, abs=20) and found["voicing error"].value < 0.2


def test_prosody_tells_height_liveliness_and_length(tmp_path):
    at = np.arange(2 * RATE) / RATE
    bend = 2 ** (np.sin(2 * np.pi * 1.5 * at) / 12 * np.sqrt(2))  # one semitone of standard deviation
    turns = 2 * np.pi * np.cumsum(200 * bend) / RATE
    wav = sum(np.sin(turns * k) / k for k in range(1, 9)) * 0.1
    made = write(tmp_path / "made", {"a": wav, "b": wav})
    found = evaluate(ask(made, metrics=("prosody",))).scores
    assert found["F0 Hz"].value == pytest.approx(200, rel=0.01) and found["F0 Hz"].count == 2
    assert found["F0 spread st"].value == pytest.approx(1, abs=0.1) and len(found) == 2
    real = write(tmp_path / "real", {"a": wav[:RATE], "b": wav[: RATE * 3 // 2], "c": wav})
    found = evaluate(ask(made, real, metrics=("prosody",))).items["length / reference's"]
    assert found == pytest.approx({"a": 2, "b": 4 / 3}, abs=0.01)
    hiss = write(tmp_path / "hiss", {"a": np.random.default_rng(0).normal(size=RATE) * 0.1})
    with pytest.raises(ValueError, match="no clip has a voiced frame"):
        evaluate(ask(hiss, metrics=("prosody",)))


def test_contour_counts_a_tone_a_quarter_tone_off(tmp_path):
    at, asked = np.arange(RATE) / RATE, [200.0] * 60 + [None] * 20  # the last quarter is free: it does not count
    tones = [
        sum(np.sin(2 * np.pi * 200 * 2 ** (cents / 1200) * k * at) / k for k in range(1, 8)) * 0.1
        for cents in (10, 70, 10)
    ]
    tones[2][: RATE // 3] = 0.0  # a third is not voiced as asked
    folder, lines = write(tmp_path / "a", dict(zip("xyz", tones, strict=True))), tmp_path / "asked.jsonl"
    lines.write_text("\n".join(json.dumps({"file": f"{name}.wav", "text": "la", "f0": asked}) for name in "xyz"))
    result = evaluate(ask(folder, metrics=("contour",), prompts=lines))
    error, close, voicing = result.scores.values()
    assert error.value == pytest.approx(10, abs=2) and error.low <= error.value <= error.high
    assert close.value == pytest.approx(100 * 92 / 152, abs=4)
    assert voicing.value == pytest.approx(100 * 152 / 180, abs=4)
    lines.write_text("\n".join(json.dumps({"file": f"{name}.wav", "text": "la", "f0": [210.0]}) for name in "xyz"))
    assert evaluate(ask(folder, metrics=("contour",), prompts=lines)).card["prompts"] != result.card["prompts"]
    lines.write_text("\n".join(json.dumps({"file": f"{name}.wav", "text": "la"}) for name in "xyz"))
    with pytest.raises(ValueError, match='3 lines of --prompts have no "f0"'):
        evaluate(ask(folder, metrics=("contour",), prompts=lines))


def test_silence_gets_no_opinion_score(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "require_package", lambda package: None)
    monkeypatch.setattr(speech, "dnsmos", lambda wav, rate: {"overall": 3.0, "p808": float(np.abs(wav).max() > 0)})
    folder = write(
        tmp_path / "a", {"a": voice(*LOW, 0), "b": np.stack([voice(*LOW, 1)] * 2, axis=1), "c": np.zeros(RATE)}
    )
    found = evaluate(ask(folder, metrics=("dnsmos",), max_unusable=0.4))
    assert found.scores["DNSMOS overall"].count == 2 and any("1 silent left out" in w for w in found.warnings)
    with pytest.raises(ValueError, match=r"1 of 3 clips cannot be used: 1 silent \(first: .*c\.wav\)"):
        evaluate(ask(folder, metrics=("dnsmos",)))


@pytest.mark.parametrize(("metric", "package"), [("pesq", "pesq"), ("stoi", "pystoi"), ("dnsmos", "speechmos.dnsmos")])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, metric, package):
    monkeypatch.setitem(sys.modules, package, None)
    folder = write(tmp_path / "a", {"a": voice(*LOW, 0)})
    with pytest.raises(ValueError, match=rf"needs the package {package}: pip install 'audiocm\[speech\]'"):
        evaluate(ask(folder, folder, (metric,)))


def test_pairs_of_other_rates_and_channels_are_brought_together_and_bad_ones_named(tmp_path):
    real = {f"{i:02d}": voice(*LOW, i) for i in range(21)}
    made = write(tmp_path / "made", real)
    soundfile.write(made / "00.wav", np.stack([io.resample(real["00"], RATE, 44100)] * 2, axis=1), 44100)
    soundfile.write(made / "01.wav", real["01"][: RATE // 2], RATE)
    request = ask(made, write(tmp_path / "real", real), ("lsd",))
    found = evaluate(request)
    assert found.scores["log-spectral distance dB"].count == 20
    assert found.items["log-spectral distance dB"]["00"] < 1
    assert any("1 of 21 pairs cannot be scored (first: 01: paired clips differ in length" in w for w in found.warnings)
    assert found.reports["generated"]["rates"] == {"16000": 20, "44100": 1}
    assert found.reports["generated"]["channels"] == {"1": 20, "2": 1}
    assert any("rates mixed: 20 files with 16000, 1 files with 44100" in w for w in found.warnings)
    assert any("channel counts mixed: 20 files with 1, 1 files with 2" in w for w in found.warnings)
    other = write(tmp_path / "other", {name: wav + 0.01 for name, wav in real.items()})
    difference = compare(request, ask(other, tmp_path / "real", ("lsd",))).differences["log-spectral distance dB"]
    assert difference.count == 20 and difference.p < 0.05
