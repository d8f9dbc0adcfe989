"""A prompt to a sound with numpy, onnxruntime and tokenizers: python example.py "a dog barks" dog.wav"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

HERE, EXACT = Path(__file__).parent, ("session.qdq_matmulnbits_accuracy_level", "0")
prompt, file, seconds, guidance, seed = *(sys.argv[1:] + ["a dog barks", "sound.wav"][len(sys.argv) - 1 :]), 4.0, 3.0, 0
settings, options = json.loads((HERE / "audiocm.json").read_bytes()), onnxruntime.SessionOptions()
options.add_session_config_entry(*EXACT)  # states stay float32 where weights only are int8


def run(name, **inputs):
    session = onnxruntime.InferenceSession(HERE / f"{name}.onnx", options)
    return session.run(None, {one.name: inputs[one.name] for one in session.get_inputs()})


def draw_noise(seed, count):  # torch.randn for the seed that torch.randint(2**62) draws, in numpy
    high, low = (int(word) for word in np.random.RandomState(seed).randint(0, 2**32, 2, np.uint32))
    words = np.random.RandomState((high << 32 | low) % 2**32).randint(0, 2**32, count, np.uint32)
    pairs = ((words & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)).reshape(-1, 2, 8)
    radius, angle = np.sqrt(-2 * np.log1p(-pairs[:, 0])), np.float32(2 * np.pi) * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()


n, hop, rate, channels = (settings[name] for name in ("n_fft", "hop", "sample_rate", "channels"))
window, pad = np.hanning(n + 1)[:n], (n - hop) // 2


def istft(spectrum):
    wav, weight = (np.zeros((len(spectrum) - 1) * hop + n) for _ in range(2))
    for i, frame in enumerate(np.fft.irfft(spectrum, n, axis=1) * window):
        wav[i * hop : i * hop + n] += frame
        weight[i * hop : i * hop + n] += window**2
    return (wav / weight.clip(1e-8))[pad:-pad]


ids = np.array([Tokenizer.from_file(str(HERE / "tokenizer.json")).encode(prompt).ids])
ids = ids[:, : (ids[0] != 0).sum()]  # without padding
frames = int(np.ceil(seconds * rate / hop / settings["compression"]))
noise = draw_noise(seed, settings["max_frames"] * channels).reshape(-1, channels)[:frames].T[None]
numbers = {"temperature": settings["temperature"], "guidance": guidance, "duration": frames}
numbers = {name: np.array([value], np.float32) for name, value in numbers.items()}
tokens, pooled = run("text_encoder", ids=ids, token_mask=np.ones_like(ids))
(latent,) = run("transformer", noise=noise, tokens=tokens, token_mask=np.ones_like(ids), pooled=pooled, **numbers)
real, imag = run("vocoder", log_mel=run("decoder", latent=latent)[0])
spectrum, before = (real + 1j * imag)[0].T, None
magnitude = np.abs(spectrum)
for _ in range(settings["iterations"]):  # fast Griffin-Lim
    padded = np.pad(istft(spectrum), pad, mode="reflect")
    now = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, n)[::hop] * window, axis=1)
    ahead = now if before is None else now - 0.99 / 1.99 * before
    spectrum, before = magnitude * ahead / np.abs(ahead).clip(1e-8), now
wav = istft(spectrum)[: round(seconds * rate)]
with wave.open(file, "wb") as out:
    out.setparams((1, 2, rate, 0, "NONE", ""))
    out.writeframes((wav / max(1, np.abs(wav).max() / 0.99) * 32767).astype(np.int16).tobytes())
