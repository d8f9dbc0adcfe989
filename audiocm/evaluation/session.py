"""What `audiocm score` is asked, and the embedded folders that its metrics share."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..audio.io import UnusableClipError, decode
from ..devices import resolve_device
from ..embedders.protocol import Embedder
from ..embedders.registry import default_embedder, load_embedder, load_tagger
from .features import FeatureSet, collect_features
from .preprocessing import LoadReport, Preprocessing, Source, list_clips

FEWEST_DRAWS = 40  # the outer 2.5 % of fewer bootstrap draws are no draw at all
LEFT_OUT = 0.05  # share of a folder that may be unusable before a score is refused


@dataclass
class ScoreRequest:
    """What to score, and how. Folders as paths; `embedders` and `clap` as names or objects; `cache` None = none kept."""

    generated: Path
    reference: Path | None = None
    prompts: Path | None = None
    metrics: Sequence[str] = ("fad", "kad")
    embedders: Sequence[str | Embedder] = ()
    clap: str | Embedder | None = None
    tagger: str | Embedder | None = None
    tokenizer: str | None = None  # of LAION's files, which hold none: a RoBERTa folder or hub id
    form: Preprocessing = field(default_factory=Preprocessing)
    cache: Path | None = None
    workers: int = 2
    seed: int = 0
    draws: int = 200
    left_out: float = LEFT_OUT
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Raises ValueError naming what cannot be meant; one name stands for a list of one."""
        if isinstance(self.metrics, str):
            self.metrics = (self.metrics,)
        if isinstance(self.embedders, str):
            self.embedders = (self.embedders,)
        if not self.metrics:
            raise ValueError("no metric is named: --metrics fad,kad for example")
        if self.draws < FEWEST_DRAWS:
            raise ValueError(f"--draws must be at least {FEWEST_DRAWS} for a 95 % interval, not {self.draws}")
        if self.seed < 0 or self.workers < 1:
            raise ValueError(f"--seed must be 0 or more and --workers 1 or more, not {self.seed} and {self.workers}")
        if not 0 <= self.left_out < 1:
            raise ValueError(f"--left-out is a share of the clips, from 0 to less than 1, not {self.left_out}")
        if not self.form.shortest <= self.form.longest < math.inf:
            raise ValueError(f"--longest must be at least {self.form.shortest} s, not {self.form.longest}")
        if self.form.band_limit is not None and self.form.band_limit < 1000:
            raise ValueError(f"--band-limit is a rate in hertz, at least 1000, not {self.form.band_limit}")
        self.device = resolve_device(self.device)


class Evaluation:
    """The sets a metric asks for, made when first asked for and then kept: every clip is embedded once."""

    def __init__(self, request: ScoreRequest) -> None:
        self.request = request
        self.paths = {"generated": list_clips(request.generated)}
        if request.reference is not None:
            self.paths["reference"] = list_clips(request.reference)
        self._embedders: dict[str, Embedder] = {}
        self._sets: dict[tuple[str, str], FeatureSet] = {}
        self.intakes: dict[str, LoadReport] = {}
        self.prompts: dict[str, dict] = {}
        self.judges: list = []  # what else judged: has name and digest
        self.paired = False  # has any metric paired files by name?
        self.sets: dict = {}  # set statistics by metric name (measures.SetStatistic), for paired tests
        if request.prompts is not None:
            self.prompts = read_prompt_lines(request.prompts, list(self.by_name("generated")))

    def key(self, role: str, path: Path) -> str:
        """What pairs clips of two folders and prompts: the path inside the folder without suffix."""
        return str(path.relative_to(getattr(self.request, role)).with_suffix(""))

    def embedder(self, which: str | Embedder) -> Embedder:
        """An embedder, found once. Raises ValueError where two would give their numbers the same name."""
        key = which if isinstance(which, str) else which.name
        if key not in self._embedders or which not in (key, self._embedders[key]):
            found = which
            if isinstance(which, str):
                found = load_embedder(which, self.request.device, self.request.tokenizer)
            digests = {e.digest for e in self._embedders.values() if e.name == found.name}
            if digests - {found.digest}:
                raise ValueError(f"two embedders are called {found.name}: rename one, or score with one at a time")
            self._embedders[key] = found
        return self._embedders[key]

    @property
    def embedders(self) -> list[Embedder]:
        return [self.embedder(e) for e in self.request.embedders or [default_embedder()]]

    @property
    def used_embedders(self) -> list[Embedder]:
        return list({e.name: e for e in self._embedders.values()}.values())

    @property
    def clap(self) -> Embedder:
        """Raises ValueError for an embedder that is no CLAP."""
        found = self.embedder(self.request.clap or "small-clap")
        if not hasattr(found, "text"):
            raise ValueError(f"{found.name} reads no words: --clap takes small-clap, a CLAP folder, hub id or .pt file")
        return found

    @cached_property
    def tagger(self) -> Embedder:
        wanted = self.request.tagger
        if wanted is not None and not isinstance(wanted, str):
            return self.embedder(wanted)
        named = self.embedders if self.request.embedders and wanted is None else []
        found = next((e for e in named if e.name in ("yamnet", "panns")), None)
        return found or self.embedder(load_tagger(wanted, self.request.device, self.request.tokenizer))

    def features(self, role: str, embedder: Embedder) -> FeatureSet:
        """The embedded folder. Raises ValueError where too large a share of it cannot be used."""
        if role not in self.paths:
            raise ValueError("this metric compares with real sound: name a folder with --reference")
        if (role, embedder.name) not in self._sets:
            r, intake = self.request, LoadReport()
            found = collect_features(self.paths[role], embedder, r.form, intake, r.cache, r.workers, r.seed)
            found.names = [self.key(role, path) for path in found.paths]
            self.intakes[role] = intake
            self._sets[role, embedder.name] = found
            self._refuse(role, intake)
        return self._sets[role, embedder.name]

    def _refuse(self, role: str, intake: LoadReport) -> None:
        bad = sum(len(names) for names in intake.left_out.values())
        if bad > self.request.left_out * (bad + intake.used):
            counts = ", ".join(
                f"{len(names)} {reason} (first: {names[0]})" for reason, names in intake.left_out.items()
            )
            raise ValueError(
                f"{role}: {bad} of {bad + intake.used} clips cannot be used: {counts}; --left-out allows more"
            )

    def wavs(self, *roles: str, rate: int | None = None) -> Iterator[tuple[str, list[np.ndarray], int]]:
        """(name, one wav a role, their rate) of "generated", or of it and "reference", in the request's form at `rate`
        (None: the last file's own), for clips that all roles can use. Raises as `features` does."""
        rows = self.pairs() if len(roles) > 1 else [(path,) for path in self.paths[roles[0]]]
        intakes = {role: LoadReport() for role in roles}
        for paths in rows:
            read = [self._read(intakes[role], path) for role, path in zip(roles, paths, strict=True)]
            if None in read:
                continue
            wanted, wavs = rate or read[-1][1], []
            for role, path, (wav, own, _) in zip(roles, paths, read, strict=True):
                try:
                    wavs.append(self.request.form(wav, own, wanted))
                except UnusableClipError as error:
                    intakes[role].leave_out(error.reason, str(path))
            if len(wavs) == len(roles):
                for role, path, (_, _, source) in zip(roles, paths, read, strict=True):
                    intakes[role].use(path, source, self.request.form)
                yield self.key("generated", paths[0]), wavs, wanted
        for role, intake in intakes.items():
            self.intakes.setdefault(role, intake)
            self._refuse(role, intake)

    @staticmethod
    def _read(intake: LoadReport, path: Path) -> tuple[np.ndarray, int, Source] | None:
        try:
            data = path.read_bytes()
            wav, rate = decode(data)
        except (OSError, UnusableClipError):
            return intake.leave_out("corrupt", str(path))
        return wav, rate, Source.of(hashlib.sha256(data).hexdigest(), wav, rate)

    def by_name(self, role: str) -> dict[str, Path]:
        """Files by the name that pairs them. Raises ValueError where two have the same one."""
        found: dict[str, Path] = {}
        for path in self.paths[role]:
            if (name := self.key(role, path)) in found:
                raise ValueError(f"{role}: {found[name]} and {path} differ only in their suffix: which one is {name}?")
            found[name] = path
        return found

    def pairs(self) -> list[tuple[Path, Path]]:
        """(generated, reference) files of one name. Raises ValueError naming files without a partner."""
        if "reference" not in self.paths:
            raise ValueError("this metric compares file by file: name a folder with --reference")
        real, made = self.by_name("reference"), self.by_name("generated")
        alone = sorted(set(made) - set(real))
        if alone:
            raise ValueError(f"paired metrics need files of the same names: {len(alone)} generated files have no "
                             f"reference (first: {alone[0]})")  # fmt: skip
        self.paired = True
        return [(made[name], real[name]) for name in sorted(made)]

    def paired_features(self, embedder: Embedder, key: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names and features of both folders for clips that both could use."""
        self.pairs()
        made, real = self.features("generated", embedder), self.features("reference", embedder)
        place = {name: i for i, name in enumerate(real.names)}
        both = [(name, i, place[name]) for i, name in enumerate(made.names) if name in place]
        rows = np.array([[i, j] for _, i, j in both])
        return [name for name, *_ in both], made.features[key][rows[:, 0]], real.features[key][rows[:, 1]]

    def prompts_of(self, names: Sequence[str]) -> list[dict]:
        if not self.prompts:
            raise ValueError("this metric needs the words: name a file with --prompts")
        return [self.prompts[name] for name in names]


def read_prompt_lines(file: str | Path, names: list[str]) -> dict[str, dict]:
    """{file name without suffix: {"prompt", "labels", "text"}} of a JSON-lines file; a line with `text` alone is its own prompt.

    Lines that name a `file` are matched by it; lines without one belong to the sorted files in order. Raises ValueError
    naming prompts without files and files without prompts."""
    try:
        lines = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{file}: not JSON lines ({error})") from error
    lines = [{"prompt": line.get("text"), **line} if isinstance(line, dict) else {} for line in lines]
    bad = [i for i, line in enumerate(lines, 1) if not str(line.get("prompt") or "").strip()]
    if bad:
        raise ValueError(f'{file}: {len(bad)} lines have no "prompt" or "text" (first: line {bad[0]})')
    if all("file" in line for line in lines):
        table = {}
        for i, line in enumerate(lines, 1):
            name = str(Path(str(line["file"])).with_suffix(""))
            if name in table:
                raise ValueError(
                    f"{file}: {line['file']} has more than one line (the second: line {i}); keep one caption a file"
                )
            table[name] = line
    elif len(lines) == len(names):
        table = dict(zip(names, lines, strict=True))
    else:
        raise ValueError(f"{file}: {len(lines)} prompts for {len(names)} files, and the lines do not name their files")
    for text, missing in (
        ("files without a prompt", set(names) - set(table)),
        ("prompts without a file", set(table) - set(names)),
    ):
        if missing:
            raise ValueError(
                f"{file}: {len(missing)} {text} (first: {min(missing)}): every file needs one line, every line its file"
            )
    return table
