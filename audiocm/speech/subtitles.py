"""Files of times: JSON with words and phonemes, and subtitles as SubRip (SRT) or WebVTT."""

import html
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files import atomic_write
from .times import SentenceTimes, WordTime

FORMATS = (".json", ".srt", ".vtt")
LINE, LINES = 42, 2  # letters of a line of a subtitle, and lines
Append = Callable[[SentenceTimes], None]


def times_format(file: str | os.PathLike) -> str:
    """Returns the extension of a file of times. Raises ValueError if there is no such format."""
    suffix = Path(file).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot write the times to {file}: the extension must be {', '.join(FORMATS)}")
    return suffix


@contextmanager
def open_times_writer(file: str | os.PathLike) -> Iterator[Append]:
    """Yields a function that appends the times of the next sentence to a file, which appears at the end of the block.

    JSON has {"sentences": [{"text", "start", "end", "words": [{"text", "spoken", "start", "end"}], "phonemes":
    [{"symbol", "start", "end"}]}], "seconds"}, with the fields of `SentenceTimes` and the length of the sound. SRT and
    VTT have subtitles of at most LINES lines, VTT with the time of each word. Raises ValueError for another extension,
    or if the file cannot be written."""
    suffix = times_format(file)
    with atomic_write(file) as partial, partial.open("w", encoding="utf-8") as output:
        output.write({".json": '{"sentences": [', ".vtt": "WEBVTT\n\n"}.get(suffix, ""))
        count, seconds = 0, 0.0

        def append(times: SentenceTimes) -> None:
            nonlocal count, seconds
            seconds = times.end
            if suffix == ".json":
                output.write(f"{',' if count else ''}\n{json.dumps(_fields(times), ensure_ascii=False)}")
                count += 1
                return
            for words in _subtitles(times):
                count += 1
                output.write(_subtitle(count, words, is_vtt=suffix == ".vtt"))

        yield append
        if suffix == ".json":
            output.write(f'\n], "seconds": {round(seconds, 6)}}}\n')


def _fields(times: SentenceTimes) -> dict[str, Any]:
    words = [
        {"text": word.text, "spoken": word.spoken, "start": round(word.start, 6), "end": round(word.end, 6)}
        for word in times.words
    ]
    phonemes = [{"symbol": s, "start": round(start, 6), "end": round(end, 6)} for s, start, end in times.phonemes]
    own = {"text": times.text, "start": round(times.start, 6), "end": round(times.end, 6)}
    return own | {"words": words, "phonemes": phonemes}


def _subtitles(times: SentenceTimes) -> Iterator[list[list[WordTime]]]:
    """Yields the lines of words of each subtitle."""
    lines: list[list[WordTime]] = [[]]
    for word in times.words or (WordTime(times.text, "", times.start, times.end),):
        if lines[-1] and sum(len(one.text) + 1 for one in lines[-1]) + len(word.text) > LINE:
            lines.append([])
        lines[-1].append(word)
    for start in range(0, len(lines), LINES):
        yield lines[start : start + LINES]


def _subtitle(number: int, lines: list[list[WordTime]], is_vtt: bool) -> str:
    point = "." if is_vtt else ","
    start, end = _clock(lines[0][0].start, point), _clock(lines[-1][-1].end, point)
    texts = []
    for line in lines:
        if is_vtt:
            words = [f"<{_clock(word.start, point)}>{html.escape(_flat(word.text), False)}" for word in line]
        else:
            words = [_flat(word.text) for word in line]
        texts.append(" ".join(words))
    text = "\n".join(texts)
    return f"{number}\n{start} --> {end}\n{text.removeprefix(f'<{start}>')}\n\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
