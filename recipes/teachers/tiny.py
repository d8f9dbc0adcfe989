"""A tiny teacher with random weights, and a few sounds with captions, to try `audiocm distill` on.

    python -m recipes.teachers.tiny runs/tiny-teacher
    audiocm distill runs/tiny-teacher --data runs/tiny-teacher/sounds -o runs/tiny-student --steps 60

It is of AudioLDM's form, or of another one: `--form tango`.

Writes a folder that DiffusionPipeline.from_pretrained reads (2 MB: U-Net, VAE, CLAP's text encoder, vocoder), and in its
folder sounds/ eight tones and noises of 4 s as .wav and .txt. Takes seconds on a CPU, the distillation under a minute.
The teacher's sounds are noise, since it has learnt nothing: it shows that the chain works, not how good a student gets.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiocm.audio.io import write_wave
from recipes.teachers import tiny_forms

RATE, SECONDS = 16000, 4.0
SOUNDS = {  # caption -> frequencies in Hz; none: noise
    "a low hum": (110.0,),
    "a tone": (440.0,),
    "a high whistle": (1760.0,),
    "a chord": (220.0, 277.2, 329.6),
    "an octave": (220.0, 440.0),
    "rain": (),
    "two bells": (523.3, 784.0),
    "a beating tone": (440.0, 444.0),
}


def build_pipeline() -> Any:
    """Returns an AudioLDMPipeline with random weights and a latent of [4, frame, 4]."""
    import diffusers
    import transformers

    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=(16, 32),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=16,
        class_embeddings_concat=True,
    )
    parts = tiny_forms.mel_parts()
    text_encoder = transformers.ClapTextModelWithProjection(
        transformers.ClapTextConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_attention_heads=2,
            num_hidden_layers=2,
            projection_dim=16,
            max_position_embeddings=40,
            pad_token_id=1,
        )
    )
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = transformers.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=24)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    parts |= {"text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet}
    return diffusers.AudioLDMPipeline(**parts, scheduler=scheduler)


def write_sounds(folder: Path) -> None:
    """Writes the sounds, each with its caption in a .txt file."""
    folder.mkdir(parents=True, exist_ok=True)
    time, noise = np.arange(round(RATE * SECONDS)) / RATE, np.random.default_rng(0)
    for number, (caption, pitches) in enumerate(SOUNDS.items()):
        wav = sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches) if pitches else noise.normal(size=len(time))
        write_wave(folder / f"{number}.wav", (0.5 * wav / np.abs(wav).max()).astype(np.float32), RATE)
        (folder / f"{number}.txt").write_text(caption + "\n", encoding="utf-8")


def write_teacher(folder: Path, form: str = "audioldm") -> None:
    """Writes the teacher's folder, with the sounds in FOLDER/sounds. TANGO, without a pipeline, is its components."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers calls AudioLDM's pipeline old
        made = build_pipeline() if form == "audioldm" else tiny_forms.BUILDERS[form]()
    parts = made if isinstance(made, dict) else {".": made}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    write_sounds(folder / "sounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the teacher; its sounds are in FOLDER/sounds")
    parser.add_argument("--form", choices=tiny_forms.BUILDERS, default="audioldm", help="its architecture")
    args = parser.parse_args()
    try:
        write_teacher(args.folder, args.form)
    except ImportError as error:  # of a scheduler whose package is an extra: pip install 'audiocm[stable-audio]'
        parser.error(" ".join(str(error).split()))
    print(
        f"{args.folder}: a tiny teacher of the form {args.form}, and {len(SOUNDS)} sounds in {args.folder / 'sounds'}"
    )


if __name__ == "__main__":
    main()
