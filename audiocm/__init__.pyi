from . import (
    audio as audio,
    cli as cli,
    codec as codec,
    data as data,
    diffusion as diffusion,
    distillation as distillation,
    embedders as embedders,
    evaluation as evaluation,
    export as export,
    metrics as metrics,
    models as models,
    pipelines as pipelines,
    runtime as runtime,
    serving as serving,
    speech as speech,
    teachers as teachers,
    text as text,
    training as training,
)
from .codec.codec import Codec as Codec
from .codec.vae import MelVAE as MelVAE
from .codec.vocoder import Vocoder as Vocoder
from .diffusion.denoiser import Condition as Condition
from .diffusion.solvers import sample as sample
from .evaluation.scoring import compare as compare, score as score
from .models.text_encoder import TextConditioner as TextConditioner
from .models.transformer import LatentTransformer as LatentTransformer
from .pipelines.failures import AudioError as AudioError
from .pipelines.filling import EditSettings as EditSettings
from .pipelines.graphed import GraphedTextToAudio as GraphedTextToAudio
from .pipelines.latent_pipeline import AudioOutput as AudioOutput
from .pipelines.loading import bundled_models as bundled_models
from .pipelines.sound_editor import SoundEditor as SoundEditor
from .pipelines.speech_editor import SpeechEditor as SpeechEditor
from .pipelines.text_to_audio import TextToAudioPipeline as TextToAudioPipeline
from .pipelines.text_to_speech import SpeechOutput as SpeechOutput, TextToSpeechPipeline as TextToSpeechPipeline
from .speech.encoder import SpeechEncoder as SpeechEncoder
from .teachers.graphed import GraphedStudent as GraphedStudent
from .teachers.teacher import load_teacher as load_teacher
from .training.run import Run as Run
from .training.trainer import train as train
from .version import __version__ as __version__
