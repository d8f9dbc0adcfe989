"""A small teacher of AudioLDM's form, trained from nothing, and its students by ConsistencyTTA, LCM and TCD, scored.

    python -m recipes.teachers.audioldm sounds runs/audioldm --corpora data/latents.safetensors data/corpus
    python -m recipes.teachers.audioldm codec runs/audioldm      # 4 minutes: VAE 1.5, vocoder 2.5
    python -m recipes.teachers.audioldm teacher runs/audioldm    # 6 minutes
    python -m recipes.teachers.audioldm students runs/audioldm   # 2 minutes each
    python -m recipes.teachers.audioldm table runs/audioldm      # runs/audioldm/table.md and .json

About 20 minutes of one GPU in all, each command less than 10; all go on where they were interrupted. `all` is all five.
`--tiny` runs the chain on a CPU in some minutes with eight tones and noises; its sounds show that the chain works, no more.

Classes are the true ones of diffusers and transformers. Text: the weights of the bundled MiniLM in a
ClapTextModelWithProjection (RoBERTa's layers are BERT's), frozen. VAE and vocoder are AutoencoderKL and SpeechT5HifiGan
and are trained here, because audiocm's codec has another interface (1-D latents, complex spectra) and cannot stand behind
them; without an adversary they bound the quality of teacher and students alike, which the row `codec` shows.
"""

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocm import load_teacher
from audiocm.audio.io import read_wave, write_wave
from audiocm.cli.main import main as audiocm
from audiocm.codec.losses import SpectralDistance
from audiocm.data.batches import StepSeededBatches
from audiocm.data.encoded import EncodedBatches, encode_recordings
from audiocm.data.latents import unpack
from audiocm.data.manifest import in_split
from audiocm.data.recordings import find_recordings
from audiocm.evaluation.provenance import commit
from audiocm.files import read_json_lines
from audiocm.models.folders import SAFE
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_text_encoder, load_tokenizer
from audiocm.teachers.audioldm import PEAK, AudioLDM
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import train
from recipes.judges import PREPROCESSING, columns_of, table_card, write_results
from recipes.teachers.tiny import build_pipeline, write_sounds
from recipes.text_to_audio.data import CODEC, captioned_clips, load_codec

RATE, W, QUERIES = 16000, 3.5, 200  # queries of the teacher: 100 steps of two
METHODS = ("consistencytta", "lcm", "tcd")
STAGES = ("sounds", "codec", "teacher", "students", "table")


@dataclass(frozen=True)
class Size:
    """What `--tiny` changes: lengths in seconds, minutes of GPU or steps, numbers of sounds, batch."""

    seconds: float = 5.12
    minutes: dict[str, float] | None = None
    steps: int | None = None
    train_sounds: int = 4000
    test_sounds: int = 200
    batch: int = 64
    queries: int = QUERIES


FULL = Size(minutes={"vae": 1.5, "vocoder": 2.5, "teacher": 6.0, "student": 2.0})
TINY = Size(seconds=2.0, steps=2, test_sounds=6, batch=4, queries=4)


def clap_text_encoder() -> nn.Module:
    """Returns the bundled MiniLM as a ClapTextModelWithProjection.

    RoBERTa's layers are BERT's; its position p + 1 is BERT's p, since the padding token is 0. Pooler and projection are
    the fixed tanh(0.3 x) of the first state and its positive and negative part, of which nothing is lost."""
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    bert = load_text_encoder(BUNDLED_ENCODER)
    width, config = bert.config.hidden_size, bert.config
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    settings = {name: getattr(config, name) for name in (*same, "layer_norm_eps", "type_vocab_size")}
    positions = config.max_position_embeddings + 1
    model = ClapTextModelWithProjection(
        ClapTextConfig(**settings, max_position_embeddings=positions, pad_token_id=0, projection_dim=2 * width)
    )
    state, own = bert.state_dict(), model.state_dict()
    eye = torch.eye(width)
    for name, value in own.items():
        inner = name.removeprefix("text_model.")
        if inner == "embeddings.position_embeddings.weight":
            value.zero_()[1:] = state[inner]
        elif inner in state and not inner.startswith("pooler") and inner.endswith(("weight", "bias")):
            value.copy_(state[inner])
        elif inner.endswith("bias"):
            value.zero_()
    own["text_model.pooler.dense.weight"].copy_(0.3 * eye)
    own["text_projection.linear1.weight"].copy_(torch.cat([eye, -eye]))
    own["text_projection.linear2.weight"].copy_(torch.eye(2 * width))
    model.load_state_dict(own)
    return model.eval()


def small_pipeline() -> Any:
    """Returns an untrained AudioLDMPipeline: a U-Net of 67 M parameters on latents [8, frame, 16]."""
    import diffusers
    import transformers

    widths = (128, 256, 384)
    text_encoder = clap_text_encoder()
    unet = diffusers.UNet2DConditionModel(
        sample_size=128,
        in_channels=8,
        out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=2,
        attention_head_dim=8,
        cross_attention_dim=widths,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=text_encoder.config.projection_dim,
        class_embeddings_concat=True,
    )
    vae = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        block_out_channels=(64, 128, 256),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    vocoder = transformers.SpeechT5HifiGan(
        transformers.SpeechT5HifiGanConfig(
            model_in_dim=64,
            sampling_rate=RATE,
            upsample_initial_channel=256,
            upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[16, 16, 8, 4, 4],
            normalize_before=False,
        )
    )
    tokenizer = load_tokenizer(BUNDLED_ENCODER)
    tokenizer.model_max_length = 64
    scheduler = build_pipeline().scheduler
    parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "unet": unet}
    return diffusers.AudioLDMPipeline(**parts, scheduler=scheduler, vocoder=vocoder)


def write_corpus(corpora: Sequence[Path], out: Path, size: Size) -> None:
    """Writes OUT/sounds/{train,test}/N.wav with their manifests from corpus folders and packed latents."""
    for split, most in (("train", size.train_sounds), ("test", size.test_sounds)):
        folder, lines = out / "sounds" / split, []
        if (folder / "manifest.jsonl").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for number, (wav, clip) in enumerate(_sounds(corpora, split, most, size.seconds)):
            write_wave(folder / f"{number:05}.wav", wav, RATE)
            labels = clip.thing.split(", ") if clip.kind == "effect" and clip.thing else []
            line = {"file": f"{number:05}.wav", "captions": list(clip.captions), "prompt": clip.captions[0]}
            lines.append(line | ({"labels": labels} if labels else {}))
        if not lines:
            raise ValueError(f"--corpora: there is no captioned sound of the split {split}")
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / "manifest.jsonl").write_text(text, encoding="utf-8")


def _sounds(corpora: Sequence[Path], split: str, most: int, seconds: float) -> Any:
    """Yields (waveform at RATE, clip) of a random choice of the sounds of a split."""
    from audiocm.audio.io import resample

    packed = [unpack(path, in_split(split)) for path in corpora if path.suffix == ".safetensors"]
    folders = [path for path in corpora if path.suffix != ".safetensors"]
    clips: list[tuple[Any, int | None, Any]] = [
        (latents, i, c) for latents in packed for i, c in enumerate(latents.clips)
    ]
    clips += [(None, None, clip) for clip in (captioned_clips(folders, split) if folders else [])]
    clips = [one for one in clips if one[2].captions]
    codec = load_codec(f"{CODEC}/vae", f"{CODEC}/vocoder", best_device()) if packed else None
    for number in np.random.default_rng(0).permutation(len(clips))[:most]:
        latents, i, clip = clips[number]
        if latents is None:
            wav = read_wave(clip.path, RATE)
        else:
            start, length = int(latents.starts[i]), min(int(latents.lengths[i]), codec.frames(seconds))
            latent = latents.frames[start : start + length].float().T[None].to(best_device())
            with torch.no_grad():
                wav = resample(codec.decode(latent)[0].cpu().numpy(), codec.sample_rate, RATE)
        yield np.clip(wav[: round(seconds * RATE)], -1, 1), clip


class Crops(StepSeededBatches):
    """Batches of waveforms [batch, sample] of one length at the level of AudioLDM's training; sounds are repeated."""

    def __init__(self, folder: Path, batch: int, samples: int, device: torch.device):
        super().__init__(0, device, None)
        self.batch, self.samples = batch, samples
        files = [folder / line["file"] for line in read_json_lines(folder / "manifest.jsonl")]
        self.wavs = [wav for wav in (read_wave(file, RATE) for file in files) if np.abs(wav).max() > 1e-3]

    def __next__(self) -> tuple[Tensor, None]:
        generator, rows = self.step_generator(), []
        for i in generator.integers(len(self.wavs), size=self.batch):
            wav = np.tile(self.wavs[i], math.ceil(self.samples / len(self.wavs[i])))
            start = generator.integers(len(wav) - self.samples + 1)
            rows.append(wav[start : start + self.samples])
        wav = torch.tensor(np.stack(rows), dtype=torch.float32, device=self.device)
        wav = wav - wav.mean(1, keepdim=True)
        return wav * (PEAK / wav.abs().amax(1, keepdim=True).clamp_min(1e-3)), None


@dataclass
class VAELoss:
    """L1 of log mels at full and reduced resolution and a small KL divergence."""

    adapter: AudioLDM

    def loss(self, student: Any, target: object, x: Tensor, cond: object, progress: object) -> Tensor:
        mel = self.adapter.log_mel(x)
        posterior = student.encode(mel).latent_dist
        error = student.decode(posterior.sample()).sample - mel
        return (
            error.abs().mean()
            + F.avg_pool2d(error, 4).abs().mean()
            + 1e-2 * posterior.kl().mean() / posterior.mean[0].numel()
        )


@dataclass
class HifiGanLoss:
    """Multi-resolution STFT distance; there is no adversary."""

    adapter: AudioLDM
    distance: SpectralDistance

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: object, progress: object) -> Tensor:
        made = student(self.adapter.log_mel(x)[:, 0])
        return self.distance(made[:, : x.shape[1]], x[:, : made.shape[1]])


class NoiseLoss:
    """Mean square of the error of the predicted noise (Ho et al. 2020); dropped conditions are that of ""."""

    def __init__(self, alphas: Tensor, null: Tensor):
        self.alphas, self.null = alphas, null

    def loss(self, student: nn.Module, target: object, x: Tensor, cond: Any, progress: object) -> Tensor:
        t = torch.randint(len(self.alphas), (len(x),), device=x.device)
        noise, level = torch.randn_like(x), self.alphas[t].view(-1, 1, 1, 1)
        words = torch.where(cond.null[:, None], self.null, cond.pooled)
        made = AudioLDM.predict(student, level.sqrt() * x + (1 - level).sqrt() * noise, t, type(cond)(pooled=words))
        return F.mse_loss(made.float(), noise)


def _run(name: str, net: nn.Module, loss: Any, batches: Any, size: Size, out: Path, lr: float) -> nn.Module:
    """Trains a part, for minutes or a number of steps in all calls together, and returns its average on the CPU."""
    is_gpu = best_device().type == "cuda"
    run = Run(
        name=name,
        net=net.requires_grad_(True),
        method=loss,
        batches=batches,
        steps=size.steps or 10_000_000,
        lr=lr,
        train_seconds=60 * size.minutes[name] if size.minutes else None,
        precision="bf16" if is_gpu and name == "teacher" else "no",
        cuda_graph=is_gpu and name == "teacher",
        save_every=500,
    )
    return train(run, out / f"train-{name}").cpu().eval()


def train_codec(pipe: Any, out: Path, size: Size) -> None:
    """Trains OUT/codec/{vae,vocoder}; the latents' scale becomes 1."""
    device, adapter = best_device(), AudioLDM(pipe)
    crops = Crops(out / "sounds" / "train", min(size.batch, 32), 16000, device)
    vae = _run("vae", pipe.vae, VAELoss(adapter), crops, size, out, 3e-4)
    with torch.no_grad():
        spread = vae.encode(adapter.log_mel(next(crops)[0]).cpu()).latent_dist.mode().std().item()
    vae.register_to_config(scaling_factor=1 / spread)
    distance = SpectralDistance().to(device)
    crops = Crops(out / "sounds" / "train", min(size.batch, 32), 8000, device)
    vocoder = _run("vocoder", pipe.vocoder, HifiGanLoss(adapter, distance), crops, size, out, 5e-4)
    vocoder.save_pretrained(out / "codec" / "vocoder")
    vae.save_pretrained(out / "codec" / "vae")


def train_teacher(pipe: Any, out: Path, size: Size) -> None:
    """Trains the U-Net on encoded sounds and writes OUT/teacher."""
    pipe.vae = type(pipe.vae).from_pretrained(out / "codec" / "vae", **SAFE)
    pipe.vocoder = type(pipe.vocoder).from_pretrained(out / "codec" / "vocoder", **SAFE)
    device, teacher = best_device(), load_teacher(pipe).to(best_device())
    recordings, skipped = find_recordings(out / "sounds" / "train" / "manifest.jsonl")
    data = encode_recordings(recordings, teacher, out / "encoded", size.seconds, 8, skipped)
    batches = EncodedBatches(data, size.batch, 0, device, dropout=0.1)
    loss = NoiseLoss(pipe.scheduler.alphas_cumprod.to(device), teacher.condition([""], size.seconds).pooled)
    pipe.unet = _run("teacher", pipe.unet, loss, batches, size, out, 2e-4)
    pipe.to("cpu").save_pretrained(out / "teacher")


def train_students(out: Path, size: Size) -> None:
    """Distils OUT/teacher by `audiocm distill`, once by each method. Raises ValueError if one fails."""
    budget = ["--minutes", f"{size.minutes['student']}"] if size.minutes else ["--steps", str(size.steps)]
    for method in METHODS:
        options = ["--method", method, "--seconds", str(size.seconds), "--cache", str(out), "--w-range", "1", "6"]
        options += ["--save-w", str(W), "--batch", str(size.batch), "--lr", "5e-5", *budget]
        data = ["--data", str(out / "sounds" / "train" / "manifest.jsonl"), "-o", str(out / method)]
        if audiocm(["distill", str(out / "teacher"), *data, *options]):
            raise ValueError(f"the student of {method} could not be trained")


def write_levelled(file: Path, wav: np.ndarray) -> None:
    """Writes a sound at the level that all training sounds have, which a teacher of AudioLDM's form cannot choose."""
    wav = wav - wav.mean()
    write_wave(file, (wav * (PEAK / max(np.abs(wav).max(), 1e-8))).astype(np.float32), RATE)


def generate(folder: Path, out: Path, lines: Sequence[dict], size: Size, steps: int, w: float) -> float:
    """Writes a sound for each prompt by plain diffusers, and returns the seconds of a single call."""
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder, **SAFE).to(best_device())
    pipe.set_progress_bar_config(disable=True)
    options = {"audio_length_in_s": size.seconds, "num_inference_steps": steps, "guidance_scale": w}
    out.mkdir(parents=True, exist_ok=True)
    prompts = [line["prompt"] for line in lines]
    for start in range(0, len(prompts), 16):
        some = list(prompts[start : start + 16])
        generators = [torch.Generator("cpu").manual_seed(start + i) for i in range(len(some))]
        for i, wav in enumerate(pipe(some, **options, generator=generators).audios):
            write_levelled(out / lines[start + i]["file"], wav)
    seconds = []
    for _ in range(4):
        start_time = time.perf_counter()
        pipe(prompts[0], **options)
        seconds.append(time.perf_counter() - start_time)
    return statistics.median(seconds[1:])


def write_table(out: Path, size: Size, tagger: str, embedders: Sequence[str]) -> str:
    """Generates and scores the sounds of all systems; returns the table, which is also OUT/table.md and .json."""
    from audiocm.evaluation import score

    real, rows, card = out / "sounds" / "test", {}, {}
    lines = read_json_lines(real / "manifest.jsonl")
    metrics = ("fad", "alignment", *(("hits",) if all("labels" in line for line in lines) else ()))
    made = out / "generated"
    teacher = load_teacher(str(out / "teacher")).to(best_device())
    (made / "codec").mkdir(parents=True, exist_ok=True)
    for line in lines:
        wav = torch.from_numpy(read_wave(real / line["file"], RATE))[: round(size.seconds * RATE)]
        wav = F.pad(wav, (0, round(size.seconds * RATE) - len(wav)))
        again = teacher.decode(teacher.encode(wav[None]))[0].cpu().numpy()
        write_levelled(made / "codec" / line["file"], again)
    systems = {"codec": None, "teacher": (out / "teacher", size.queries // 2, W)}
    systems |= {method: (out / method / "model", 1, 1.0) for method in METHODS}
    for name, call in systems.items():
        row, facts = {}, made / name / "facts.json"
        if call and not facts.is_file():
            seconds = generate(call[0], made / name, lines, size, *call[1:])
            facts.write_text(
                json.dumps({"queries": size.queries if name == "teacher" else 1, "seconds a sound": seconds})
            )
        if call:
            row = json.loads(facts.read_text())
        options = {"prompts": real / "manifest.jsonl", "tagger": tagger, "embedders": embedders, "max_unusable": 0.99}
        options["preprocessing"] = PREPROCESSING
        result = score(made / name, real, metrics=metrics, **options)
        rows[name] = row | {"clips": len(lines), "scores": columns_of(result, "", "test clips")}
        card = table_card(result)
    device = torch.cuda.get_device_name() if best_device().type == "cuda" else "CPU"
    card |= {"commit": commit(), "device": device, "minutes": size.minutes, "steps": size.steps, "w": W}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    return write_results(out / "table.json", {"card": card, "systems": rows}, columns)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--corpora", type=Path, nargs="+", default=[Path("data/latents.safetensors")])
    parser.add_argument("--tiny", action="store_true", help="try the chain on a CPU")
    parser.add_argument("--tagger", default="yamnet", help="of alignment and hits, or a CLAP such as small-clap")
    parser.add_argument("--embedders", nargs="+", default=["yamnet"], help="of the Fréchet distance")
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore", module="diffusers")
    size, out = TINY if args.tiny else FULL, args.out
    torch.manual_seed(0)
    pipe = build_pipeline() if args.tiny else small_pipeline()
    for stage in STAGES if args.stage == "all" else (args.stage,):
        if stage == "sounds" and args.tiny:
            tiny_corpus(out)
        elif stage == "sounds":
            write_corpus(args.corpora, out, size)
        elif stage == "codec" and not (out / "codec" / "vae").is_dir():
            train_codec(pipe, out, size)
        elif stage == "teacher" and not (out / "teacher").is_dir():
            train_teacher(pipe, out, size)
        elif stage == "students":
            train_students(out, size)
        elif stage == "table":
            print(write_table(out, size, args.tagger, args.embedders))


def tiny_corpus(out: Path) -> None:
    """Writes the tones and noises of `recipes.teachers.tiny` as both splits."""
    for split in ("train", "test"):
        folder = out / "sounds" / split
        write_sounds(folder)
        lines = [
            {"file": p.with_suffix(".wav").name, "captions": [p.read_text().strip()]}
            for p in sorted(folder.glob("*.txt"))
        ]
        text = "".join(json.dumps(line | {"prompt": line["captions"][0]}) + "\n" for line in lines)
        (folder / "manifest.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
