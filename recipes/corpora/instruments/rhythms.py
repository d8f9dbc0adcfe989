"""Simple beats of a drum kit, by style."""

import numpy as np

from recipes.corpora.instruments.patterns import Part

KICK, SNARE, HAT, OPEN, CRASH, RIDE, TOM = 36, 38, 42, 46, 49, 51, 45
# style -> key of a drum -> sixteen steps of a bar; x: hit
STYLES = {
    "rock": {KICK: "x.......x.......", SNARE: "....x.......x...", HAT: "x.x.x.x.x.x.x.x."},
    "disco": {KICK: "x...x...x...x...", SNARE: "....x.......x...", OPEN: "..x...x...x...x."},
    "hip hop": {KICK: "x.....x...x.....", SNARE: "....x.......x...", HAT: "x.x.x.xxx.x.x.xx"},
    "techno": {KICK: "x...x...x...x...", HAT: "..x...x...x...x.", 39: "....x.......x..."},
    "jazz": {RIDE: "x...x..xx...x..x", HAT: "....x.......x...", KICK: "x..............."},
    "funk": {KICK: "x..x..x...x..x..", SNARE: "....x..x.x..x..x", HAT: "xxxxxxxxxxxxxxxx"},
    "latin": {KICK: "x..xx..xx..xx..x", 37: "x..x..x...x..x..", RIDE: "x.x.x.x.x.x.x.x."},
    "march": {SNARE: "x.xxx.xxx.xxx.x.", KICK: "x...x...x...x..."},
    "heavy metal": {KICK: "xxxxxxxxxxxxxxxx", SNARE: "....x.......x...", CRASH: "x.......x......."},
}
STEP = {"slow": (0.165, 0.2), "": (0.115, 0.14), "fast": (0.08, 0.095)}
LABELS = ["Drum kit", "Drum", "Percussion", "Snare drum", "Bass drum", "Drum machine", "Hi-hat", "Cymbal"]


def draw_beat(rng: np.random.Generator, kit: int) -> tuple[Part, list[str], list[str], str]:
    """Draws a beat of one or two bars on a drum kit; returns its part, captions, labels and volume."""
    style = str(rng.choice(list(STYLES)))
    tempo, volume = str(rng.choice(list(STEP))), str(rng.choice(["", "soft", "loud"]))
    step, force = float(rng.uniform(*STEP[tempo])), {"soft": 60, "": 92, "loud": 122}[volume]
    bars = 1 if tempo == "slow" else 2
    notes = [
        (i * step + 16 * step * bar, 0.2, key, int(np.clip(force + rng.integers(-9, 6) - (6 if i % 4 else 0), 20, 127)))
        for bar in range(bars)
        for key, row in STYLES[style].items()
        for i, mark in enumerate(row)
        if mark == "x"
    ]
    word = " ".join(w for w in (tempo, volume) if w)
    kit_word = "drum machine" if kit in (24, 25) else "drum kit"
    captions = [
        f"a {word} {style} beat on a {kit_word}".replace("  ", " "),
        f"a {kit_word} playing a {style} beat",
        f"{style} drums",
        f"someone playing the drums{', ' + word.replace(' ', ' and ') if word else ''}",
        "a drum beat",
        kit_word,
    ]
    return Part(notes, "a beat", "a beat"), captions, LABELS, volume
