"""When the sounds of a recording are spoken, by warping a reading of its line, whose times are known, onto it.

Dynamic time warping of cepstra (Sakoe & Chiba 1978), by librosa. The cepstra of a wav have zero mean and unit variance,
so that two speakers can be compared. Wavs are mono [sample] at RATE."""

import numpy as np

RATE = 24000  # Hz
HOP = 128  # samples per step of the warping, 5.3 ms
EDGE = 10  # steps on each side of other words whose cepstra overlap them: they are not matched
OTHERWISE = 0.8  # cost of a step at which other words are said, as a share of the mean distance of two steps
UNFIT = 0.93  # cost, as a share of that of the recording with its steps in reverse, from which it does not say the line
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
    starts: np.ndarray,
    replaced: tuple[int, int],
    is_said_before: bool,
    is_said_after: bool,
    synthetic: np.ndarray,
    recording: np.ndarray,
) -> np.ndarray:
    """Times the symbols of a line in a recording that says it, but other words in place of some.

    starts: when each symbol of the reading `synthetic` begins, and the last ends, in seconds [symbol + 1]. replaced:
    the first of the symbols that the recording does not say, and the one after the last. is_said_before, is_said_after:
    whether there are words before and after these; without, the other words are all that is said there. Returns such
    times in the recording, from 0 to its end. What is said otherwise is the part that costs least if each of its steps
    costs `OTHERWISE` of a mean distance.

    Raises ValueError if the recording does not say the other symbols, or is far shorter or longer than they are."""
    from scipy.spatial.distance import cdist

    first, end = replaced
    (read, read_end), (heard, heard_end) = speech_bounds(synthetic), speech_bounds(recording)
    inner = np.clip(starts, read, read_end) - read
    rows = cepstra(synthetic[round(read * RATE) : round(read_end * RATE)])
    columns = cepstra(recording[round(heard * RATE) : round(heard_end * RATE)])
    distance = cdist(rows.T, columns.T)
    head = distance[: round(inner[first] * RATE / HOP) if is_said_before else 0]
    tail = distance[round(inner[end] * RATE / HOP) if is_said_after else len(distance) :]
    edges = [min(EDGE, len(side) // 2) for side in (head, tail)]
    inner_head, inner_tail = head[: len(head) - edges[0]], tail[edges[1] :]
    step = OTHERWISE * float(distance.mean())
    begin, stop, cost = _gap(inner_head, inner_tail, step)
    if not np.isfinite(cost):
        raise ValueError("the recording is too short or too long for the words of the text that it should say")
    if cost > UNFIT * _gap(inner_head[:, ::-1], inner_tail[:, ::-1], step)[2]:
        raise ValueError("the recording does not say the words of the text that it should say")
    room = (stop - begin) // 2
    begin, stop = begin + min(edges[0], room), stop - min(edges[1], room)
    result = np.r_[np.zeros(first), np.linspace(begin, stop, end - first + 1), np.zeros(len(starts) - end - 1)]
    result *= HOP / RATE
    if is_said_before:
        result[:first] = _along(_path(head[:, :begin]), inner[:first])
    if is_said_after:
        result[end + 1 :] = result[end] + _along(_path(tail[:, stop:]), inner[end + 1 :] - inner[end])
    result = np.maximum.accumulate(result + heard)
    result[0], result[-1] = 0.0, len(recording) / RATE
    return result


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


def _gap(head: np.ndarray, tail: np.ndarray, step: float) -> tuple[int, int, float]:
    """Returns the columns that are passed over at a cost of `step` each, the first and the one after the last, when
    those before are matched with the rows of `head` and those after with the rows of `tail`, and the whole cost."""
    passed = step * np.arange(head.shape[1] + 1)
    left, right = _costs(head) - passed, _costs(tail[::-1, ::-1])[::-1] + passed
    total = np.minimum.accumulate(left) + right
    stop = int(np.argmin(total))
    return int(np.argmin(left[: stop + 1])), stop, float(total[stop])


def _costs(distance: np.ndarray) -> np.ndarray:
    """Returns the cost of matching all rows with the first n columns, for n from 0 to their number."""
    import librosa

    cost = np.full(distance.shape[1] + 1, np.inf)
    if not len(distance):
        cost[0] = 0.0
        return cost
    options = {"step_sizes_sigma": _PACES, "weights_add": np.zeros(len(_PACES)), "backtrack": False}
    cost[1:] = librosa.sequence.dtw(C=distance, weights_mul=_PACES[:, 1].astype(float), **options)[-1]
    return cost
