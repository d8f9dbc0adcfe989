"""CLAP scorers: sound and words in one space. From transformers, from LAION's .pt files, or the bundled small one.

A scorer is an embedder (`features`) that also reads words (`text`). CLAP scores from different checkpoints do not
compare: the name and digest of the one in use stand in every card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..files import content_digest
from ..metrics import Score, mean_score
from ..metrics.similarity import cosine_similarities

CLASSES = Path(__file__).with_name("audioset_classes.txt")
Hear = Callable[[Sequence[np.ndarray]], np.ndarray]
Read = Callable[[Sequence[str]], np.ndarray]


class ClapScorer:
    """hear: wavs [sample] at `sample_rate` → [clip, dim]; read: texts → [text, dim]; `clip`: how hear cuts and pads."""

    def __init__(
        self, hear: Hear, read: Read, name: str, sample_rate: int, digest: str, clip: str | None = None
    ) -> None:
        self.audio, self.text = hear, read
        self.name, self.sample_rate, self.digest, self.clip = name, sample_rate, digest, clip

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": self.audio(wavs)}

    def text_scores(self, audio: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """[clip]: cosine of each clip's embedding with its prompt's (CLAP_T per clip, between −1 and 1)."""
        return cosine_similarities(audio, self.text(prompts))

    def score(self, audio: np.ndarray, prompts: Sequence[str]) -> Score:
        """CLAP_T with its interval. Published CLAP_T is this × 100 with negative cosines counted as 0."""
        return mean_score(f"CLAP_T {self.name}", self.text_scores(audio, prompts))

    @classmethod
    def from_pretrained(cls, name: str | Path, tokenizer: str | None = None, device: str = "cpu"):
        """A LAION .pt file (with `tokenizer`, a RoBERTa folder or hub id), or a transformers CLAP folder or hub id.
        Raises ValueError naming what is missing."""
        if Path(name).suffix in (".pt", ".pth", ".safetensors"):
            return cls.from_laion(name, tokenizer, device)
        return cls.from_transformers(name, device)

    @classmethod
    def from_transformers(cls, name: str | Path, device: str = "cpu"):
        """A transformers ClapModel with its own processor from a folder or hub id."""
        from transformers import ClapModel, ClapProcessor

        from ..models.weights import resolve_folder, weight_file

        folder = resolve_folder(name)
        try:
            model = ClapModel.from_pretrained(folder, local_files_only=True).eval().to(device)
            processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        except OSError as error:
            raise ValueError(f"{name}: holds no CLAP that transformers can read ({error})") from error
        front_end = processor.feature_extractor
        digest = content_digest(weight_file(folder, (None,)).read_bytes(), front_end.to_json_string())
        hear = _hearing(model, front_end, lambda wav: wav)
        read = _reading(model, processor.tokenizer)
        return cls(hear, read, str(name), front_end.sampling_rate, digest, _cut_and_padded(front_end))

    @classmethod
    def from_laion(cls, file: str | Path, tokenizer: str | None, device: str = "cpu"):
        """LAION's own checkpoint file; `tokenizer` None: it can hear but not read."""
        from .laion_clap import load_laion, quantize_int16

        model, front_end, data = load_laion(file)
        words = None
        if tokenizer is not None:
            from transformers import AutoTokenizer

            words = AutoTokenizer.from_pretrained(tokenizer)
        hear = _hearing(model.to(device), front_end, quantize_int16)
        read = [] if words is None else [str(sorted(words.get_vocab().items()))]
        digest = content_digest(data, front_end.to_json_string(), *read)
        name = f"laion:{Path(file).stem}"
        return cls(hear, _reading(model, words), name, 48000, digest, _cut_and_padded(front_end))


def _cut_and_padded(front_end) -> str:
    """How a transformers CLAP front end brings clips to one length, for the card."""
    return f"{front_end.truncation} to {front_end.nb_max_samples / front_end.sampling_rate:g} s, {front_end.padding}"


class ZeroShotTagger:
    """A CLAP as a tagger: class probabilities = softmax of scaled cosines with the 521 AudioSet names (Radford et al. 2021).

    The tagger of last resort for KL, inception score and hits where no trained one is installed; its scores carry its name.
    """

    def __init__(self, clap: ClapScorer, classes: Sequence[str] | None = None, scale: float = 20.0) -> None:
        self.clap, self.scale = clap, scale
        self.classes = CLASSES.read_text(encoding="utf-8").splitlines() if classes is None else list(classes)
        self.name, self.sample_rate = f"{clap.name} zero-shot", clap.sample_rate
        self.digest = content_digest(clap.digest, f"softmax {scale:g}", *self.classes)
        self.words = clap.text(self.classes)

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        heard = self.clap.features(wavs)["embedding"]
        logits = self.scale * heard @ self.words.T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"embedding": heard, "probabilities": odds / odds.sum(axis=1, keepdims=True)}

    def class_numbers(self, labels: Sequence[str]) -> list[int]:
        """Class numbers of AudioSet display names. Raises ValueError naming the unknown ones."""
        unknown = sorted(set(labels) - set(self.classes))
        if unknown:
            raise ValueError(f"not among the tagger's classes: {', '.join(unknown)}")
        return [self.classes.index(label) for label in labels]


def _hearing(model, front_end, prepare: Callable[[torch.Tensor], torch.Tensor]) -> Hear:
    @torch.inference_mode()
    def hear(wavs: Sequence[np.ndarray]) -> np.ndarray:
        """One clip at a time: a fusing front end draws numbers for the whole batch, and each clip must not depend on
        its neighbours. Clips over ten seconds are cut at random; the seed is the same for each of them."""
        found = []
        for wav in wavs:
            wav = prepare(torch.from_numpy(np.ascontiguousarray(wav))).numpy()
            state = np.random.get_state()
            np.random.seed(0)
            inputs = front_end(wav, sampling_rate=front_end.sampling_rate, return_tensors="pt")
            np.random.set_state(state)
            found.append(model.get_audio_features(**inputs.to(model.device)).pooler_output.float().cpu())
        return torch.cat(found).numpy()

    return hear


def _reading(model, tokenizer) -> Read:
    @torch.inference_mode()
    def read(texts: Sequence[str]) -> np.ndarray:
        if tokenizer is None:
            raise ValueError(
                "this CLAP checkpoint holds no tokenizer: name one (--tokenizer, a RoBERTa folder or hub id)"
            )
        found = []
        for start in range(0, len(texts), 64):
            words = tokenizer(
                list(texts[start : start + 64]), padding=True, truncation=True, max_length=77, return_tensors="pt"
            )
            words = {key: words[key].to(model.device) for key in ("input_ids", "attention_mask")}
            found.append(model.get_text_features(**words).pooler_output.float().cpu())
        return torch.cat(found).numpy()

    return read
