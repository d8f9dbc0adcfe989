"""torchaudio and torchvision with and without a library that fits, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import audiocm

ROOT = Path(audiocm.__file__).parents[1]
FITS = "import audiocm, torchaudio; print(torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE)"
# the start of torchaudio's own files, before 2.11 and from it: what they call to find and load the library
MODULE_UTILS = """
import importlib.util
def is_module_available(*names):
    return all(importlib.util.find_spec(name) for name in names)
"""
UTILS = "def _load_lib(name):\n    {load}\n"
EXTENSIONS = {
    "2.9": """
import count
from torchaudio._internal.module_utils import is_module_available
from .utils import _load_lib
_IS_TORCHAUDIO_EXT_AVAILABLE = is_module_available("torchaudio.lib._torchaudio")
if _IS_TORCHAUDIO_EXT_AVAILABLE:
    _load_lib("libtorchaudio")
    import torchaudio.lib._torchaudio
""",
    "2.11": """
import count
from torchaudio._internal.module_utils import is_module_available
from .utils import _load_lib
_IS_TORCHAUDIO_EXT_AVAILABLE = _load_lib("_torchaudio")
if _IS_TORCHAUDIO_EXT_AVAILABLE and not _load_lib("libtorchaudio"):
    raise ImportError("Failed to load libtorchaudio")
""",
}


def run(code: str, *folders: Path) -> subprocess.CompletedProcess:
    """Runs code in a process whose path starts with `folders`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT))), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)


def write_package(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def fake_torchaudio(folder: Path, release: str, load: str) -> None:
    """Writes a package that starts as torchaudio does and loads its library by the statement `load`."""
    write_package(
        folder,
        {
            "count.py": "print('executed')\n",
            "torchaudio/__init__.py": "from . import _extension\n",
            "torchaudio/_extension/__init__.py": EXTENSIONS[release],
            "torchaudio/_extension/utils.py": UTILS.format(load=load),
            "torchaudio/_internal/__init__.py": "",
            "torchaudio/_internal/module_utils.py": MODULE_UTILS,
            "torchaudio/lib/__init__.py": "",
            "torchaudio/lib/_torchaudio.py": "",
        },
    )


@pytest.mark.parametrize("release", EXTENSIONS)
@pytest.mark.parametrize(
    "error",
    ["OSError('libcudart.so.13: cannot open')", "RuntimeError('other CUDA')", "ImportError('undefined symbol')"],
)
def test_a_library_that_does_not_load_counts_as_absent(tmp_path, release, error):
    fake_torchaudio(tmp_path, release, f"raise {error}")
    found = run(FITS, tmp_path)
    assert found.returncode == 0 and found.stdout.split()[-1] == "False", found.stderr
    after = run(
        FITS + "; from torchaudio._internal.module_utils import *; print(is_module_available('json'))", tmp_path
    )
    assert after.stdout.split()[-1] == "True"


@pytest.mark.parametrize("release", EXTENSIONS)
def test_a_library_that_loads_is_left_alone(tmp_path, release):
    fake_torchaudio(tmp_path, release, "return True")
    found = run(FITS, tmp_path)
    assert found.stdout.split() == ["executed", "True"], found.stderr


def test_another_fault_of_the_package_is_raised(tmp_path):
    fake_torchaudio(tmp_path, "2.11", "return True")
    with (tmp_path / "torchaudio/_extension/__init__.py").open("a") as file:
        file.write("raise ImportError('another fault')\n")
    assert "another fault" in run(FITS, tmp_path).stderr


@pytest.mark.parametrize(("has_ops", "error"), [("False", ""), ("True", "operator torchvision::nms does not exist")])
def test_torchvision_without_its_operators_can_be_imported(tmp_path, has_ops, error):
    registrations = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    write_package(
        tmp_path,
        {
            "torchvision/__init__.py": "from . import extension, _meta_registrations\n",
            "torchvision/extension.py": f"def _has_ops():\n    return {has_ops}\n",
            "torchvision/_meta_registrations.py": registrations,
        },
    )
    found = run("import audiocm, torchvision", tmp_path)
    assert error in found.stderr and (found.returncode == 0) == (not error), found.stderr


def test_audiocm_alone_imports_neither(tmp_path):
    code = "import sys, audiocm; print({'torch', 'torchaudio', 'torchvision', 'unittest.mock'} & set(sys.modules))"
    assert run(code).stdout.strip() == "set()"


def test_transformers_and_audiocm_work_beside_a_torchaudio_without_its_library():
    """The installed torchaudio, whose library fails here whether it fits or not."""
    code = """
import torch
def fail(path):
    raise OSError(f"{path}: undefined symbol")
torch.ops.load_library = fail
import audiocm
import torchaudio
assert not torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
from transformers import ASTFeatureExtractor, AutoFeatureExtractor, ClapModel, SpeechT5HifiGan, Wav2Vec2ForCTC
from torchaudio.compliance import kaldi
wav = torch.sin(torch.arange(24000) * 0.1)[None]
low = torchaudio.functional.resample(wav, 24000, 16000)
assert low.shape == (1, 16000) and kaldi.fbank(low, num_mel_bins=8).shape[1] == 8
from audiocm.embedders.panns import Panns
audiocm.TextToAudioPipeline
print("works")
"""
    found = run(code)
    assert found.stdout.strip() == "works", found.stderr
