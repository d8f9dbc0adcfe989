"""Errors of imports and files: one line that says what to do, exit code 2, and no circle of causes to hang on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import audiocm
from audiocm.errors import explain_import_error

BROKEN = {
    "torchaudio": "raise OSError('torchaudio/lib/libtorchaudio.so: undefined symbol: _ZN3c10')",
    "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
}


def run_with_packages(folder: Path, packages: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    """Runs Python where `packages` (name -> source) are installed before all others."""
    for name, source in packages.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(source + "\n")
        info = folder / f"{name}-9.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0.0\n")
    root = Path(audiocm.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=folder, timeout=120
    )


LOAD = """
import audiocm
try:
    audiocm.TextToAudioPipeline.from_pretrained("tta")
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("package", BROKEN)
def test_a_package_for_another_torch_gives_one_line_with_the_remedy(tmp_path, package):
    """It is found, its import fails, and transformers' models fail with it; commands do without them."""
    broken = {package: BROKEN[package]}
    run = run_with_packages(tmp_path, broken, "-c", LOAD)
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 1, run.stderr
    assert f"pip uninstall {package}" in run.stdout
    command = ("generate", "rain", "-o", "x.wav", "--seconds", "1", "--backend", "torch")
    run = run_with_packages(tmp_path, {}, "-m", "audiocm", *command)
    assert run.returncode == 0 and not run.stderr, run.stderr


def test_an_unexplained_import_error_is_one_line(tmp_path):
    broken = {"diffusers": "raise ImportError('something else\\nis broken')"}
    export = ("export", "tta", "-o", "graphs")
    run = run_with_packages(tmp_path, broken, "-m", "audiocm", *export)
    assert run.returncode == 2 and run.stderr == "audiocm: something else is broken\n", run.stderr
    code = "import audiocm\ntry:\n    audiocm.TextToAudioPipeline\nexcept ImportError as error:\n    print(error)"
    run = run_with_packages(tmp_path, {}, "-c", code)
    assert run.returncode == 0 and run.stdout == "something else is broken\n", run.stderr


def test_causes_are_searched_and_a_circle_of_causes_ends():
    error = RuntimeError("Failed to import transformers.models.bert")
    error.__cause__ = ImportError("no module")
    error.__cause__.__context__ = OSError("libtorchaudio.so: undefined symbol")
    assert "pip uninstall torchaudio" in str(explain_import_error(error))
    circle = ImportError("cannot import name 'x'")
    circle.__cause__ = circle
    explained = explain_import_error(circle)
    assert explained is not circle and type(explained) is ImportError and str(explained) == "cannot import name 'x'"


def test_a_missing_package_is_not_called_broken():
    error = ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
    assert str(explain_import_error(error)) == "No module named 'torchvision'"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "out/x.wav"), "out/x.wav: No space left on device"),
        (FileNotFoundError(2, "No such file or directory", "torchaudio/a.wav"), "torchaudio/a.wav: No such file"),
        (OSError("libgomp.so.1: cannot open\nshared object file"), "libgomp.so.1: cannot open shared object file"),
    ],
)
def test_file_errors_are_told_as_themselves(error, text):
    explained = explain_import_error(error)
    assert type(explained) is ValueError and str(explained).startswith(text)


def test_other_errors_become_runtime_errors():
    assert repr(explain_import_error(KeyError("x"))) == repr(RuntimeError("'x'"))
