"""Low-rank differences: zero at first, merged, scaled, and in files that diffusers reads and writes."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TinyNet
from tiny_model import tiny_condition, tiny_transformer
from tiny_teachers import make_case

from audiocm.teachers import DenoiserNet, lora

pytestmark = pytest.mark.filterwarnings("ignore")


def changed(net, seed=0):
    """The network with a difference that is not zero."""
    torch.manual_seed(seed)
    for name, weight in net.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.2)
    return net


def with_net(case, net):
    """The contract net of a denoiser of a case."""
    teacher = case.teacher.net
    return DenoiserNet(net, teacher.schedule, teacher.architecture, teacher.null_condition())


def test_a_difference_is_zero_at_first_and_merges():
    torch.manual_seed(0)
    net, x, t = TinyNet(), torch.randn(4, 2), torch.ones(4)
    torch.nn.init.normal_(net.last.weight)
    before = net(x, t)
    trained = lora.add_lora(net, 4)
    assert torch.equal(net(x, t), before) and all(p.requires_grad for p in trained)
    assert {id(p) for p in trained} == {id(p) for p in net.parameters() if p.requires_grad}
    after = changed(net)(x, t)
    assert not torch.allclose(after, before, atol=1e-3) and lora.has_lora(net)
    lora.merge_lora(net)
    torch.testing.assert_close(net(x, t), after)
    assert {type(m) for m in net.modules()} == {type(m) for m in TinyNet().modules()} and not lora.has_lora(net)
    lora.add_lora(net, 4)  # a merged network can get another one
    torch.testing.assert_close(net(x, t), after)


def test_only_layers_larger_than_their_difference_get_one():
    net = torch.nn.ModuleDict(
        {"wide": torch.nn.Linear(32, 32), "narrow": torch.nn.Linear(32, 4), "conv": torch.nn.Conv2d(8, 16, 3)}
    )
    assert lora.adaptable_layers(net, 4) == ["wide", "conv"]
    assert lora.adaptable_layers(net, 4, "^conv$") == ["conv"]
    for rank, words in (
        (40, "at most 15, beyond which no layer has more numbers, not 40"),
        (0, "at least 1"),
        (2.5, "at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            lora.add_lora(net, rank)
    lora.add_lora(net, 4)
    with pytest.raises(ValueError, match="merge it first"):
        lora.add_lora(net, 4)


def test_linear_layers_and_convolutions_of_a_unet_get_one(tango):
    student = tango.teacher.student(lora=4)
    kinds = {type(layer).__name__ for name, layer in student.named_modules() if name.endswith(".base_layer")}
    assert kinds == {"Linear", "Conv2d"}


@torch.no_grad()
@pytest.mark.parametrize("merge", [False, True], ids=["", "merged"])
def test_round_trip_into_a_plain_network(case, tmp_path, merge):
    student = changed(case.teacher.student(lora=4))
    lora.save_lora(student, tmp_path)
    x, t = case.noise(), case.time()
    ours, teachers = (net(x, t, None, case.cond) for net in (student, case.teacher.net))
    plain = copy.deepcopy(case.teacher.net.net)
    lora.load_lora(plain, tmp_path, merge=merge)
    torch.testing.assert_close(with_net(case, plain)(x, t, None, case.cond), ours, atol=1e-4, rtol=1e-4)
    assert lora.has_lora(plain) != merge and not torch.allclose(ours, teachers, atol=1e-3)
    if not merge:
        lora.set_lora_scale(plain, 0.0)
        torch.testing.assert_close(with_net(case, plain)(x, t, None, case.cond), teachers, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_half_the_scale_is_half_the_difference_of_a_weight(tango, tmp_path):
    lora.save_lora(changed(tango.teacher.student(lora=4)), tmp_path)
    nets = [copy.deepcopy(tango.teacher.net.net) for _ in range(2)]
    for net, scale in zip(nets, (1.0, 0.5), strict=True):
        lora.load_lora(net, tmp_path, scale, merge=True)
    base, whole, half = (net.state_dict() for net in (tango.teacher.net.net, *nets))
    for name, weight in base.items():
        torch.testing.assert_close(half[name] - weight, 0.5 * (whole[name] - weight), atol=1e-6, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["audioldm", "tango"])
def test_diffusers_reads_the_file(name, tmp_path):
    """By its own load_lora_adapter, with a scale and fused."""
    case = make_case(name)
    student = changed(case.teacher.student(lora=4))
    lora.save_lora(student, tmp_path)
    plain, x, t = copy.deepcopy(case.teacher.net.net), case.noise(), case.time()
    plain.load_lora_adapter(tmp_path, prefix=None, weight_name=lora.WEIGHTS_FILE)
    ours = student(x, t, None, case.cond)
    torch.testing.assert_close(with_net(case, plain)(x, t, None, case.cond), ours, atol=1e-4, rtol=1e-4)
    plain.fuse_lora()
    torch.testing.assert_close(with_net(case, plain)(x, t, None, case.cond), ours, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_diffusers_reads_the_file_into_networks_without_a_loader(tmp_path):
    """AudioLDM 2's and Stable Audio's networks lack the mixin of diffusers that reads LoRA; with it, they read it."""
    from diffusers.loaders import PeftAdapterMixin

    for name in ("audioldm2", "stable-audio"):
        case = make_case(name)
        student = changed(case.teacher.student(lora=4))
        lora.save_lora(student, tmp_path / name)
        plain, x, t = copy.deepcopy(case.teacher.net.net), case.noise(), case.time()
        plain.__class__ = type(type(plain).__name__, (PeftAdapterMixin, type(plain)), {})
        plain.load_lora_adapter(tmp_path / name, prefix=None, weight_name=lora.WEIGHTS_FILE)
        ours = student(x, t, None, case.cond)
        torch.testing.assert_close(with_net(case, plain)(x, t, None, case.cond), ours, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_files_of_diffusers_are_read(tango, tmp_path):
    """Written by its save_lora_adapter; and without a configuration, with the prefix of a pipeline."""
    from peft import LoraConfig

    net = copy.deepcopy(tango.teacher.net.net)
    net.add_adapter(LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "conv1"], init_lora_weights=False))
    net.save_lora_adapter(tmp_path)
    weights = load_file(tmp_path / lora.WEIGHTS_FILE)
    bare = tmp_path / "bare.safetensors"
    save_file({f"unet.{name}": weight for name, weight in weights.items()}, bare)
    x, t = tango.noise(), tango.time()
    expected = with_net(tango, net)(x, t, None, tango.cond)
    for source in (tmp_path, bare):
        plain = copy.deepcopy(tango.teacher.net.net)
        lora.load_lora(plain, source)
        torch.testing.assert_close(with_net(tango, plain)(x, t, None, tango.cond), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_transformer_of_audiocm(tmp_path):
    net = tiny_transformer()
    x, t, cond = torch.randn(2, 4, 12), torch.full((2,), 5.0), tiny_condition(2, 12)
    before, base = net(x, t, None, cond), copy.deepcopy(net)
    lora.add_lora(net, 4)
    assert torch.equal(net(x, t, None, cond), before)
    after = changed(net)(x, t, None, cond)
    lora.save_lora(net, tmp_path)
    lora.load_lora(base, tmp_path, merge=True)
    torch.testing.assert_close(base(x, t, None, cond), after, atol=1e-5, rtol=1e-5)


def test_bad_files(tango, tmp_path):
    net = copy.deepcopy(tango.teacher.net.net)
    with pytest.raises(ValueError, match="is missing"):
        lora.load_lora(net, tmp_path)
    file = tmp_path / lora.WEIGHTS_FILE
    file.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="is damaged"):
        lora.load_lora(net, tmp_path)
    save_file({"conv_in.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(ValueError, match="no low-rank difference"):
        lora.load_lora(net, tmp_path)
    save_file({"lost.lora_A.weight": torch.zeros(2, 4), "lost.lora_B.weight": torch.zeros(4, 2)}, file)
    with pytest.raises(ValueError, match="does not fit UNet2DConditionModel"):
        lora.load_lora(net, tmp_path)
    lora.save_lora(make_case("stable-audio").teacher.student(lora=4), tmp_path)
    with pytest.raises(ValueError, match="does not fit UNet2DConditionModel"):
        lora.load_lora(net, tmp_path)
    assert not lora.has_lora(net)  # as it was
    expected = tango.teacher.net.net.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


def test_what_a_file_cannot_hold_is_refused(tango, tmp_path):
    with pytest.raises(ValueError, match="takes w or s"):
        lora.save_lora(tango.teacher.student((1.0, 5.0), lora=4), tmp_path)
    with pytest.raises(ValueError, match="no low-rank difference to save"):
        lora.save_lora(tango.teacher.student(), tmp_path)
    with pytest.raises(ValueError, match="has no low-rank difference"):
        lora.set_lora_scale(tango.teacher.net, 0.5)
