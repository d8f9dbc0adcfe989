"""When the sounds of a recording are spoken, by warping a reading of its line, whose times are known, onto it.

Dynamic time warping of cepstra (Sakoe & Chiba 1978), by librosa. The cepstra of a wav have zero mean and unit variance,
so that two speakers can be compared. Wavs are mono [sample] at RATE."""

import numpy as np

RATE = 24000  # Hz
HOP = 128  # samples per step of the warping, 5.3 ms
EDGE = 10  # steps on each side of other words whose cepstra heard these: they are not matched
OTHERWISE = 0.8  # cost of a step at which other words are said, as a share of the mean distance of two steps
UNFIT = 0.8  # mean distance of matched steps, as such a share, from which a recording does not say the line
LOUD = 0.01  # of the loudest level; quieter ends of a wav are silence
_PACES = np.array([[1, 1], [1, 2], [2, 1], [1, 3], [3, 1]])  # a third to three times the pace: no phoneme is skipped
_LEVEL = 240  # samples of a level


def cepstra(wav: np.ndarray) -> np.ndarray:
    """Returns 13 cepstral coefficients with two derivatives, [39, step], of zero mean and unit variance each."""
    import librosa

    mfcc = librosa.feature.mfcc(y=wav, sr=RATE, n_mfcc=13, n_fft=1024, hop_length=HOP, n_mels=60)
    rows = np.concatenate([mfcc, librosa.feature.delta(mfcc), librosa.feature.delta(mfcc, order=2)])
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-6)


def warp_times(ends: np.ndarray, synthetic: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """Maps times in the wav `synthetic` (seconds) to those in `recording`, in rising order; the last is its end."""
    import librosa

    costs = np.zeros(len(_PACES))
    _, path = librosa.sequence.dtw(cepstra(synthetic), cepstra(recording), step_sizes_sigma=_PACES, weights_add=costs)
    times = _along(path, ends)
    times[-1] = len(recording) / RATE
    return np.maximum.accumulate(np.clip(times, 0, len(recording) / RATE))


def warp_around(
    ends: np.ndarray, before: int, after: int, synthetic: np.ndarray, recording: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Times the symbols of a line in a recording that says it but for some words in the middle.

    ends: when each symbol of the reading `synthetic` ends, seconds. before, after: how many of the first and of the
    last symbols the recording says; 0: its speech begins, or ends, with other words. Returns when these first, and when
    these last symbols begin and end in the recording, [before + 1] and [after + 1]. What lies between is what is said
    otherwise: the part that costs least if each of its steps costs `OTHERWISE` of a mean distance.

    Raises ValueError if the recording does not say the symbols, or is far shorter or longer than the line."""
    from scipy.spatial.distance import cdist

    read, heard = speech_bounds(synthetic), speech_bounds(recording)
    ends = np.clip(ends, *read) - read[0]
    distance = cdist(*(cepstra(wav[round(a * RATE) : round(b * RATE)]).T for wav, (a, b) in
                       ((synthetic, read), (recording, heard))))  # fmt: skip
    rows, columns = distance.shape
    starts = np.concatenate([[0.0], ends])
    first = round(starts[before] * RATE / HOP) if before else 0
    last = rows - round(starts[len(ends) - after] * RATE / HOP) if after else 0
    edges = [min(EDGE, count // 2) for count in (first, last)]
    mean, step = float(distance.mean()), np.arange(columns + 1)
    left = _reached(distance[: first - edges[0]], columns) - OTHERWISE * mean * step
    right = _reached(distance[rows - last + edges[1] :][::-1, ::-1], columns)[::-1] + OTHERWISE * mean * step
    total = np.minimum.accumulate(left) + right
    end = int(np.argmin(total))
    begin = int(np.argmin(left[: end + 1]))
    if not np.isfinite(total[end]):
        raise ValueError("the recording is too short or too long for the text around the words")
    room = (end - begin) // 2
    begin, end = begin + min(edges[0], room), end - min(edges[1], room)
    head = _path(distance[:first, :begin])
    tail = _path(distance[rows - last :, end:])
    matched = [distance[:first, :begin][tuple(head.T)], distance[rows - last :, end:][tuple(tail.T)]]
    if np.concatenate(matched).mean() > UNFIT * mean:
        raise ValueError("the recording does not say the text around the words")
    begins = _along(head, starts[: before + 1]) if before else np.zeros(1)
    finals = _along(tail, starts[len(ends) - after :] - (rows - last) * HOP / RATE) if after else np.zeros(1)
    begins[-1], finals[0] = begin * HOP / RATE, 0.0
    begins, finals = begins + heard[0], finals + end * HOP / RATE + heard[0]
    return np.maximum.accumulate(begins), np.maximum.accumulate(finals.clip(max=heard[1]))


def speech_bounds(wav: np.ndarray) -> tuple[float, float]:
    """Returns where in a wav what is louder than LOUD of its loudest level begins and ends, in seconds."""
    levels = np.sqrt(np.mean(np.square(wav[: len(wav) // _LEVEL * _LEVEL].reshape(-1, _LEVEL), dtype=np.float64), 1))
    loud = np.flatnonzero(levels >= LOUD * levels.max(initial=0))
    if not len(loud):
        return 0.0, len(wav) / RATE
    return max(0, int(loud[0]) - 3) * _LEVEL / RATE, min(len(wav), (int(loud[-1]) + 4) * _LEVEL) / RATE


def _along(path: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Returns times (seconds) of the first of two wavs in the second, along a path [step, 2]."""
    path = path[np.argsort(path[:, 0], kind="stable")]
    return np.interp(times * RATE / HOP, path[:, 0], path[:, 1]) * HOP / RATE


def _path(distance: np.ndarray) -> np.ndarray:
    """Returns the path [step, 2] of least cost through a matrix of distances; a straight one if none is allowed."""
    import librosa

    if min(distance.shape) > 1 and 1 / 3 <= distance.shape[0] / distance.shape[1] <= 3:
        return librosa.sequence.dtw(C=distance, step_sizes_sigma=_PACES, weights_add=np.zeros(len(_PACES)))[1][::-1]
    count = max(distance.shape) if min(distance.shape) else 0
    return np.stack([np.arange(count) * size // max(count, 1) for size in distance.shape], 1)


def _reached(distance: np.ndarray, columns: int) -> np.ndarray:
    """Returns the cost of matching all rows with the first n columns, for n from 0 to `columns`."""
    import librosa

    cost = np.full(columns + 1, np.inf)
    if not len(distance):
        cost[0] = 0.0
        return cost
    options = {"step_sizes_sigma": _PACES, "weights_add": np.zeros(len(_PACES)), "backtrack": False}
    cost[1:] = librosa.sequence.dtw(C=distance, weights_mul=_PACES[:, 1].astype(float), **options)[-1]
    return cost
