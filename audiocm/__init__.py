"""audiocm: one-step text-to-audio and text-to-speech by consistency distillation, with scores that can be trusted.

Public names are imported when first used, so that ``import audiocm`` costs nothing.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_HOME = {
    "AudioOutput": "latent_pipeline",
    "bundled_models": "bundles",
    "Codec": "codec",
    "Condition": "denoiser",
    "LatentTransformer": "backbone",
    "MelVAE": "codec",
    "Run": "train",
    "SoundError": "latent_pipeline",
    "SpeechEncoder": "speech",
    "SpeechOutput": "speaking",
    "TextConditioner": "conditioning",
    "TextToAudioPipeline": "pipelines",
    "TextToSpeechPipeline": "speaking",
    "Vocoder": "codec",
    "sample": "solvers",
}
_MODULES = (
    *("backbone", "bundles", "clap", "codec", "conditioning", "critic", "data", "denoiser", "distill", "methods"),
    *("metrics", "paths", "phonemes", "pipelines", "solvers", "speaking", "speech", "train", "weights"),
)
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str):
    if name not in _MODULES and name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = _import_module(f"{__name__}.{_HOME.get(name, name)}")
    except (ImportError, OSError, RuntimeError) as error:
        from .conditioning import explained

        raise explained(error) from error
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    return __all__
