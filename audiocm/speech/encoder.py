"""Phonemes -> Condition: encoder, durations, and the frame-level prior that CoMoSpeech (Ye et al. 2023) centres its noise on.

Everything behind the Condition (denoiser, codec, methods, trainer, solvers) is that of text-to-audio. Times are in latent
frames and need not be whole; pitch comes in `SUBFRAMES` parts of a frame, the rate of the codec's mel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..codec.vae import ConvBlock
from ..diffusion.denoiser import Condition
from ..models.weights import StoredWeights
from .alignment import distribute_frames, whole_frames
from .phonemes import SYMBOLS, encode

SUBFRAMES = 4  # of a latent frame: about 10.7 ms each
PITCH_CENTRE = 200.0  # Hz; the contour is told in octaves from here


@dataclass
class SpeechBatch:
    """Lines to speak; rows are utterances. What is None is predicted, or left free (pitch)."""

    symbols: Tensor  # int64 [batch, token]
    stress: Tensor  # int64 [batch, token]: 0, 1, 2
    token_mask: Tensor  # bool [batch, token]
    voice: Tensor  # int64 [batch]
    mask: Tensor | None = None  # bool [batch, frame]
    durations: Tensor | None = None  # float [batch, token], frames; nan rows: unknown
    pitch: Tensor | None = None  # float [batch, 3 * SUBFRAMES, frame], see `contour`
    null: Tensor | None = None  # bool [batch]: the denoiser is to do without

    def to(self, device: torch.device | str) -> SpeechBatch:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return SpeechBatch(**{name: None if value is None else value.to(device) for name, value in values.items()})


def phoneme_batch(phonemes: Sequence[str], voice: int | Sequence[int] = 0, symbols: str = SYMBOLS) -> SpeechBatch:
    """Phoneme lines as one padded batch."""
    coded = [encode(line, symbols) for line in phonemes]
    longest = max(len(numbers) for numbers, _ in coded)
    table = torch.zeros(3, len(coded), longest, dtype=torch.long)
    for i, (numbers, stress) in enumerate(coded):
        table[0, i, : len(numbers)] = torch.tensor(numbers)
        table[1, i, : len(stress)] = torch.tensor(stress)
        table[2, i, : len(numbers)] = 1
    voices = torch.as_tensor([voice] * len(coded) if isinstance(voice, int) else list(voice))
    return SpeechBatch(table[0], table[1], table[2].bool(), voices)


def pitch_features(hertz: Tensor) -> Tensor:
    """F0 [batch, frame * SUBFRAMES] in Hz, 0 where unvoiced, nan where free -> what the encoder reads [batch, 12, frame].

    For each part of a frame: octaves from PITCH_CENTRE (0 where unvoiced), whether voiced, whether known.
    """
    known = hertz.isfinite()
    voiced = known & (hertz > 0)
    octaves = torch.where(voiced, hertz, PITCH_CENTRE).div(PITCH_CENTRE).log2()
    rows = torch.stack([octaves, voiced.to(octaves.dtype), known.to(octaves.dtype)], 1)
    return rows.unflatten(2, (-1, SUBFRAMES)).permute(0, 1, 3, 2).flatten(1, 2)


class PhonemeBlock(nn.Module):
    """A ConvNeXt block for what is near, attention for the whole line. Padding stays 0 and changes nothing."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.near = ConvBlock(width)
        self.norm = nn.LayerNorm(width)
        self.far = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [batch, width, token], mask bool [batch, token]."""
        x = self.near(x) * mask[:, None]
        h = self.norm(x.transpose(1, 2))
        return (x + self.far(h, h, h, key_padding_mask=~mask, need_weights=False)[0].transpose(1, 2)) * mask[:, None]


class ConvStack(nn.Module):
    """ConvNeXt blocks with padding kept at 0, then a layer norm and a linear map: [batch, width, place] -> [.., out, ..]."""

    def __init__(self, width: int, depth: int, out: int):
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(width) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, out)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * mask[:, None]
        for block in self.blocks:
            x = block(x) * mask[:, None]
        return self.out(self.norm(x.transpose(1, 2))).transpose(1, 2) * mask[:, None]


class SpeechEncoder(StoredWeights, ModelMixin, ConfigMixin):
    """Spoken -> token states, durations, prior. `voices`: their names; `follows_pitch`: whether contours were trained on."""

    @register_to_config
    def __init__(
        self,
        channels: int = 64,
        width: int = 256,
        depth: int = 5,
        heads: int = 4,
        frame_depth: int = 4,
        voices: tuple[str, ...] = ("default",),
        symbols: str = SYMBOLS,
        follows_pitch: bool = False,
        mel_bins: int = 100,
    ):
        super().__init__()
        self.symbol = nn.Embedding(len(symbols), width)
        self.stress = nn.Embedding(3, width)
        self.voice = nn.Embedding(len(voices), width)
        self.pitch = nn.Conv1d(3 * SUBFRAMES, width, 1, bias=False)
        self.blocks = nn.ModuleList(PhonemeBlock(width, heads) for _ in range(depth))
        self.duration = ConvStack(width, 2, 1)
        self.prior = ConvStack(width, frame_depth, channels)
        self.template = nn.Linear(width, mel_bins)  # the mel that a phoneme has on average: what alignment goes by
        for table in (self.symbol, self.stress, self.voice):
            nn.init.normal_(table.weight, std=width**-0.5)

    def states(self, spoken: SpeechBatch) -> Tensor:
        """[batch, width, token], 0 at padding."""
        x = self.symbol(spoken.symbols) + self.stress(spoken.stress) + self.voice(spoken.voice)[:, None]
        x = x.transpose(1, 2) * spoken.token_mask[:, None]
        for block in self.blocks:
            x = block(x, spoken.token_mask)
        return x

    def log_durations(self, states: Tensor, spoken: SpeechBatch) -> Tensor:
        """ln of the expected frames of each token [batch, token]; its gradient does not reach the states (Glow-TTS)."""
        return self.duration(states.detach(), spoken.token_mask)[:, 0].clamp(-4.0, 5.0)

    def predicted(self, states: Tensor, spoken: SpeechBatch, speed: float | Tensor = 1.0) -> Tensor:
        """Durations [batch, token] in frames at `speed`, each row a whole number in all."""
        return whole_frames(self.log_durations(states, spoken).exp() * spoken.token_mask / speed)[0]

    def condition(self, states: Tensor, spoken: SpeechBatch, durations: Tensor, frames: int) -> Condition:
        """What the denoiser is told, `frames` long: token states, voice vector, mask and prior."""
        total = durations.sum(1).round().long()
        mask = torch.arange(frames, device=states.device) < total[:, None] if spoken.mask is None else spoken.mask
        h = torch.einsum("bwn,bfn->bwf", states, distribute_frames(durations, frames).to(states.dtype))
        if spoken.pitch is not None:
            h = h + self.pitch(F.pad(spoken.pitch, (0, frames - spoken.pitch.shape[2])))
        prior = self.prior(h, mask).float()
        voice = self.voice(spoken.voice)
        return Condition(states.transpose(1, 2), spoken.token_mask, voice, mask, prior, spoken.null)

    def forward(self, spoken: SpeechBatch, speed: float | Tensor = 1.0) -> tuple[Condition, Tensor]:
        """Condition and durations [batch, token]; predicted where `spoken` has none. Reads the longest row's frame count."""
        states = self.states(spoken)
        durations = self.predicted(states, spoken, speed) if spoken.durations is None else spoken.durations
        return self.condition(states, spoken, durations, int(durations.sum(1).round().max())), durations
