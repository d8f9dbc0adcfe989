from . import (
    batches as batches,
    encoded as encoded,
    latents as latents,
    manifest as manifest,
    recordings as recordings,
    speech_corpora as speech_corpora,
    utterances as utterances,
)
