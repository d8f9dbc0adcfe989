from . import (
    checks as checks,
    folder as folder,
    inversion as inversion,
    noise as noise,
    text_to_audio as text_to_audio,
    text_to_speech as text_to_speech,
)
from .checks import SoundsFailedError as SoundsFailedError
from .folder import GraphFolder as GraphFolder, save_manifest as save_manifest
from .text_to_audio import OnnxTextToAudio as OnnxTextToAudio, SoundOutput as SoundOutput
from .text_to_speech import OnnxTextToSpeech as OnnxTextToSpeech, SpokenSentence as SpokenSentence
