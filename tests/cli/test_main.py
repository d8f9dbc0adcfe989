"""The command line itself: help, version, unknown commands, and how little a start imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from audiocm.cli.main import main

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "scipy", "diffusers", "transformers", "accelerate", "librosa", "soundfile"}


def test_help_version_and_unknown_commands(capsys):
    for arguments, code, text in (
        (["--help"], 0, 'audiocm generate "a dog barks" -o dog.wav'),
        (["generate", "--help"], 0, "audiocm generate --prompts prompts.txt"),
        (["--version"], 0, "audiocm 0."),
        (["sing"], 2, "invalid choice: 'sing'"),
        ([], 2, "COMMAND"),
        (["--loud"], 2, "COMMAND"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        shown = capsys.readouterr()
        assert stopped.value.code == code and text in shown.out + shown.err
        assert code == 0 or len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import audiocm",
        "import audiocm.cli.main",
        *(
            f"from audiocm.cli.main import main\nmain({words})"
            for words in (["--help"], ["generate", "--help"], ["speak", "--help"], ["train", "--help"])
        ),
    ],
)
def test_a_start_imports_nothing_heavy(code):
    lines = ["import sys", "try:", *(f"    {line}" for line in code.split("\n")), "except SystemExit: pass"]
    lines.append(f"sys.exit(' '.join({HEAVY} & set(sys.modules)) or 0)")
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and not run.stderr, run.stderr


def test_the_package_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "audiocm", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and run.stdout.startswith("audiocm 0.")


def fail(monkeypatch, error: Exception) -> int:
    def command(args):
        raise error

    monkeypatch.setattr("audiocm.cli.main._load_command", lambda name: (lambda parser: None, command))
    return main(["train"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b"), "a b"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(13, "Permission denied", "a.wav"), "a.wav: Permission denied"),
        (ImportError("cannot import name 'x'"), "cannot import name 'x'"),
    ],
)
def test_errors_of_the_user_are_one_line_and_exit_code_2(monkeypatch, capsys, error, line):
    assert fail(monkeypatch, error) == 2 and capsys.readouterr().err == f"audiocm: {line}\n"
    monkeypatch.setenv("AUDIOCM_TRACEBACK", "1")
    with pytest.raises(type(error)):
        fail(monkeypatch, error)


def test_other_errors_keep_their_traceback_and_an_interrupt_is_130(monkeypatch, capsys):
    for error in (RuntimeError("shape mismatch"), KeyError("x")):
        with pytest.raises(type(error)):
            fail(monkeypatch, error)
    assert fail(monkeypatch, KeyboardInterrupt()) == 130 and capsys.readouterr().err == "audiocm: interrupted\n"
