"""OpenL3, the embedder of FD in Stable Audio's tables, from a user's weight file: "openl3_audio_mel256_music.h5" or
"openl3_audio_mel256_env.h5", which h5py reads (`pip install 'audiocm[openl3]'`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import mel_filters
from ..files import content_digest
from .checkpoints import load_strictly, package_folder
from .layers import apply_by_clip

WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)
N_FFT, HOP, BINS, FRAMES = 2048, 242, 256, 199


class _OpenL3(nn.Module):
    """OpenL3's network of sound, [window, 256, 199] in decibels to [window, 512]. Cramer et al. 2019.

    Four blocks of two 3 × 3 convolutions, 2 × 2 maxima after the first three, and the maximum over the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3) for width in (1, *WIDTHS[:-1]))
        narrow = (1, *WIDTHS[:-1])
        self.convolutions = nn.ModuleList(nn.Conv2d(n, w, 3, padding=1) for n, w in zip(narrow, WIDTHS, strict=True))

    def forward(self, decibels: Tensor) -> Tensor:
        x = decibels.unsqueeze(1)
        for i, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            x = norm(x) if i == 0 else F.relu(norm(x))
            x = F.max_pool2d(x, 2) if i in (2, 4, 6) else x
            x = convolution(x)
        return x.amax(dim=(2, 3))


def read_keras(file: str | Path) -> tuple[dict[str, Tensor], bytes]:
    """Reads the weights of a Keras HDF5 file in the order of its layers, under the names of `_OpenL3`, and its bytes.

    Raises ValueError if h5py is not installed or the file is another network's."""
    package_folder("h5py", "'audiocm[openl3]'")
    import h5py

    file = Path(file)
    if not file.is_file():
        raise ValueError(f"{file}: no such weight file")
    if "mel128" in file.name or "linear" in file.name:
        raise ValueError(f"{file}: only the models of mel256 are read")
    layers = []
    try:
        with h5py.File(file, "r") as opened:
            root = opened.get("model_weights", opened)
            for layer in root.attrs["layer_names"]:
                group = root[layer]
                arrays = [np.asarray(group[name], np.float32) for name in group.attrs["weight_names"]]
                if arrays and (len(arrays) == 4 or arrays[0].ndim == 4):  # a front end has other arrays, or none
                    layers.append([torch.from_numpy(array) for array in arrays])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ValueError(f"{file}: not the weights of OpenL3 in Keras's HDF5 ({reason})") from error
    norms, convolutions = layers[0::2], layers[1::2]
    kinds = [len(layer) for layer in layers]
    if kinds != [4, 2] * len(WIDTHS):
        raise ValueError(f"{file}: not the weights of OpenL3, its layers have {kinds} arrays")
    state: dict[str, Tensor] = {}
    for i, (norm, (kernel, bias)) in enumerate(zip(norms, convolutions, strict=True)):
        names = ("weight", "bias", "running_mean", "running_var")
        state |= {f"norms.{i}.{name}": value for name, value in zip(names, norm, strict=True)}
        state |= {f"convolutions.{i}.weight": kernel.permute(3, 2, 0, 1), f"convolutions.{i}.bias": bias}
    return state, file.read_bytes()


class OpenL3:
    """OpenL3 at 48 kHz (mel256, 512 dimensions) as openl3 0.4 computes it: windows of 1 s every 0.5 s, of which the first
    is centred on the start, and decibels below the loudest point of each window, down to −80.

    "frames" [window, 512] are what FD is computed from; "embedding" is their mean. Raises ValueError for another file."""

    name, sample_rate = "openl3", 48000

    def __init__(self, file: str | Path, device: str = "cpu", batch: int = 8) -> None:
        state, data = read_keras(file)
        self._net, self._device, self._batch = load_strictly(_OpenL3(), state, file).to(device), device, batch
        self._window = torch.hann_window(N_FFT)
        self._filters = mel_filters(self.sample_rate, N_FFT, BINS).T
        self.digest = content_digest(data, "openl3 mel256 1 s/0.5 s")

    def windows(self, wav: np.ndarray) -> Tensor:
        """Cuts wav [sample] into windows [window, 48000] every half second; silence fills up both ends."""
        size, hop = self.sample_rate, self.sample_rate // 2
        wav = F.pad(torch.from_numpy(np.ascontiguousarray(wav)).float(), (hop, 0))
        lacking = size - len(wav) if len(wav) < size else -(len(wav) - size) % hop
        return F.pad(wav, (0, lacking)).unfold(0, size, hop)

    def decibels(self, windows: Tensor) -> Tensor:
        """Computes mel spectrograms [window, 256, 199] in decibels of windows [window, 48000]."""
        padded = F.pad(windows, (0, (FRAMES - 1) * HOP + N_FFT - windows.shape[1]))
        magnitudes = torch.fft.rfft(padded.unfold(1, N_FFT, HOP) * self._window).abs()
        decibels = 10 * (magnitudes @ self._filters).clamp_min(1e-10).log10()
        return (decibels - decibels.amax(dim=(1, 2), keepdim=True)).clamp_min(-80.0).transpose(1, 2)

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 512] and "frames", one array [window, 512] per clip, of wavs [sample] at 48 kHz."""
        parts = [self.decibels(self.windows(wav)) for wav in wavs]
        frames = [part.numpy() for part in apply_by_clip(self._net, parts, self._batch, self._device)]
        ragged = np.empty(len(frames), dtype=object)
        ragged[:] = frames
        return {"embedding": np.stack([part.mean(axis=0) for part in frames]), "frames": ragged}
