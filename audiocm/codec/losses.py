"""What the codec learns from: losses of the mel VAE and of the vocoder, and the critics of both.

Each loss has the trainer's signature `loss(student, target, x, cond, progress)` with x = wav `[batch, sample]`.
Least-squares adversarial terms and feature matching as in HiFi-GAN (Kong et al. 2020), multi-period discriminators as there,
multi-resolution spectrogram discriminators as in UnivNet (Jang et al. 2021), patch discriminators on the log-mel as in
VQGAN (Esser et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import LogMel, griffin_lim, stft
from .discriminators import QUIET, MelCritic, WaveCritic, critic_loss, feature_loss, fooling_loss
from .vae import MelVAE


class SpectralDistance(nn.Module):
    """Multi-resolution STFT distance: spectral convergence plus L1 of log magnitudes (Yamamoto et al. 2020)."""

    def __init__(self, sizes: Sequence[int] = (2048, 1024, 512, 256)):
        super().__init__()
        self.sizes = tuple(sizes)
        for size in sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, wav: Tensor, other: Tensor) -> Tensor:
        total = wav.new_zeros((), dtype=torch.float32)
        for size in self.sizes:
            window = getattr(self, f"window_{size}")
            a, b = (stft(y.float(), size, size // 4, window).abs().clamp_min(QUIET) for y in (wav, other))
            convergence = (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1).clamp_min(1e-3)
            total = total + convergence.mean() + (a.log() - b.log()).abs().mean()
        return total / len(self.sizes)


def balanced(output: Tensor, main: Tensor, judged: Tensor, share: float | Tensor) -> Tensor:
    """`main`, plus `judged` rescaled so that its gradient at `output` has `share` times the norm of main's.

    The gradient balancer of EnCodec (Défossez et al. 2022, eq. 6) for two terms and without its moving average: a critic that wins
    cannot drown the reconstruction. The value returned is `main`'s.
    """
    toward_main, toward_judged = (torch.autograd.grad(term, output, retain_graph=True)[0] for term in (main, judged))
    scale = share * toward_main.norm() / toward_judged.norm().clamp_min(1e-12)
    surrogate = (output * (toward_main + scale * toward_judged)).sum()
    return surrogate - surrogate.detach() + main.detach()


class VAELoss:
    """L1 of the mean log-mel at full and at reduced resolution, the std's likelihood, `kl` x KL; with a critic, its view once `warm`
    of training is over.

    `share`: norm of the critic's gradient against the L1's: textures are the critic's business, the envelope stays the L1's.
    """

    def __init__(
        self,
        mel: LogMel,
        critic: MelCritic | None,
        kl: float = 1e-2,
        scale: float = 0.1,
        share: float = 0.5,
        warm: float = 0.5,
    ):
        self.mel, self.critic, self.kl = mel, critic, kl
        self.scale, self.share, self.warm = scale, share, warm

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: object, progress: float | Tensor) -> Tensor:
        with torch.no_grad():
            log_mel = self.mel(x)
        mean, std, latent, log_variance = student(log_mel)
        divergence = 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).mean()
        error = mean - log_mel
        main = error.abs().mean() + F.avg_pool2d(error.unsqueeze(1), (5, 4)).abs().mean()
        likelihood = (0.5 * (error.detach() / std).square() + std.log()).mean()  # teaches std only
        rest = self.kl * divergence + self.scale * likelihood
        if self.critic is None:
            return main + rest
        textured = student.texture.added(mean, std, student.texture.anywhere(len(mean), mean.shape[2]))
        judged = judge(self.critic, textured, log_mel)
        on = self.share * gate(progress, self.warm, x)
        return (
            balanced(mean, main, judged, on) + balanced(std, self.scale * likelihood, judged, on) + self.kl * divergence
        )

    def critic_terms(self, student: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real and fake log-mels for the critic's own step."""
        log_mel = self.mel(x)
        mean, std, *_ = student(log_mel)
        return log_mel, student.texture.added(mean, std, student.texture.anywhere(len(mean), mean.shape[2]))


class VocoderLoss:
    """Multi-resolution STFT + log-mel L1 of the proposal and of its mel-consistent signal, and a critic's view of the latter.

    With a frozen `vae`, the second half of every batch is asked to voice the VAE's own mel instead of the true one: there the mel term
    asks for the *given* mel, and only the critic compares with real sound.
    """

    def __init__(
        self,
        critic: WaveCritic | None,
        vae: MelVAE | None = None,
        distance: SpectralDistance | None = None,
        share: float = 1.0,
    ):
        self.critic, self.vae, self.share = critic, vae, share
        self.distance = distance or SpectralDistance()

    def given(self, mel: LogMel, x: Tensor) -> Tensor:
        """The mels the vocoder is asked for: true ones, and in the batch's second half the VAE's."""
        with torch.no_grad():
            log_mel = mel(x)
            if self.vae is None:
                return log_mel
            half = x.shape[0] // 2
            return torch.cat([log_mel[:half], self.vae.decode(self.vae.encode(log_mel[half:]))])

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: object, progress: float | Tensor) -> Tensor:
        mel = student.mel
        log_mel = self.given(mel, x)
        half = x.shape[0] if self.vae is None else x.shape[0] // 2
        spectrum = student.propose(log_mel)
        raw, wav = mel.istft(spectrum), griffin_lim(mel, log_mel, spectrum, 0)

        def faithful(signal: Tensor) -> Tensor:
            return (mel(signal) - log_mel).abs().mean() + self.distance(signal[:half], x[:half])

        if self.critic is None:
            return faithful(raw) + faithful(wav)
        return faithful(raw) + balanced(wav, faithful(wav), judge(self.critic, wav, x), self.share)

    def critic_terms(self, student: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real and fake wavs for the critic's own step."""
        return x, student(self.given(student.mel, x), 0)


def judge(critic: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """What the codec's part is told by the critic: fool it, and match its features (weight 2, as HiFi-GAN)."""
    critic.requires_grad_(False)
    seen = critic(fake)
    with torch.no_grad():
        model = critic(real)
    return fooling_loss(seen) + 2 * feature_loss(model, seen)


class CodecCritic:
    """The critic's side of a codec loss, in the trainer's shape: `.loss(...)` and `.parameters()`."""

    def __init__(self, net: nn.Module, terms: VAELoss | VocoderLoss):
        self.net, self.terms = net, terms

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.net.parameters()

    def to(self, device: torch.device | str) -> CodecCritic:
        self.net.to(device)
        return self

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: object, progress: float | Tensor) -> Tensor:
        with torch.no_grad():
            real, fake = self.terms.critic_terms(student, x)
        self.net.requires_grad_(True)
        joint = self.net(torch.cat([real, fake]))
        count = len(real)
        return critic_loss([[h[:count] for h in d[-1:]] for d in joint], [[h[count:] for h in d[-1:]] for d in joint])


def gate(progress: float | Tensor, start: float, like: Tensor) -> Tensor:
    """0 before `start`, 1 after, as a tensor (so that a captured CUDA graph follows it)."""
    value = torch.as_tensor(progress, device=like.device, dtype=torch.float32)
    return (value >= start).float()
