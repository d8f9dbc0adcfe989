"""audiocm: one-step text-to-audio and text-to-speech by consistency distillation, with scores that can be trusted.

Public names are imported when first used, so that ``import audiocm`` costs nothing.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_HOME = {
    "AudioOutput": "pipelines",
    "bundled_models": "bundles",
    "Codec": "codec",
    "Condition": "denoiser",
    "LatentTransformer": "backbone",
    "MelVAE": "codec",
    "Run": "train",
    "SoundError": "pipelines",
    "TextConditioner": "conditioning",
    "TextToAudioPipeline": "pipelines",
    "Vocoder": "codec",
    "sample": "solvers",
}
_MODULES = (
    *("backbone", "bundles", "clap", "codec", "conditioning", "critic", "data", "denoiser", "distill", "methods"),
    *("metrics", "paths", "pipelines", "solvers", "train", "weights"),
)
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str):
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(_import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
