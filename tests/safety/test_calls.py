"""Every loading call of another library says that no code is run and that weights are safetensors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADERS = ("from_pretrained", "from_config")
OWN = {  # classes of audiocm, whose methods have the options inside
    *("LatentTransformer", "MelVAE", "Vocoder", "SpeechEncoder", "SmallClap", "TextConditioner", "ClapScorer"),
    *("TextToAudioPipeline", "TextToSpeechPipeline", "getattr(pipelines, kind)", "net_class", "kind", "BertEncoder"),
    *("OnnxTextToAudio", "OnnxTextToSpeech", "model"),
}
NO_SUCH_OPTIONS = {  # of a configuration that is at hand, or of a scheduler, which has neither weights nor code
    ("audiocm/models/weights.py", "cls.from_config"),
    ("audiocm/models/transformer_net.py", "type(self).from_config"),
    ("audiocm/teachers/schedulers.py", "diffusers.FlowMatchEulerDiscreteScheduler.from_config"),
    ("audiocm/teachers/schedulers.py", "type(scheduler).from_config"),
    ("audiocm/teachers/schedulers.py", "diffusers.LCMScheduler.from_config"),
    ("recipes/benchmarks/throughput.py", "type(net).from_config"),
}
WITHOUT_WEIGHTS = ("AutoConfig", "AutoTokenizer", "ClapFeatureExtractor", "AutoFeatureExtractor")
TENSORS_ALONE = {"audiocm/embedders/transformers_models.py"}  # reads pickled weights too, with weights_only


def faults(source: str, file: str) -> list[str]:
    """The loading calls in a source that lack an option."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS):
            continue
        name, receiver = ast.unparse(node.func), ast.unparse(node.func.value)
        if receiver in OWN or (file, name) in NO_SUCH_OPTIONS:
            continue
        given = {one.arg or f"**{ast.unparse(one.value)}": ast.unparse(one.value) for one in node.keywords}
        no_code = given.get("trust_remote_code") == "False" or "**SAFE" in given
        needs_weights = node.func.attr == "from_pretrained" and receiver not in WITHOUT_WEIGHTS
        no_pickle = not needs_weights or given.get("use_safetensors") == "True" or "**SAFE" in given
        no_pickle = no_pickle or (file in TENSORS_ALONE and given.get("use_safetensors") == "safe")
        is_scheduler = file.endswith("teachers/teacher.py") and list(given) == ["local_files_only"]
        is_front_end = file.endswith("teachers/teacher.py") and given.get("trust_remote_code") == "False"
        if not (is_scheduler or is_front_end or (no_code and no_pickle)):
            found.append(f"{file}:{node.lineno}: {name}({', '.join(given)})")
    return found


def test_no_call_lacks_an_option():
    files = [file for folder in ("audiocm", "recipes") for file in sorted((ROOT / folder).rglob("*.py"))]
    wrong = [one for file in files for one in faults(file.read_text("utf-8"), file.relative_to(ROOT).as_posix())]
    assert len(files) > 150 and wrong == []


@pytest.mark.parametrize(
    "call",
    [
        "AutoModel.from_pretrained(x)",
        "AutoModel.from_pretrained(x, trust_remote_code=False)",
        "AutoModel.from_pretrained(x, trust_remote_code=True, use_safetensors=True)",
        "AutoModel.from_config(x)",
        "AutoTokenizer.from_pretrained(x, local_files_only=True)",
    ],
)
def test_the_walk_finds_such_calls(call):
    assert len(faults(call, "audiocm/x.py")) == 1


def test_the_options_mean_what_their_name_says():
    from audiocm.models.folders import SAFE

    assert SAFE == {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}


def test_no_unsafe_reader_is_called():
    """torch.load only with weights_only, numpy's never with pickles, and no pickle, yaml or eval in the package."""
    for file in sorted((ROOT / "audiocm").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {one.arg: ast.unparse(one.value) for one in node.keywords}
                assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load"), file
                assert name != "torch.load" or options.get("weights_only") == "True", file
                assert not (name in ("np.load", "numpy.load") and options.get("allow_pickle") == "True"), file
