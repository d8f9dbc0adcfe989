"""Pauses, "[pause 0.5s]", and a subset of SSML 1.1: speak, p, s, break, prosody rate, say-as, phoneme and sub."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .characters import WORD_MARK
from .ipa import phonemes_of_ipa
from .normalisation import normalise
from .pronunciation import phonemise
from .verbalisers import cardinal, digits, letters, ordinal

MAX_PAUSE = 20.0  # seconds
MAX_MARKED = 6000  # words with a pronunciation of their own in a paragraph
_ELEMENTS = (
    "speak|break|prosody|say-as|phoneme|sub|p|s|emphasis|voice|audio|mark|lang|desc|w|token|metadata|meta|lexicon"
)
_TAG = re.compile(  # of bounded length
    rf"<\?xml[^<>]{{0,500}}\?>|<!--|<(/?)({_ELEMENTS})\b((?:[^<>\"']|\"[^\"]{{0,500}}\"|'[^']{{0,500}}'){{0,500}}?)(/?)>"
)
_OPEN = re.compile(r"<\s*/?(?:speak|break|prosody|say-as|phoneme|sub)\b")
_PAUSE = re.compile(r"\[pause\b([^\]\n]*)\]?", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_SECONDS = re.compile(r"\s*\+?(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)\s*", re.IGNORECASE)
_STRENGTHS = {"none": 0.0, "x-weak": 0.05, "weak": 0.1, "medium": 0.25, "strong": 0.6, "x-strong": 1.0}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
_SAY_AS = "characters, spell-out, verbatim, digits, telephone, cardinal, ordinal, date, time, number or currency"


@dataclass
class Span:
    """A stretch of text with one speaking rate, the silence after it, and words with a pronunciation of their own.

    text: private-use characters stand for the words of `marked`, (word, phonemes); pause: seconds, or None."""

    text: str
    speed: float = 1.0
    pause: float | None = None
    marked: list[tuple[str, str]] = field(default_factory=list)


class MarkupReader:
    """Reads the markup of a text that comes paragraph by paragraph, counting its lines.

    Text without markup is left as it is, "x < 5" too. Raises ValueError, which names the line, for an element or a value
    that is not supported, and for elements that do not match."""

    def __init__(self) -> None:
        self.line = 1
        self._open: list[tuple[str, float, int]] = []

    def _refuse(self, reason: str, position: int, text: str) -> ValueError:
        return ValueError(f"line {self.line + text.count(chr(10), 0, position)}: {reason}")

    def read(self, text: str) -> Iterator[Span]:
        """Yields the spans of a piece of the text, with its line ends."""
        if "[pause" not in text.lower() and not _OPEN.search(text) and not self._open:
            yield Span(text)
        else:
            yield from self._spans(text)
        self.line += text.count("\n")

    def finish(self) -> None:
        """Raises ValueError if an element is open at the end."""
        if self._open:
            raise ValueError(f"line {self._open[-1][2]}: <{self._open[-1][0]}> is not closed")

    def _spans(self, text: str) -> Iterator[Span]:
        is_ssml = bool(_OPEN.search(text) or self._open)
        span, position = Span("", self._speed), 0
        marks = sorted([*_PAUSE.finditer(text), *(_TAG.finditer(text) if is_ssml else ())], key=lambda m: m.start())
        for m in marks:
            if m.start() < position:
                continue
            span.text += self._plain(text, position, m.start(), is_ssml)
            position = m.end()
            if m[0][0] == "[":
                span.pause = self._seconds(m[1].strip() if m[0].endswith("]") else "", "[pause 0.5s]", m.start(), text)
                yield span
                span = Span("", self._speed)
                continue
            if m[0] == "<!--":
                end = text.find("-->", position)
                if end < 0:
                    raise self._refuse("<!-- is not closed", m.start(), text)
                position = end + 3
                continue
            if m[0][1] == "?":
                continue
            closing, name, attributes = (
                m[1],
                m[2],
                {a[1]: html.unescape(a[2] or a[3] or "") for a in _ATTRIBUTE.finditer(m[3])},
            )
            left = _ATTRIBUTE.sub("", m[3]).strip()
            if left:
                raise self._refuse(f"{m[0][:60]} is malformed", m.start(), text)
            if name in ("say-as", "phoneme", "sub") and not closing and not m[4]:
                end = re.compile(rf"</{name}\s*>").search(text, position)
                if not end or "<" in text[position : end.start()]:
                    raise self._refuse(f"<{name}> is not closed, or holds another element", m.start(), text)
                inner = html.unescape(text[position : end.start()]).strip()
                position = end.end()
                try:
                    self._word(name, attributes, inner, span)
                except ValueError as error:
                    raise self._refuse(str(error), m.start(), text) from error
            elif name == "break" and not closing:
                if not m[4]:
                    raise self._refuse("<break> is not closed: write <break/>", m.start(), text)
                span.pause = self._break(attributes, m.start(), text)
                yield span
                span = Span("", self._speed)
            elif name in ("speak", "p", "s", "prosody"):
                if name in ("p", "s"):
                    span.text += "\n\n" if name == "p" else "\n"
                if closing:
                    if not self._open or self._open[-1][0] != name:
                        raise self._refuse(f"</{name}> closes nothing", m.start(), text)
                    if name == "prosody":
                        yield span
                    self._open.pop()
                elif not m[4]:
                    if name == "prosody":
                        yield span
                    speed = self._rate(attributes, m.start(), text) if name == "prosody" else self._speed
                    self._open.append((name, speed, self.line + text.count("\n", 0, m.start())))
                if name == "prosody":
                    span = Span("", self._speed)
            else:
                raise self._refuse(f"SSML <{closing}{name}> is not supported", m.start(), text)
        span.text += self._plain(text, position, len(text), is_ssml)
        yield span

    @property
    def _speed(self) -> float:
        return self._open[-1][1] if self._open else 1.0

    def _plain(self, text: str, start: int, end: int, is_ssml: bool) -> str:
        plain = text[start:end]
        if is_ssml and (bad := re.search(r"</?[A-Za-z][^\n]{0,40}", plain)):
            raise self._refuse(f"{bad[0]!r} is no element of SSML that is supported", start + bad.start(), text)
        return html.unescape(plain) if is_ssml else plain

    def _seconds(self, value: str, form: str, position: int, text: str) -> float:
        m = _SECONDS.fullmatch(value)
        seconds = float(m[1]) * (0.001 if m[2].lower() == "ms" else 1.0) if m else -1.0
        if not 0 <= seconds <= MAX_PAUSE:
            raise self._refuse(f"{value!r} is no pause of 0 to {MAX_PAUSE:g} seconds, as in {form}", position, text)
        return seconds

    def _break(self, attributes: dict[str, str], position: int, text: str) -> float:
        if extra := set(attributes) - {"time", "strength"}:
            raise self._refuse(f"<break> has no attribute {min(extra)!r}", position, text)
        if "time" in attributes:
            return self._seconds(attributes["time"], '<break time="0.5s"/>', position, text)
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS:
            raise self._refuse(
                f"<break> strength must be one of {', '.join(_STRENGTHS)}, not {strength!r}", position, text
            )
        return _STRENGTHS[strength]

    def _rate(self, attributes: dict[str, str], position: int, text: str) -> float:
        if set(attributes) != {"rate"}:
            raise self._refuse("<prosody> must have the attribute rate, and no other", position, text)
        value = attributes["rate"].strip()
        percent = re.fullmatch(r"([+-]?)(\d+(?:\.\d+)?)%", value)
        factor = float(value) if re.fullmatch(r"\d+(?:\.\d+)?", value) else _RATES.get(value, 0.0)
        if percent:
            factor = float(percent[2]) / 100
            factor = 1 + factor if percent[1] == "+" else 1 - factor if percent[1] == "-" else factor
        if not 0.5 <= factor <= 2:
            raise self._refuse(
                f"prosody rate must be 50% to 200% or one of {', '.join(_RATES)}, not {value!r}", position, text
            )
        return factor

    def _word(self, name: str, attributes: dict[str, str], inner: str, span: Span) -> None:
        """Adds the text of say-as, phoneme or sub to a span. Raises ValueError."""
        if name == "sub":
            span.text += attributes.get("alias") or inner
            return
        if not inner:
            raise ValueError(f"<{name}> is empty")
        if name == "phoneme":
            if attributes.get("alphabet", "ipa") != "ipa" or not attributes.get("ph"):
                raise ValueError('<phoneme> must have ph="..." in the alphabet "ipa"')
            phonemes = phonemes_of_ipa(attributes["ph"].strip("/"))
        else:
            phonemes = phonemise(_say_as(attributes.get("interpret-as", ""), inner))
        if not phonemes:
            raise ValueError(f"<{name}> has nothing to pronounce: {inner[:40]!r}")
        if len(span.marked) >= MAX_MARKED:
            raise ValueError(f"more than {MAX_MARKED} pronunciations in one paragraph")
        span.marked.append((inner, phonemes))
        span.text += chr(ord(WORD_MARK) + len(span.marked) - 1)


def _say_as(kind: str, text: str) -> str:
    """Returns the words of a text that is read as said. Raises ValueError for an unknown kind, or a text of another."""
    plain = text.replace(",", "").strip()
    if kind in ("characters", "spell-out", "verbatim"):
        parts = (
            digits(c) if c.isdecimal() else letters(c) if c.isalpha() else normalise(c) for c in text if not c.isspace()
        )
        return " ".join(filter(None, parts))
    if kind in ("digits", "telephone"):
        if not any(c.isdecimal() for c in text):
            raise ValueError(f"<say-as interpret-as={kind!r}> needs digits, not {text[:40]!r}")
        return ("plus " if text.startswith("+") else "") + digits(text, 4)
    if kind in ("cardinal", "number", "ordinal"):
        if not re.fullmatch(r"-?\d{1,18}", plain):
            raise ValueError(f"<say-as interpret-as={kind!r}> needs a whole number, not {text[:40]!r}")
        return ordinal(int(plain)) if kind == "ordinal" else cardinal(int(plain))
    if kind in ("date", "time", "currency"):
        return normalise(text)
    raise ValueError(f"<say-as> interpret-as must be {_SAY_AS}, not {kind!r}")
