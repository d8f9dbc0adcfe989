"""Weight files: bound of int8's rounding error, exact storage of the rest, renamed weights, errors of damaged files."""

import json
import os
import stat

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file, save_file

from audiocm.models.weights import StoredWeights, dequantize, load_state, quantize, resolve_folder, save_int8


class Net(StoredWeights, ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 200):
        super().__init__()
        self.big = torch.nn.Linear(width, width)
        self.conv = torch.nn.Conv1d(width, 64, 3)
        self.small = torch.nn.Linear(3, 3)
        self.register_buffer("count", torch.tensor(7))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def test_the_error_is_at_most_half_a_step(net):
    """|W - q scale| <= scale / 2 = max|row| / 254, give or take float16's rounding of the scale."""
    state = net.state_dict()
    again = dequantize(quantize(state))
    for name in ("big.weight", "conv.weight"):
        rows = state[name].flatten(1)
        step = rows.abs().amax(1, keepdim=True) / 127
        error = (again[name].flatten(1) - rows).abs()
        assert (error <= 0.57 * step).all() and (error > 0.4 * step).any()
    assert torch.equal(again["small.weight"], state["small.weight"].half().float())
    assert torch.equal(again["count"], torch.tensor(7))


def test_rows_of_any_size_survive():
    rows = torch.randn(64, 1024) * torch.logspace(-4, 3, 64)[:, None]
    rows[0] = 0
    again = dequantize(quantize({"rows": rows}))["rows"]
    assert torch.equal(again[0], rows[0])
    assert ((again - rows).norm(dim=1) <= 0.02 * rows.norm(dim=1)).all()


def test_quantising_twice_changes_nothing(net):
    once = dequantize(quantize(net.state_dict()))
    twice = dequantize(quantize(once))
    assert all(torch.allclose(once[name], twice[name], rtol=1e-3, atol=1e-7) for name in once)


def test_the_file_is_small_readable_by_all_and_never_half_written(net, tmp_path):
    file = tmp_path / "deep" / "weights.int8.safetensors"
    save_int8(net.state_dict(), file)
    assert load_file(file)["big.weight"].dtype == torch.int8
    assert os.path.getsize(file) < 0.3 * sum(4 * p.numel() for p in net.parameters())
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o644 and sorted(os.listdir(file.parent)) == [
        "checksums.json",
        file.name,
    ]


def test_values_that_cannot_be_stored_are_refused(net):
    for bad in (float("nan"), float("inf"), 1e9):
        state = net.state_dict()
        state["small.bias"] = torch.full((3,), bad)
        with pytest.raises(ValueError, match=r"small\.bias"):
            quantize(state)
        with pytest.raises(ValueError, match="rows"):
            quantize({"rows": torch.full((200, 200), bad)})


@pytest.mark.parametrize("variant", ["int8", "fp16", None])
def test_models_load_from_each_variant(net, tmp_path, variant):
    (net.half() if variant == "fp16" else net).save_pretrained(tmp_path, variant=variant)
    again = Net.from_pretrained(tmp_path)
    assert again.config.width == 200 and not again.training
    for name, value in net.float().state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-2 if variant else 0), name


def test_large_weights_become_several_files_and_one_again(net, tmp_path):
    net.save_pretrained(tmp_path, variant="int8")
    whole = load_state(tmp_path / "diffusion_pytorch_model.int8.safetensors")
    net.save_pretrained(tmp_path, variant="int8", max_shard_size=20_000)
    shards = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert len(shards) > 1 and shards[0] == f"diffusion_pytorch_model.int8-00001-of-{len(shards):05d}.safetensors"
    assert set(json.loads((tmp_path / "checksums.json").read_text())) == set(shards)
    again = Net.from_pretrained(tmp_path).state_dict()
    assert again.keys() == whole.keys() and all(torch.equal(again[name], value) for name, value in whole.items())
    (tmp_path / shards[1]).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{shards[1]} is damaged"):
        Net.from_pretrained(tmp_path)
    net.save_pretrained(tmp_path, variant="int8")
    assert [file.name for file in tmp_path.glob("*index*")] == [] and len(list(tmp_path.glob("*.safetensors"))) == 1
    assert Net.from_pretrained(tmp_path).config.width == 200


def test_damaged_missing_and_foreign_files_are_named(net, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        Net.from_pretrained(tmp_path)
    net.save_config(tmp_path)
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.int8\.safetensors is missing"):
        Net.from_pretrained(tmp_path)
    net.save_pretrained(tmp_path, variant="int8")
    file = tmp_path / "diffusion_pytorch_model.int8.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not weights", b""):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"pytorch_model\.int8\.safetensors is damaged"):
            Net.from_pretrained(tmp_path)
    file.unlink()
    save_int8(Net(width=190).state_dict(), file)
    with pytest.raises(ValueError, match=r"int8\.safetensors does not fit Net: .*size mismatch"):
        Net.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"nothing\.safetensors is missing"):
        load_state(tmp_path / "nothing.safetensors")


def test_values_that_are_not_finite_are_named(net, tmp_path):
    """In a float32 file, and in the float16 parts of an int8 file: small tensors and scales."""
    file = tmp_path / "weights.safetensors"
    for stored in (net.state_dict(), quantize(net.state_dict())):
        for name in stored.keys() & {"big.weight", "big.weight::scale", "small.bias"}:
            if stored[name].is_floating_point():
                bad = stored[name].clone()
                bad.view(-1)[1] = float("inf")
                save_file(stored | {name: bad}, file)
                with pytest.raises(
                    ValueError, match=f"{name.removesuffix('::scale')!r} holds values that are not finite"
                ):
                    load_state(file)


def test_dequantized_tensors_share_no_memory(net):
    """Models use dequantized tensors without a copy: another model or the file must not change with them."""
    state = net.state_dict()
    for stored in (state, quantize(state)):
        taken = {value.data_ptr() for value in stored.values()}
        assert not taken & {value.data_ptr() for value in dequantize(stored).values()}


def test_only_a_hub_id_may_reach_the_network():
    for name in ("tta-5", "/no/such/folder", "a/b/c", ""):
        with pytest.raises(ValueError, match="no model folder"):
            resolve_folder(name)
