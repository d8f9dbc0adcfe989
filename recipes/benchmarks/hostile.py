"""Thousands of wrong inputs, and what becomes of each: bad input is one line, and nothing is lost.

    python -m recipes.benchmarks.hostile                       # all cases, about ten minutes on two CPU cores
    python -m recipes.benchmarks.hostile --sample 60 --kinds generate,score
    python -m recipes.benchmarks.hostile --run "generate: 'x' -o x.wav --device cpu:5"

The cases are composed in `wrong_inputs`: values of every type for every option, argument and key, and kinds of damage.
A fault that somebody finds is a line in one of the tables there, and so is tried in all places alike. Each case runs in
a child of this process, forked with everything imported, in a folder of its own. A command is **refused** well if its
exit code is 2 (or 3, for sounds that are missing), stderr has one line, which starts with "audiocm", and no file
appeared, changed or went. A call is refused well if it raises a ValueError or TypeError of one line that names the
argument. A case that may also pass is **accepted** if it does, and what it wrote does not count. Anything else is a
failure: a traceback, more than one line, another exit code, nonsense that passes, a lost or half-written file, code
that ran (a mark file), or a child that takes more than 10 s of CPU time or two minutes.
"""

import argparse
import contextlib
import os
import platform
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from audiocm.evaluation.provenance import commit, versions
from audiocm.files import write_json

from .wrong_inputs.calls import calls
from .wrong_inputs.commands import commands
from .wrong_inputs.data import damaged_data
from .wrong_inputs.models import damaged_models
from .wrong_inputs.workspace import MARK, Case, write_inputs

CPU_SECONDS, WALL_SECONDS = 10, 120
LONGEST_LINE = 1000  # letters
PROGRESS = re.compile(r"%\||^audiocm: warning: ")  # a bar, or what was left out before the error: no part of it
SHOWN = 400  # letters of a failure's words


@dataclass(frozen=True)
class Verdict:
    """What became of a case: "refused", "accepted" or "failed", and why."""

    kind: str
    name: str
    outcome: str
    why: str = ""
    words: str = ""


def all_cases(seed: int) -> list[Case]:
    """Returns all cases, in an order that the seed does not change; it draws values of keys and pairs of options."""
    generator = random.Random(seed)
    return [*commands(generator), *damaged_models(generator), *damaged_data(generator), *calls()]


def snapshot(folder: Path) -> dict[str, tuple]:
    """Returns the kind, size, time and target of every path below a folder, itself excluded."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        of_file = (facts.st_size, facts.st_mtime_ns) if not path.is_dir() or path.is_symlink() else ()
        found[str(path.relative_to(folder))] = (facts.st_mode, *of_file)
    return found


def run_child(case: Case, folder: Path, out: Path) -> int:
    """Runs a case in a forked child and returns its exit code, negative for a signal, or -1000 if it hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not (child := os.fork()):
        code = 1
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
            os.chdir(folder)
            for number, name in ((0, os.devnull), (1, out / "stdout"), (2, out / "stderr")):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
            code = case.run()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code & 0xFF)
    start = time.monotonic()
    while time.monotonic() - start < WALL_SECONDS:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return -1000 if code in (-signal.SIGXCPU, -signal.SIGKILL) else code
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1000


def judge(case: Case, inputs: Path) -> Verdict:
    """Runs a case on a copy of its inputs and says what became of it."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        folder, out = Path(temporary) / "work", Path(temporary) / "out"
        out.mkdir()
        shutil.copytree(inputs, folder, symlinks=True, copy_function=os.link)
        if case.prepare is not None:
            case.prepare(folder)
        before = snapshot(folder)
        code = run_child(case, folder, out)
        after, words = snapshot(folder), (out / "stderr").read_text(errors="replace")
        ran = any(Path(temporary).rglob(MARK))
    lines = [line for line in words.splitlines() if line.strip() and not PROGRESS.search(line)]
    appeared = sorted(after.keys() - before.keys())
    lost = sorted(name for name in before if after.get(name) != before[name])
    verdict = Verdict(case.kind, case.name, "failed", words=words[-SHOWN:])
    if ran:
        return replace(verdict, why="ran code")
    if code == -1000:
        return replace(verdict, why="hangs")
    if lost:
        return replace(verdict, why=f"changed or lost {lost[0]}")
    if code == 0:
        return replace(verdict, outcome="accepted" if case.may_pass else "failed", why="accepted")
    if code not in (2, 3):
        return replace(verdict, why=f"exit code {code}: {lines[-1][:SHOWN] if lines else ''}")
    if appeared:
        return replace(verdict, why=f"wrote {appeared[0]}")
    if len(lines) != 1 or len(lines[0]) > LONGEST_LINE:
        return replace(verdict, why=f"{len(lines)} lines of {len(words)} letters")
    if not lines[0].startswith("audiocm"):
        return replace(verdict, why="does not start with audiocm")
    return replace(verdict, outcome="refused", words=lines[0])


def choose(cases: list[Case], sample: int | None, kinds: list[str] | None, seed: int) -> list[Case]:
    """Returns the cases of some kinds, or a random sample with something of every kind."""
    cases = [case for case in cases if kinds is None or case.kind in kinds]
    if sample is None or sample >= len(cases):
        return cases
    generator, by_kind = random.Random(seed), {}
    for case in generator.sample(cases, len(cases)):
        by_kind.setdefault(case.kind, []).append(case)
    turns = max(map(len, by_kind.values()))
    return [rows[turn] for turn in range(turns) for rows in by_kind.values() if turn < len(rows)][:sample]


def count_outcomes(verdicts: list[Verdict]) -> dict[str, dict[str, int]]:
    """Returns the number of cases of every kind by outcome."""
    counts = Counter((one.kind, one.outcome) for one in verdicts)
    kinds, outcomes = dict.fromkeys(one.kind for one in verdicts), ("refused", "accepted", "failed")
    return {kind: {outcome: counts[kind, outcome] for outcome in outcomes} for kind in kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the composition and of the sample")
    parser.add_argument("--sample", type=int, help="number of cases (default: all)")
    parser.add_argument("--kinds", type=lambda text: text.split(","), help="default: all")
    parser.add_argument("--run", metavar="TEXT", help="only cases whose name contains this, with their words")
    parser.add_argument("--output", type=Path, help="JSON file of the results, such as samples/hostile_results.json")
    args = parser.parse_args()
    diffusers_logging.set_verbosity_error()  # as the command line sets them before it imports the libraries
    transformers_logging.set_verbosity_error()
    start, verdicts = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="hostile-inputs-") as temporary:
        write_inputs(Path(temporary))
        cases = all_cases(args.seed)
        chosen = choose([case for case in cases if not args.run or args.run in f"{case.kind}: {case.name}"], args.sample,
                        args.kinds, args.seed)  # fmt: skip
        for case in chosen:
            verdicts.append(judge(case, Path(temporary)))
            if args.run or verdicts[-1].outcome == "failed":
                one = verdicts[-1]
                print(f"{one.outcome}: {one.kind}: {one.name}: {one.why or one.words}", file=sys.stderr, flush=True)
    counts = count_outcomes(verdicts)
    width = max(map(len, counts), default=4)
    print(f"{'kind':{width}} refused accepted  failed")
    for kind, of_kind in (counts | {"all": dict(Counter(one.outcome for one in verdicts))}).items():
        print(
            f"{kind:{width}} "
            + " ".join(f"{of_kind.get(name, 0):8}"[-8:] for name in ("refused", "accepted", "failed"))
        )
    if args.output:
        listed = {
            outcome: [
                {"case": f"{one.kind}: {one.name}", "why": one.why, "words": one.words}
                for one in verdicts
                if one.outcome == outcome
            ]
            for outcome in ("failed", "accepted")
        }
        about = {
            "device": f"{platform.machine()}, {os.cpu_count()} CPU cores",
            "commit": commit(),
            "versions": versions(),
        }
        facts = {
            "seed": args.seed,
            "cases": len(verdicts),
            "composed": len(cases),
            "seconds": round(time.monotonic() - start),
        }
        write_json(args.output, about | facts | {"counts": counts} | listed)


if __name__ == "__main__":
    main()
