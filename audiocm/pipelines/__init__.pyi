from . import (
    latent_pipeline as latent_pipeline,
)
from . import (
    loading as loading,
)
from . import (
    text_to_audio as text_to_audio,
)
from . import (
    text_to_speech as text_to_speech,
)
from .latent_pipeline import AudioError as AudioError
from .latent_pipeline import AudioOutput as AudioOutput
from .loading import bundled_models as bundled_models
from .loading import save_bundle as save_bundle
from .text_to_audio import TextToAudioPipeline as TextToAudioPipeline
from .text_to_speech import SpeechOutput as SpeechOutput
from .text_to_speech import TextToSpeechPipeline as TextToSpeechPipeline
