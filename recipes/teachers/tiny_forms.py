"""Whole pipelines of the architectures that `audiocm.teachers` reads, true in form, tiny, with random weights."""

from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel

AUDIOLDM_BETAS = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "sample_size": 16,
}


def t5_tokenizer(length: int = 20) -> Any:
    """A unigram tokenizer of single letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁dog", -1.0)]
    pieces += [(piece, -2.0) for piece in "▁abcdefghiklmnoprstuwy"]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=length)


def roberta_tokenizer(length: int = 16) -> Any:
    """A byte-pair tokenizer without merges."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    vocab = {word: number for number, word in enumerate(words)}
    return transformers.RobertaTokenizer(vocab=vocab, merges=[], model_max_length=length)


def t5() -> torch.nn.Module:
    config = transformers.T5Config(vocab_size=64, d_model=32, d_ff=48, d_kv=8, num_heads=4, num_layers=2)
    return transformers.T5EncoderModel(config).eval()


CLAP_TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 37,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "projection_dim": 16,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}


def clap() -> torch.nn.Module:
    audio = transformers.ClapAudioConfig(
        spec_size=8,
        window_size=4,
        num_mel_bins=8,
        hidden_size=16,
        depths=[2, 2],
        num_attention_heads=[2, 2],
        patch_embeds_hidden_size=16,
        projection_dim=16,
        patch_size=2,
        patch_stride=2,
        num_hidden_layers=2,
    )
    config = transformers.ClapConfig(text_config=CLAP_TEXT, audio_config=audio.to_dict(), projection_dim=16)
    return transformers.ClapModel(config).eval()


def audible(vocoder: torch.nn.Module) -> torch.nn.Module:
    """Draws a vocoder's weights as torch does: its own initial ones, of 0.01, leave a sound of -170 dB."""
    for layer in vocoder.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            layer.reset_parameters()
    return vocoder


def mel_parts() -> dict[str, Any]:
    """A VAE of compression 4, as the published one, and a vocoder of 16 mel bins (theirs: 64)."""
    vae = diffusers.AutoencoderKL(
        block_out_channels=[8, 8, 16],
        in_channels=1,
        out_channels=1,
        norm_num_groups=8,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        scaling_factor=0.41,
    )
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=16,
        sampling_rate=16000,
        upsample_initial_channel=64,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    return {"vae": vae.eval(), "vocoder": audible(transformers.SpeechT5HifiGan(config)).eval()}


def audioldm() -> Any:
    unet = diffusers.UNet2DConditionModel(
        **UNET,
        cross_attention_dim=(16, 32),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=16,
        class_embeddings_concat=True,
    )
    encoder = transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(**CLAP_TEXT)).eval()
    return diffusers.AudioLDMPipeline(
        unet=unet.eval(), text_encoder=encoder, tokenizer=roberta_tokenizer(), scheduler=ddim(), **mel_parts()
    )


def ddim(**changes: Any) -> Any:
    """The scheduler of the published AudioLDM folders."""
    settings = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return diffusers.DDIMScheduler(**(AUDIOLDM_BETAS | settings | changes))


def audioldm2() -> Any:
    unet = AudioLDM2UNet2DConditionModel(**UNET, cross_attention_dim=[[None, 16, 32]] * 2, use_linear_projection=True)
    config = transformers.GPT2Config(n_embd=16, n_head=2, n_layer=2, n_ctx=99, n_positions=99, vocab_size=99)
    gpt2 = transformers.GPT2LMHeadModel(config).eval()
    gpt2.config.max_new_tokens = 8
    return diffusers.AudioLDM2Pipeline(
        unet=unet.eval(),
        text_encoder=clap(),
        text_encoder_2=t5(),
        projection_model=AudioLDM2ProjectionModel(16, 32, 16),
        language_model=gpt2,
        tokenizer=roberta_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        feature_extractor=transformers.ClapFeatureExtractor(),
        scheduler=ddim(),
        **mel_parts(),
    )


def tango() -> dict[str, Any]:
    """The components; diffusers has no pipeline for them."""
    unet = diffusers.UNet2DConditionModel(**UNET, cross_attention_dim=32, use_linear_projection=True).eval()
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
    )
    return {"unet": unet, "text_encoder": t5(), "tokenizer": t5_tokenizer(), "scheduler": scheduler, **mel_parts()}


def stable_audio() -> Any:
    transformer = diffusers.StableAudioDiTModel(
        sample_size=12,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        cross_attention_dim=32,
        time_proj_dim=16,
        global_states_input_dim=64,
        cross_attention_input_dim=32,
    )
    vae = diffusers.AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        decoder_channels=8,
        decoder_input_channels=4,
        audio_channels=2,
        channel_multiples=[1, 2],
        sampling_rate=100,
    )
    projection = diffusers.StableAudioProjectionModel(
        text_encoder_dim=32, conditioning_dim=32, min_value=0, max_value=32
    )
    return diffusers.StableAudioPipeline(
        transformer=transformer.eval(),
        vae=vae.eval(),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        projection_model=projection,
        scheduler=diffusers.CosineDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500),
    )


def stable_audio_3() -> Any:
    transformer = diffusers.StableAudio3DiTModel(
        io_channels=4,
        embed_dim=32,
        depth=2,
        num_heads=2,
        cond_token_dim=16,
        global_cond_dim=16,
        local_add_cond_dim=5,
        num_memory_tokens=2,
    )
    vae = diffusers.AutoencoderSAME(
        patch_size=4,
        encoder_channels=16,
        encoder_c_mults=(1,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=8,
        sampling_rate=96,
    )
    layer = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8, "vocab_size": 64}
    layer |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = transformers.T5GemmaConfig(encoder=layer, decoder=layer, is_encoder_decoder=False)
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder

    return diffusers.StableAudio3Pipeline(
        transformer=transformer.eval(),
        vae=vae.eval(),
        text_encoder=transformers.T5GemmaEncoderModel(config).eval(),
        tokenizer=t5_tokenizer(),
        duration_embedder=StableAudio3DurationEmbedder(output_dim=16),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


BUILDERS = {
    "audioldm": audioldm,
    "audioldm2": audioldm2,
    "tango": tango,
    "stable-audio": stable_audio,
    "stable-audio-3": stable_audio_3,
}
