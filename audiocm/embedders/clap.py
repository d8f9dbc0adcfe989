"""CLAP scorers, which embed audio and text in one space, from transformers' or LAION's checkpoints.

A scorer is an `Embedder` with `embed_text`. Scores of different checkpoints are not comparable, so every card names the
checkpoint and its digest.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from ..errors import explain_import_error
from ..files import content_digest
from ..metrics.similarity import cosine_similarities
from ..models.folders import SAFE, check_folder, weight_file
from ..models.text_encoder import check_vocabulary, load_tokenizer
from ..models.weights import resolve_folder
from .protocol import Tagger

CLASSES = Path(__file__).with_name("audioset_classes.txt")
WEIGHT_FILES = (".pt", ".pth", ".safetensors")  # of LAION
FUSION = "is_longer by length"  # part of digests
AudioEncoder = Callable[[Sequence[np.ndarray]], np.ndarray]  # waveforms [sample] -> [clip, dim]
TextEncoder = Callable[[Sequence[str]], np.ndarray]  # texts -> [text, dim]


@dataclass(eq=False)
class ClapScorer:
    """A pair of audio and text encoders as an embedder; `clip` describes how the audio encoder cuts and pads clips."""

    embed_audio: AudioEncoder
    embed_text: TextEncoder
    name: str
    sample_rate: int
    digest: str
    clip: str | None = None

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, dim] of wavs [sample] at `sample_rate`."""
        return {"embedding": self.embed_audio(wavs)}

    def text_scores(self, audio: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Returns CLAP_T of each clip, [clip]: the cosine of its embedding [clip, dim] with its prompt's, −1 to 1.

        Published values are 100 times the mean, with negative cosines counted as 0."""
        return cosine_similarities(audio, self.embed_text(prompts))

    @classmethod
    def from_pretrained(cls, name: str | Path, tokenizer: str | None = None, device: str = "cpu") -> "ClapScorer":
        """Loads LAION's .pt file (`tokenizer` is a RoBERTa folder or hub id) or a transformers CLAP folder or hub id.

        Raises ValueError naming what is missing."""
        if Path(name).suffix in WEIGHT_FILES:
            return cls.from_laion(name, tokenizer, device)
        return cls.from_transformers(name, device)

    @classmethod
    def from_transformers(cls, name: str | Path, device: str = "cpu") -> "ClapScorer":
        """Loads a transformers ClapModel with its front end and tokenizer from a folder or hub id.

        Raises ValueError if a file is missing or damaged, or the folder asks for code to run."""
        from transformers import ClapFeatureExtractor, ClapModel

        folder = resolve_folder(name)
        front_ends = ("preprocessor_config.json", "processor_config.json")
        for names in (("config.json",), front_ends):
            if not any((folder / one).is_file() for one in names):
                raise ValueError(f"{name}: holds no CLAP that transformers can read ({names[0]} is missing)")
        check_folder(folder)
        file = weight_file(folder, (None,), stems=("model",))
        words = load_tokenizer(folder)
        try:
            model = ClapModel.from_pretrained(folder, **SAFE).eval().to(device)
            front_end = ClapFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except ImportError as error:
            raise explain_import_error(error) from error
        except Exception as error:  # transformers raises many types for values that do not fit
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{name}: holds no CLAP that transformers can read ({reason})") from error
        _check_words(words, model.config.text_config.vocab_size, name)
        digest = content_digest(file.read_bytes(), front_end.to_json_string(), FUSION)
        return cls._of_model(model, front_end, words, str(name), digest)

    @classmethod
    def from_laion(cls, file: str | Path, tokenizer: str | None, device: str = "cpu") -> "ClapScorer":
        """Loads LAION's checkpoint file; without a `tokenizer` it embeds audio only."""
        from .laion_clap import load_laion, quantize_int16

        model, front_end, data = load_laion(file)
        words, vocabulary = load_words(tokenizer, model.config.text_config.vocab_size)
        digest = content_digest(data, front_end.to_json_string(), FUSION, "layer_norm_eps 1e-5", *vocabulary)
        return cls._of_model(model.to(device), front_end, words, f"laion:{Path(file).stem}", digest, quantize_int16)

    @classmethod
    def _of_model(cls, model, front_end, tokenizer, name: str, digest: str, prepare=lambda wav: wav) -> "ClapScorer":
        """Wraps a transformers ClapModel; `prepare` is applied to each waveform before the front end."""
        rate = front_end.sampling_rate
        clip = f"{front_end.truncation} to {front_end.nb_max_samples / rate:g} s, {front_end.padding}"
        embed_audio, embed_text = _audio_encoder(model, front_end, prepare), _text_encoder(model, tokenizer)
        return cls(embed_audio, embed_text, name, rate, digest, clip)


class ZeroShotTagger(Tagger):
    """A CLAP as a zero-shot tagger: class probabilities are the softmax of scaled cosines with class names.

    Radford et al. 2021. The classes are by default the 521 AudioSet names. It serves KL, inception score and hits where
    no trained tagger is installed, and its name is part of their names."""

    def __init__(self, clap: ClapScorer, classes: Sequence[str] | None = None, scale: float = 20.0) -> None:
        self.clap, self.scale = clap, scale
        self.classes = CLASSES.read_text(encoding="utf-8").splitlines() if classes is None else list(classes)
        self.name, self.sample_rate = f"{clap.name} zero-shot", clap.sample_rate
        self.digest = content_digest(clap.digest, f"softmax {scale:g}", *self.classes)
        embeddings = clap.embed_text(self.classes)
        self._class_embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, dim] and "probabilities" [clip, class] of wavs [sample] at `sample_rate`."""
        embedding = self.clap.features(wavs)["embedding"]
        unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        probabilities = softmax(self.scale * unit @ self._class_embeddings.T, axis=1)
        return {"embedding": embedding, "probabilities": probabilities}


def load_words(name: str | Path | None, rows: int) -> tuple[Any, list[str]]:
    """Loads the tokenizer of a text tower with `rows` embeddings from a folder or hub id, and its vocabulary as a text
    for digests; None gives (None, []).

    Raises ValueError if there is none or if its vocabulary has another size: transformers makes one of five special
    tokens where the vocabulary's files are missing, and every text would have the same score."""
    if name is None:
        return None, []
    words = load_tokenizer(resolve_folder(name))
    _check_words(words, rows, name)
    return words, [str(sorted(words.get_vocab().items()))]


def _check_words(tokenizer: Any, rows: int, name: str | Path) -> None:
    """Raises ValueError if a tokenizer is not that of a text tower with `rows` embeddings, padding of up to 127 rows
    apart."""
    check_vocabulary(tokenizer, rows)
    if not rows - 128 < len(tokenizer) <= rows:
        raise ValueError(
            f"{name}: its tokenizer has {len(tokenizer)} tokens and the text tower {rows}: name a folder with the files "
            "of its vocabulary (of RoBERTa for LAION's: vocab.json and merges.txt, or tokenizer.json)"
        )


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seeds numpy's global generator for a block, for front ends that draw from it, and restores its state after."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _audio_encoder(model: Any, front_end: Any, prepare: Callable[[torch.Tensor], torch.Tensor]) -> AudioEncoder:
    """Wraps a ClapModel's audio tower. Clips are embedded one by one, so that none depends on its neighbours: the front
    end draws random numbers for a whole batch. It cuts clips over 10 s at random, with the same seed for each clip.
    Towers with fusion take crops of the clips that are longer, as LAION's do; the front end of transformers calls one
    clip of each batch longer whatever its length."""
    hop = front_end.hop_length

    @torch.inference_mode()
    def embed_audio(wavs: Sequence[np.ndarray]) -> np.ndarray:
        embeddings = []
        for wav in wavs:
            wav = prepare(torch.from_numpy(np.ascontiguousarray(wav))).numpy()
            with numpy_seed(0):
                inputs = front_end(wav, sampling_rate=front_end.sampling_rate, return_tensors="pt")
            inputs["is_longer"] = torch.tensor([[len(wav) // hop > front_end.nb_max_samples // hop]])
            embeddings.append(model.get_audio_features(**inputs.to(model.device)).pooler_output.float().cpu())
        return torch.cat(embeddings).numpy()

    return embed_audio


def _text_encoder(model: Any, tokenizer: Any) -> TextEncoder:
    @torch.inference_mode()
    def embed_text(texts: Sequence[str]) -> np.ndarray:
        if tokenizer is None:
            raise ValueError("this CLAP has no tokenizer: name one with --tokenizer (a RoBERTa folder or hub id)")
        options = {"padding": True, "truncation": True, "max_length": 77, "return_tensors": "pt"}
        embeddings = []
        for start in range(0, len(texts), 64):
            words = tokenizer(list(texts[start : start + 64]), **options)
            words = {key: words[key].to(model.device) for key in ("input_ids", "attention_mask")}
            embeddings.append(model.get_text_features(**words).pooler_output.float().cpu())
        return torch.cat(embeddings).numpy()

    return embed_text
