"""How much of the GPU's measured matrix rate the teacher's training reaches, and where the rest goes.

    python -m recipes.benchmarks.throughput --corpora data/latents.safetensors --results samples/throughput.json

`rate` counts the multiplications and additions of one step's forward and backward (torch.utils.flop_counter, nothing for the
optimizer); `matrix_rate` is a bf16 product of two 8192 x 8192 matrices in the same process. `kernels` are the device's milliseconds
a step by kind of kernel, from a profile of the same steps, with the kind's five dearest kernels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from audiocm.evaluation.provenance import commit
from audiocm.models.transformer import LatentTransformer
from audiocm.training.trainer import Trainer
from recipes.benchmarks.latency import median_seconds
from recipes.text_to_audio.data import CODEC, CORPORA
from recipes.text_to_audio.teacher import run

KINDS = {  # the first whose word is in a kernel's name
    "attention": ("flash", "fmha", "sdpa", "attention"),
    "optimizer": ("multi_tensor", "adam"),
    "matrix products": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "splitk"),
    "fused elementwise and norms": ("triton",),
    "copies": ("memcpy", "memset", "copy", "cat"),
}


def kind_of(kernel: str) -> str:
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def matrix_rate(device: torch.device, size: int = 8192) -> float:
    """FLOP/s of a bf16 matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: a @ b, 20, device)


def flops_of(net: nn.Module, training: Trainer, x, cond) -> int:
    """Of one forward and backward, whatever runs it: counted on an uncompiled copy."""
    plain = type(net).from_config(net.config).to(x.device)
    with FlopCounterMode(display=False) as counter, torch.autocast(x.device.type, torch.bfloat16):
        training.run.method.loss(plain, None, x, cond, torch.zeros((), device=x.device)).backward()
    return counter.get_total_flops()


def shares(trace: profile, steps: int) -> dict[str, dict]:
    """Kind -> milliseconds a step, and its five dearest kernels'."""
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in trace.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kinds[kind_of(event.name)][event.name[:80]] += event.time_range.elapsed_us() / 1e3 / steps
    found = {}
    for kind, kernels in sorted(kinds.items(), key=lambda item: -sum(item[1].values())):
        dearest = sorted(kernels.items(), key=lambda item: -item[1])[:5]
        found[kind] = {"ms": sum(kernels.values()), "dearest": {name: round(ms, 4) for name, ms in dearest}}
    return found


def measured(training: Trainer, net: LatentTransformer, steps: int) -> dict:
    """Rates of `steps` steps after each batch shape's graph has been recorded."""
    run, device, seen = training.run, training.device, set()
    training.set_scalars(0.0)
    while len(seen) < len(run.batches.buckets) or training.step_count < 12:
        x, cond = next(run.batches)
        for _ in range(5):
            training.advance(x, cond)
        seen.add(x.shape)
        training.step_count += 1
    flops = {tuple(shape): 0 for shape in seen}
    batches = [next(run.batches) for _ in range(steps)]
    for x, cond in batches:
        flops[tuple(x.shape)] = flops[tuple(x.shape)] or flops_of(net, training, x, cond)

    def go() -> float:
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for x, cond in batches:
            training.advance(x, cond)
        torch.cuda.synchronize(device)
        return time.perf_counter() - start

    seconds = go()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        go()
    work = sum(flops[tuple(x.shape)] for x, _ in batches)
    kernels, peak = shares(trace, steps), matrix_rate(device)
    ms = 1e3 * seconds / steps
    return {
        "steps": steps, "ms_a_step": ms, "batch_shapes": sorted(flops), "flops_a_step": work / steps,
        "rate": work / seconds, "matrix_rate": peak, "share_of_matrix_rate": work / seconds / peak,
        "ms_if_all_ran_at_the_matrix_rate": 1e3 * work / steps / peak, "kernels": kernels,
        "device_idle_ms": ms - sum(kind["ms"] for kind in kernels.values()),
    }  # fmt: skip


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", default=CORPORA)
    parser.add_argument("--vae", default=CODEC + "/vae")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--widths", type=lambda text: [int(x) for x in text.split(",")], default=[384])
    parser.add_argument("--results", type=Path, required=True)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("needs a CUDA device: it measures one")
    found = {}
    for width in args.widths:
        torch.manual_seed(0)
        one = run(args.corpora, args.vae, width=width)
        with tempfile.TemporaryDirectory() as folder:
            training = Trainer(one, Path(folder))
            with training.stream():
                found[f"width {width}, {sum(p.numel() for p in one.net.parameters()) / 1e6:.0f} M"] = measured(
                    training, one.net, args.steps
                )
        print(json.dumps(found, indent=1), flush=True)
    card = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "commit": commit(), "seed": 0}
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps({"card": card, "teacher": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
