"""What the exact forward derivative (audiocm.tangents.exact) costs against a plain forward; see methods_table.py."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiocm.diffusion.denoiser import Condition
from audiocm.distillation.targets import exact_derivative, finite_difference
from audiocm.evaluation.provenance import commit
from audiocm.models.transformer import LatentTransformer
from audiocm.training.compile import compile_blocks
from audiocm.training.run import best_device
from recipes.benchmarks.latency import median_seconds

Action = Callable[[], Tensor]
GOAL = 4.0


def net_of(teacher: str, device: torch.device) -> LatentTransformer:
    return LatentTransformer.from_pretrained(teacher).to(device).requires_grad_(False).eval()


def inputs(net: LatentTransformer, batch: int, frames: int) -> tuple[tuple[Tensor, ...], Condition]:
    """(x, t, dx, dt) around sigma = 1, and a condition of 32 tokens; most rows are shorter than the batch."""
    torch.manual_seed(0)
    device, config = net.device, net.config
    x, dx = (torch.randn(batch, config.channels, frames, device=device) for _ in range(2))
    t, dt = (torch.rand(batch, device=device) + 0.5 for _ in range(2))
    lengths = torch.randint(frames // 2, frames + 1, (batch, 1), device=device)
    cond = Condition(
        tokens=torch.randn(batch, 32, config.token_width, device=device),
        token_mask=torch.arange(32, device=device).expand(batch, -1) < 12,
        pooled=torch.randn(batch, config.pooled_width, device=device),
        mask=torch.arange(frames, device=device) < lengths,
    )
    return (x, t, dx, dt), cond


def actions(net: LatentTransformer, given: tuple[Tensor, ...], cond: Condition) -> dict[str, Action]:
    """What is timed."""
    x, t, dx, dt = given

    def forward(x: Tensor, t: Tensor) -> Tensor:
        return net(x, t, None, cond)

    def forward_math() -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return forward(x, t)

    return {
        "forward": lambda: forward(x, t),
        "forward with the MATH kernel": forward_math,
        "jvp": lambda: exact_derivative(forward, x, t, dx, dt)[1],
        "finite differences": lambda: finite_difference()(forward, x, t, dx, dt)[1],
    }


def recorded(action: Action, device: torch.device) -> Action:
    """The action as a CUDA graph."""
    side = torch.cuda.Stream(device)
    with torch.cuda.stream(side):
        for _ in range(3):
            action()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = action()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def measured(action: Action, device: torch.device, repeats: int) -> tuple[Tensor, float]:
    """Its result, and the median of its wall seconds; two runs before do not count."""

    action()
    seconds = median_seconds(action, repeats, device)
    return action().float().clone(), seconds


def attempt(action: Action, graph: bool, device: torch.device, repeats: int, truth: Tensor) -> dict:
    """Seconds and how far the result is from float32's, or why there are none."""
    autocast = torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    try:
        with torch.no_grad(), autocast:
            start = time.perf_counter()
            result, seconds = measured(recorded(action, device) if graph else action, device, repeats)
            wall = time.perf_counter() - start
    except Exception as error:  # recorded: a table without its failures would lie
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    off = float((result - truth).norm() / truth.norm())
    return {"seconds": seconds, "off": off, "wall_seconds": wall}


WAYS = ("eager", "CUDA graph", "compiled blocks", "compiled blocks, CUDA graph")


def measure(net: LatentTransformer, args: argparse.Namespace, batch: int, frames: int) -> dict:
    """Every way of running the forward and its derivative, for one batch shape."""
    device, (given, cond) = net.device, inputs(net, batch, frames)
    plain, blocks = actions(net, given, cond), net_of(args.teacher, device)
    compile_blocks(blocks)
    compiled = actions(blocks, given, cond)
    with torch.no_grad():
        truth = {name: action().clone() for name, action in plain.items()}
    found: dict[str, dict] = {}
    for way in args.ways:
        graph = "graph" in way
        if graph and device.type != "cuda":
            found[way] = {"failed": "no CUDA device"}
            continue
        chosen = compiled if "compiled" in way else plain
        found[way] = {name: attempt(one, graph, device, args.repeats, truth[name]) for name, one in chosen.items()}
        jvp, forward = (found[way][name].get("seconds") for name in ("jvp", "forward"))
        if jvp and forward:
            found[way]["jvp / forward"] = jvp / forward
        print(f"{batch} x {frames}, {way}: {json.dumps(found[way])}", flush=True)
    return found


def jvp(args: argparse.Namespace) -> None:
    """JSON at --out: seconds of every way, jvp / forward of each, and the same for the fastest of both."""
    device = best_device()
    net, results = net_of(args.teacher, device), {}
    for batch, frames in args.shapes:
        ways = measure(net, args, batch, frames)
        times = {
            name: [way[name]["seconds"] for way in ways.values() if "seconds" in way.get(name, {})]
            for name in ("forward", "jvp")
        }
        results[f"{batch} x {frames}"] = {"ways": ways}
        if all(times.values()):
            results[f"{batch} x {frames}"]["fastest jvp / fastest forward"] = min(times["jvp"]) / min(times["forward"])
    card = {
        "what": "exact derivative of the net along (dx, dt) against one forward, bf16 autocast, no gradient",
        "goal": GOAL, "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__, "commit": commit(), "repeats": args.repeats,
        "net": {key: net.config[key] for key in ("channels", "width", "depth", "heads")},
    }  # fmt: skip
    out = Path(args.out)
    out = out if out.suffix == ".json" else out / "jvp.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"card": card, "shapes": results}, indent=1) + "\n")
    print(out)
