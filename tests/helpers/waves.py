"""Waveforms to test with."""

import torch


def tones(batch: int = 2, samples: int = 24576) -> torch.Tensor:
    """Tones of 220 and 523 Hz at 24 kHz with faint noise [batch, sample]."""
    time = torch.arange(samples) / 24000
    pitch = torch.tensor([[220.0], [523.0]])[:batch]
    generator = torch.Generator().manual_seed(0)
    return 0.3 * torch.sin(2 * torch.pi * pitch * time) + 0.02 * torch.randn(batch, samples, generator=generator)
