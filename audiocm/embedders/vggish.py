"""VGGish, the embedder of FAD proper, from a user's weight file: torchvggish's "vggish-10086976.pth"."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest
from .checkpoints import load_strictly, read_weights
from .layers import apply_by_clip, kaldi_mel_filters, split_in_blocks


class _VggishNet(nn.Module):
    """Six 3 × 3 convolutions and three linear layers, [patch, 96, 64] to [patch, 128]. Hershey et al. 2017."""

    def __init__(self) -> None:
        super().__init__()
        layers, narrow = [], 1
        for wide in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU()] if wide else [nn.MaxPool2d(2)]
            narrow = wide or narrow
        self.features = nn.Sequential(*layers)
        first, second, third = nn.Linear(512 * 4 * 6, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 128)
        self.embeddings = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, patches: Tensor) -> Tensor:
        return self.embeddings(self.features(patches.unsqueeze(1)).permute(0, 2, 3, 1).flatten(1))


class Vggish:
    """VGGish at 16 kHz without its last ReLU, PCA and quantization, as FAD is computed.

    "frames" [patch, 128] of 0.96 s each are what FAD is computed from; "embedding" is their mean."""

    name, sample_rate = "vggish", 16000

    def __init__(self, file: str | Path, device: str = "cpu", batch: int = 32) -> None:
        state, data = read_weights(file)
        self._net, self._device, self._batch = load_strictly(_VggishNet(), state, file).to(device), device, batch
        self._window = torch.hann_window(400, dtype=torch.float64)
        self._filters = kaldi_mel_filters(64, 512, 16000, 125.0, 7500.0).double()
        self.digest = content_digest(data, "vggish 400/160/512 log+.01 96/96")

    def patches(self, wav: np.ndarray) -> Tensor:
        """Computes log-mel patches [patch, 96, 64] of wav [sample]; a shorter clip is padded with silence to one patch.

        The triangles are linear in HTK mel, not in Hz, as in TensorFlow's AudioSet models and in Kaldi. Equal to
        torchvggish's to 1e-4."""
        wav = torch.from_numpy(np.asarray(wav, dtype=np.float64))
        wav = F.pad(wav, (0, max(0, 15600 - len(wav))))
        frames = wav.unfold(0, 400, 160) * self._window
        log_mel = (torch.fft.rfft(frames, 512).abs() @ self._filters + 0.01).log()
        return split_in_blocks(log_mel, 96, 96, float(np.log(0.01))).float()

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 128] and "frames", one array [patch, 128] per clip, of wavs [sample] at 16 kHz."""
        parts = [self.patches(wav) for wav in wavs]
        frames = [part.numpy() for part in apply_by_clip(self._net, parts, self._batch, self._device)]
        ragged = np.empty(len(frames), dtype=object)
        ragged[:] = frames
        return {"embedding": np.stack([f.mean(axis=0) for f in frames]), "frames": ragged}
