"""Phonemes to speech with numpy and onnxruntime: python example.py "həlˈO wˈɜɹld." hello.wav

`python -c "from audiocm.speech.phonemes import phonemize; print(phonemize('Hello, world.'))"` makes phonemes of a text."""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime

HERE, EXACT = Path(__file__).parent, ("session.qdq_matmulnbits_accuracy_level", "0")
line, file, speed, guidance, voice, seed = (
    *(sys.argv[1:] + ["həlˈO, wˈɜɹld.", "speech.wav"][len(sys.argv) - 1 :]),
    1,
    1,
    0,
    0,
)
settings, options = json.loads((HERE / "audiocm.json").read_bytes()), onnxruntime.SessionOptions()
options.add_session_config_entry(*EXACT)  # states stay float32 where weights only are int8


def run(name, **inputs):
    session = onnxruntime.InferenceSession(HERE / f"{name}.onnx", options)
    return session.run(None, {one.name: inputs[one.name] for one in session.get_inputs()})


symbols, stresses, stress = [settings["symbols"].index("_")], [0], 0
for character in line:
    if character in "ˌˈ":  # written before the vowel that it stresses
        stress = "ˌˈ".index(character) + 1
    elif character in settings["symbols"]:
        symbols, stresses, stress = [*symbols, settings["symbols"].index(character)], [*stresses, stress], 0
symbols, stresses = np.array([[*symbols, symbols[0]]]), np.array([[*stresses, 0]])
rows, mask, number = (
    {"temperature": 1, "guidance": guidance, "speed": speed, "duration": 0},
    np.ones_like(symbols),
    np.array([voice]),
)
rows = {name: np.array([value], np.float32) for name, value in rows.items()}
states, durations = run("durations", symbols=symbols, stress=stresses, token_mask=mask, voice=number, **rows)
frames, pitch = round(float(durations.sum())), 3 * settings["subframes"]
pitch = np.zeros((1, pitch, frames), np.float32)  # free
tokens, pooled, prior = run("prior", states=states, durations=durations, voice=number, pitch=pitch)
noise = np.random.default_rng(seed).standard_normal(prior.shape).astype(np.float32)
text = {"tokens": tokens, "token_mask": mask, "pooled": pooled, "prior": prior}
(latent,) = run("transformer", noise=noise, **text, **rows)
real, imag = run("vocoder", log_mel=run("decoder", latent=latent)[0])
n, hop = settings["n_fft"], settings["hop"]
window, wav, weight = np.hanning(n + 1)[:n], *(np.zeros((real.shape[2] - 1) * hop + n) for _ in range(2))
for i, frame in enumerate(np.fft.irfft((real + 1j * imag)[0].T, n, axis=1) * window):
    wav[i * hop : i * hop + n] += frame
    weight[i * hop : i * hop + n] += window**2
wav = (wav / weight.clip(1e-8))[(n - hop) // 2 : -(n - hop) // 2]
with wave.open(file, "wb") as out:
    out.setparams((1, 2, settings["sample_rate"], 0, "NONE", ""))
    out.writeframes((wav / max(1, np.abs(wav).max() / 0.99) * 32767).astype(np.int16).tobytes())
