from . import batches as batches, latents as latents, manifest as manifest, utterances as utterances
