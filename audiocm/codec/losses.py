"""Training losses of the codec: mel VAE and vocoder.

Each has the trainer's signature `loss(student, target, x, cond, progress)`, with x = waveform [batch, sample]; target,
cond and progress are not used.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import LogMel, griffin_lim, stft
from .vae import MelVAE
from .vocoder import Vocoder

QUIET = 1e-3  # floor of magnitudes (16-bit rounding noise): the log of smaller ones has unbounded gradients


class SpectralDistance(nn.Module):
    """Multi-resolution STFT distance: spectral convergence plus L1 of log magnitudes (Yamamoto et al. 2020)."""

    def __init__(self, sizes: Sequence[int] = (2048, 1024, 512, 256)):
        super().__init__()
        self.sizes = tuple(sizes)
        for size in sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, wav: Tensor, reference: Tensor) -> Tensor:
        """Averages over resolutions and batch; both waveforms are [batch, sample]."""
        total = wav.new_zeros((), dtype=torch.float32)
        for size in self.sizes:
            window = getattr(self, f"window_{size}")
            a, b = (stft(y.float(), size, size // 4, window).abs().clamp_min(QUIET) for y in (wav, reference))
            convergence = (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1).clamp_min(1e-3)
            total = total + convergence.mean() + (a.log() - b.log()).abs().mean()
        return total / len(self.sizes)


class VAELoss:
    """L1 of the mean log-mel at full and reduced resolution, likelihood of the predicted std, and KL divergence.

    `kl` and `likelihood` weigh the last two. The likelihood trains the std only, since it sees the error detached."""

    def __init__(self, mel: Callable[[Tensor], Tensor], kl: float = 1e-2, likelihood: float = 0.1):
        self.mel, self.kl, self.likelihood = mel, kl, likelihood

    def loss(self, student: MelVAE, target: object, x: Tensor, cond: object, progress: float | Tensor) -> Tensor:
        with torch.no_grad():
            log_mel = self.mel(x)
        mean, std, latent, log_variance = student(log_mel)
        divergence = 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).mean()
        error = mean - log_mel
        reconstruction = error.abs().mean() + F.avg_pool2d(error.unsqueeze(1), (5, 4)).abs().mean()
        likelihood = (0.5 * (error.detach() / std).square() + std.log()).mean()
        return reconstruction + (self.kl * divergence + self.likelihood * likelihood)


class VocoderLoss:
    """STFT distance and log-mel L1 of the network's own signal and of the mel-consistent one.

    With `recode` (a log-mel through a frozen VAE), the second half of each batch gets the recoded mel as input; there
    only the mel term applies, with the recoded mel as target."""

    def __init__(self, distance: SpectralDistance, recode: Callable[[Tensor], Tensor] | None = None):
        self.distance, self.recode = distance, recode

    def input_mels(self, mel: LogMel, x: Tensor) -> Tensor:
        """Returns the mels of waveforms x [batch, sample], recoded in the batch's second half."""
        with torch.no_grad():
            log_mel = mel(x)
            if self.recode is None:
                return log_mel
            half = len(x) // 2
            return torch.cat([log_mel[:half], self.recode(log_mel[half:])])

    def loss(self, student: Vocoder, target: object, x: Tensor, cond: object, progress: float | Tensor) -> Tensor:
        mel = student.mel
        log_mel = self.input_mels(mel, x)
        count = len(x) if self.recode is None else len(x) // 2
        spectrum = student.initial_spectrum(log_mel)

        def reconstruction(wav: Tensor) -> Tensor:
            return (mel(wav) - log_mel).abs().mean() + self.distance(wav[:count], x[:count])

        return reconstruction(mel.istft(spectrum)) + reconstruction(griffin_lim(mel, log_mel, spectrum, 0))
