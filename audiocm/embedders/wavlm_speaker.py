"""The speaker verifier of SIM-o in zero-shot speech tables: WavLM with an ECAPA-TDNN on top, from a user's weight file.

The file is UniSpeech's "wavlm_large_finetune.pth" (or its base-plus sibling). Chen et al. 2022, Desplanques et al. 2020.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest
from .checkpoints import load_strictly, read_weights
from .fairseq_speech import RECEPTIVE, hidden_states, load_speech_encoder, split_prefix

SCALE = 8  # parts of a Res2 convolution
MIN_FRAMES = 2  # fewer have no variance over time


class _ConvReluNorm(nn.Module):
    """A convolution, ReLU and batch norm, [clip, narrow, frame] to [clip, wide, frame]."""

    def __init__(self, narrow: int, wide: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv1d(narrow, wide, kernel, padding=kernel // 2), nn.BatchNorm1d(wide)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class _Res2(nn.Module):
    """Convolutions of eighths of the channels, each of which also sees the one before; the last eighth passes."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        part, count = width // SCALE, SCALE - 1
        self.convs = nn.ModuleList(nn.Conv1d(part, part, 3, padding=dilation, dilation=dilation) for _ in range(count))
        self.bns = nn.ModuleList(nn.BatchNorm1d(part) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        *parts, last = x.chunk(SCALE, dim=1)
        outputs: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.bns, strict=True):
            outputs.append(norm(F.relu(conv(part + outputs[-1] if outputs else part))))
        return torch.cat((*outputs, last), dim=1)


class _SqueezeExcite(nn.Module):
    """Scales each channel by a gate that two layers compute from the means of all channels over time."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, narrow), nn.Linear(narrow, width)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.linear2(F.relu(self.linear1(x.mean(dim=2)))).sigmoid()[..., None]


class _Block(nn.Module):
    """An SE-Res2 block, [clip, width, frame] to the same, under the file's names."""

    def __init__(self, width: int, narrow: int, dilation: int) -> None:
        super().__init__()
        self.Conv1dReluBn1, self.Conv1dReluBn2 = _ConvReluNorm(width, width, 1), _ConvReluNorm(width, width, 1)
        self.Res2Conv1dReluBn, self.SE_Connect = _Res2(width, dilation), _SqueezeExcite(width, narrow)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.SE_Connect(self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(x))))


class _EcapaTdnn(nn.Module):
    """ECAPA-TDNN with three blocks: features [clip, width, frame] to vectors [clip, dim]."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        channels, width, kernel = state["layer1.conv.weight"].shape
        narrow, wide = len(state["layer2.SE_Connect.linear1.weight"]), len(state["conv.weight"])
        self.layer1 = _ConvReluNorm(width, channels, kernel)
        self.layer2, self.layer3, self.layer4 = (_Block(channels, narrow, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * channels, wide, 1)
        attention = len(state["pooling.linear1.weight"])
        self.pooling = nn.ModuleDict(
            {"linear1": nn.Conv1d(wide, attention, 1), "linear2": nn.Conv1d(attention, wide, 1)}
        )
        self.bn, self.linear = nn.BatchNorm1d(2 * wide), nn.Linear(2 * wide, len(state["linear.weight"]))

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer2(self.layer1(F.instance_norm(x)))
        second = self.layer3(first)
        x = F.relu(self.conv(torch.cat((first, second, self.layer4(second)), dim=1)))
        weight = self.pooling["linear2"](self.pooling["linear1"](x).tanh()).softmax(dim=2)
        mean = (weight * x).sum(dim=2)
        std = ((weight * x.square()).sum(dim=2) - mean.square()).clamp_min(1e-9).sqrt()
        return self.linear(self.bn(torch.cat((mean, std), dim=1)))


class WavlmSpeaker:
    """UniSpeech's speaker embedding at 16 kHz, 256 dimensions; the cosine of two is SIM.

    The weighted sum of all hidden states of WavLM goes into an ECAPA-TDNN. As there, a wav is normalised to mean 0 and
    variance 1 for the large model. Raises ValueError if the file is another network's."""

    name, sample_rate = "wavlm-ecapa", 16000

    def __init__(self, file: str | Path, device: str = "cpu") -> None:
        state, data = read_weights(file)
        speech = split_prefix(state, "feature_extract.model.")
        try:
            self._head = load_strictly(_EcapaTdnn(state), state, file).requires_grad_(False).to(device)
            self._weights = state["feature_weight"].float().softmax(dim=0).to(device)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{file}: not UniSpeech's speaker verifier with WavLM ({error} is missing)") from error
        self._speech, self._device = load_speech_encoder(speech, str(file)).to(device), device
        if len(self._weights) != self._speech.config.num_hidden_layers + 1:
            raise ValueError(f"{file}: has {len(self._weights)} weights of layers, not one more than blocks")
        self._normalises = self._speech.config.do_stable_layer_norm
        self.digest = content_digest(data, "wavlm ecapa-tdnn")

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 256] of wavs [sample], each embedded alone."""
        vectors = []
        for wav in wavs:
            wav = torch.from_numpy(np.ascontiguousarray(wav)).float().to(self._device)
            wav = F.pad(wav, (0, max(0, RECEPTIVE + 320 * (MIN_FRAMES - 1) - len(wav))))
            wav = F.layer_norm(wav, wav.shape) if self._normalises else wav
            states = torch.einsum("l,lbfc->bcf", self._weights, hidden_states(self._speech, wav[None])) + 1e-6
            vectors.append(self._head(states)[0].cpu())
        return {"embedding": torch.stack(vectors).numpy()}
