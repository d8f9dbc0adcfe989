"""The latent transformer: identities of the preconditioning, masks, conditions, derivative, compilation."""

import os

import pytest
import torch
from tiny_model import TINY, tiny_condition, tiny_transformer
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiocm.diffusion.denoiser import Condition
from audiocm.models.transformer import LatentTransformer


def test_untrained_net_is_the_edm_skip():
    """Zero output layer: clean = c_skip x_t = x_t / (1 + sigma^2) for sigma_data = 1."""
    net, x, t = LatentTransformer(**TINY).eval(), torch.randn(2, 4, 12), torch.tensor([0.3, 20.0])
    assert torch.allclose(net(x, t, None, tiny_condition(2, 12)), x / (1 + t[:, None, None] ** 2))


def test_at_time_zero_the_net_is_the_identity():
    net, x = tiny_transformer(), torch.randn(2, 4, 12)
    assert torch.allclose(net(x, torch.zeros(2)), x, atol=1e-6)


def test_an_item_depends_neither_on_padding_nor_on_batch_mates():
    net = tiny_transformer()
    x, t = torch.randn(2, 4, 100) * 3, torch.tensor([3.0, 0.5])
    alone = net(x[:1], t[:1], None, tiny_condition(2, 100)[:1])
    for frames in (128, 240):
        padded = torch.cat([x, 50 * torch.randn(2, 4, frames - 100)], dim=-1)
        out = net(padded, t, None, tiny_condition(2, frames, [100, 100]))
        assert torch.allclose(out[:1, :, :100], alone, atol=1e-5)
        assert (out[..., 100:] == 0).all()


def test_the_mask_is_a_length_condition():
    net, x, t = tiny_transformer(), torch.randn(1, 4, 20), torch.ones(1)
    short, whole = net(x, t, None, tiny_condition(1, 20, [10])), net(x, t, None, tiny_condition(1, 20))
    assert (short[..., :10] - whole[..., :10]).abs().max() > 1e-3


def test_padded_tokens_have_no_effect():
    net, x, t = tiny_transformer(), torch.randn(1, 4, 9), torch.ones(1)
    cond = tiny_condition(1, 9)
    other = tiny_condition(1, 9, tokens=torch.where(cond.token_mask[..., None], cond.tokens, 9.0))
    assert torch.equal(net(x, t, None, cond), net(x, t, None, other))


def test_text_has_an_effect_and_null_removes_it():
    net, x, t = tiny_transformer(), torch.randn(1, 4, 9).expand(2, -1, -1), torch.ones(2)
    conditioned = net(x, t, None, tiny_condition(2, 9))
    assert (conditioned[0] - conditioned[1]).abs().max() > 1e-3
    dropped = net(x, t, None, tiny_condition(2, 9, null=torch.tensor([True, True])))
    assert torch.allclose(dropped[0], dropped[1], atol=1e-6)
    assert torch.allclose(dropped, net(x, t), atol=1e-6)  # a missing condition is the null condition
    assert torch.equal(net(x, t), net(x, t, None, Condition()))
    mixed = net(x, t, None, tiny_condition(2, 9, null=torch.tensor([True, False])))
    assert torch.allclose(mixed, torch.stack([dropped[0], conditioned[1]]), atol=1e-6)


def test_student_equals_its_teacher_at_step_zero():
    """w and s enter through zero-initialised layers: a fresh student with the teacher's weights is the teacher."""
    teacher = tiny_transformer()
    student = LatentTransformer(**TINY, guidance_range=(0.0, 6.0), target_time=True).eval()
    missing = student.load_state_dict(teacher.state_dict(), strict=False).missing_keys
    assert sorted(missing) == ["guidance.weight", "target.weight"]
    x, t, s = torch.randn(2, 4, 9), torch.tensor([1.0, 40.0]), torch.tensor([0.1, 3.0])
    cond = tiny_condition(2, 9, guidance=torch.tensor([0.5, 6.0]))
    for net in (student, teacher.student((0.0, 6.0), target_time=True).eval()):
        assert net.config.guidance_range == (0.0, 6.0) and net.config.target_time
        assert torch.equal(net(x, t, s, cond), teacher(x, t, None, tiny_condition(2, 9)))


def test_guidance_and_target_time_have_an_effect():
    net, x, t = tiny_transformer(guidance_range=(0.0, 6.0), target_time=True), torch.randn(1, 4, 9), torch.ones(1)
    unguided = net(x, t, None, tiny_condition(1, 9))
    assert (net(x, t, None, tiny_condition(1, 9, guidance=torch.tensor([3.0]))) - unguided).abs().max() > 1e-3
    assert (net(x, t, torch.tensor([0.5]), tiny_condition(1, 9)) - unguided).abs().max() > 1e-3
    assert torch.equal(net(x, t, torch.zeros(1), tiny_condition(1, 9)), unguided)


def test_prior_has_an_effect_and_is_masked():
    net, x, t = tiny_transformer(prior_channels=3), torch.randn(1, 4, 9), torch.ones(1)
    prior = torch.randn(1, 3, 9)
    out = net(x, t, None, tiny_condition(1, 9, [6], prior=prior))
    padded = torch.where(torch.arange(9) < 6, prior, 5.0)
    assert torch.equal(out, net(x, t, None, tiny_condition(1, 9, [6], prior=padded)))
    assert (out - net(x, t, None, tiny_condition(1, 9, [6], prior=-prior))).abs().max() > 1e-3


def test_the_duration_has_an_effect_unless_it_is_not_said():
    net, x, t = tiny_transformer(takes_duration=True), torch.randn(1, 4, 9).expand(3, -1, -1), torch.ones(3)
    torch.nn.init.normal_(net.duration.weight)
    cond = tiny_condition(1, 9).repeat_interleave(3)
    without = net(x, t, None, cond)
    cond.duration = torch.tensor([0.0, 5.0, 9.0])
    out = net(x, t, None, cond)
    assert torch.equal(out[0], without[0])
    assert (out[1] - out[0]).abs().max() > 1e-3 and (out[2] - out[1]).abs().max() > 1e-3


def test_only_known_frames_of_an_edited_sound_have_an_effect():
    net, x, t = tiny_transformer(takes_kept=True), torch.randn(1, 4, 9), torch.ones(1)
    cond = tiny_condition(1, 9)
    without = net(x, t, None, cond)
    cond.kept, cond.kept_mask = torch.randn(1, 4, 9), torch.zeros(1, 9, dtype=torch.bool)
    assert torch.equal(net(x, t, None, cond), without)  # nothing is known
    cond.kept_mask[:, :4] = True
    edited = net(x, t, None, cond)
    assert (edited - without).abs().max() > 1e-3
    cond.kept = torch.cat([cond.kept[..., :4], torch.randn(1, 4, 5)], dim=-1)
    assert torch.equal(net(x, t, None, cond), edited)


def test_known_frames_are_taken_up_by_a_network_without_them():
    plain, wider, x, t = tiny_transformer(), tiny_transformer(1, takes_kept=True), torch.randn(2, 4, 9), torch.ones(2)
    cond = tiny_condition(2, 9, kept=torch.randn(2, 4, 9), kept_mask=torch.ones(2, 9, dtype=torch.bool))
    assert not torch.allclose(wider(x, t, None, cond), plain(x, t, None, cond))
    wider.load_weights_of(plain)
    torch.testing.assert_close(wider(x, t, None, cond), plain(x, t, None, cond))
    (wider(x, t, None, cond) ** 2).mean().backward()
    assert (wider.input.weight.grad[:, -5:].abs().amax(0) > 0).all()  # 4 channels and their mask: they learn
    other = tiny_transformer(2, takes_kept=True)
    other.load_weights_of(wider)
    torch.testing.assert_close(other(x, t, None, cond), plain(x, t, None, cond))
    with pytest.raises(RuntimeError, match="size mismatch"):
        plain.load_weights_of(wider)


def test_jvp_equals_finite_differences():
    """d/dh net(x + h dx, t + h dt, s + h ds), MATH attention; central differences in float64."""
    net = tiny_transformer(target_time=True, guidance_range=(0.0, 6.0))
    x, dx, t, s = torch.randn(2, 4, 9), torch.randn(2, 4, 9), torch.tensor([2.0, 0.7]), torch.tensor([0.4, 0.2])
    dt, ds = torch.tensor([1.0, -0.5]), torch.tensor([0.3, 0.1])
    cond = tiny_condition(2, 9, [9, 6], guidance=torch.tensor([1.0, 4.0]))

    def along(x, t, s):
        return net(x, t, s, cond)

    with sdpa_kernel(SDPBackend.MATH):
        _, tangent = torch.func.jvp(along, (x, t, s), (dx, dt, ds))
        h = 1e-2
        sides = [along(x + e * h * dx, t + e * h * dt, s + e * h * ds) for e in (2, 1, -1, -2)]
        difference = (8 * (sides[1] - sides[2]) - (sides[0] - sides[3])) / (12 * h)
    assert (tangent - difference).norm() < 1e-3 * difference.norm()


def test_gradients_reach_every_weight():
    net = tiny_transformer(target_time=True, guidance_range=(0.0, 6.0), prior_channels=2)
    cond = tiny_condition(2, 9, null=torch.tensor([True, False]), guidance=torch.ones(2), prior=torch.randn(2, 2, 9))
    net(torch.randn(2, 4, 9), torch.ones(2), torch.full((2,), 0.5), cond).square().sum().backward()
    unreached = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not unreached


def test_one_graph_under_bf16_autocast_with_a_bf16_residual_stream():
    net = tiny_transformer(guidance_range=(0.0, 6.0))
    seen = set()
    hooks = [block.register_forward_hook(lambda _m, _i, out: seen.add(out.dtype)) for block in net.blocks]
    x, t, cond = torch.randn(2, 4, 9), torch.ones(2), tiny_condition(2, 9, guidance=torch.ones(2))
    with torch.autocast("cpu", torch.bfloat16):
        eager = net(x, t, None, cond)
    assert seen == {torch.bfloat16} and eager.dtype == torch.float32
    for hook in hooks:
        hook.remove()
    compiled = torch.compile(net, fullgraph=True, dynamic=False, backend="eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(compiled(x, t, None, cond), eager, atol=1e-5)


def test_blocks_compiled_once_serve_with_and_without_gradient():
    """Teacher, student and target share the code that is compiled: whoever is called first, gradients stay right."""
    torch.manual_seed(0)
    eager, compiled = tiny_transformer(guidance_range=(0.0, 6.0)), tiny_transformer(guidance_range=(0.0, 6.0))
    compiled.load_state_dict(eager.state_dict())
    torch._dynamo.reset()
    for block in compiled.blocks:
        block.compile(dynamic=False, backend="aot_eager", fullgraph=True)
    x, t, cond = torch.randn(2, 4, 9), torch.ones(2), tiny_condition(2, 9, guidance=torch.ones(2))
    with torch.no_grad():
        before = compiled(x, t, None, cond)
    for net in (eager, compiled):
        net(x, t, None, cond).square().sum().backward()
    with torch.no_grad():
        assert torch.allclose(before, eager(x, t, None, cond), atol=1e-5)
        assert torch.allclose(compiled(x, t, None, cond), before, atol=1e-6)
    for mine, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None)
        assert mine.grad is None or torch.allclose(mine.grad, other.grad, atol=1e-4)


def test_too_long_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"241 latent frames.*240"):
        tiny_transformer()(torch.randn(1, 4, 241), torch.ones(1))
    with pytest.raises(ValueError, match="width 30"):
        LatentTransformer(width=30, heads=4)
    with pytest.raises(ValueError, match="path must be 'edm', got 'vp'"):
        LatentTransformer(path="vp")


def test_saved_and_loaded_in_every_format(tmp_path):
    net = tiny_transformer(guidance_range=(0.0, 6.0), width=96, heads=2)
    x, t, cond = torch.randn(2, 4, 9), torch.ones(2), tiny_condition(2, 9, guidance=torch.ones(2))
    for variant, tolerance in ((None, 0), ("int8", 0.05)):
        folder = tmp_path / str(variant)
        net.save_pretrained(folder, variant=variant)
        again = LatentTransformer.from_pretrained(folder)
        assert not again.training and tuple(again.config.guidance_range) == (0.0, 6.0)
        out = net(x, t, None, cond)
        assert (again(x, t, None, cond) - out).norm() <= tolerance * out.norm()
    assert os.path.getsize(tmp_path / "int8" / "diffusion_pytorch_model.int8.safetensors") < 0.5 * os.path.getsize(
        tmp_path / "None" / "diffusion_pytorch_model.safetensors"
    )
