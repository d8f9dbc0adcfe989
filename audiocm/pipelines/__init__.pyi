from . import (
    components as components,
    failures as failures,
    filling as filling,
    graphed as graphed,
    latent_pipeline as latent_pipeline,
    loading as loading,
    long_sounds as long_sounds,
    sampler as sampler,
    sound_editor as sound_editor,
    speech_editor as speech_editor,
    speech_plan as speech_plan,
    speech_synthesizer as speech_synthesizer,
    text_to_audio as text_to_audio,
    text_to_audio_sampler as text_to_audio_sampler,
    text_to_speech as text_to_speech,
    text_to_speech_sampler as text_to_speech_sampler,
)
from .failures import AudioError as AudioError, Failure as Failure
from .filling import EditSettings as EditSettings
from .graphed import GraphedTextToAudio as GraphedTextToAudio
from .latent_pipeline import AudioOutput as AudioOutput
from .loading import bundled_models as bundled_models, save_bundle as save_bundle
from .sound_editor import SoundEditor as SoundEditor
from .speech_editor import SpeechEditor as SpeechEditor
from .text_to_audio import TextToAudioPipeline as TextToAudioPipeline
from .text_to_audio_sampler import TextToAudioSampler as TextToAudioSampler
from .text_to_speech import SpeechOutput as SpeechOutput, TextToSpeechPipeline as TextToSpeechPipeline
from .text_to_speech_sampler import TextToSpeechSampler as TextToSpeechSampler
