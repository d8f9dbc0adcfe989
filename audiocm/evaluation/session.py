"""The scoring request, and the embedded folders shared by all metrics of one evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.io import UnusableClipError
from ..checks import check_instance, check_number, check_path, check_whole
from ..devices import resolve_device
from ..embedders.protocol import Embedder, TextAudioEmbedder
from ..embedders.registry import default_embedder, load_embedder, load_tagger
from .features import FeatureSet, collect_features, matching_rows
from .preprocessing import LoadReport, Preprocessing, decode_clip, hash_content, list_clips
from .prompts import clip_key, read_prompt_lines
from .reference import ReferenceStatistics

MIN_RESAMPLES = 40  # with fewer, the outer 2.5 % of the resamples is less than one
MAX_RESAMPLES = 100_000
MAX_UNUSABLE = 0.05
MAX_WORKERS = 256
COMPONENTS = 64


@dataclass
class ScoreRequest:
    """What to score and how. `embedders`, `clap` and `tagger` are names (see `audiocm.embedders.registry`) or objects.

    Raises ValueError for an option that is not allowed."""

    generated: Path  # folder
    reference: Path | None = None  # folder of real sounds, or a file of `reference.ReferenceStatistics`
    prompts: Path | None = None  # JSON lines
    metrics: Sequence[str] = ("fad", "kad")  # keys of `registry.METRICS`
    embedders: Sequence[str | Embedder] = ()  # empty: the default embedder
    clap: str | Embedder | None = None
    tagger: str | Embedder | None = None
    tokenizer: str | None = None  # of a LAION checkpoint, which holds none: a RoBERTa folder or hub id
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    components: int = COMPONENTS  # principal components of fd-pca and fd-halves
    cache: Path | None = None  # folder of cached features; None: no cache
    workers: int = 2  # files read in parallel
    seed: int = 0  # of the resampling
    resamples: int = 200  # of set statistics
    max_unusable: float = MAX_UNUSABLE  # share of unusable clips above which a folder is not scored
    device: str = "cpu"
    save_reference: Path | None = None  # file for the statistics of the reference or, without one, of `generated`
    preset: dict | None = None  # entry of the card, see `presets.preset_options`

    def __post_init__(self) -> None:
        self.metrics = _names("metrics", self.metrics)
        self.embedders = _names("embedders", self.embedders, or_embedder=True)
        self.generated = Path(check_path("generated", self.generated))
        for option in ("reference", "prompts", "save_reference", "cache"):
            if getattr(self, option) is not None:
                setattr(self, option, Path(check_path(option, getattr(self, option))))
        for option in ("clap", "tagger", "tokenizer"):
            if getattr(self, option) is not None:
                _names(option, [getattr(self, option)], or_embedder=option != "tokenizer")
        check_instance("preprocessing", self.preprocessing, Preprocessing)
        if not isinstance(self.preset, dict | None):
            raise ValueError(f"preset is an entry of a card: use **preset_options({self.preset!r})")
        if not (self.metrics or self.save_reference):
            raise ValueError("no metric is named: --metrics fad,kad for example")
        check_whole("--resamples", self.resamples, least=MIN_RESAMPLES, most=MAX_RESAMPLES)
        check_whole("--seed", self.seed, least=0, below=2**64)
        check_whole("--workers", self.workers, least=1, most=MAX_WORKERS)
        check_whole("--components", self.components, least=1, most=10**6)
        check_number("--max-unusable", self.max_unusable, least=0, below=1)
        self.device = resolve_device(self.device)


def _names(option: str, value: Any, or_embedder: bool = False) -> tuple:
    """Returns names as a tuple; a single one may stand alone, and an embedder in the place of its name.

    Raises ValueError for anything else."""
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    for one in several:
        if not isinstance(one, str) and not (or_embedder and callable(getattr(one, "features", None))):
            raise ValueError(f"{option} must be names{' or embedders' if or_embedder else ''}, not {one!r}")
    return several


class Evaluation:
    """The folders of one request. Clips are embedded when a metric first needs them and then kept, so that every clip
    is embedded once; metrics read from here and return whatever else they used in their `MetricResult`."""

    def __init__(self, request: ScoreRequest) -> None:
        self.request = request
        self.paths = {"generated": list_clips(request.generated)}
        self.statistics: ReferenceStatistics | None = None
        if request.reference is not None and request.reference.is_file() and request.reference.suffix == ".npz":
            self.statistics = ReferenceStatistics.load(request.reference)
            self.statistics.require_form(request.preprocessing, request.reference)
        elif request.reference is not None:
            self.paths["reference"] = list_clips(request.reference)
        self.reports: dict[str, LoadReport] = {}  # by role
        self.prompts: dict[str, dict] = {}  # lines of the prompts file by name
        self.loaded_embedders: dict[str, Embedder] = {}
        self._sets: dict[tuple[str, str], FeatureSet] = {}
        if request.prompts is not None:
            self.prompts = read_prompt_lines(request.prompts, list(self.files_by_name("generated")))

    def clip_name(self, role: str, path: Path) -> str:
        """Returns the name that pairs clips of two folders and prompts: the path inside the folder without suffix."""
        return clip_key(path.relative_to(getattr(self.request, role)))

    def clip_names(self, role: str) -> list[str]:
        """Returns the names of all files of a folder; empty if the request has no such folder."""
        return [self.clip_name(role, path) for path in self.paths.get(role, ())]

    def share(self, other: "Evaluation") -> None:
        """Takes over the embedders and the embedded reference of another system's evaluation."""
        self.loaded_embedders, self.statistics = other.loaded_embedders, other.statistics
        self._sets |= {key: one for key, one in other._sets.items() if key[0] == "reference"}
        if "tagger" in other.__dict__:
            self.__dict__["tagger"] = other.tagger
        if "reference" in other.reports:
            self.reports["reference"] = other.reports["reference"]

    @property
    def has_partners(self) -> bool:
        """Whether every generated file has a reference file of the same name."""
        return set(self.clip_names("generated")) <= set(self.clip_names("reference"))

    def embedder(self, which: str | Embedder) -> Embedder:
        """Returns an embedder, loaded once. Raises ValueError if another embedder has the same name."""
        key = which if isinstance(which, str) else which.name
        loaded, request = self.loaded_embedders, self.request
        if key not in loaded or which not in (key, loaded[key]):
            found = load_embedder(which, request.device, request.tokenizer) if isinstance(which, str) else which
            if {one.digest for one in loaded.values() if one.name == found.name} - {found.digest}:
                raise ValueError(f"two embedders are called {found.name}: rename one, or score with one at a time")
            loaded[key] = found
        return loaded[key]

    @property
    def embedders(self) -> list[Embedder]:
        """The requested embedders, or the default one."""
        return [self.embedder(one) for one in self.request.embedders or [default_embedder()]]

    @property
    def clap(self) -> TextAudioEmbedder:
        """The embedder of the clap metric. Raises ValueError if it has no text encoder."""
        found = self.embedder(self.request.clap or "small-clap")
        if not isinstance(found, TextAudioEmbedder):
            allowed = "--clap takes small-clap or another CLAP (see --embedder)"
            raise ValueError(f"{found.name} has no text encoder: {allowed}")
        return found

    @cached_property
    def tagger(self) -> Embedder:
        """The requested tagger, else one among the requested embedders, else the default one."""
        wanted = self.request.tagger
        if wanted is not None and not isinstance(wanted, str):
            return self.embedder(wanted)
        requested = self.embedders if self.request.embedders and wanted is None else []
        found = next((one for one in requested if one.name in ("yamnet", "panns", "passt")), None)
        return found or self.embedder(load_tagger(wanted, self.request.device, self.request.tokenizer))

    def features(self, role: str, embedder: Embedder) -> FeatureSet:
        """Returns the embedded folder. Raises ValueError if too many of its clips are unusable."""
        if role == "reference" and self.statistics is not None:
            return self.statistics.feature_set(embedder)
        if (role, embedder.name) not in self._sets:
            r, report = self.request, LoadReport()
            found = collect_features(self.paths[role], embedder, r.preprocessing, report, r.cache, r.workers, r.seed)
            found.names = [self.clip_name(role, path) for path in found.paths]
            report.require_usable(role, r.max_unusable)
            self.reports[role], self._sets[role, embedder.name] = report, found
        return self._sets[role, embedder.name]

    def feature_sets(self, embedder: Embedder) -> tuple[FeatureSet, FeatureSet]:
        """Returns both embedded folders, generated first. If their files have the same names, a clip that is unusable
        in one of them is left out of both, so that the bootstrap can resample pairs."""
        generated, reference = (self.features(role, embedder) for role in ("generated", "reference"))
        same_files = sorted(self.clip_names("generated")) == sorted(self.clip_names("reference"))
        if same_files and generated.names != reference.names and generated.is_complete and reference.is_complete:
            shared = set(generated.names) & set(reference.names)
            return generated.subset(shared), reference.subset(shared)
        return generated, reference

    def paired_rows(self, embedder: Embedder) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Returns the names of the clips that are usable in both folders and their rows in the two feature sets."""
        self.pairs()
        generated, reference = (self.features(role, embedder) for role in ("generated", "reference"))
        rows, partners = matching_rows(generated.names, reference.names)
        return [generated.names[i] for i in rows], rows, partners

    def wavs(self, *roles: str, rate: int | None = None) -> Iterator[tuple[str, list[np.ndarray], int]]:
        """Yields the name, one preprocessed wav [sample] per role and their rate for every clip that is usable in all
        `roles` ("generated", or it and "reference"). `rate` None is the own rate of the last role's file.

        Raises ValueError if too many clips are unusable."""
        reports, preprocessing = {role: LoadReport() for role in roles}, self.request.preprocessing
        for paths in self.pairs() if len(roles) > 1 else [(path,) for path in self.paths[roles[0]]]:
            wavs, sources, common_rate = {}, {}, rate
            for role, path in reversed(list(zip(roles, paths, strict=True))):  # the last one sets the rate
                try:
                    wav, sources[role] = decode_clip(path, hash_content(path), preprocessing.max_seconds)
                    common_rate = common_rate or sources[role].rate
                    wavs[role] = preprocessing(wav, sources[role].rate, common_rate)
                except UnusableClipError as error:
                    reports[role].skip(path, error)
            if len(wavs) == len(roles):
                for role, path in zip(roles, paths, strict=True):
                    reports[role].add(path, sources[role], preprocessing)
                yield self.clip_name("generated", paths[0]), [wavs[role] for role in roles], common_rate
        for role, report in reports.items():
            self.reports.setdefault(role, report)
            report.require_usable(role, self.request.max_unusable)

    def files_by_name(self, role: str) -> dict[str, Path]:
        """Returns the files of a folder by the name that pairs them. Raises ValueError if two have the same name."""
        files: dict[str, Path] = {}
        for path in self.paths[role]:
            if (name := self.clip_name(role, path)) in files:
                raise ValueError(f"{role}: {files[name]} and {path} differ only in their suffix: which one is {name}?")
            files[name] = path
        return files

    def pairs(self) -> list[tuple[Path, Path]]:
        """Returns (generated, reference) files of the same name. Raises ValueError naming files without a partner."""
        reference, generated = self.files_by_name("reference"), self.files_by_name("generated")
        if alone := sorted(set(generated) - set(reference)):
            counts = f"{len(alone)} generated files have no reference (first: {alone[0]})"
            raise ValueError(f"paired metrics need files of the same names: {counts}")
        return [(generated[name], reference[name]) for name in sorted(generated)]
