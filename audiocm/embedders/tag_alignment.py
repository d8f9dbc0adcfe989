"""Tag alignment: agreement of a tagger's class names with the prompt, a text-audio metric that needs no CLAP."""

from collections.abc import Sequence

import numpy as np

from ..files import content_digest
from ..models.text_encoder import BUNDLED_ENCODER, INT8_FILE, TextConditioner


class SentenceEncoder:
    """Sentence embeddings of the bundled text encoder, all-MiniLM-L6-v2 in int8: unit vectors [text, 384] of texts."""

    name = "all-MiniLM-L6-v2"

    def __init__(self, batch: int = 64) -> None:
        self._conditioner, self._batch = TextConditioner.from_pretrained(max_tokens=64), batch
        self.digest = content_digest((BUNDLED_ENCODER / INT8_FILE).read_bytes())

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns unit vectors, float32 [text, 384]."""
        parts = [texts[start : start + self._batch] for start in range(0, len(texts), self._batch)]
        return np.concatenate([self._conditioner(part).pooled.numpy() for part in parts])


class TagAlignment:
    """Cosine of the prompt's sentence embedding with the probability-weighted embeddings of a tagger's class names.

    `encoder` maps texts to unit vectors [text, dim]. The metric shares no training with any generator or CLAP."""

    def __init__(self, encoder: SentenceEncoder, classes: Sequence[str]) -> None:
        self.encoder, self.class_embeddings = encoder, encoder(list(classes))
        self.name = f"tag-alignment({encoder.name})"

    def embed_tags(self, probabilities: np.ndarray) -> np.ndarray:
        """Maps class probabilities [clip, class] to unit vectors [clip, dim] of the sentence space."""
        vectors = np.asarray(probabilities, dtype=np.float64) @ self.class_embeddings
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def __call__(self, probabilities: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Returns the cosine of each clip with its prompt, [clip]."""
        return (self.embed_tags(probabilities) * self.encoder(list(prompts))).sum(axis=1)
