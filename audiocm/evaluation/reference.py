"""Statistics of a reference folder in a file, so that systems are scored without its sounds."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..embedders.protocol import Embedder
from ..files import atomic_write, content_digest
from ..metrics import RunningMoments
from ..metrics.moments import Moments
from ..schema import parse_json
from .features import FeatureSet
from .preprocessing import LoadReport, Preprocessing
from .provenance import describe_judge, differences

FORMAT = 1
MOST_BYTES = 2**31  # of all arrays of a file
MOST_DIMENSIONS = 20_000


def content_of(report: LoadReport) -> str:
    """Returns the digest of the contents of a folder's used files, whatever their names are."""
    return content_digest(*sorted(f"{content} " for content in report.contents.values()))


@dataclass(frozen=True)
class EmbedderStatistics:
    """Mean and covariance of `rows` embeddings (or frames) under the embedder that the dictionary `key` describes."""

    key: dict
    rows: int
    moments: Moments


@dataclass(frozen=True)
class ReferenceStatistics:
    """Statistics by the name of the embedder, the preprocessing (`form`) and counts of the clips, and their digest.

    The file is an .npz of plain arrays and one text of JSON; nothing in it is executed."""

    embedders: dict[str, EmbedderStatistics]
    form: dict
    digest: str
    clips: int
    left_out: dict[str, int]
    truncated: int

    @classmethod
    def of(cls, sets: dict[Embedder, FeatureSet], report: LoadReport, form: dict) -> "ReferenceStatistics":
        """Returns the statistics of one folder's feature sets."""
        found = {
            one.name: EmbedderStatistics(describe_judge(one), clips.moments.count, clips.moments.moments())
            for one, clips in sets.items()
        }
        left_out = report.as_dict()["left_out"]
        return cls(found, form, content_of(report), report.used, left_out, report.truncated)

    def save(self, file: str | Path) -> None:
        """Writes the file. Raises ValueError if it cannot be written."""
        about = asdict(self) | {"format": FORMAT, "embedders": {}}
        arrays = {}
        for i, (name, one) in enumerate(self.embedders.items()):
            about["embedders"][name] = {"key": one.key, "rows": one.rows}
            arrays |= {f"mean_{i}": one.moments.mean, f"covariance_{i}": one.moments.covariance}
        with atomic_write(file) as beside, beside.open("wb") as output:
            np.savez(output, about=np.array(json.dumps(about)), **arrays)

    @classmethod
    def load(cls, file: str | Path) -> "ReferenceStatistics":
        """Reads a file that `save` wrote. Raises ValueError if it is not one or if its numbers are no statistics."""
        try:
            with zipfile.ZipFile(file) as archive:
                if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                    raise ValueError("it is too large")
            with np.load(file, allow_pickle=False) as stored:
                about = parse_json(str(stored["about"][()]))
                if about.pop("format") != FORMAT:
                    raise ValueError("it is of another version")
                named = {}
                for i, (name, one) in enumerate(about.pop("embedders").items()):
                    moments = _checked(stored[f"mean_{i}"], stored[f"covariance_{i}"], name)
                    if not isinstance(one["key"], dict) or not isinstance(one["rows"], int) or one["rows"] < 2:
                        raise ValueError(f"the entry of {name} is damaged")
                    named[name] = EmbedderStatistics(one["key"], one["rows"], moments)
            found = cls(named, **about)
            counts = (found.clips, found.truncated, *found.left_out.values())
            if not isinstance(found.form, dict) or not all(isinstance(count, int) for count in counts):
                raise ValueError("its entries are of a wrong type")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError) as error:
            raise ValueError(f"{file}: no statistics of --save-reference ({error})") from error
        except (zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
            raise ValueError(f"{file}: no statistics of --save-reference") from error

    def require_form(self, preprocessing: Preprocessing, file: Path) -> None:
        """Raises ValueError naming what differs if the clips were preprocessed in another way."""
        if apart := differences(self.form, preprocessing.as_dict()):
            raise ValueError(f"{file}: its clips were preprocessed differently: {'; '.join(apart)}")

    def feature_set(self, embedder: Embedder) -> FeatureSet:
        """Returns the set under an embedder, without clips. Raises ValueError if the file has none of this embedder."""
        one = self.embedders.get(embedder.name)
        if one is None:
            raise ValueError(f"the reference statistics are of {', '.join(self.embedders)}, not of {embedder.name}")
        if apart := differences(one.key, describe_judge(embedder)):
            raise ValueError(f"the reference statistics are of another {embedder.name}: {'; '.join(apart)}")
        return FeatureSet([], {}, None, RunningMoments(one.rows, one.moments), self.clips, given=one.moments)


def _checked(mean: np.ndarray, covariance: np.ndarray, name: str) -> Moments:
    """Returns moments. Raises ValueError if the arrays cannot be a mean and a covariance."""
    size = len(mean) if mean.ndim == 1 else 0
    if not 1 <= size <= MOST_DIMENSIONS or covariance.shape != (size, size):
        raise ValueError(f"{name}: mean {list(mean.shape)} and covariance {list(covariance.shape)} do not fit")
    if mean.dtype != np.float64 or covariance.dtype != np.float64:
        raise ValueError(f"{name}: its arrays are not float64")
    scale = np.abs(np.diagonal(covariance)).max()
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"{name}: its numbers are not finite")
    if np.diagonal(covariance).min() < 0 or np.abs(covariance - covariance.T).max() > 1e-9 * scale:
        raise ValueError(f"{name}: its covariance is not one: not symmetric, or of negative variances")
    return Moments(mean, covariance)
