"""The codec before any training: principal components for the VAE, Griffin-Lim for the vocoder. The floor for every trained codec.

python -m recipes.codec.linear --corpora data/corpus,data/rendered,data/speech --channels 96 --output runs/codec_linear
python -m recipes.codec.evaluate --codec runs/codec_linear --corpus data/corpus,data/rendered,data/speech --clips 150 --speech 30 --results samples/codec_linear.json

`--no-texture` for samples/codec_linear_no_texture.json.
"""

import argparse
from pathlib import Path

import torch

from audiocm.audio.spectral import LogMel
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from recipes.codec.data import waves, whitened


def build(corpora: str, channels: int, texture: bool, iterations: int, seed: int, output: Path) -> None:
    """Measure, whiten and save as a codec folder. `texture` False: the decoder's std is next to nothing."""
    torch.manual_seed(seed)
    mel = LogMel()
    batches = waves(corpora, 2.73067, 48, seed, torch.device("cpu"))
    vae = MelVAE(channels=channels, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=0).eval()
    vae.begin(torch.cat([mel(next(batches)[0]) for _ in range(32)]))
    if not texture:
        with torch.no_grad():
            vae.decoder[-1].bias[vae.config.mel_bins :] = -6.0
    whitened(vae, mel, batches, count=16).save_pretrained(output / "vae")
    Vocoder(width=8, depth=1, iterations=iterations).eval().save_pretrained(output / "vocoder")


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpora", default="data/corpus,data/rendered,data/speech")
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument("--texture", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--iterations", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/codec_linear"))
    args = parser.parse_args()
    build(args.corpora, args.channels, args.texture, args.iterations, args.seed, args.output)


if __name__ == "__main__":
    main()
