"""Instrument clips with exact captions, rendered from the FluidR3Mono_GM soundfont (MIT).

    python -m recipes.corpora.instruments.build --soundfont FluidR3Mono_GM.sf3 --root data/rendered [--jobs 4]

Runs on a CPU and continues where it stopped. Needs PyPI `tinysoundfont` (install it with --no-deps); the soundfont is
Debian's `fluidr3mono-gm-soundfont`. The bundled codec and text-to-audio models were trained on its 4,496 train clips.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from audiocm.data.manifest import split_of
from recipes.corpora.instruments.patterns import TEMPI, Manner, Part, melody, patterns_of
from recipes.corpora.instruments.presets import Instrument, article, drums, instruments
from recipes.corpora.instruments.rhythms import draw_beat
from recipes.corpora.manifests import RATE, build, fade, level, print_summary, rng_for

DECIBEL = {"soft": -32.0, "": -24.0, "loud": -17.0}
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
LONGEST = 10.3  # seconds of a clip
MEDLEYS = 6  # of each instrument
LICENCE, SOURCE = "MIT", "rendered:FluidR3Mono_GM"


def captions_of(tool: Instrument, part: Part, manner: Manner, rng: np.random.Generator) -> list[str]:
    """Returns up to six captions of one part, from "a violin playing a rising scale, fast and loud" to "violin"."""
    name, other = tool.name, str(rng.choice(tool.others))
    one = article(name)
    if "x" in tool.flags:
        tone = {"loud": "loud ", "soft": "quiet "}.get(manner.volume, "")
        toned = article(f"{tone}{name}") if one != name else f"{tone}{name}"
        return list(dict.fromkeys([toned, one, name, *tool.others, f"the sound of {one}"]))[:6]
    is_drum = tool.bank == 128 or "p" in tool.flags
    if is_drum and part.short == "one hit":
        exact = [f"{one} is hit once{manner.adverbs}", f"a single {name} hit"]
        return list(dict.fromkeys([*exact, name, other, f"someone hitting {one}", f"the sound of {one}"]))
    on = "on" if is_drum else "on the"
    simple = other.split()[0] not in ("someone", "people", "a", "the", "blowing") and not other.endswith("singing")
    target = f"the {other}" if simple and rng.integers(2) else one
    verb = "plays" if one != name and rng.integers(2) else "playing"
    where = f"{'on' if one == name else on} {name if on == 'on the' or one == name else one}"
    captions = [
        f"{one} {verb} {part.phrase}{manner.adjectives}",
        f"{part.phrase} {where}{manner.adverbs}",
        f"someone{manner.adverbs} playing {part.short} on {target}" if part.short else one,
        f"{name}, {part.short}" if rng.integers(2) else f"{name} {part.short.removeprefix('a ')}",
        name if rng.integers(3) else other,
        f"someone playing {one}" if rng.integers(2) else f"the sound of {one}",
    ]
    return list(dict.fromkeys(captions))


def _entry(
    key: str,
    group: str,
    voices: list[list[int]],
    parts: list[Part],
    captions: list[str],
    labels: list[str],
    volume: str,
    rng: np.random.Generator,
    thing: str,
    role: str = "",
) -> dict:
    """Returns a manifest line with the spec that `Renderer` plays: voices [[bank, program]], notes with channels."""
    notes = [[*map(float, n[:2]), *map(int, n[2:]), channel] for channel, part in enumerate(parts) for n in part.notes]
    end = max(part.end for part in parts) + rng.uniform(0.3, 1.0)
    spec = {"voices": voices, "notes": notes, "seconds": float(np.clip(end, 1.0, LONGEST))}
    spec["decibel"] = DECIBEL[volume] + float(rng.uniform(-1.5, 1.5))
    spec["tune"] = float(rng.uniform(-0.25, 0.25))
    has_reverb = rng.random() < 0.4
    room = (float(rng.uniform(0.3, 1.4)), float(rng.uniform(0.1, 0.3)), int(rng.integers(2**31))) if has_reverb else ()
    spec["reverb"] = [*room] or None  # decay in s, wet share, seed
    return {
        "file": f"clips/{key}.flac",
        "split": split_of(group),
        "source": SOURCE,
        "path": group,
        "licence": LICENCE,
        "kind": "instrument",
        "role": role,
        "thing": thing,
        "captions": captions,
        "caption_sources": ["rendered"] * len(captions),
        "labels": labels,
        "group": group,
        "spec": spec,
    }


def _solo(tool: Instrument, pattern: str, take: int, seed: int, kit: int = 0) -> dict:
    """Returns the line of one instrument that plays one pattern."""
    rng = rng_for(seed, tool.key, kit, pattern, take)
    tempo, volume = TEMPI[int(rng.integers(len(TEMPI)))]
    if "x" in tool.flags or pattern in ("trill", "roll", "hit") or pattern.startswith("chord-"):
        tempo = ""
    manner = Manner(tempo, volume, rng)
    part = patterns_of(tool)[pattern](manner)
    if pattern == "roll":
        manner.volume = ""
    if pattern.startswith("note-"):
        manner.tempo = ""  # its phrase has long or short
    kit_name = f"kit{kit}" if tool.bank == 128 else ""
    names = ["rendered", tool.key, pattern, kit_name, str(take) if "x" in tool.flags else ""]
    group, key = ":".join(filter(None, names)), "-".join(filter(None, [tool.key, pattern, kit_name, str(take)]))
    voices, captions = [[tool.bank, kit if kit_name else tool.program]], captions_of(tool, part, manner, rng)
    role = (
        "event"
        if pattern == "hit" or pattern.startswith(("note-", "chord-"))
        else "texture"
        if "x" in tool.flags
        else ""
    )
    return _entry(key, group, voices, [part], captions, list(tool.labels), manner.volume, rng, tool.name, role)


def _medley(tool: Instrument, take: int, seed: int) -> dict:
    """Returns the line of one instrument that plays ten seconds of several patterns, of which any part will do."""
    rng = rng_for(seed, tool.key, "medley", take)
    tempo, volume = TEMPI[int(rng.integers(len(TEMPI)))]
    patterns, parts, start = patterns_of(tool), [], 0.0
    names = [name for name in patterns if name not in ("hit", "note-low", "note-high", "trill")]
    while start < LONGEST:
        part = patterns[str(rng.choice(names))](Manner(tempo, volume, rng))
        parts += [(time + start, *rest) for time, *rest in part.notes]
        start += part.end + float(rng.choice([0.0, rng.uniform(0.1, 0.4)]))
    part = Part([note for note in parts if note[0] < LONGEST - 0.1], "")
    group = f"rendered:{tool.key}:medley:{take}"
    simple = [name for name in tool.others if not name.startswith(("a ", "the ", "someone", "people", "blowing"))]
    captions = []
    for name in dict.fromkeys([tool.name, *simple]):
        one = article(name)
        the = one if one == name else f"the {name}"
        captions += [name, one, f"the sound of {one}"]
        if "x" not in tool.flags:
            captions += [f"someone plays {the}", f"playing {the}", f"{name} music", f"{one} playing a tune"]
            captions += [f"{name} solo" if one == name else article(f"{name} solo"), f"{the} being played"]
    key, voices = f"{tool.key}-medley-{take}", [[tool.bank, 0 if tool.bank == 128 else tool.program]]
    captions = list(dict.fromkeys(captions))
    return _entry(key, group, voices, [part], captions, list(tool.labels), volume, rng, tool.name, "texture")


def _duet(index: int, seed: int) -> dict:
    """Returns the line of two instruments with a melody each."""
    rng = rng_for(seed, "duet", index)
    pool = [tool for tool in instruments() if not set("xpb") & set(tool.flags) and tool.program < 80]
    first, second = (pool[i] for i in rng.choice(len(pool), 2, replace=False))
    tempo, volume = TEMPI[int(rng.integers(len(TEMPI)))]
    manner = Manner(tempo, volume, rng)
    parts = [melody(first, manner), melody(second, manner)]
    one, two = article(first.name), article(second.name)
    captions = [
        f"{one} and {two} playing together{manner.adverbs}",
        f"a duet of {one} and {two}{manner.adjectives}",
        f"{first.name} and {second.name}",
        f"someone plays {one} while someone else plays {two}",
        f"{two} with {one}",
    ]
    labels = list(dict.fromkeys([*first.labels, *second.labels]))
    voices = [[first.bank, first.program], [second.bank, second.program]]
    return _entry(f"duet-{index}", f"rendered:duet:{index}", voices, parts, captions, labels, volume, rng, "duet")


def _beat(index: int, seed: int) -> dict:
    """Returns the line of a drum kit that plays a beat."""
    rng = rng_for(seed, "beat", index)
    kit = int(rng.choice(KITS[:7]))
    part, captions, labels, volume = draw_beat(rng, kit)
    return _entry(
        f"beat-{index}", f"rendered:beat:{index}", [[128, kit]], [part], captions, labels, volume, rng, "drum kit"
    )


def plan(seed: int = 0, takes: int = 2, duets: int = 250, rhythms: int = 200) -> list[dict]:
    """Returns all clips to render: `takes` of each (preset, pattern), 8 `takes` of a sound effect, duets and beats."""
    solo = [
        _solo(tool, pattern, take, seed)
        for tool in instruments()
        for pattern in patterns_of(tool)
        for take in range({"x": 8, "p": 4}.get(tool.flags, 1) * takes)
    ]
    kits = [
        _solo(tool, pattern, take, seed, kit)
        for tool in drums()
        for pattern in patterns_of(tool)
        for kit in (KITS[:6] if tool.low < 60 and tool.low not in (54, 58) else KITS[:1])
        for take in range(takes if tool.low >= 60 else 1)
    ]
    medleys = [_medley(tool, take, seed) for tool in [*instruments(), *drums()] for take in range(MEDLEYS)]
    return [*solo, *kits, *medleys, *(_duet(i, seed) for i in range(duets)), *(_beat(i, seed) for i in range(rhythms))]


class Renderer:
    """A player of a loaded soundfont; loading takes 2 s and 0.4 GB."""

    def __init__(self, soundfont: str) -> None:
        import tinysoundfont

        self.synth = tinysoundfont.Synth(samplerate=RATE)
        self.font = self.synth.sfload(soundfont)

    def _generate(self, seconds: float) -> np.ndarray:
        count = max(0, round(seconds * RATE))
        stereo = np.frombuffer(bytes(self.synth.generate(count)), np.float32) if count else np.zeros(0, np.float32)
        return stereo.reshape(-1, 2).mean(1)

    def play(self, spec: dict) -> np.ndarray:
        """Plays the notes of a spec at its loudness, float32 [sample]. Raises ValueError if none of them sounds."""
        for channel, (bank, program) in enumerate(spec["voices"]):
            self.synth.program_select(channel, self.font, bank, program, bank == 128)
            self.synth.set_tuning(channel, 0.0 if bank == 128 else spec["tune"])
        events = [(start, 1, key, velocity, channel) for start, _, key, velocity, channel in spec["notes"]]
        events += [(start + length, 0, key, 0, channel) for start, length, key, _, channel in spec["notes"]]
        pieces, now = [], 0.0
        for time, on, key, velocity, channel in sorted(events):
            pieces.append(self._generate(time - now))
            now += len(pieces[-1]) / RATE
            if on:
                self.synth.noteon(channel, key, velocity)
            else:
                self.synth.noteoff(channel, key)
        pieces.append(self._generate(spec["seconds"] - now))
        self.synth.sounds_off()
        self._generate(0.2)
        wav = np.concatenate(pieces)
        if np.abs(wav).max() < 1e-4:
            raise ValueError(
                f"the voices {spec['voices']} have no sample for the keys {sorted({n[2] for n in spec['notes']})}"
            )
        if spec["reverb"]:
            wav = reverberate(wav, *spec["reverb"])
        return fade(level(wav, spec["decibel"]), 0.05)


def reverberate(wav: np.ndarray, decay: float, wet: float, seed: int) -> np.ndarray:
    """Adds a share `wet` of reverberation by convolution with noise that decays by 60 dB in `decay` seconds."""
    time = np.arange(int(decay * RATE)) / RATE
    room = np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail = fftconvolve(wav, room / np.sqrt((room**2).sum()))[: len(wav)]
    return ((1 - wet) * wav + wet * tail).astype(np.float32)


_RENDERER: list[Renderer] = []  # of a worker process


def _start(soundfont: str) -> None:
    _RENDERER[:] = [Renderer(soundfont)]


def _make(line: dict) -> np.ndarray:
    return _RENDERER[0].play(line["spec"])


def render(soundfont: Path, root: Path, seed: int = 0, takes: int = 2, n_jobs: int = 1) -> list[dict]:
    """Renders the plan under `root` with `n_jobs` processes; returns the manifest.

    Raises FileNotFoundError if the soundfont is missing."""
    if not soundfont.is_file():
        raise FileNotFoundError(f"no soundfont at {soundfont}")
    return build(root, plan(seed, takes), _make, n_jobs, _start, (str(soundfont),), "rendered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--soundfont", type=Path, required=True, help="FluidR3Mono_GM.sf3")
    parser.add_argument("--root", type=Path, default=Path("data/rendered"), help="folder of the corpus")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--takes", type=int, default=2, help="clips per instrument and pattern")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_summary(render(args.soundfont, args.root, args.seed, args.takes, args.jobs))


if __name__ == "__main__":
    main()
