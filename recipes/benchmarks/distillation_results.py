"""The results file of `distillation.py`: what was measured, what is left, and the ratios that follow."""

import argparse
import json
import threading
import time
from typing import Any

import diffusers
import torch

from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from audiocm.training.memory import GIB

LORA_GIB = 24  # memory that a low-rank difference may take


class Results:
    """The rows of one model, printed and written as they come."""

    def __init__(self, name: str, args: argparse.Namespace, device: torch.device):
        self.name, self.args, self.device, self.start = name, args, device, time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.measured: dict[str, dict[str, Any]] = {}  # part -> its row
        self.waiting: list[str] = []  # parts that have not ended
        self.lock = threading.RLock()  # of the rows, which the end of time completes
        self.call, self.commit = 1, commit()  # call: of the commands that measured this model

    def card(self) -> dict[str, Any]:
        """Returns what the results were measured with."""
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"
        card = {"device": device, "torch": torch.__version__, "diffusers": diffusers.__version__}
        if self.device.type == "cuda":
            card["memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / GIB, 1)
        return card | {"tiny": self.args.tiny, "asked_batch": self.args.batch}

    def resume(self) -> None:
        """Takes over what earlier commands measured with the same device and packages, but not what was not run."""
        path = self.args.results
        known = json.loads(path.read_text(encoding="utf-8")).get(self.name) if path.is_file() else None
        if known is None or known["card"] != self.card():
            return
        self.rows = [row for row in known["rows"] if "not_run" not in row]
        self.measured = {row["part"]: row for row in self.rows if "failed" not in row}
        self.call = 1 + max((row["call"] for row in self.rows), default=0)
        self.summary = known["summary"]

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self.args.limit - (time.monotonic() - self.start)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:4.0f} s] {self.name}: {text}", flush=True)

    def record(self, **row: Any) -> dict[str, Any]:
        """Prints a result and writes all of them."""
        row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        row |= {"part": self.waiting[0] if self.waiting else row["variant"], "call": self.call, "commit": self.commit}
        with self.lock:
            self.rows.append(row)
            self.say(json.dumps(row))
            self.write()
        return row

    def write(self) -> None:
        """Puts this model's results into the file, beside those of others."""
        path = self.args.results
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        known[self.name] = {"card": self.card(), "summary": self.summary, "rows": self.rows}
        write_json(path, known)

    def end(self) -> None:
        """Records that the parts which have not ended were not, or not completely, run."""
        with self.lock:
            when = "while it ran"
            while self.waiting:
                self.record(variant=self.waiting[0], not_run=f"time was over {when}")
                self.waiting.pop(0)
                when = "before it"

    def summarize(self) -> None:
        """Writes how much faster audiocm is, at the same batch and each at its best, as far as it was measured."""
        found = self.measured

        def fastest(*parts: str) -> dict[str, Any] | None:
            rows = [found[part] for part in parts if part in found]
            return max(rows, key=lambda row: row["samples_per_second"], default=None)

        script, plain, ours = fastest("script"), fastest("audiocm"), fastest("audiocm", "compiled")
        if script and plain and script["batch"] == plain["batch"]:
            self.summary |= {"batch": script["batch"]}
            self.summary["ratio_uncompiled"] = round(plain["samples_per_second"] / script["samples_per_second"], 3)
            self.summary["ratio_at_equal_batch"] = round(ours["samples_per_second"] / script["samples_per_second"], 3)
        if "script, largest batch" in found and "audiocm, largest batch" in found:
            best_script = fastest("script", "script, largest batch")
            best = fastest("audiocm", "compiled", "audiocm, largest batch")
            for name, row in {"script": best_script, "audiocm": best}.items():
                self.summary[f"best_{name}"] = round(row["samples_per_second"], 2)
                self.summary[f"best_batch_{name}"] = row["batch"]
            ratio = best["samples_per_second"] / best_script["samples_per_second"]
            self.summary["ratio_at_best"] = round(ratio, 3)
        if "latency" in found:
            for name in ("times_faster", "times_faster_with_decoding"):
                self.summary[name] = round(found["latency"][name], 1)
        if "lora" in found:
            self.summary[f"lora_within_{LORA_GIB}_gib"] = found["lora"]["is_within"]
        if "compiled" in found:
            self.summary["first_compiled_step_seconds"] = found["compiled"]["first_step_seconds"]
        self.say(json.dumps(self.summary))
        self.write()
