"""Results of the recipes of teachers in files of at most 15 MB, from which another machine goes on.

Networks are stored in int8 (matrices) and float16 (the rest), sounds as FLAC in tar files.
"""

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import soundfile
from torch import Tensor, nn

from audiocm.audio.io import read_wave, write_wave
from audiocm.files import atomic_write
from audiocm.models.weights import load_state, save_int8

MOST_BYTES = 15_000_000
SHARD = "14MB"  # of weights: an index and headers come on top
STEM = "weights.int8.safetensors"


def store_network(net: nn.Module, folder: Path) -> None:
    """Writes the weights of a network in shards."""
    store_state(net.state_dict(), folder)


def store_state(state: dict[str, Tensor], folder: Path) -> None:
    """Writes tensors by their names in shards."""
    save_int8(state, folder / STEM, SHARD)


def restore_state(folder: Path) -> dict[str, Tensor]:
    """Reads the tensors that `store_state` wrote, in float32. Raises ValueError if they are missing or damaged."""
    index = folder / "weights.safetensors.index.int8.json"
    return load_state(index if index.is_file() else folder / STEM)


def has_network(folder: Path) -> bool:
    """Returns whether a folder holds what `store_network` wrote."""
    return any(folder.glob("weights*"))


def restore_network(net: nn.Module, folder: Path) -> nn.Module:
    """Reads the weights of a network. Raises ValueError if they are missing, damaged or of another network."""
    try:
        net.load_state_dict(restore_state(folder))
    except RuntimeError as error:
        raise ValueError(f"{folder} is of another network: {str(error).splitlines()[0]}") from error
    return net


def store_files(files: Sequence[Path], folder: Path) -> None:
    """Copies those of some files, such as logs, that there are. Raises ValueError for one larger than MOST_BYTES."""
    for file in filter(Path.is_file, files):
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"{file} has more than {MOST_BYTES:,} bytes")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.name)


def store_sounds(source: Path, folder: Path, name: str) -> None:
    """Writes the .wav files of a folder as FLAC to FOLDER/NAME-K.tar, each of at most MOST_BYTES."""
    groups: list[list[tuple[str, bytes]]] = [[]]
    total = 0
    for file in sorted(source.glob("*.wav")):
        wav, rate = soundfile.read(file, dtype="int16")
        content = io.BytesIO()
        soundfile.write(content, wav, rate, format="FLAC")
        size = len(content.getvalue()) + 1024  # its header and padding
        if total + size > MOST_BYTES - 10_240:
            groups.append([])
            total = 0
        groups[-1].append((f"{file.stem}.flac", content.getvalue()))
        total += size
    folder.mkdir(parents=True, exist_ok=True)
    for k, group in enumerate(groups if groups[0] else []):
        with atomic_write(folder / f"{name}-{k}.tar") as partial, tarfile.open(partial, "w") as tar:
            for member, content_bytes in group:
                info = tarfile.TarInfo(member)
                info.size = len(content_bytes)
                tar.addfile(info, io.BytesIO(content_bytes))


def restore_sounds(folder: Path, name: str, out: Path, rate: int) -> None:
    """Writes the sounds of FOLDER/NAME-K.tar to OUT as .wav files, except those that are there."""
    for file in sorted(folder.glob(f"{name}-[0-9]*.tar")):
        with tarfile.open(file) as tar:
            for member in tar:
                target = out / f"{Path(member.name).stem}.wav"
                content = tar.extractfile(member)
                if content is not None and not target.is_file():
                    with atomic_write(target.with_suffix(".flac")) as partial:
                        partial.write_bytes(content.read())
                    write_wave(target, read_wave(target.with_suffix(".flac"), rate), rate)
                    target.with_suffix(".flac").unlink()
