"""What a latent will sound like, as vectors of one per clip: features in which sets of sounds are compared in training.

The codec hears what it decodes: the log-mel itself and the layers of its own encoder, pooled over frames. Nothing outside
of the codec is needed, and no judge of the tables is. Latents alone do not do: they are whitened, so that the few
directions that move a whole spectrum, which is what a listener hears first, weigh no more than any other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .codec import MEL_MEAN, MEL_STD, MelVAE

LEVEL = -2.4  # what every clip's log-mel is moved to: log of its RMS over frames and bands, about the clips' mean
FLOOR = -5.0  # below that level (43 dB) little is heard
LAGS = (1, 4, 16)  # frames of the log-mel (11 ms) over which changes are measured


def pooled(h: Tensor, mask: Tensor) -> Tensor:
    """h [batch, channel, frame], mask [batch, 1, frame] of 0 and 1 -> mean and std over frames [batch, 2 channel], float32."""
    h, count = h.float(), mask.sum(2).clamp_min(1.0)
    mean = (h * mask).sum(2) / count
    variance = ((h - mean[:, :, None]).square() * mask).sum(2) / count
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


class Ear:
    """Latent [batch, channel, frame] and its mask [batch, frame] or None -> features [batch, dim], one for each of `names`.

    Differentiable, with the codec's weights frozen. Every clip is heard at the same level, as judges hear them.
    """

    def __init__(self, vae: MelVAE):
        self.vae = vae.eval().requires_grad_(False)
        layers = list(vae.encoder)
        shrinks = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv1d) and i]
        self.stages = [layers[a:b] for a, b in zip([0, *shrinks], shrinks, strict=False)]
        self.names = ["log-mel", "changes", *(f"encoder {i}" for i in range(len(self.stages)))]

    def __call__(self, latent: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        log_mel = self.vae.decode(latent).float()
        valid = torch.ones_like(latent[:, :1]) if mask is None else mask[:, None].to(log_mel.dtype)
        factor = self.vae.compression
        fine = valid.repeat_interleave(factor, dim=2)
        power = ((2 * log_mel).exp() * fine).sum((1, 2)) / (fine.sum((1, 2)) * log_mel.shape[1]).clamp_min(1.0)
        level = power.clamp_min(1e-10).log()[:, None, None] / 2
        log_mel = torch.logaddexp(log_mel - level, torch.full_like(level, FLOOR)) + LEVEL
        changes = []
        for lag in LAGS:
            both = fine[:, :, lag:] * fine[:, :, :-lag]
            changes.append(pooled(log_mel[:, :, lag:] - log_mel[:, :, :-lag], both).chunk(2, dim=1)[1])
        heard = [pooled(log_mel, fine), torch.cat(changes, dim=1)]
        h = (log_mel - MEL_MEAN) / MEL_STD
        for i, stage in enumerate(self.stages):
            for layer in stage:
                h = layer(h)
            heard.append(pooled(h, valid.repeat_interleave(factor // 2**i, dim=2)))
        return heard
