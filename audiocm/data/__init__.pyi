from . import (
    batches as batches,
    latents as latents,
    manifest as manifest,
    speech_corpora as speech_corpora,
    utterances as utterances,
)
