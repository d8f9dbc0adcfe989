"""CLAP scorers, which embed audio and text in one space, from transformers' or LAION's checkpoints.

A scorer is an `Embedder` with `embed_text`. Scores of different checkpoints are not comparable, so every card names the
checkpoint and its digest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files import content_digest
from ..metrics import Score, mean_score
from ..metrics.similarity import cosine_similarities

CLASSES = Path(__file__).with_name("audioset_classes.txt")
AudioEncoder = Callable[[Sequence[np.ndarray]], np.ndarray]  # waveforms [sample] -> [clip, dim]
TextEncoder = Callable[[Sequence[str]], np.ndarray]  # texts -> [text, dim]


class ClapScorer:
    """A pair of audio and text encoders as an embedder; `clip` describes how the audio encoder cuts and pads clips."""

    def __init__(
        self,
        embed_audio: AudioEncoder,
        embed_text: TextEncoder,
        name: str,
        sample_rate: int,
        digest: str,
        clip: str | None = None,
    ) -> None:
        self.embed_audio, self.embed_text = embed_audio, embed_text
        self.name, self.sample_rate, self.digest, self.clip = name, sample_rate, digest, clip

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, dim] of wavs [sample] at `sample_rate`."""
        return {"embedding": self.embed_audio(wavs)}

    def text_scores(self, audio: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Returns CLAP_T of each clip, [clip]: the cosine of its embedding [clip, dim] with its prompt's, −1 to 1."""
        return cosine_similarities(audio, self.embed_text(prompts))

    def score(self, audio: np.ndarray, prompts: Sequence[str]) -> Score:
        """Computes CLAP_T with its interval. Published values are 100 times this, with negative cosines counted as 0."""
        return mean_score(f"CLAP_T {self.name}", self.text_scores(audio, prompts))

    @classmethod
    def from_pretrained(cls, name: str | Path, tokenizer: str | None = None, device: str = "cpu") -> "ClapScorer":
        """Loads LAION's .pt file (`tokenizer` is a RoBERTa folder or hub id) or a transformers CLAP folder or hub id.

        Raises ValueError naming what is missing."""
        if Path(name).suffix in (".pt", ".pth", ".safetensors"):
            return cls.from_laion(name, tokenizer, device)
        return cls.from_transformers(name, device)

    @classmethod
    def from_transformers(cls, name: str | Path, device: str = "cpu") -> "ClapScorer":
        """Loads a transformers ClapModel with its processor from a folder or hub id."""
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
        embed_audio = _audio_encoder(model, front_end, lambda wav: wav)
        embed_text = _text_encoder(model, processor.tokenizer)
        return cls(embed_audio, embed_text, str(name), front_end.sampling_rate, digest, _describe_clips(front_end))

    @classmethod
    def from_laion(cls, file: str | Path, tokenizer: str | None, device: str = "cpu") -> "ClapScorer":
        """Loads LAION's checkpoint file; without a `tokenizer` it embeds audio only."""
        from .laion_clap import load_laion, quantize_int16

        model, front_end, data = load_laion(file)
        words = None
        if tokenizer is not None:
            from transformers import AutoTokenizer

            words = AutoTokenizer.from_pretrained(tokenizer)
        embed_audio = _audio_encoder(model.to(device), front_end, quantize_int16)
        vocabulary = [] if words is None else [str(sorted(words.get_vocab().items()))]
        digest = content_digest(data, front_end.to_json_string(), *vocabulary)
        name = f"laion:{Path(file).stem}"
        return cls(embed_audio, _text_encoder(model, words), name, 48000, digest, _describe_clips(front_end))


def _describe_clips(front_end: Any) -> str:
    """Describes for the card how a transformers CLAP front end brings clips to one length."""
    return f"{front_end.truncation} to {front_end.nb_max_samples / front_end.sampling_rate:g} s, {front_end.padding}"


class ZeroShotTagger:
    """A CLAP as a zero-shot tagger: class probabilities are the softmax of scaled cosines with class names.

    Radford et al. 2021. The classes are by default the 521 AudioSet names. It serves KL, inception score and hits where no
    trained tagger is installed, and its name is part of their names."""

    def __init__(self, clap: ClapScorer, classes: Sequence[str] | None = None, scale: float = 20.0) -> None:
        self.clap, self.scale = clap, scale
        self.classes = CLASSES.read_text(encoding="utf-8").splitlines() if classes is None else list(classes)
        self.name, self.sample_rate = f"{clap.name} zero-shot", clap.sample_rate
        self.digest = content_digest(clap.digest, f"softmax {scale:g}", *self.classes)
        self._class_embeddings = clap.embed_text(self.classes)

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, dim] and "probabilities" [clip, class] of wavs [sample] at `sample_rate`."""
        embedding = self.clap.features(wavs)["embedding"]
        logits = self.scale * embedding @ self._class_embeddings.T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"embedding": embedding, "probabilities": odds / odds.sum(axis=1, keepdims=True)}

    def class_indices(self, labels: Sequence[str]) -> list[int]:
        """Returns the indices of class names. Raises ValueError naming unknown ones."""
        unknown = sorted(set(labels) - set(self.classes))
        if unknown:
            raise ValueError(f"not among the tagger's classes: {', '.join(unknown)}")
        return [self.classes.index(label) for label in labels]


def _audio_encoder(model: Any, front_end: Any, prepare: Callable[[torch.Tensor], torch.Tensor]) -> AudioEncoder:
    """Wraps a ClapModel's audio tower. Clips are embedded one by one, so that none depends on its neighbours: the front end
    draws random numbers for a whole batch. It cuts clips over 10 s at random, with the same seed for each clip."""

    @torch.inference_mode()
    def embed_audio(wavs: Sequence[np.ndarray]) -> np.ndarray:
        embeddings = []
        for wav in wavs:
            wav = prepare(torch.from_numpy(np.ascontiguousarray(wav))).numpy()
            state = np.random.get_state()
            np.random.seed(0)
            inputs = front_end(wav, sampling_rate=front_end.sampling_rate, return_tensors="pt")
            np.random.set_state(state)
            embeddings.append(model.get_audio_features(**inputs.to(model.device)).pooler_output.float().cpu())
        return torch.cat(embeddings).numpy()

    return embed_audio


def _text_encoder(model: Any, tokenizer: Any) -> TextEncoder:
    """Wraps a ClapModel's text tower."""

    @torch.inference_mode()
    def embed_text(texts: Sequence[str]) -> np.ndarray:
        if tokenizer is None:
            raise ValueError(
                "this CLAP checkpoint has no tokenizer: name one with --tokenizer (a RoBERTa folder or hub id)"
            )
        embeddings = []
        for start in range(0, len(texts), 64):
            words = tokenizer(
                list(texts[start : start + 64]), padding=True, truncation=True, max_length=77, return_tensors="pt"
            )
            words = {key: words[key].to(model.device) for key in ("input_ids", "attention_mask")}
            embeddings.append(model.get_text_features(**words).pooler_output.float().cpu())
        return torch.cat(embeddings).numpy()

    return embed_text
