"""hf:ID@LAYER on tiny random models of each family: what the models themselves give, batches, windows, refusals."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    DacConfig,
    DacFeatureExtractor,
    DacModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from audiocm.embedders.registry import load_embedder, load_tagger
from audiocm.embedders.transformers_models import TransformersEmbedder, parse_layer
from recipes.evaluation.embedder_fixtures import make_sound

BODY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WAVES = BODY | {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
WHISPER = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 60,
           "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "pad_token_id": 0, "bos_token_id": 1,
           "eos_token_id": 2, "decoder_start_token_id": 1}  # fmt: skip
ENCODEC = {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 32}
STEREO = {"sampling_rate": 48000, "chunk_length_s": 1.0, "overlap": 0.01}


def waves(**more):
    return Wav2Vec2FeatureExtractor(return_attention_mask=False, **more)


MODELS = {
    "wav2vec2": lambda: (Wav2Vec2Model(Wav2Vec2Config(**WAVES)), waves()),
    "wav2vec2-large": lambda: (
        Wav2Vec2Model(Wav2Vec2Config(**WAVES, do_stable_layer_norm=True, feat_extract_norm="layer")),
        Wav2Vec2FeatureExtractor(return_attention_mask=True),
    ),
    "hubert": lambda: (HubertModel(HubertConfig(**WAVES)), waves()),
    "wavlm": lambda: (WavLMModel(WavLMConfig(**WAVES)), waves(do_normalize=False)),
    "data2vec": lambda: (
        Data2VecAudioModel(Data2VecAudioConfig(**WAVES | {"num_conv_pos_embeddings": 2})),
        waves(),
    ),
    "ast": lambda: (ASTModel(ASTConfig(**BODY)), ASTFeatureExtractor()),
    "whisper": lambda: (WhisperModel(WhisperConfig(**WHISPER)), WhisperFeatureExtractor()),
    "encodec": lambda: (EncodecModel(EncodecConfig(**ENCODEC)), EncodecFeatureExtractor()),
    "encodec-48": lambda: (
        EncodecModel(EncodecConfig(**ENCODEC, **STEREO, audio_channels=2, normalize=True, use_causal_conv=False,
                                   norm_type="time_group_norm")),
        EncodecFeatureExtractor(feature_size=2, **STEREO),
    ),
    "dac": lambda: (
        DacModel(DacConfig(encoder_hidden_size=4, decoder_hidden_size=32, codebook_size=16, codebook_dim=4)),
        DacFeatureExtractor(),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Writes the folder of a model once, and returns it with the model and its front end."""
    made = {}

    def write(name):
        if name not in made:
            torch.manual_seed(0)
            model, front_end = MODELS[name]()
            place = tmp_path_factory.mktemp(name)
            model.eval().save_pretrained(place)
            front_end.save_pretrained(place)
            made[name] = place, model, front_end
        return made[name]

    return write


@pytest.mark.parametrize("name", MODELS)
def test_no_clip_depends_on_its_neighbours(folder, name):
    embedder = TransformersEmbedder(folder(name)[0])
    wavs = [make_sound(embedder.sample_rate, seconds, i) for i, seconds in enumerate((0.9, 0.5, 0.9, 0.003, 1.3))]
    together = embedder.features(wavs)["embedding"]
    alone = np.concatenate([embedder.features([wav])["embedding"] for wav in wavs])
    assert together.dtype == np.float32 and np.isfinite(together).all() and together.std(axis=0).max() > 1e-6
    assert np.abs(together - alone).max() < 1e-5 and np.array_equal(embedder.features(wavs)["embedding"], together)


@pytest.mark.parametrize("layer", [-3, 0, 1, -1, 2])
@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-large", "wavlm"])
def test_a_layer_is_the_models_own_hidden_state(folder, name, layer):
    place, model, front_end = folder(name)
    wav = make_sound(16000, 0.7)
    with torch.inference_mode():
        states = model(**front_end(wav, sampling_rate=16000, return_tensors="pt"), output_hidden_states=True)
    wanted = states.last_hidden_state if layer in (-1, 2) else states.hidden_states[layer]
    embedder = load_embedder(f"hf:{place}@{layer}")
    assert np.abs(embedder.features([wav])["embedding"][0] - wanted[0].mean(dim=0).numpy()).max() < 1e-5
    assert embedder.name == (place.name if layer in (-1, 2) else f"{place.name}@{layer % 3}")


def test_whispers_frames_are_those_of_the_clip(folder):
    place, model, front_end = folder("whisper")
    wav = make_sound(16000, 2.0)
    with torch.inference_mode():
        inputs = front_end(wav, sampling_rate=16000, return_tensors="pt")
        states = model.get_encoder()(inputs["input_features"]).last_hidden_state[0]
    found = TransformersEmbedder(place).features([wav])["embedding"][0]
    assert np.abs(found - states[:100].mean(dim=0).numpy()).max() < 1e-5  # 20 ms each


def test_asts_patches_are_those_of_the_clip_and_long_clips_have_windows(folder):
    place, model, front_end = folder("ast")
    embedder, wav = TransformersEmbedder(place), make_sound(16000, 12.24)
    with torch.inference_mode():
        tokens = [
            model(**front_end(part, sampling_rate=16000, return_tensors="pt")).last_hidden_state[0, 2:]
            for part in (wav[:163840], wav[163840:])
        ]
    first, second = (one.reshape(12, 101, 32) for one in tokens)
    kept = torch.cat((first.flatten(0, 1), second[:, :20].flatten(0, 1)))  # 2 s: patches every 100 ms
    assert np.abs(embedder.features([wav])["embedding"][0] - kept.mean(dim=0).numpy()).max() < 1e-5


def test_latents_of_codecs_are_those_before_quantisation(folder):
    for name in ("encodec", "dac"):
        place, model, _ = folder(name)
        embedder = TransformersEmbedder(place)
        wav = make_sound(embedder.sample_rate, 512 * 40 / embedder.sample_rate)
        with torch.inference_mode():
            latents = model.encoder(torch.from_numpy(wav)[None, None])[0]
        assert np.abs(embedder.features([wav])["embedding"][0] - latents.mean(dim=1).numpy()).max() < 1e-5
    place, model, _ = folder("encodec-48")
    wav, halves = make_sound(48000, 1.5), []
    for start in (0, model.config.chunk_stride):
        part = torch.from_numpy(wav[start : start + 48000])[None, None].expand(-1, 2, -1)
        halves.append(model.encoder(part / (part[:, :1].square().mean().sqrt() + 1e-8))[0].detach())
    assert model.config.chunk_stride == 47520
    found = TransformersEmbedder(place).features([wav])["embedding"][0]
    assert np.abs(found - torch.cat(halves, dim=1).mean(dim=1).numpy()).max() < 1e-5


def test_pickled_weights_are_read_as_tensors_only(folder, tmp_path):
    place, _, _ = folder("hubert")
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_bytes((place / file).read_bytes())
    state = load_file(place / "model.safetensors")
    torch.save(state, tmp_path / "pytorch_model.bin")
    wav = make_sound(16000, 0.5)
    same = TransformersEmbedder(tmp_path).features([wav])["embedding"]
    assert np.abs(same - TransformersEmbedder(place).features([wav])["embedding"]).max() < 1e-6
    torch.save(state | {"evil": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="hf:"):
        TransformersEmbedder(tmp_path)


def test_what_is_no_embedder_is_refused_in_one_line(folder, tmp_path):
    place, _, _ = folder("wav2vec2")
    config = json.loads((place / "config.json").read_text())

    def spoilt(name, weights=True, **changes):
        spoilt = tmp_path / name
        spoilt.mkdir()
        (spoilt / "config.json").write_text(json.dumps(config | changes))
        (spoilt / "preprocessor_config.json").write_bytes((place / "preprocessor_config.json").read_bytes())
        if weights:
            (spoilt / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes())
        return spoilt

    mert = {"model_type": "mert_model", "auto_map": {"AutoConfig": "mert.C", "AutoModel": "mert.M"}}
    damaged = spoilt("damaged")
    (damaged / "model.safetensors").write_bytes(b"\0" * 40)
    lines = {
        f"hf:{spoilt('mert', **mert)}": "needs code of its own repository, which audiocm does not run",
        f"hf:{spoilt('deeper', num_hidden_layers=3)}": "weights are missing",
        f"hf:{spoilt('wider', intermediate_size=50)}": "hf:",
        f"hf:{spoilt('bare', weights=False)}": r"it holds no weights, \*.safetensors",
        f"hf:{damaged}": "hf:",
        f"hf:{place}@7": "the layers are 0 to 2, or -3 to -1 from the end",
        f"hf:{place}@x": "the layer after @ is a whole number, not 'x'",
        f"hf:{folder('encodec')[0]}@1": "has no numbered layers",
        f"hf:{tmp_path}": "holds no model of transformers",
        f"hf:{tmp_path / 'nowhere'}": "no model folder",
        "hf:": "hf needs a folder or hub id: hf:ID@LAYER",
    }
    for name, line in lines.items():
        with pytest.raises(ValueError, match=line) as error:
            load_embedder(name)
        assert "\n" not in str(error.value)
    from transformers import SpeechT5Config, SpeechT5Model, ViTConfig, ViTModel

    speech = {"hidden_size": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 20,
              "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
    for model in (ViTModel(ViTConfig(**BODY, image_size=32)), SpeechT5Model(SpeechT5Config(**speech))):
        model.save_pretrained(tmp_path / type(model).__name__)
        waves().save_pretrained(tmp_path / type(model).__name__)
        with pytest.raises(ValueError, match="this model gives no frames of a sound"):
            load_embedder(f"hf:{tmp_path / type(model).__name__}")
    with pytest.raises(ValueError, match="gives no class probabilities"):
        load_tagger(f"hf:{place}")


def test_the_digest_tells_weights_and_layers_apart(folder):
    place, _, _ = folder("wav2vec2")
    digests = {TransformersEmbedder(place, layer).digest for layer in (-1, 0, 1)}
    assert len(digests) == 3 and TransformersEmbedder(place, 2).digest == TransformersEmbedder(place).digest
    assert parse_layer("owner/name@-2") == ("owner/name", -2) and parse_layer("owner/name") == ("owner/name", -1)
