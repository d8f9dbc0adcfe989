"""The embedders that published numbers were made with, from a user's own weight file (none is bundled).

`Vggish(file)`: the torchvggish weights ("vggish-10086976.pth"); FAD proper is the Fréchet distance of its frames.
`Panns(file)`: Cnn14 ("Cnn14_16k_mAP=0.438.pth" or "Cnn14_mAP=0.431.pth"); FD, KL and IS of the text-to-audio papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest
from .checkpoints import load_strictly, power_frames, read_weights


class _ConvBlock(nn.Module):
    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class _Cnn14(nn.Module):
    """PANNs Cnn14 (Kong et al. 2020) from log-mel [clip, frame, 64] to (2048-d embedding, 527 logits)."""

    def __init__(self, classes: int = 527) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(64)
        widths = [1, 64, 128, 256, 512, 1024, 2048]
        for k in range(1, 7):
            setattr(self, f"conv_block{k}", _ConvBlock(widths[k - 1], widths[k]))
        self.fc1, self.fc_audioset = nn.Linear(2048, 2048), nn.Linear(2048, classes)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        x = self.bn0(log_mel.unsqueeze(1).transpose(1, 3)).transpose(1, 3)
        for k in range(1, 7):
            x = getattr(self, f"conv_block{k}")(x)
            x = F.avg_pool2d(x, 2) if k < 6 else x
        x = x.mean(dim=3)
        embedding = F.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))
        return embedding, self.fc_audioset(embedding)


FRONT_ENDS = {16000: (512, 160, 50, 8000), 32000: (1024, 320, 50, 14000)}  # n_fft, hop, lowest and highest hertz


class Panns:
    """PANNs Cnn14: "embedding" 2048-d (after its ReLU), "probabilities" (sigmoid) and "distribution" (softmax of the
    logits, what the papers' KL and IS take). `sample_rate` 16000 or 32000 must be the checkpoint's: it is read from
    the front end's weights that the file holds."""

    name = "panns"

    def __init__(self, file: str | Path, device: str = "cpu", batch: int = 8) -> None:
        import librosa

        state, data = read_weights(file)
        key = "spectrogram_extractor.stft.conv_real.weight"
        sizes = {n_fft: rate for rate, (n_fft, *_) in FRONT_ENDS.items()}
        if key not in state or state[key].shape[-1] not in sizes:
            raise ValueError(f"{file}: not a Cnn14 checkpoint for 16 or 32 kHz ({key} is missing or of another size)")
        self.sample_rate = sizes[state[key].shape[-1]]
        self._n_fft, self._hop, low, high = FRONT_ENDS[self.sample_rate]
        classes = len(state["fc_audioset.bias"])
        self._net, self._device, self._batch = load_strictly(_Cnn14(classes), state, file).to(device), device, batch
        self._window = torch.hann_window(self._n_fft)
        filters = librosa.filters.mel(sr=self.sample_rate, n_fft=self._n_fft, n_mels=64, fmin=low, fmax=high)
        self._filters = torch.from_numpy(filters.T.copy())
        self.digest = content_digest(data, f"cnn14 {self.sample_rate}")

    def log_mel(self, wav: np.ndarray) -> Tensor:
        """[sample] → [frame, 64]: 10 log10 of slaney-mel power, floor 1e-10; frames centred, ends reflected."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
        wav = F.pad(wav, (0, max(0, 32 * self._hop - len(wav))))  # five halvings need 32 frames
        wav = F.pad(wav[None], (self._n_fft // 2, self._n_fft // 2), mode="reflect")[0]
        power = power_frames(wav, self._n_fft, self._hop, self._window, False).square()
        return 10 * (power @ self._filters).clamp_min(1e-10).log10()

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        parts = [self.log_mel(wav) for wav in wavs]
        found: list = [None] * len(parts)
        for length in {len(part) for part in parts}:  # clips of one length go together, none is padded
            same = [i for i, part in enumerate(parts) if len(part) == length]
            for start in range(0, len(same), self._batch):
                group = same[start : start + self._batch]
                heard = self._net(torch.stack([parts[i] for i in group]).to(self._device))
                for i, *outputs in zip(group, *(part.cpu() for part in heard), strict=True):
                    found[i] = outputs
        embedding, logits = (torch.stack(column) for column in zip(*found, strict=True))
        return {
            "embedding": embedding.numpy(),
            "probabilities": logits.sigmoid().numpy(),
            "distribution": logits.softmax(dim=1).numpy(),
        }
