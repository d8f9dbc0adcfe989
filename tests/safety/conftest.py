"""Whole model folders to be spoilt, a mark that code would leave, and a network that fails loudly."""

from __future__ import annotations

import pickle
import shutil
import socket
from pathlib import Path

import pytest
from payload import Payload
from tiny_model import tiny_pipeline
from tiny_teachers import build


@pytest.fixture
def owned(tmp_path):
    """The file that a payload would leave; that it does not exist is checked at the end."""
    mark = tmp_path / "OWNED"
    yield mark
    assert not mark.exists(), "code of the input was run"


@pytest.fixture
def code(owned):
    """Python that leaves the mark."""
    return f"open({str(owned)!r}, 'w').close()\nclass C: pass\n"


@pytest.fixture
def pickled(owned):
    """Bytes that leave the mark when they are unpickled."""
    return pickle.dumps({"weight": Payload(owned)})


@pytest.fixture(autouse=True)
def no_network_and_no_questions(monkeypatch):
    """Fails a test in which anything is asked of the network, or of the user."""
    import huggingface_hub

    asked = []

    def refuse(*args, **_options):
        asked.append(args)
        raise AssertionError(f"asked of the network or the user: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", refuse)
    monkeypatch.setattr("builtins.input", refuse)
    yield
    assert not asked


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A pipeline of audiocm in int8, and a teacher of diffusers, as folders."""
    root = tmp_path_factory.mktemp("saved")
    tiny_pipeline().save_pretrained(root / "audio", variant="int8")
    build("audioldm").save_pretrained(root / "teacher")
    return root


@pytest.fixture
def model(saved, tmp_path):
    """A copy of the pipeline of audiocm."""
    return Path(shutil.copytree(saved / "audio", tmp_path / "model"))


@pytest.fixture
def teacher(saved, tmp_path):
    """A copy of the teacher of diffusers."""
    return Path(shutil.copytree(saved / "teacher", tmp_path / "teacher"))
