"""PANNs Cnn14, the embedder of the text-to-audio papers' FD, KL and IS, from a user's weight file.

The files are "Cnn14_16k_mAP=0.438.pth" and "Cnn14_mAP=0.431.pth" (32 kHz).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from ..files import content_digest
from .checkpoints import load_strictly, read_weights
from .layers import DoubleConvBlock


class _Cnn14(nn.Module):
    """PANNs Cnn14: log-mel [clip, frame, 64] to embedding [clip, 2048] and logits [clip, 527]. Kong et al. 2020."""

    def __init__(self, classes: int = 527) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(64)
        widths = [1, 64, 128, 256, 512, 1024, 2048]
        for k in range(1, 7):
            setattr(self, f"conv_block{k}", DoubleConvBlock(widths[k - 1], widths[k]))
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
    """PANNs Cnn14 at 16 or 32 kHz, read from the front end's weights in the checkpoint file."""

    name = "panns"

    def __init__(self, file: str | Path, device: str = "cpu", batch: int = 8) -> None:
        state, data = read_weights(file)
        key = "spectrogram_extractor.stft.conv_real.weight"
        sizes = {n_fft: rate for rate, (n_fft, *_) in FRONT_ENDS.items()}
        if key not in state or state[key].ndim < 1 or state[key].shape[-1] not in sizes:
            raise ValueError(f"{file}: not a Cnn14 checkpoint for 16 or 32 kHz ({key} is missing or of another size)")
        self.sample_rate = sizes[state[key].shape[-1]]
        n_fft, self._hop, low, high = FRONT_ENDS[self.sample_rate]
        slaney = {"norm": "slaney", "mel_scale": "slaney"}
        mel = MelSpectrogram(self.sample_rate, n_fft, hop_length=self._hop, f_min=low, f_max=high, n_mels=64, **slaney)
        self._decibels = nn.Sequential(mel, AmplitudeToDB("power")).to(device)
        classes = state["fc_audioset.bias"].numel() if "fc_audioset.bias" in state else 0
        self._net, self._device, self._batch = load_strictly(_Cnn14(classes), state, file).to(device), device, batch
        self.digest = content_digest(data, f"cnn14 {self.sample_rate}")

    def log_mel(self, wav: np.ndarray) -> Tensor:
        """Computes 10 log10 of Slaney-mel power [frame, 64] of wav [sample], floor 1e-10; frames centred, ends
        reflected. Equal to torchlibrosa's to 1e-3 dB."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float().to(self._device)
        return self._decibels(F.pad(wav, (0, max(0, 32 * self._hop - len(wav))))).T  # five poolings by 2 need 32 frames

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 2048] after its ReLU, "probabilities" (sigmoid) and "distribution" (softmax)
        [clip, 527].

        The papers' KL and IS take the softmax."""
        parts = [self.log_mel(wav) for wav in wavs]
        embedding, logits = (torch.empty(len(parts), size) for size in (2048, self._net.fc_audioset.out_features))
        for length in {len(part) for part in parts}:  # clips of equal length form batches, so none is padded
            same = torch.tensor([i for i, part in enumerate(parts) if len(part) == length])
            for rows in same.split(self._batch):
                outputs = self._net(torch.stack([parts[i] for i in rows]))
                embedding[rows], logits[rows] = (output.cpu() for output in outputs)
        features = {"embedding": embedding, "probabilities": logits.sigmoid(), "distribution": logits.softmax(dim=1)}
        return {key: value.numpy() for key, value in features.items()}
