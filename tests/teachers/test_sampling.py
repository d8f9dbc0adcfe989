"""Teachers against the pipelines that they come from: the same latents by the pipeline's own guided sampling."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_teachers import PROMPTS, build, make_case

from audiocm.diffusion import solvers
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import guided_net
from audiocm.teachers import load_teacher

pytestmark = pytest.mark.filterwarnings("ignore")
W = 3.0


def audioldm_latents(case, noise, steps):
    """AudioLDMPipeline has no latent output: note what its VAE is given."""
    seen, decode = {}, case.pipe.vae.decode
    case.pipe.vae.decode = lambda latent: (seen.update(latent=latent), decode(latent))[1]
    options = {"audio_length_in_s": case.seconds, "num_inference_steps": steps, "guidance_scale": W}
    try:
        case.pipe(PROMPTS, latents=noise.clone(), **options)
    finally:
        del case.pipe.vae.decode
    return seen["latent"] * case.pipe.vae.config.scaling_factor


def audioldm2_latents(case, noise, steps):
    """One prompt at a time, since its conditions depend on the other prompts of a batch."""
    options = {"audio_length_in_s": case.seconds, "num_inference_steps": steps, "guidance_scale": W}
    rows = [
        case.pipe([prompt], latents=noise[i : i + 1].clone(), output_type="latent", **options).audios
        for i, prompt in enumerate(PROMPTS)
    ]
    return torch.cat(rows)


def tango_latents(case, noise, steps):
    """TANGO's published loop: both branches of a batch are padded to its longest prompt."""
    parts, x = case.pipe, noise.clone()
    words = parts["tokenizer"](PROMPTS, padding=True, return_tensors="pt")
    length = words.input_ids.shape[1]
    empty = parts["tokenizer"](["", ""], padding="max_length", max_length=length, return_tensors="pt")
    states = [parts["text_encoder"](one.input_ids, attention_mask=one.attention_mask)[0] for one in (empty, words)]
    mask = torch.cat([empty.attention_mask, words.attention_mask]).bool()
    parts["scheduler"].set_timesteps(steps)
    for n in parts["scheduler"].timesteps:
        text = {"encoder_hidden_states": torch.cat(states), "encoder_attention_mask": mask}
        null, cond = parts["unet"](torch.cat([x, x]), n, **text).sample.chunk(2)
        x = parts["scheduler"].step(null + W * (cond - null), n, x).prev_sample
    return x


TABLES = {"audioldm": audioldm_latents, "audioldm2": audioldm2_latents, "tango": tango_latents}


@torch.no_grad()
@pytest.mark.parametrize("name", TABLES)
def test_same_latents_as_the_pipeline(name):
    case = make_case(name)
    noise, scheduler = case.noise(), case.teacher.adapter.pipe.scheduler
    expected = TABLES[case.name](case, noise, 10)
    scheduler.set_timesteps(10)
    end = 0.0 if scheduler.config.set_alpha_to_one else 1.0  # their last step may end at the table's first entry
    times = [float(n) + 1 for n in scheduler.timesteps]
    times = [t for t in times if t > end] + [end]
    start = noise / case.teacher.path.sigma(torch.tensor(times[0]))  # their schedulers start from unit noise
    net = guided_net(case.teacher.net, W)
    got = solvers.sample(net, case.teacher.path, start, case.cond, times, solvers.euler)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_same_latents_as_stable_audio(monkeypatch):
    """SDE-DPM-Solver++(2M), with the pipeline's own Brownian noise."""
    from diffusers.schedulers import scheduling_cosine_dpmsolver_multistep as module

    case, drawn = make_case("stable-audio"), []
    plain = module.BrownianTreeNoiseSampler.__call__

    def record(self, *sigmas):
        drawn.append(plain(self, *sigmas))
        return drawn[-1]

    monkeypatch.setattr(module.BrownianTreeNoiseSampler, "__call__", record)
    noise, generator = case.noise(), torch.Generator().manual_seed(3)
    options = {"num_inference_steps": 8, "guidance_scale": W, "output_type": "latent", "generator": generator}
    expected = case.pipe(PROMPTS, audio_end_in_s=case.seconds, latents=noise.clone(), **options).audios
    case.pipe.scheduler.set_timesteps(8)
    times = [*case.pipe.scheduler.timesteps.tolist(), 0.0]
    start, replay = noise / case.teacher.path.sigma(torch.tensor(times[0])), iter(drawn)
    net = guided_net(case.teacher.net, W)
    extra = {"solver": sde_dpmpp_2m, "draw_noise": lambda like: next(replay)}
    got = solvers.sample(net, case.teacher.path, start, case.cond, times, **extra)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def sde_dpmpp_2m(ode, x, t, s):
    """SDE-DPM-Solver++(2M), midpoint. Lu et al. 2022b, eq. 18; the published sampler of Stable Audio."""
    path, h = ode.path, ode.log_snr(s) - ode.log_snr(t)
    alpha, clean = path.alpha(s)[:, None, None], ode.field(x, t)
    gain = (-torch.expm1(-2 * h))[:, None, None]
    keep = (path.sigma(s) / path.sigma(t) * torch.exp(-h))[:, None, None]
    noise = path.sigma(s)[:, None, None] * gain.sqrt() * ode.draw_noise(x)
    change = 0.0
    if ode.previous is not None:
        before, clean_before = ode.previous
        change = (clean - clean_before) * (h / (ode.log_snr(t) - before))[:, None, None] / 2
    ode.previous = ode.log_snr(t), clean
    return keep * x + alpha * gain * (clean + change) + noise


@torch.no_grad()
def test_same_latents_as_stable_audio_3():
    case = make_case("stable-audio-3")
    noise = case.noise()
    options = {"num_inference_steps": 6, "guidance_scale": W, "output_type": "latent"}
    expected = case.pipe(PROMPTS, duration=case.seconds, latents=noise.clone(), **options).audios
    times = case.pipe.scheduler.sigmas.tolist()
    assert times[0] == 1 and times[-1] == 0
    net = guided_net(case.teacher.net, W)
    got = solvers.sample(net, case.teacher.path, noise, case.cond, times, solvers.euler)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_condition_does_not_depend_on_its_batch(case):
    alone = Condition.cat([case.teacher.condition([prompt], case.seconds) for prompt in PROMPTS])
    for name, value in case.cond._tensors().items():
        torch.testing.assert_close(value, getattr(alone, name), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_dropped_row_changes_and_the_others_stay(case):
    x, t = case.noise(), case.time(0.6)
    full = case.teacher.net(x, t, None, case.cond)
    dropped = copy.copy(case.cond)
    dropped.null = torch.tensor([False, True])
    half = case.teacher.net(x, t, None, dropped)
    torch.testing.assert_close(half[0], full[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(half[1], full[1], atol=1e-4)


def test_an_older_language_model_of_audioldm2_generates_too():
    """GPT2Model, which the pipeline of diffusers cannot use with recent releases of transformers."""
    from transformers import GPT2Model

    pipe, case = build("audioldm2"), make_case("audioldm2")
    older = GPT2Model(pipe.language_model.config).eval()
    older.load_state_dict(pipe.language_model.transformer.state_dict())
    pipe.register_modules(language_model=older)
    torch.testing.assert_close(load_teacher(pipe).condition(PROMPTS, 0.64).tokens, case.cond.tokens)


def test_a_long_prompt_is_cut_with_a_warning(case):
    with pytest.warns(UserWarning, match=r"has \d+ tokens and is cut to \d+$"):
        cond = case.teacher.condition(["a dog and " * 20], case.seconds)
    assert cond.tokens is None or cond.tokens.shape[:1] == (1,)


def test_sound_to_latent_and_back(case):
    samples = int(case.seconds * case.teacher.sample_rate)
    wav = 0.1 * torch.randn(2, *([2] if case.teacher.channels == 2 else []), samples)
    latent = case.teacher.encode(wav)
    assert latent.shape == (2, *case.teacher.latent_shape(case.seconds)) and latent.isfinite().all()
    back = case.teacher.decode(latent)
    assert back.shape[:-1] == wav.shape[:-1] and back.shape[-1] >= samples and back.dtype == torch.float32


def test_mel_latents_do_not_depend_on_level(tango):
    wav = torch.randn(1, 10240)
    torch.testing.assert_close(tango.teacher.encode(wav), tango.teacher.encode(0.01 * wav), atol=1e-3, rtol=1e-3)


def test_the_window_of_stable_audio_is_not_exceeded():
    with pytest.raises(ValueError, match="at most 96 samples"):
        make_case("stable-audio").teacher.encode(torch.zeros(1, 2, 97))


def test_a_net_says_that_it_needs_a_condition(tango):
    with pytest.raises(ValueError, match="needs a Condition"):
        tango.teacher.net(tango.noise(), tango.time())


def test_forward_derivative(case):
    """torch.func.jvp in (x, t) equals central differences; Stable Audio 3's features of t turn too fast for those."""
    net, cond = copy.deepcopy(case.teacher.net).double(), case.cond.to("cpu", torch.float64)
    x, t = case.noise().double(), case.time(0.61).double()
    dx = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dt = torch.full_like(t, 0.0 if case.name == "stable-audio-3" else 0.01 * case.teacher.path.t_max)

    def call(x, t):
        return net(x, t, None, cond)

    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _, derivative = torch.func.jvp(call, (x, t), (dx, dt))
        h = 1e-2  # the features of t are float32
        expected = (call(x + h * dx, t + h * dt) - call(x - h * dx, t - h * dt)) / (2 * h)
    assert (derivative - expected).norm() < 1e-2 * expected.norm()


def test_derivatives_of_tables_are_refused(tango):
    from audiocm.distillation import methods

    path = tango.teacher.path
    method = methods.scd(guided_net(tango.teacher.net, 2.0), path=path, net_path=path)
    with pytest.raises(ValueError, match="integer timesteps"):
        method.loss(tango.teacher.student(), None, tango.noise(), tango.cond, 0.5)


@torch.no_grad()
def test_autocast_does_not_round_the_time():
    """Stable Audio's features of t are a product, which bf16 autocast would compute with three digits of t."""
    case = make_case("stable-audio")
    layer, t = case.teacher.net.net.time_proj, torch.tensor([0.9987, 0.9961])
    exact = type(layer).forward(layer, t)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = type(layer).forward(layer, t)
        assert torch.equal(layer(t), exact) and (rounded - exact).abs().max() > 1e-2
