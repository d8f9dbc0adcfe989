"""Telephone tones, beeps, alarms, test tones and the sounds of old video games."""

from functools import partial

import numpy as np
from scipy.signal import chirp

from recipes.corpora.everyday.blocks import (
    NUMBERS,
    Take,
    band,
    choose,
    decay,
    described,
    glide,
    line,
    phase,
    place,
    repeat,
    room,
    size,
    span,
    swell,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.voices import harmonics, periodic

KEYS = {  # (row, column) of a telephone's keypad, Hz; ITU-T Q.23
    key: (row, column)
    for row, keys in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for key, column in zip(keys, (1209, 1336, 1477, 1633), strict=True)
}


def tone(seconds: float, *hz: float) -> np.ndarray:
    """Returns sines of equal level."""
    return sum(np.sin(2 * np.pi * one * times(seconds)) for one in hz)


def gated(seconds: float, on: float, off: float, wav: np.ndarray, edge: float = 0.004) -> np.ndarray:
    """Switches a sound on and off so that it is on at the end."""
    clock = (seconds - times(seconds) + 0.35 * off) % (on + off)
    return wav * np.clip(np.minimum(clock - 0.0, on - clock) / edge, 0, 1)


def steady(rng: np.random.Generator, seconds: float, hz: tuple[float, ...]) -> Take:
    return take(tone(seconds, *hz) + 0.01 * band(rng, seconds, 300, 3400), seconds)


def busy(rng: np.random.Generator, seconds: float) -> Take:
    hz, every = choose(rng, ((480, 620), (425,), (400,))), choose(rng, (0.5, 0.5, 0.48, 0.25, 0.375))
    return take(gated(seconds, every, every, tone(seconds, *hz)) + 0.01 * band(rng, seconds, 300, 3400), seconds)


def dial(rng: np.random.Generator, seconds: float) -> Take:
    count = int(rng.integers(3, 11))
    on, off = rng.uniform(0.08, 0.2), rng.uniform(0.06, 0.2)
    digits = "".join(rng.choice(list("0123456789"), count))
    wav = place(count * (on + off), [(i * (on + off), tone(on, *KEYS[key])) for i, key in enumerate(digits)])
    return take(wav, seconds, count=NUMBERS[count])


def beeps(
    rng: np.random.Generator, seconds: float, hz: tuple, rhythm: tuple, order: tuple = (1, 9), harmonic: float = 0.3
) -> Take:
    """Beeps: `rhythm` is (beeps in a group, seconds on, seconds off, pause after a group)."""
    count, on, off, pause = rhythm
    scale, pitch = rng.uniform(0.85, 1.15), span(rng, *hz)
    amplitudes = harmonic * rng.uniform(0.3, 1) / np.arange(1, 10) * (np.arange(1, 10) % 2)
    wave = periodic(np.full(size(seconds), pitch), np.r_[1, amplitudes[1:]])
    group = count * (on + off) + pause
    clock = (times(seconds) / scale + group - (seconds / scale - on * 0.9) % group + (count - 1) * (on + off)) % group
    inside = clock % (on + off)
    gate = (clock < count * (on + off)) * np.clip(np.minimum(inside, on - inside) / 0.004, 0, 1)
    return take(room(wave * gate, rng, 0.2, 0.7, 0.15, tail=False), seconds)


def microwave(rng: np.random.Generator, seconds: float) -> Take:
    count, on, off = int(rng.integers(1, 6)), rng.uniform(0.25, 0.9), rng.uniform(0.2, 0.6)
    beep = periodic(np.full(size(on), span(rng, 1900, 2300)), (1, 0, 0.1)) * swell(on, 0.005, 0.005)
    wav = place(count * (on + off), [(i * (on + off), beep) for i in range(count)])
    words = "one beep" if count == 1 else f"{NUMBERS[count]} beeps"
    return take(room(wav, rng, 0.2, 0.6, 0.2), seconds, beeps=words)


def phone_warble(rng: np.random.Generator, seconds: float) -> Take:
    low, ratio, rate = span(rng, 700, 1500), rng.uniform(1.15, 1.4), rng.uniform(10, 22)
    hz = np.where(times(seconds) * rate % 1 < 0.5, low, low * ratio)
    wav = gated(seconds, rng.uniform(0.9, 1.6), rng.uniform(0.4, 0.9), periodic(hz, (1, 0.1, 0.33, 0.05, 0.2)))
    return take(room(wav, rng, 0.2, 0.6, 0.15, tail=False), seconds)


def sonar(rng: np.random.Generator, seconds: float) -> Take:
    hz = span(rng, 700, 1600)
    ping = tone(1.5, hz) * decay(1.5, 0.01, rng.uniform(0.6, 1.5))
    wav = repeat(rng, seconds, rng.uniform(1.2, 2.2), lambda: ping, 0.0)
    return take(room(wav, rng, 2.5, 4.5, 0.6, tail=False), seconds)


def sweep(rng: np.random.Generator, seconds: float) -> Take:
    ends = sorted((span(rng, 80, 500), span(rng, 1500, 9000)), reverse=bool(rng.integers(2)))
    wav = chirp(times(seconds), ends[0], seconds, ends[1], "logarithmic", phi=-90)
    return take(
        wav, seconds, direction="rising" if ends[1] > ends[0] else "falling", way="up" if ends[1] > ends[0] else "down"
    )


def sine(rng: np.random.Generator, seconds: float) -> Take:
    hz = span(rng, 120, 4000)
    return take(tone(seconds, hz), seconds, pitch="low" if hz < 400 else "high" if hz > 1500 else "medium")


def coin(rng: np.random.Generator, seconds: float) -> Take:
    low, first = span(rng, 700, 1300), rng.uniform(0.06, 0.1)
    hz = np.where(times(0.8) < first, low, low * 4 / 3)
    return take(harmonics(hz, 9, 0.1) * decay(0.8, 0.002, 1.2), seconds)


def jump(rng: np.random.Generator, seconds: float) -> Take:
    length = rng.uniform(0.2, 0.45)
    hz = glide(length, (0, span(rng, 150, 350)), (1, span(rng, 500, 1200)))
    return take(harmonics(hz, 6, choose(rng, (0.0, 0.5, 1.0))) * line(length, (0, 1), (0.6, 0.8), (1, 0)), seconds)


def laser(rng: np.random.Generator, seconds: float) -> Take:
    parts, now, top, low = [], 0.0, span(rng, 2500, 6000), span(rng, 100, 500)
    for _ in range(int(rng.integers(1, 5))):
        length = rng.uniform(0.15, 0.4)
        parts.append(
            (now, harmonics(low + (top - low) * np.exp(-6 * times(length) / length), 6) * swell(length, 0.002, 0.08))
        )
        now += length * rng.uniform(0.8, 1.5)
    return take(place(now + 0.2, parts), seconds)


def modem(rng: np.random.Generator, seconds: float) -> Take:
    """A handshake: answer tone, frequency-shift keying by V.21, then scrambled wide-band data."""
    keyed = np.repeat(rng.integers(0, 2, size(seconds) // 80 + 1), 80)[: size(seconds)]
    carrier = np.where(keyed, 1650.0, 1850.0), np.where(keyed[::-1], 980.0, 1180.0)
    fsk = sum(np.sin(2 * np.pi * phase(hz)) for hz in carrier)
    data = band(rng, seconds, 500, 3200, 36) * (1 + 0.3 * np.sin(2 * np.pi * 600 * times(seconds)))
    first, second = sorted(rng.uniform(0.1, 0.7, 2))
    share = np.linspace(0, 1, size(seconds))
    answer = tone(seconds, 2100) * 1.2
    return take(np.where(share < first, answer, np.where(share < second, fsk, data)), seconds)


def geiger(rng: np.random.Generator, seconds: float) -> Take:
    rate = span(rng, 4, 60) * np.exp(0.5 * wobble(rng, seconds, 0.5))
    hits = (rng.random(size(seconds)) < rate / 24000).astype(float)
    hits[-size(0.3)] = 1
    click = band(rng, 0.012, 1500, 6000) * decay(0.012, 0.0002, 0.008)
    return take(np.convolve(hits, click)[: len(hits)], seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "dial tone": (lambda rng, seconds: steady(rng, seconds, choose(rng, ((350, 440), (425,), (350, 450), (440,)))), True, (2, 10)),
    "busy signal": (busy, True, (2, 10)),
    "dialing": (dial, False, (2, 5)),
    "mobile phone": (phone_warble, True, (2, 10)),
    "alarm clock": (partial(beeps, hz=(1900, 3200), rhythm=(4, 0.07, 0.06, 0.5)), True, (2, 10)),
    "smoke alarm": (partial(beeps, hz=(2900, 3500), rhythm=(3, 0.5, 0.5, 0.9)), True, (3, 10)),
    "fire alarm": (partial(beeps, hz=(800, 1400), rhythm=(1, 0.5, 0.45, 0.0), harmonic=3.0), True, (2, 10)),
    "reversing beeps": (partial(beeps, hz=(1000, 1700), rhythm=(1, 0.5, 0.5, 0.0)), True, (2, 10)),
    "heart monitor": (partial(beeps, hz=(700, 1200), rhythm=(1, 0.1, 0.7, 0.0)), True, (2, 10)),
    "microwave beep": (microwave, False, (1, 6)),
    "sonar": (sonar, True, (3, 10)),
    "sine tone": (sine, True, (1, 8)),
    "sweep": (sweep, True, (0.8, 6)),
    "game coin": (coin, False, (0.6, 1)),
    "game jump": (jump, False, (0.3, 0.6)),
    "laser": (laser, False, (0.5, 2.5)),
    "modem": (modem, True, (4, 10)),
    "Geiger counter": (geiger, True, (2, 10)),
})
# fmt: on
