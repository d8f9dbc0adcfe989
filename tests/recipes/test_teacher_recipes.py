"""The recipes of teachers: the whole chain of a small AudioLDM, and the bundled teacher as someone else's, tiny."""

import json
import subprocess
import sys

import pytest
import tiny_model
import torch
from safetensors.torch import load_file

from audiocm import TextToAudioPipeline, load_teacher
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_text_encoder, load_tokenizer
from recipes.teachers import audioldm, bundled
from recipes.teachers.tiny import write_sounds

LOADED_WITHOUT = """
import sys
sys.modules["audiocm"] = None
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(sys.argv[1])
print(pipe("a tone", audio_length_in_s=2.0, num_inference_steps=1, guidance_scale=1.0).audios.shape)
"""


def test_the_text_encoder_of_a_small_audioldm_gives_the_states_of_the_bundled_one():
    words = load_tokenizer(BUNDLED_ENCODER)(["a dog barks", "rain on a tin roof"], padding=True, return_tensors="pt")
    with torch.no_grad():
        own = audioldm.clap_text_encoder().text_model(words.input_ids, attention_mask=words.attention_mask)[0]
        bert = load_text_encoder(BUNDLED_ENCODER)(words.input_ids, attention_mask=words.attention_mask)[0]
    real = words.attention_mask.bool()
    torch.testing.assert_close(own[real], bert[real], atol=1e-4, rtol=1e-4)


def test_a_small_audioldm_is_trained_distilled_and_scored(tmp_path, monkeypatch):
    """One method; the table has every system, and a second call trains nothing anew."""
    monkeypatch.setattr(audioldm, "METHODS", ("lcm",))
    call = ["all", str(tmp_path), "--tiny", "--tagger", "small-clap", "--embedders", "small-clap"]
    audioldm.main(call)
    table = json.loads((tmp_path / "table.json").read_text())
    assert list(table["systems"]) == ["codec", "teacher", "lcm"]
    assert table["systems"]["lcm"]["queries"] == 1 and table["systems"]["teacher"]["queries"] == 4
    assert all(len(row["scores"]) == 2 for row in table["systems"].values())
    weights = next((tmp_path / "teacher" / "unet").glob("*.safetensors"))
    before = weights.stat().st_mtime_ns
    for stage in ("codec", "teacher"):
        audioldm.main([stage, *call[1:]])
    assert weights.stat().st_mtime_ns == before
    plain = [sys.executable, "-c", LOADED_WITHOUT, str(tmp_path / "lcm" / "model")]
    assert subprocess.run(plain, capture_output=True, text=True, check=True).stdout.strip() == "(1, 32000)"


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_the_bundled_teacher_is_distilled_through_a_plain_adapter(tmp_path, kind):
    """The student differs from the teacher after training, and is a pipeline of audiocm; LoRA also gives its file."""
    tiny_model.tiny_pipeline(student=False).save_pretrained(tmp_path / "teacher")
    write_sounds(tmp_path / "sounds")
    more = ["--steps", "2", "--batch", "2", "--seconds", "1", "--rank", "4"]
    call = [kind, str(tmp_path / "run"), "--teacher", str(tmp_path / "teacher"), "--data", str(tmp_path / "sounds")]
    bundled.main([*call, *more])
    student = TextToAudioPipeline.from_pretrained(tmp_path / "run" / kind / "model")
    teacher = TextToAudioPipeline.from_pretrained(tmp_path / "teacher")
    assert not torch.equal(student.transformer.input.weight, teacher.transformer.input.weight)
    assert torch.isfinite(torch.as_tensor(student("rain", 1.0).audios)).all()
    file = tmp_path / "run" / kind / "model" / "pytorch_lora_weights.safetensors"
    assert file.is_file() == (kind == "lora") and (kind == "full" or load_file(file))
    assert type(load_teacher(str(tmp_path / "teacher")).adapter).__name__ == "TextToAudio"
