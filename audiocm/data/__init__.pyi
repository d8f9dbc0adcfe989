from . import (
    batches as batches,
    captions as captions,
    encoded as encoded,
    encoded_batches as encoded_batches,
    encoded_set as encoded_set,
    latent_batches as latent_batches,
    latents as latents,
    manifest as manifest,
    recordings as recordings,
    speech_corpora as speech_corpora,
    utterances as utterances,
    wave_batches as wave_batches,
)
