"""Measures the cost of the exact forward derivative against a plain forward; a library of recipes/methods/table.py."""

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor

from audiocm.diffusion.denoiser import Condition
from audiocm.distillation.targets import exact_derivative, finite_difference
from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from audiocm.models.transformer import LatentTransformer
from audiocm.training.compile import compile_blocks
from audiocm.training.run import best_device
from recipes.benchmarks.timing import median_seconds

BATCH, FRAMES = 128, 128
WAYS = ("eager", "CUDA graph", "compiled blocks", "compiled blocks, CUDA graph")


def actions(net: LatentTransformer) -> dict[str, Callable[[], Tensor]]:
    """Returns the computations to time, around sigma = 1; most rows are shorter than the batch."""
    torch.manual_seed(0)
    x, dx = (torch.randn(BATCH, net.config.channels, FRAMES, device=net.device) for _ in range(2))
    t, dt = (torch.rand(BATCH, device=net.device) + 0.5 for _ in range(2))
    lengths = torch.randint(FRAMES // 2, FRAMES + 1, (BATCH, 1), device=net.device)
    cond = Condition(
        tokens=torch.randn(BATCH, 32, net.config.token_width, device=net.device),
        token_mask=torch.arange(32, device=net.device).expand(BATCH, -1) < 12,
        pooled=torch.randn(BATCH, net.config.pooled_width, device=net.device),
        mask=torch.arange(FRAMES, device=net.device) < lengths,
    )

    def forward(x: Tensor, t: Tensor) -> Tensor:
        return net(x, t, None, cond)

    return {
        "forward": lambda: forward(x, t),
        "jvp": lambda: exact_derivative(forward, x, t, dx, dt)[1],
        "finite differences": lambda: finite_difference()(forward, x, t, dx, dt)[1],
    }


def record_graph(action: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Returns the computation as a CUDA graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            action()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = action()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def jvp(args: argparse.Namespace) -> None:
    """Writes seconds and the distance to the float32 result for every way of running, and the ratios jvp / forward."""
    device = best_device()
    net, compiled = (LatentTransformer.from_pretrained(args.teacher).to(device).eval() for _ in range(2))
    compile_blocks(compiled)
    rows: dict[str, dict] = {}
    with torch.no_grad():
        exact = {name: action().clone() for name, action in actions(net).items()}
        for way in WAYS:
            if "graph" in way and device.type != "cuda":
                continue
            rows[way] = {}
            for name, action in actions(compiled if "compiled" in way else net).items():
                with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
                    run = record_graph(action) if "graph" in way else action
                    run()
                    seconds = median_seconds(run, args.repeats, device)
                    error = float((run().float() - exact[name]).norm() / exact[name].norm())
                rows[way][name] = {"seconds": seconds, "off": error}
            rows[way]["jvp / forward"] = rows[way]["jvp"]["seconds"] / rows[way]["forward"]["seconds"]
            print(f"{way}: {json.dumps(rows[way])}", flush=True)
    fastest = {name: min(row[name]["seconds"] for row in rows.values()) for name in ("jvp", "forward")}
    result = {"ways": rows, "fastest jvp / fastest forward": fastest["jvp"] / fastest["forward"]}
    card = {"what": "exact derivative of the net along (dx, dt) against one forward, bf16 autocast, no gradient"}
    card |= {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "torch": torch.__version__}
    card |= {"commit": commit(), "repeats": args.repeats, "net": dict(net.config)}
    write_json(args.results, {"card": card, "shapes": {f"{BATCH} x {FRAMES}": result}})
