"""No sound is lost: retries with other seeds, failures that take no others with them, and how they are told."""

import numpy
import pytest
import torch
from spoilt import BROKEN, CLIPPED, SILENT, seed_of, spoil
from tiny_model import tiny_pipeline
from tiny_speech import tiny_speech

from audiocm.failed_sounds import Failure
from audiocm.pipelines.failures import RETRY_STRIDE, AudioError, attempt, audio_faults, decode_checked

TEXT = "Hello there. The train leaves. Yes."


def seeded(*seeds: int) -> torch.Generator | list[torch.Generator]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return generators if len(seeds) > 1 else generators[0]


def tries(seed: int, count: int) -> tuple[int, ...]:
    return tuple(seed_of(seed) + k * RETRY_STRIDE for k in range(count))


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def speech():
    return tiny_speech()


class Decoder:
    """A codec whose latents are the sounds."""

    def decode(self, latent, max_rms):
        return latent


def test_silent_broken_and_clipped_sounds_are_found_and_a_few_peaks_are_scaled_down():
    sound = 0.1 * torch.randn(1, 24_000, generator=seeded(0))
    loud = sound / sound.abs().max() * 1.3
    broken = sound.clone()
    broken[0, 77] = float("nan")
    silent, clipped, not_finite = "is silent", "is clipped", "has numbers that are not finite"
    wrong = [(sound * 0, silent), (sound * 1e-4, silent), ((sound * 8).clamp(-1, 1), clipped), (sound * 20, clipped)]
    wrong += [(broken, not_finite), (sound / 0, not_finite)]
    given = torch.cat([sound, loud, *(wav for wav, _ in wrong)])
    wav, faults = decode_checked(Decoder(), given, 20_000)
    assert faults == [None, None, *(fault for _, fault in wrong)] == audio_faults(given[:, :20_000])
    assert torch.equal(wav[:1], sound[:, :20_000]) and not wav[2:].any()
    assert torch.allclose(wav[1:2], loud[:, :20_000] * 0.99 / loud[:, :20_000].abs().max(), atol=1e-6)


def test_attempts_make_only_what_failed_again():
    made = []

    def make(rows, seeds):
        made.append((rows, seeds))
        return [
            (row, "is silent" if seed in (5, 5 + RETRY_STRIDE, 6) else None)
            for row, seed in zip(rows, seeds, strict=True)
        ]

    first, second, third = attempt(make, [4, 5, 6], 1)
    assert made == [([0, 1, 2], [4, 5, 6]), ([1, 2], [5 + RETRY_STRIDE, 6 + RETRY_STRIDE])]
    assert (first.made, first.fault, first.seeds) == (0, None, (4,))
    assert (second.fault, second.seeds) == ("is silent", (5, 5 + RETRY_STRIDE)) and third.fault is None
    assert attempt(make, [], 3) == []


def test_one_silent_sound_of_forty_is_made_again_and_takes_no_others_with_it(pipe, monkeypatch):
    prompts, seeds = [f"sound {i}" for i in range(40)], range(100, 140)
    call = {"prompt": prompts, "audio_length_in_s": 0.5}
    plain = pipe(**call, generator=seeded(*seeds))
    assert plain.failures == [] and plain.retries == [0] * 40
    spoil(monkeypatch, {seed_of(117): SILENT})
    mended = pipe(**call, generator=seeded(*seeds))
    others = [i for i in range(40) if i != 17]
    assert torch.equal(mended.audios[others], plain.audios[others])
    assert mended.retries == [int(i == 17) for i in range(40)] and mended.failures == []
    assert mended.audios[17].std() > 1e-3 and not torch.equal(mended.audios[17], plain.audios[17])
    left = pipe(**call, generator=seeded(*seeds), max_retries=0, on_failure="return")
    assert torch.equal(left.audios[others], plain.audios[others]) and not left.audios[17].any()
    assert left.failures == [Failure(17, "sound 17", "is silent", tries(117, 1))]


def test_a_retried_sound_does_not_depend_on_the_batch(pipe, monkeypatch):
    spoil(monkeypatch, dict.fromkeys(tries(1, 2), BROKEN))
    batch = pipe(["rain", "wind"], 0.5, generator=seeded(0, 1))
    alone = pipe("wind", 0.5, generator=seeded(1))
    assert batch.retries == [0, 2] and alone.retries == [2]
    assert torch.allclose(batch.audios[1], alone.audios[0], atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(SILENT, "is silent"), (CLIPPED, "is clipped"), (BROKEN, "has numbers that are not finite")],
)
def test_a_lasting_failure_is_an_error_that_names_the_prompt_and_holds_the_others(pipe, monkeypatch, factor, reason):
    plain = pipe(["rain", "wind"], 0.5, num_waveforms_per_prompt=2, generator=seeded(0, 1))
    spoil(monkeypatch, {seed + 1: factor for seed in tries(1, 3)})  # the second take of "wind"
    call = {"prompt": ["rain", "wind"], "audio_length_in_s": 0.5, "num_waveforms_per_prompt": 2, "max_retries": 2}
    with pytest.raises(AudioError, match=rf"^the sound made for 'wind' {reason} \(seeds tried: 3\); try ") as raised:
        pipe(**call, generator=seeded(0, 1))
    output = raised.value.output
    assert torch.equal(output.audios[:3], plain.audios[:3]) and not output.audios[3].any()
    assert output.failures == [Failure(3, "wind", reason, tuple(seed + 1 for seed in tries(1, 3)))]
    assert output.retries == [0, 0, 0, 2]
    returned = pipe(**call, generator=seeded(0, 1), on_failure="return", output_type="np")
    assert isinstance(returned.audios, numpy.ndarray) and returned.failures == output.failures
    assert (returned.audios == output.audios.numpy()).all()


def test_given_noise_is_not_replaced(pipe, monkeypatch):
    spoil(monkeypatch, {seed_of(0): SILENT})
    with pytest.raises(AudioError, match=r"'rain' is silent \(seeds tried: 1\)"):
        pipe("rain", 0.5, generator=seeded(0), latents=torch.randn(1, 4, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number of at least 0, not -1"),
        ({"max_retries": 0.5}, "max_retries must be"),
        ({"on_failure": "ignore"}, "on_failure must be one of raise, return, not 'ignore'"),
    ],
)
def test_options_that_are_not_allowed_are_named(pipe, speech, options, message):
    for call in (
        lambda: pipe("rain", **options),
        lambda: speech(TEXT, **options),
        lambda: speech.stream(TEXT, **options),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_sentence_that_fails_is_made_again_and_the_others_stay(speech, monkeypatch):
    call = {"text": [TEXT, "Other words."], "batch_size": 2}
    plain = speech(**call, generator=seeded(3, 4))
    second = seed_of(3) + 1
    spoil(monkeypatch, {second: CLIPPED})
    mended = speech(**call, generator=seeded(3, 4))
    assert torch.equal(mended.audios[1], plain.audios[1]) and mended.durations[1] == plain.durations[1]
    assert len(mended.audios[0]) == len(plain.audios[0]) and mended.failures == []
    changed = mended.audios[0] != plain.audios[0]
    assert changed.any() and not changed[: int(0.3 * len(changed))].any() and not changed[-8_000:].any()


def test_a_text_with_a_lasting_failure_is_told_and_others_are_spoken(speech, monkeypatch):
    plain = speech([TEXT, "Other words."], generator=seeded(3, 4))
    second = tuple(seed + 1 for seed in tries(3, 2))
    spoil(monkeypatch, dict.fromkeys(second, SILENT))
    failure = Failure(0, "The train leaves.", "is silent", second)
    call = {"text": [TEXT, "Other words."], "max_retries": 1}
    with pytest.raises(AudioError, match=r"made for 'The train leaves\.' is silent") as raised:
        speech(**call, generator=seeded(3, 4))
    for output in (raised.value.output, speech(**call, generator=seeded(3, 4), on_failure="return")):
        assert output.failures == [failure] and len(output.audios[0]) == len(plain.audios[0])
        assert torch.equal(output.audios[1], plain.audios[1])
    pieces, stream = [], speech.stream(TEXT, generator=seeded(3), max_retries=1)
    with pytest.raises(AudioError, match=r"'The train leaves\.' is silent"):
        pieces += [next(stream) for _ in range(4)]
    stream = speech.stream(TEXT, generator=seeded(3), max_retries=1, on_failure="return")
    told = [(piece.failure, bool(piece.audio.any())) for piece in stream]
    assert told == [(None, True), (failure, False), (None, True)]
