"""What the editing of speech scores: words of recordings said anew and sentences continued, beside plain readings.

    python -m recipes.text_to_speech.editing make --output runs/speech_editing
    python -m recipes.text_to_speech.editing score --output runs/speech_editing

editing_sentences.txt has sentences that are in no corpus, with the words that are replaced and those in their place.
`make` writes the sounds of each voice and row, and continues where it stopped. The voices: `heart`, the synthesiser that
the model learned it from (not the model); `lower`, the same through a longer vocal tract, which no model knows; `model`,
the model itself in its voice `prompts`, by four calls. Each row says the new sentence: "the voice itself" (what a perfect
edit sounds like), the edit, the model's plain reading of the whole sentence in the voice most like the recording, and
the words cut from that reading, at the recording's level, pasted in the same place. "recording" is what is edited, and
says the old sentence. The rows "continued" say the next sentence of the list after the recording: told what the
recording says, not told, and the plain reading at the recording's level put after it. `score` gives word errors by the recogniser of `audiocm score`, the share of sentences whose new
words are heard, and the cosine of speaker embeddings with the recording's: of the whole sound, and of the new words
alone, which are repeated to the length that the embedder wants. Intervals are of the sentences.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.audio.io import resample
from audiocm.audio.seams import match_level, splice
from audiocm.embedders.speech import SpeakerEmbedder, Transcriber
from audiocm.evaluation import Preprocessing
from audiocm.evaluation.provenance import PackageJudge, card
from audiocm.files import read_json_lines, write_json_lines
from audiocm.metrics import mean_score
from audiocm.metrics.score import DRAWS, statistic_score
from audiocm.metrics.speech import normalize_words, word_errors
from audiocm.pipelines.filling import SEAM, EditSettings
from audiocm.pipelines.speech_editor import SpeechEditor
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from recipes.judges import write_results
from recipes.sounds import write_missing_sounds

SENTENCES = Path(__file__).with_name("editing_sentences.txt")
RATE = 24000  # Hz
LONGER = 1.2  # vocal tract of the voice `lower`, relative to `heart`
REPEATED = 1.7  # seconds of new words that the embedder gets at least
AFTER = ", continued"  # of the name of a voice whose recordings are continued
ROWS = ("recording", "the voice itself", "edited, 1 call", "edited, 4 calls", "plain reading", "cut and paste")
ROWS_AFTER = ("the voice itself", "told what is said", "not told", "plain reading")
COLUMNS = ["WER %", "new words heard %", "similarity", "similarity of the new words"]
Say = Callable[[str, int], np.ndarray]  # a text and a seed to a wav [sample] at RATE
Row = Callable[[np.ndarray, "Edit", int], np.ndarray]  # of a recording, its edit and a seed


@dataclass(frozen=True)
class Edit:
    """A sentence that is said, the new one, and the words of the new one that differ, counted from 1."""

    said: str
    text: str
    words: tuple[int, int]

    @property
    def new(self) -> str:
        """The words that differ."""
        return " ".join(self.text.split()[self.words[0] - 1 : self.words[1]])


def read_edits(file: Path = SENTENCES) -> list[Edit]:
    """Returns the edits of a file of lines "... [old words|new words] ..."."""
    edits = []
    for line in filter(None, file.read_text(encoding="utf-8").splitlines()):
        before, old, new, after = re.fullmatch(r"(.*)\[(.+)\|(.+)\](.*)", line).groups()
        first = len(before.split()) + 1
        edits.append(Edit(f"{before}{old}{after}", f"{before}{new}{after}", (first, first + len(new.split()) - 1)))
    return edits


def continuations(edits: list[Edit]) -> list[Edit]:
    """Returns for each edit the one that says the next recording's sentence after its own."""
    following = [*edits[1:], edits[0]]
    texts = [f"{one.said} {other.said}" for one, other in zip(edits, following, strict=True)]
    counts = [(len(one.said.split()) + 1, len(text.split())) for one, text in zip(edits, texts, strict=True)]
    return [Edit(one.said, text, words) for one, text, words in zip(edits, texts, counts, strict=True)]


class WordPaster(SpeechEditor):
    """Pastes the words of the model's plain reading, at the recording's level, in the place that the editor finds."""

    def _carry_out(self, plan, wav, rate, mono, settings):
        begin, end = (round(at * rate) for at in plan.line.starts[[plan.first, plan.end]])
        cut = [round(at * rate) for at in plan.cut]
        margin = min(round(SEAM * rate), begin, cut[0], len(plan.line.wav) - end, len(wav) - cut[1])
        reading = match_level(plan.line.wav, wav)
        sound = np.concatenate([wav[: cut[0]], np.zeros(end - begin, wav.dtype), wav[cut[1] :]])
        pasted = sound.copy()
        pasted[cut[0] - margin : cut[0] + end - begin + margin] = reading[begin - margin : end + margin]
        return splice(sound, pasted, cut[0], cut[0] + end - begin, margin)


def voices(pipe: TextToSpeechPipeline) -> dict[str, Say]:
    """Returns the voices of the recordings."""
    from hibari import Hibari

    heart = Hibari(threads=1)

    def model(text: str, seed: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed)
        options = {"num_inference_steps": 4, "output_type": "np", "generator": generator}
        return pipe(text, voice=pipe.voices[-1], **options).audios[0]

    return {
        "heart": lambda text, seed: heart(text, seed=seed),
        "lower": lambda text, seed: resample(heart(text, speed=LONGER, seed=seed), RATE, RATE * LONGER),
        "model": model,
    }


def rows(pipe: TextToSpeechPipeline, say: Say) -> dict[str, Row]:
    """Returns for each row the function of a recording, its edit and a seed that makes its sound."""
    editor, paster = SpeechEditor(pipe), WordPaster(pipe)

    def edited(one: SpeechEditor, steps: int | None = None) -> Row:
        return lambda wav, edit, seed: one.replace_words(
            wav, RATE, edit.text, edit.words, settings=EditSettings(seed=seed, steps=steps)
        )

    def read(wav: np.ndarray, edit: Edit, seed: int) -> np.ndarray:
        voice = editor.closest_voice(wav, RATE, edit.text)
        return pipe(edit.text, voice=voice, generator=torch.Generator().manual_seed(seed), output_type="np").audios[0]

    return {
        "recording": lambda wav, edit, seed: wav,
        "the voice itself": lambda wav, edit, seed: say(edit.text, seed + 1000),
        "edited, 1 call": edited(editor),
        "edited, 4 calls": edited(editor, 4),
        "plain reading": read,
        "cut and paste": edited(paster),
    }


def rows_after(pipe: TextToSpeechPipeline, say: Say) -> dict[str, Row]:
    """Returns for each row of continuations the function of a recording, its edit and a seed that makes its sound."""
    editor = SpeechEditor(pipe)

    def continued(is_told: bool) -> Row:
        return lambda wav, edit, seed: editor.extend(
            wav, RATE, edit.new, edit.said if is_told else None, settings=EditSettings(seed=seed)
        )

    def read(wav: np.ndarray, edit: Edit, seed: int) -> np.ndarray:
        voice = editor.closest_voice(wav, RATE, edit.new)
        seeded = torch.Generator().manual_seed(seed)
        return np.r_[wav, match_level(pipe(edit.new, voice=voice, generator=seeded, output_type="np").audios[0], wav)]

    return {
        "the voice itself": lambda wav, edit, seed: np.r_[wav, say(edit.new, seed + 1000)],
        "told what is said": continued(True),
        "not told": continued(False),
        "plain reading": read,
    }


def make(args: argparse.Namespace) -> None:
    """Writes the sounds that are missing; one that fails is left out of its row, and told."""
    pipe = TextToSpeechPipeline.from_pretrained(args.model, device=args.device)
    edits = read_edits(args.sentences)[: args.count]
    for voice, say in voices(pipe).items():
        recordings = [say(edit.said, args.seed + i).astype(np.float64) for i, edit in enumerate(edits)]
        tasks = [(voice, name, edits, row) for name, row in rows(pipe, say).items()]
        tasks += [(f"{voice}{AFTER}", name, continuations(edits), row) for name, row in rows_after(pipe, say).items()]
        for place, name, mine, row in tasks:
            lines = enumerate(zip(recordings, mine, strict=True))
            clips = {f"{i:03d}": (wav, edit, args.seed + i) for i, (wav, edit) in lines}
            write_missing_sounds(Path(args.output) / place / name, clips, row, RATE, f"{place}, {name}")


def differing(sound: np.ndarray, recording: np.ndarray) -> slice:
    """Returns the samples of a sound that are not those at the beginning and the end of a recording."""
    count = min(len(sound), len(recording))
    sides = sound[:count] != recording[:count], sound[::-1][:count] != recording[::-1][:count]
    first, last = (int(np.argmax(side)) if side.any() else count for side in sides)
    return slice(first, max(first, len(sound) - last))


def measure(folder: Path, recordings: Path, edits: list[Edit], judges: tuple, seed: int) -> dict:
    """Returns the row of a table: the scores of the sounds of a folder, kept there as heard.jsonl."""
    transcribe, speaker = judges
    kept = folder / "heard.jsonl"
    if not kept.exists():
        lines = []
        for file in sorted(folder.glob("*.wav")):
            sound, recording = (soundfile.read(path, dtype="float32")[0] for path in (file, recordings / file.name))
            new = sound[differing(sound, recording)]
            wavs = [recording, sound]
            if 0 < len(new) < 0.8 * len(sound):
                wavs.append(np.tile(new, int(np.ceil(REPEATED * RATE / len(new)))))
            wavs = [resample(wav, RATE, speaker.sample_rate) for wav in wavs]
            vectors = speaker.features(wavs)["embedding"]
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            cosines = (vectors[1:] @ vectors[0]).tolist()
            lines.append({"file": file.name, "heard": transcribe(wavs[1]), "cosines": cosines})
        write_json_lines(kept, lines)
    lines = read_json_lines(kept)
    mine = [edits[int(Path(line["file"]).stem)] for line in lines]
    texts = [edit.said if folder.name == "recording" else edit.text for edit in mine]
    pairs = np.array([word_errors(text, line["heard"])["WER"] for text, line in zip(texts, lines, strict=True)])

    def rate(weight: np.ndarray) -> float:
        return float(100 * (weight @ pairs[:, 0]) / (weight @ pairs[:, 1]))

    scores = [statistic_score("WER %", rate, len(lines), DRAWS, seed, (0.0, np.inf))]
    if folder.name != "recording":
        heard = [is_heard(edit.new, line["heard"]) for edit, line in zip(mine, lines, strict=True)]
        scores.append(mean_score("new words heard %", 100.0 * np.array(heard), seed=seed))
        scores.append(mean_score("similarity", [line["cosines"][0] for line in lines], seed=seed))
        if new := [line["cosines"][1] for line in lines if len(line["cosines"]) > 1]:
            scores.append(mean_score("similarity of the new words", new, seed=seed))
    return {"clips": len(lines), "scores": {one.name: one.as_dict() for one in scores}}


def is_heard(words: str, transcript: str) -> bool:
    """Returns whether words are in a transcript, one after another."""
    return f" {normalize_words(words)} " in f" {normalize_words(transcript)} "


def score(args: argparse.Namespace) -> None:
    """Writes the results file and its table."""
    edits, judges = read_edits(args.sentences)[: args.count], (Transcriber(threads=1), SpeakerEmbedder())
    table, out = {}, Path(args.output)
    for voice in ("heart", "lower", "model"):
        for place, names, mine in ((voice, ROWS, edits), (f"{voice}{AFTER}", ROWS_AFTER, continuations(edits))):
            for name in names:
                if any((out / place / name).glob("*.wav")):
                    measured = measure(out / place / name, out / voice / "recording", mine, judges, args.seed)
                    table[f"{place}: {name}"] = measured
    about = card((*judges, PackageJudge("jiwer")), Preprocessing(), args.seed, model=args.model)
    about |= {"sentences": [edit.text for edit in edits], "intervals": "95 %, bootstrap over sentences"}
    print(write_results(Path(args.results), {"card": about, "systems": table}, COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["make", "score"])
    parser.add_argument("--output", default="runs/speech_editing", help="folder of the sounds")
    parser.add_argument("--results", default="samples/speech_editing_scores.json")
    parser.add_argument("--model", default="tts", help="model name or folder")
    parser.add_argument("--sentences", type=Path, default=SENTENCES, help='lines "... [old words|new words] ..."')
    parser.add_argument("--count", type=int, default=36, help="sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    {"make": make, "score": score}[args.action](args)


if __name__ == "__main__":
    main()
