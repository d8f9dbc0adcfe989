"""Speech encoder: phonemes -> durations and the frame-level prior that CoMoSpeech (Ye et al. 2023) centres noise on.

Its output is a Condition, so denoiser, codec, methods, trainer and solvers are those of text-to-audio. Durations are in
latent frames and need not be whole; pitch has `SUBFRAMES` values a latent frame, the frame rate of the codec's mel.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..codec.vae_net import ConvBlock
from ..diffusion.denoiser import Condition
from ..models.configured import Configured, register_to_config
from ..models.weights import StoredWeights
from ..schema import Rule, flag, list_of, text, whole
from ..text.alphabet import SYMBOLS
from .alignment import distribute_frames, whole_frames
from .phonemes import encode_phonemes

SUBFRAMES = 4  # of a latent frame: about 10.7 ms each
PITCH_CENTRE = 200.0  # Hz; pitch features are in octaves from here


@dataclass
class SpeechBatch:
    """Phoneme lines, one utterance a row. Durations that are None are predicted, pitch that is None is left free."""

    symbols: Tensor  # int64 [batch, token]
    stress: Tensor  # int64 [batch, token]: 0, 1, 2
    token_mask: Tensor  # bool [batch, token]
    voice: Tensor  # int64 [batch]
    mask: Tensor | None = None  # bool [batch, frame]
    durations: Tensor | None = None  # float [batch, token] in frames; rows of nan: unknown
    pitch: Tensor | None = None  # float [batch, 3 * SUBFRAMES, frame], see `pitch_features`
    null: Tensor | None = None  # bool [batch]: the denoiser's condition is dropped
    kept: Tensor | None = None  # float [batch, channel, frame]: latents of a recording that is edited
    kept_mask: Tensor | None = None  # bool [batch, frame]: the frames of it that are given

    def to(self, device: torch.device | str) -> "SpeechBatch":
        """Returns the batch on a device."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(self, **{name: value.to(device) for name, value in values.items()})


def phoneme_batch(lines: Sequence[str], voice: int | Sequence[int] = 0, symbols: str = SYMBOLS) -> SpeechBatch:
    """Encodes phoneme lines as one padded batch; `voice` is one number for all lines or one for each."""
    numbers, stress = zip(*(encode_phonemes(line, symbols) for line in lines), strict=True)
    tables = [pad_sequence([torch.tensor(row) for row in rows], batch_first=True) for rows in (numbers, stress)]
    lengths = torch.tensor([len(row) for row in numbers])
    voices = torch.as_tensor([voice] * len(numbers) if isinstance(voice, int) else list(voice))
    return SpeechBatch(*tables, torch.arange(int(lengths.max())) < lengths[:, None], voices)


def pitch_features(hertz: Tensor) -> Tensor:
    """Converts F0 [batch, frame * SUBFRAMES] in Hz, 0 unvoiced, nan free, to features [batch, 3 * SUBFRAMES, frame].

    Those of a subframe are octaves from PITCH_CENTRE (0 if unvoiced), whether it is voiced, and whether F0 is given."""
    known = hertz.isfinite()
    voiced = known & (hertz > 0)
    octaves = torch.where(voiced, hertz, PITCH_CENTRE).div(PITCH_CENTRE).log2()
    rows = torch.stack([octaves, voiced.to(octaves.dtype), known.to(octaves.dtype)], 1)
    return rows.unflatten(2, (-1, SUBFRAMES)).permute(0, 1, 3, 2).flatten(1, 2)


class PhonemeBlock(nn.Module):
    """A ConvNeXt block for local context, then self-attention over the line. Padding stays 0 and has no influence."""

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
    """ConvNeXt blocks, layer norm and a linear map: [batch, width, place] -> [batch, out, place]. Padding stays 0."""

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


class SpeechEncoderNet(StoredWeights, Configured, nn.Module):
    """Encodes a `SpeechBatch` to token states, durations and prior.

    `follows_pitch`: it was trained with pitch. `shares_states`: token states are the same for all voices, whose vector is
    added to them for durations and prior; otherwise the voice's vector is added to the symbols."""

    stored_name = "SpeechEncoder"
    config_rules: ClassVar[dict[str, Rule]] = {
        "channels": whole(1, 4096),
        "width": whole(1, 4096),
        **dict.fromkeys(("depth", "frame_depth"), whole(0, 64)),
        "heads": whole(1, 128),
        "voices": list_of(text(longest=100), 1, 100_000),
        "symbols": text(longest=10_000),
        "follows_pitch": flag,
        "shares_states": flag,
        "mel_bins": whole(1, 512),
    }

    @register_to_config
    def __init__(
        self,
        channels: int = 64,
        width: int = 256,
        depth: int = 5,
        heads: int = 4,
        frame_depth: int = 4,
        voices: tuple[str, ...] = ("default",),  # their names
        symbols: str = SYMBOLS,
        follows_pitch: bool = False,
        mel_bins: int = 100,
        shares_states: bool = False,
    ):
        super().__init__()
        self.shares_states = shares_states
        self.symbol = nn.Embedding(len(symbols), width)
        self.stress = nn.Embedding(3, width)
        self.voice = nn.Embedding(len(voices), width)
        self.pitch = nn.Conv1d(3 * SUBFRAMES, width, 1, bias=False)
        self.blocks = nn.ModuleList(PhonemeBlock(width, heads) for _ in range(depth))
        self.duration = ConvStack(width, 2, 1)
        self.prior = ConvStack(width, frame_depth, channels)
        self.template = nn.Linear(width, mel_bins)  # a token's average mel, used by the alignment search of training
        for table in (self.symbol, self.stress, self.voice):
            nn.init.normal_(table.weight, std=width**-0.5)

    def states(self, speech: SpeechBatch) -> Tensor:
        """Returns the token states [batch, width, token], 0 at padding."""
        x = self.symbol(speech.symbols) + self.stress(speech.stress)
        if not self.shares_states:
            x = x + self.voice(speech.voice)[:, None]
        x = x.transpose(1, 2) * speech.token_mask[:, None]
        for block in self.blocks:
            x = block(x, speech.token_mask)
        return x

    def _voiced(self, h: Tensor, speech: SpeechBatch) -> Tensor:
        """Returns shared states, [batch, width, place], with the vector of each row's voice; other states as they are."""
        return h + self.voice(speech.voice)[..., None] if self.shares_states else h

    def log_durations(self, states: Tensor, speech: SpeechBatch) -> Tensor:
        """Predicts ln of each token's mean frames [batch, token]; no gradient reaches the states (as in Glow-TTS)."""
        states = self._voiced(states.detach(), speech)
        return self.duration(states, speech.token_mask)[:, 0].float().clamp(-4.0, 5.0)

    def predict_durations(self, states: Tensor, speech: SpeechBatch, speed: float | Tensor = 1.0) -> Tensor:
        """Predicts durations [batch, token] in frames at `speed`; the sum of each row is a whole number."""
        return whole_frames(self.log_durations(states, speech).exp() * speech.token_mask / speed)[0]

    def condition(self, states: Tensor, speech: SpeechBatch, durations: Tensor, frames: int) -> Condition:
        """Returns the denoiser's Condition of so many frames: token states, voice vector, mask, prior, and what is
        kept."""
        total = durations.sum(1).round().long()
        mask = torch.arange(frames, device=states.device) < total[:, None] if speech.mask is None else speech.mask
        h = torch.einsum("bwn,bfn->bwf", states, distribute_frames(durations, frames).to(states.dtype))
        h = self._voiced(h, speech)
        if speech.pitch is not None:
            h = h + self.pitch(F.pad(speech.pitch, (0, frames - speech.pitch.shape[2])))
        prior = self.prior(h, mask).float()
        voice = self.voice(speech.voice)
        text = {"tokens": states.transpose(1, 2), "token_mask": speech.token_mask, "pooled": voice}
        kept = {"kept": speech.kept, "kept_mask": speech.kept_mask}
        return Condition(**text, **kept, mask=mask, prior=prior, null=speech.null)

    def forward(self, speech: SpeechBatch, speed: float | Tensor = 1.0) -> tuple[Condition, Tensor]:
        """Returns the Condition and durations [batch, token], predicted if the batch has none; waits for the device."""
        states = self.states(speech)
        durations = self.predict_durations(states, speech, speed) if speech.durations is None else speech.durations
        return self.condition(states, speech, durations, int(durations.sum(1).round().max())), durations
