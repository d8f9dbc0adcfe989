"""The share of the GPU's measured matrix rate that the teacher's training reaches, and where the rest goes.

    python -m recipes.benchmarks.throughput --corpora data/latents.safetensors

Made samples/throughput.json: 165 TFLOP/s on an H100, 23 % of the bf16 matrix rate. `rate` counts the multiplications
and additions of a step's forward and backward (torch.utils.flop_counter; nothing for the optimizer). `matrix_rate` is
that of the product of two 8192 x 8192 bf16 matrices in the same process. `kernels` are the device's milliseconds a step
by kind of kernel, from a profile of the same steps, with the five slowest of each kind.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from audiocm.cuda_graphs import side_stream
from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from audiocm.models.transformer import LatentTransformer
from audiocm.training.trainer import Trainer
from recipes.benchmarks.timing import median_seconds, wall_seconds
from recipes.text_to_audio.data import CODEC, CORPORA
from recipes.text_to_audio.teacher import run

KINDS = {  # a kernel is of the first kind that has one of its words in the name
    "attention": ("flash", "fmha", "sdpa", "attention"),
    "optimizer": ("multi_tensor", "adam"),
    "matrix products": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "splitk"),
    "fused elementwise and norms": ("triton",),
    "copies": ("memcpy", "memset", "copy", "cat"),
}


def kernel_kind(kernel: str) -> str:
    """Returns the kind of a kernel by its name."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def matrix_rate(device: torch.device, size: int = 8192) -> float:
    """Measures the FLOP/s of a bf16 matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: a @ b, 20, device)


def count_flops(net: nn.Module, training: Trainer, x: Any, cond: Any) -> int:
    """Counts the FLOP of one forward and backward, on an uncompiled copy."""
    plain = type(net).from_config(net.config).to(x.device)
    with FlopCounterMode(display=False) as counter, torch.autocast(x.device.type, torch.bfloat16):
        training.run.method.loss(plain, None, x, cond, torch.zeros((), device=x.device)).backward()
    return counter.get_total_flops()


def kernel_times(trace: profile, steps: int) -> dict[str, dict]:
    """Returns kind -> milliseconds a step, in all and of its five slowest kernels."""
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in trace.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kinds[kernel_kind(event.name)][event.name[:80]] += event.time_range.elapsed_us() / 1e3 / steps
    results = {}
    for kind, kernels in sorted(kinds.items(), key=lambda item: -sum(item[1].values())):
        slowest = sorted(kernels.items(), key=lambda item: -item[1])[:5]
        results[kind] = {"ms": sum(kernels.values()), "dearest": {name: round(ms, 4) for name, ms in slowest}}
    return results


def measure(training: Trainer, net: LatentTransformer, steps: int) -> dict:
    """Measures `steps` steps after the graph of each batch shape has been recorded."""
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
        flops[tuple(x.shape)] = flops[tuple(x.shape)] or count_flops(net, training, x, cond)

    def train_steps() -> None:
        for x, cond in batches:
            training.advance(x, cond)

    torch.cuda.synchronize(device)
    seconds = wall_seconds(train_steps, device)
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        wall_seconds(train_steps, device)
    work = sum(flops[tuple(x.shape)] for x, _ in batches)
    kernels, peak = kernel_times(trace, steps), matrix_rate(device)
    ms = 1e3 * seconds / steps
    result = {"steps": steps, "ms_a_step": ms, "batch_shapes": sorted(flops), "flops_a_step": work / steps}
    result |= {"rate": work / seconds, "matrix_rate": peak, "share_of_matrix_rate": work / seconds / peak}
    result |= {"ms_if_all_ran_at_the_matrix_rate": 1e3 * work / steps / peak, "kernels": kernels}
    return result | {"device_idle_ms": ms - sum(kind["ms"] for kind in kernels.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=lambda text: text.split(","), default=CORPORA)
    parser.add_argument("--vae", default=f"{CODEC}/vae")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--width", type=int, default=384, help="of the teacher")
    parser.add_argument("--results", type=Path, default=Path("samples/throughput.json"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no CUDA device: this measures one")
    torch.manual_seed(0)
    one = run(args.corpora, args.vae, width=args.width)
    size = sum(p.numel() for p in one.net.parameters()) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        training = Trainer(one, Path(folder))
        with side_stream(training.device):
            results = {f"width {args.width}, {size:.0f} M": measure(training, one.net, args.steps)}
    print(json.dumps(results, indent=1))
    card = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "commit": commit(), "seed": 0}
    write_json(args.results, {"card": card, "teacher": results})


if __name__ == "__main__":
    main()
