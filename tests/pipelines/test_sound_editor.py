"""Editing of sounds: kept samples stay equal bit for bit, what is made fits, and bad input is told in one line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_model import perturb, tiny_pipeline

from audiocm.audio.io import resample
from audiocm.audio.loudness import active_level, without_end
from audiocm.audio.seams import raise_event
from audiocm.diffusion import paths, solvers
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines import long_sounds
from audiocm.pipelines.failures import AudioError
from audiocm.pipelines.filling import SEAM, EditSettings, joined_band, joined_mel, mirrored
from audiocm.pipelines.long_sounds import like_sides
from audiocm.pipelines.sound_editor import SoundEditor, with_slope


@pytest.fixture(scope="module")
def editors():
    """Editors of a student, of a student that takes known latents, and of a teacher; random nets for ten seconds."""
    made = {}
    for name, student, takes_kept in [("student", True, False), ("kept", True, True), ("teacher", False, False)]:
        pipe = tiny_pipeline(student, num_inference_steps=1 if student else 3)
        config = {key: value for key, value in pipe.transformer.config.items() if not key.startswith("_")}
        torch.manual_seed(0)
        net = LatentTransformer.from_config({**config, "max_frames": 240, "takes_kept": takes_kept})
        pipe.register_modules(transformer=perturb(net))
        made[name] = SoundEditor(pipe)
    return made


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    wav = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    return wav[:, 0] if channels == 1 else wav


@pytest.mark.parametrize("kind", ["student", "kept", "teacher"])
@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2), (8000, 1)])
def test_inpainting_keeps_every_sample_outside_the_seams(editors, kind, rate, channels):
    wav = noise(2.5, rate, channels)
    edited = editors[kind].inpaint(wav, rate, 1.0, 1.4, EditSettings("rain", steps=2))
    first, end, seam = rate, round(1.4 * rate), round(SEAM * rate)
    assert edited.shape == wav.shape
    np.testing.assert_array_equal(edited[: first - seam], wav[: first - seam])
    np.testing.assert_array_equal(edited[end + seam :], wav[end + seam :])
    assert np.abs(edited[first:end] - wav[first:end]).max() > 0.01
    assert np.isfinite(edited).all() and np.abs(edited[first:end]).max() > 1e-3


def test_a_seed_makes_the_same_take_and_another_seed_another(editors):
    wav = noise(1.5, 24000)
    takes = [editors["student"].inpaint(wav, 24000, 0.5, 1, EditSettings(seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(takes[0], takes[1])
    assert np.abs(takes[0] - takes[2]).max() > 1e-3


def test_equal_channels_stay_equal(editors):
    wav = np.repeat(noise(1.5, 24000)[:, None], 2, 1)
    edited = editors["student"].inpaint(wav, 24000, 0.5, 1.0)
    np.testing.assert_allclose(edited[:, 0], edited[:, 1], atol=1e-5)


@pytest.mark.parametrize(("after", "before"), [(1.0, 0.0), (0.0, 0.5), (0.4, 0.4), (14.0, 0.0)])
def test_a_continued_sound_is_so_much_longer(editors, after, before):
    rate, wav = 24000, noise(2.0, 24000)
    longer = editors["kept"].extend(wav, rate, after, before, EditSettings("rain"))
    shift, seam = round(before * rate), round(SEAM * rate)
    assert len(longer) == len(wav) + round(after * rate) + shift
    inner = slice(seam if before else 0, len(wav) - (seam if after else 0))
    np.testing.assert_array_equal(longer[shift:][: len(wav)][inner], wav[inner])
    assert (np.abs(longer).reshape(-1, rate // 10).max(1) > 1e-4).all()  # no tenth of a second is silent


@pytest.mark.parametrize(
    ("start", "end"), [(3.0, 17.0), (0.0, 14.0), (5.0, 20.0), (3.0, 9.5)], ids=["middle", "start", "end", "one window"]
)
def test_a_long_interval_is_made_in_windows_that_the_network_can_hear(editors, monkeypatch, start, end):
    editor, seen = editors["kept"], []
    original = editor._sample

    def watched(window, *args, known, **options):
        seen.append((window.shape[2], float((~known).float().mean())))
        return original(window, *args, known=known, **options)

    monkeypatch.setattr(editor, "_sample", watched)
    wav = noise(20.0, 24000)
    edited = editor.inpaint(wav, 24000, start, end, EditSettings("rain"))
    assert len(seen) >= (end - start) // 8 and all(frames <= 240 and unknown < 0.9 for frames, unknown in seen)
    first, stop, seam = round(start * 24000), round(end * 24000), round(SEAM * 24000)
    assert len(edited) == len(wav)
    np.testing.assert_array_equal(edited[: max(0, first - seam)], wav[: max(0, first - seam)])
    np.testing.assert_array_equal(edited[stop + seam :], wav[stop + seam :])
    levels = np.sqrt(np.square(edited[first:stop]).reshape(-1, 2400).mean(1))
    assert levels.min() > 1e-3 and np.abs(edited[first:stop] - wav[first:stop]).max() > 0.01


def test_several_intervals_are_made_without_hearing_what_is_replaced(editors):
    editor, wav = editors["kept"], noise(3.0, 24000)
    intervals = [(2.0, 2.4), (0.5, 0.8), (0.7, 1.0)]
    edited = editor.inpaint_intervals(wav, 24000, intervals, EditSettings("rain"))
    is_kept, seam = np.ones(len(wav), bool), round(SEAM * 24000)
    for start, end in intervals:
        is_kept[round(start * 24000) - seam : round(end * 24000) + seam] = False
        assert np.abs(edited - wav)[round(start * 24000) : round(end * 24000)].max() > 0.01
    np.testing.assert_array_equal(edited[is_kept], wav[is_kept])
    other = np.where((np.arange(len(wav)) >= 48000) & (np.arange(len(wav)) < 57600), 0.1 * wav, wav)
    again = editor.inpaint_intervals(other, 24000, intervals, EditSettings("rain"))
    np.testing.assert_array_equal(again[: 48000 - seam], edited[: 48000 - seam])
    with pytest.raises(ValueError, match="whole sound"):
        editor.inpaint_intervals(wav, 24000, [(0, 2), (1.5, 3)])


@pytest.mark.parametrize("rate", [24000, 44100])
def test_channels_keep_their_own_levels_and_silent_ones_stay_silent(editors, rate):
    wav = noise(2.0, rate, 4) * np.array([1.0, 0.01, 0.0, 1e-4])
    for edited in (
        editors["kept"].inpaint(wav, rate, 0.8, 1.2, EditSettings("rain")),
        editors["kept"].transform(wav, rate, 0.5),
        editors["kept"].extend(wav, rate, 0.5),
    ):
        made = edited[round(0.8 * rate) : round(1.2 * rate)] if len(edited) == len(wav) else edited[len(wav) :]
        assert not made[:, 2].any()
        ratios = np.std(made[:, [1, 3]], axis=0) / np.std(made[:, 0])
        np.testing.assert_allclose(ratios, [0.01, 1e-4], rtol=0.7)


def test_a_silent_window_of_a_long_sound_stays_as_it_is(editors):
    wav = np.r_[noise(9.0, 8000), np.zeros(11 * 8000), noise(2.0, 8000)]
    other = editors["student"].transform(wav, 8000, 0.4)
    assert not other[10 * 8000 : 19 * 8000].any() and np.abs(other[: 8 * 8000] - wav[: 8 * 8000]).max() > 0.01


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_another_take_has_the_level_of_the_sound(editors, strength):
    wav = 0.1 * noise(1.5, 24000, 2) * np.array([1.0, 0.3])
    take = editors["student"].transform(wav, 24000, strength)
    np.testing.assert_allclose(np.std(take, axis=0), np.std(wav, axis=0), rtol=0.02)


def test_strength_goes_from_the_sound_to_another(editors):
    editor, wav = editors["student"], noise(1.0, 24000)
    assert editor.transform(wav, 24000, 0.0) is wav
    reference = torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(1))
    path = paths.edm
    for strength in (0.01, 0.5):  # the first call starts at the reference with the noise of that part of the grid
        started = []
        net = editor.pipe.transformer
        handle = net.register_forward_pre_hook(
            lambda _, args, started=started: started.append((args[0].clone(), args[1].clone())), prepend=True
        )
        try:
            editor._sample(reference, EditSettings(seed=3, temperature=1.0), 3, strength)
        finally:
            handle.remove()
        (x, t), *_ = started
        roots = [float(value) ** (1 / path.rho) for value in (path.t_max, path.t_min)]
        assert float(t) == pytest.approx((roots[1] + strength * (roots[0] - roots[1])) ** path.rho, rel=1e-5)
        unit = (x - reference) / t[:, None, None]
        assert abs(float(unit.mean())) < 0.5 and 0.7 < float(unit.std()) < 1.3
    whole = editor.transform(noise(11.3, 24000), 24000, 0.4)
    assert len(whole) == round(11.3 * 24000) and np.isfinite(whole).all()


@pytest.mark.parametrize("rate", [8000, 24000, 44100])
def test_bandwidth_is_added_above_the_cutoff_only(editors, rate):
    wav = noise(1.5, rate)
    cutoff = 2000
    wide = editors["student"].extend_bandwidth(wav, rate, cutoff)
    out_rate = max(rate, 24000)
    assert len(wide) == pytest.approx(1.5 * out_rate, abs=1)
    base = resample(wav, rate, out_rate)
    spectra = [np.abs(np.fft.rfft(one[: len(wide)] * np.hanning(len(wide)))) for one in (base, wide)]
    frequency = np.fft.rfftfreq(len(wide), 1 / out_rate)
    low, high = frequency < 1700, (frequency > 2500) & (frequency < 9000)
    np.testing.assert_allclose(spectra[1][low], spectra[0][low], atol=1e-3 * spectra[0].max())
    assert spectra[1][high].mean() > 1e-4 * spectra[0][low].mean()


def test_a_band_is_guessed_to_fall_off_from_the_highest_known_bins(editors):
    given, known = torch.full((1, 20, 3), -2.0), torch.arange(20)[:, None] < 10
    guess = with_slope(given, known)
    torch.testing.assert_close(guess[:, :10], given[:, :10])
    torch.testing.assert_close(guess[:, 10:, 0], -2 - 0.05 * (torch.arange(10)[None] + 4.0))
    wav = noise(0.5, 24000)
    plain = editors["student"].extend_bandwidth(wav, 24000, 2000, strength=0.0)
    assert np.abs(plain - editors["student"].extend_bandwidth(wav, 24000, 2000)).max() > 1e-3


def test_stereo_has_the_sound_as_its_mean(editors):
    wav = noise(1.2, 24000)
    stereo = editors["student"].widen(wav, 24000)
    assert stereo.shape == (len(wav), 2)
    np.testing.assert_allclose(stereo.mean(1), wav, atol=1e-6)
    side = (stereo[:, 0] - stereo[:, 1]) / 2
    assert 0 < np.std(side) <= 0.55 * np.std(wav) and np.abs(stereo).max() <= 1 + 1e-6


@pytest.mark.parametrize("loop", [False, True])
def test_a_streamed_sound_has_its_length_in_small_parts(editors, loop):
    parts = list(editors["kept"].stream(21.5, EditSettings("rain"), loop))
    assert sum(map(len, parts)) == round(21.5 * 24000)
    assert len(parts) >= 3 and max(map(len, parts)) <= 14 * 24000
    first = editors["kept"]._first_sound(10.0, EditSettings("rain"))
    skipped = round(SEAM * 24000) if loop else 0
    np.testing.assert_array_equal(parts[0][: 5 * 24000], first[skipped : skipped + 5 * 24000])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda e, w: e.inpaint(w, 24000, 0.5, 9), "must lie inside the sound, 0 to 1 seconds"),
        (lambda e, w: e.inpaint(w, 24000, -1, 0.5), "must lie inside"),
        (lambda e, w: e.inpaint(w, 24000, 0.5, 0.5), "is empty"),
        (lambda e, w: e.inpaint(w, 24000, 0.6, 0.5), "ends before it begins"),
        (lambda e, w: e.inpaint(w, 24000, float("nan"), 0.5), "must lie inside"),
        (lambda e, w: e.inpaint(w, 24000, 0.5, 0.50001), "is empty"),
        (lambda e, w: e.inpaint(w, 24000, 0, 1), "whole sound"),
        (lambda e, w: e.extend(w, 24000), "one of them over 0"),
        (lambda e, w: e.extend(w, 24000, -1, 2), "seconds after the sound must be a number of at least 0"),
        (lambda e, w: e.extend(w, 24000, float("inf")), "seconds after the sound must be"),
        (lambda e, w: e.extend(w, 24000, 1, float("nan")), "seconds before the sound must be"),
        (lambda e, w: e.extend(w, 24000, 1e9), "at most 86,400"),
        (lambda e, w: e.extend(w, 24000, 1e-6), "hold no sample"),
        (lambda e, w: e.transform(w, 24000, 1.5), "strength must lie between 0 and 1"),
        (lambda e, w: e.transform(w, 24000, float("nan")), "strength must lie between 0 and 1"),
        (lambda e, w: e.extend_bandwidth(w, 24000, 12000), "cutoff must lie between 500 and 10800"),
        (lambda e, w: e.extend_bandwidth(w, 24000, 4000, strength=1.5), "strength must lie between 0 and 1"),
        (lambda e, w: e.widen(np.stack([w, w], 1), 24000), "2 channels already"),
        (lambda e, w: e.widen(w, 24000, width=0), "width must be over 0"),
        (lambda e, w: e.inpaint(w * 0, 24000, 0.2, 0.5), "the sound is silent"),
        (lambda e, w: e.inpaint(w[:0], 24000, 0.2, 0.5), "the sound is empty"),
        (lambda e, w: e.inpaint(w + np.nan, 24000, 0.2, 0.5), "not finite"),
        (lambda e, w: e.inpaint(list(w), 24000, 0.2, 0.5), "float array"),
        (lambda e, w: e.extend(np.r_[w, 0 * w, 0 * w, 0 * w, 0 * w, 0 * w], 24000, 1), "around is silent"),
        (lambda e, w: next(e.stream(30, EditSettings())), "prompt is empty"),
        (lambda e, w: next(e.stream(0.5, EditSettings("rain"), True)), "over 1 seconds"),
        (lambda e, w: e.transform(w, 24000, 0.5, EditSettings("rain", guidance=99)), "guidance 99 is outside"),
    ],
)  # fmt: skip
def test_bad_input_is_told(editors, edit, message):
    with pytest.raises(ValueError, match=message):
        edit(editors["student"], noise(1.0, 24000))


def test_what_is_silent_is_made_again_and_then_told(editors, monkeypatch):
    editor, wav, seeds = editors["student"], noise(1.5, 24000), []

    def silent(heard, interval, fill_mel, seed):
        seeds.append(seed)
        return heard * (0 if len(seeds) < 3 else 1)

    monkeypatch.setattr(editor, "_made_between", silent)
    editor.inpaint(wav, 24000, 0.5, 1.0, EditSettings(seed=5))
    assert seeds == [5, 1_000_005, 2_000_005]
    seeds.clear()
    with pytest.raises(AudioError, match="silent with every seed tried: 5, 1000005"):
        editor.inpaint(wav, 24000, 0.5, 1.0, EditSettings(seed=5, max_retries=1))


def test_mirrored_sound_has_no_step_at_the_ends_of_the_interval():
    sound = torch.arange(100.0)[None]
    one_sided = torch.where(torch.arange(100) < 50, sound, torch.zeros(1))
    filled = mirrored(one_sided, 40, 60)[0]  # of equal power: the root of the share
    torch.testing.assert_close(filled[40:60], (1 - (torch.arange(20) + 0.5) / 20).sqrt() * torch.arange(39.0, 19, -1))
    torch.testing.assert_close(mirrored(sound, 40, 100)[0, 40:80], torch.arange(39.0, -1, -1))
    torch.testing.assert_close(mirrored(sound, 0, 30)[0, :30], torch.arange(59.0, 29, -1))


def test_joined_mels_keep_what_is_known_and_fit_its_level():
    given, made = torch.zeros(1, 5, 30), torch.full((1, 5, 30), 0.4)
    known = (torch.arange(30) < 10) | (torch.arange(30) >= 20)
    torch.testing.assert_close(joined_mel(given, made, known), torch.zeros(1, 5, 30))
    torch.testing.assert_close(joined_mel(given, made + 9, known)[0, 0, 12], torch.tensor(8.7))
    bins = (torch.arange(5) < 3)[:, None]
    torch.testing.assert_close(joined_band(given, made, bins), torch.zeros(1, 5, 30))


def test_a_sound_that_dies_away_is_cut_there():
    rng = np.random.default_rng(0)
    loud, quiet = rng.uniform(-0.3, 0.3, 2 * 24000), rng.uniform(-0.01, 0.01, 24000)
    np.testing.assert_array_equal(without_end(np.r_[loud, quiet], 24000), loud)
    np.testing.assert_array_equal(without_end(np.r_[quiet, loud], 24000), np.r_[quiet, loud])
    assert len(without_end(loud[:100], 24000)) == 100


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_long_sound_keeps_its_level(editors, is_reversed):
    """A part of another level is brought to the sound's, by at most 6 dB; the rest stays, bit for bit."""
    editor, rate = editors["kept"], 24000
    tail = editor.pipe("rain", 3.0, generator=torch.Generator().manual_seed(0), output_type="np").audios[0]
    given = 36000, tail[:rate]
    plain = editor._go_on(tail, *given, 1e-9, rate, EditSettings("rain"), is_reversed)
    made = 2 * active_level(plain[len(tail) + 12000 :], rate)  # lowered by 6 dB
    for level, gain in ((0.1 * made, 0.5), (0.7 * made, 0.7), (1.5 * made, 1.5), (9.0 * made, 2.0)):
        longer = editor._go_on(tail, *given, level, rate, EditSettings("rain"), is_reversed)
        np.testing.assert_array_equal(longer[: len(tail) - 480], tail[: len(tail) - 480])
        assert active_level(longer[len(tail) + 12000 :], rate) / made == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("options", [{"after": 41.0}, {"before": 41.0}, {"after": 13.0, "before": 9.0}])
def test_a_long_continuation_keeps_level_and_memory(editors, monkeypatch, options):
    """Of a network whose parts are half as loud as what is around: parts are small, seconds as loud as the sound."""
    editor, rate, wav = editors["kept"], 8000, noise(4.0, 8000, 2)

    def half_as_loud(sound, _, first, end, settings):
        around = active_level(np.r_[sound[:first], sound[end:]], rate)
        assert len(sound) <= 10.3 * rate and around > 0
        made = np.random.default_rng(settings.seed).standard_normal((end - first, 2))
        return np.r_[sound[:first], 0.5 * around * made, sound[end:]]

    monkeypatch.setattr(editor, "_fill", half_as_loud)
    parts = list(editor.stream_extended(wav, rate, **options, settings=EditSettings("rain")))
    whole, first = np.concatenate(parts), round(options.get("before", 0) * rate)
    assert len(whole) == len(wav) + round(sum(options.values()) * rate)
    np.testing.assert_array_equal(whole[first : first + len(wav)], wav)
    if "before" not in options:
        assert max(map(len, parts)) <= 10.3 * rate
    levels = 20 * np.log10([active_level(one, rate) / active_level(wav, rate) for one in whole.reshape(-1, rate, 2)])
    assert levels.min() > -2 and levels.max() < 1


def test_a_gap_gets_the_spectrum_of_its_sides_unless_it_is_an_event():
    known = (torch.arange(60) < 20) | (torch.arange(60) >= 40)
    sides = torch.linspace(-4, -6, 50)[None, :, None].repeat(2, 1, 60)
    for shift, left in ((-1.0, 0.0), (0.0, 0.0), (-3.0, -1.0), (0.5, 0.25), (1.5, 1.5)):
        mel = torch.where(known, sides, sides + shift)
        like = like_sides(mel, known)
        torch.testing.assert_close(like[..., known], sides[..., known], rtol=0, atol=0)
        torch.testing.assert_close(like[..., ~known], (sides + left)[..., ~known])
    tilted = torch.where(known, sides, sides - torch.linspace(0.4, 1.0, 50)[None, :, None])
    torch.testing.assert_close(like_sides(tilted, known), sides, atol=0.06, rtol=0)
    nothing = torch.zeros(60, dtype=torch.bool)
    torch.testing.assert_close(like_sides(sides, nothing), sides, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(48000,), (48000, 2)])
def test_an_event_is_raised_to_the_loudest_part_of_what_is_around(shape):
    wav = np.full(shape, 0.001, np.float32)
    wav[:2400], wav[22400:24800] = 0.5, 0.1  # what is around is loud for a tenth of a second only
    raised = raise_event(wav, 20000, 30000, 24000, 480)
    outside = np.r_[0:20000, 30000:48000]
    assert np.array_equal(raised[outside], wav[outside]) and raised[20000].max() == wav[20000].max()
    np.testing.assert_allclose(raised[23000], 0.5, rtol=0.01)
    assert np.array_equal(raise_event(raised, 20000, 30000, 24000, 480), raised)  # loud enough
    wav[:2400], wav[22400:24800] = 0.9, 0.001
    assert raise_event(wav, 20000, 30000, 24000, 480)[23000].max() == pytest.approx(0.01)  # by ten times at most


@pytest.mark.parametrize("kind", ["student", "kept"])
def test_a_silent_gap_gets_the_sound_of_a_prompt_alone(editors, monkeypatch, kind):
    editor, wav, asked = editors[kind], noise(2.0, 24000), []
    original = editor._sample_alone
    monkeypatch.setattr(editor, "_sample_alone", lambda *given: asked.append(given[0].shape) or original(*given))
    as_it_fits = editor.inpaint(wav, 24000, 1.0, 1.4, EditSettings("rain"))
    assert not asked
    monkeypatch.setattr(long_sounds, "FAINT", 1e9)  # everything counts as silent
    alone = editor.inpaint(wav, 24000, 1.0, 1.4, EditSettings("rain"))
    assert len(asked) == 1 and np.abs(alone - as_it_fits).max() > 1e-3 and np.isfinite(alone).all()
    np.testing.assert_array_equal(alone[:23500], wav[:23500])
    editor.inpaint(wav, 24000, 1.0, 1.4)  # without words
    editor.extend(wav, 24000, after=0.5, settings=EditSettings("rain"))  # a sound that goes on may die away
    assert len(asked) == 1


def test_a_continuation_that_dies_away_is_tried_again_and_then_told(editors, monkeypatch):
    editor, seeds = editors["kept"], []
    original = editor._go_on

    def dying(wav, count, anchor, level, rate, settings, is_reversed):
        seeds.append(settings.seed)
        longer = original(wav, count, anchor, level, rate, settings, is_reversed)
        return np.r_[longer[: len(wav)], 0 * longer[len(wav) :]]

    monkeypatch.setattr(editor, "_go_on", dying)
    with pytest.raises(AudioError, match="dies away"):
        list(editor.stream(12, EditSettings("rain", max_retries=2)))
    assert len(seeds) == 3 and len(set(seeds)) == 3
    seeds.clear()
    longer = editor.extend(noise(3.0, 24000), 24000, 2.0, settings=EditSettings("rain", max_retries=2))
    assert len(longer) == 5 * 24000 and len(seeds) == 3  # a recording may end


def test_settings_are_frozen_and_default_to_the_models_own():
    settings = EditSettings()
    assert (settings.prompt, settings.steps, settings.guidance, settings.temperature) == (None,) * 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1
    assert solvers.student_times(paths.edm, 2)[-1] == 0


@pytest.mark.parametrize("shape", [(24000,), (2, 24000), (1, 2, 24000)])
def test_a_call_of_the_pipeline_edits_a_sound(editors, shape):
    pipe = editors["kept"].pipe
    audio = torch.from_numpy(np.random.default_rng(0).uniform(-0.3, 0.3, shape).astype(np.float32))
    generator = torch.Generator().manual_seed(3)
    output = pipe("rain", audio=audio, mask_start_seconds=0.4, mask_end_seconds=0.6, generator=generator)
    assert output.audios.shape == (1, *shape[-2:]) and output.sample_rate == 24000
    torch.testing.assert_close(output.audios[..., :9000], audio.reshape(1, *shape[-2:])[..., :9000], rtol=0, atol=0)
    generator = torch.Generator().manual_seed(3)
    again = pipe("rain", audio=audio, mask_start_seconds=0.4, mask_end_seconds=0.6, generator=generator)
    torch.testing.assert_close(again.audios, output.audios)
    takes = pipe(audio=audio, strength=0.5, num_waveforms_per_prompt=2, sampling_rate=44100, output_type="np")
    assert takes.audios.shape == (2, *shape[-2:]) and takes.sample_rate == 44100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"audio": torch.ones(24000)}, "give either"),
        ({"audio": torch.ones(24000), "strength": 0.5, "mask_start_seconds": 0.1}, "give either"),
        ({"audio": torch.ones(24000), "mask_start_seconds": 0.1}, "give either"),
        ({"audio": torch.ones(2, 2, 24000), "strength": 0.5}, "audio must be"),
        ({"audio": torch.ones(24000), "strength": 0.5, "sampling_rate": 0}, "sampling_rate must be"),
        ({"strength": 0.5}, "strength belongs to a sound that is edited"),
        ({"mask_end_seconds": 0.5}, "mask_end_seconds belongs"),
    ],
)
def test_arguments_of_an_edit_are_checked(editors, given, message):
    with pytest.raises(ValueError, match=message):
        editors["student"].pipe("rain", **given)


def test_refining_keeps_the_noise_of_the_first_call(editors):
    """With equal noise in every call, a network whose estimate is a function of that noise alone stays where it is."""
    pipe = editors["student"].pipe
    original, noises = pipe.transformer.forward, []

    def of_noise(x_t, t, s=None, cond=None):
        noises.append(x_t / t[:, None, None] if not noises else (x_t - clean) / t[:, None, None])
        return clean

    clean = torch.zeros(1, 4, 24)
    pipe.transformer.forward = of_noise
    try:
        pipe("rain", 1.0, num_inference_steps=3, output_type="latent", refine=True)
        assert len(noises) == 3
        torch.testing.assert_close(noises[1], noises[0], atol=1e-5, rtol=1e-4)
        noises.clear()
        pipe("rain", 1.0, num_inference_steps=3, output_type="latent")
        assert (noises[1] - noises[0]).abs().max() > 0.1
    finally:
        pipe.transformer.forward = original
