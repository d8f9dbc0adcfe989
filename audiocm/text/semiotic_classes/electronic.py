"""Addresses of the internet, paths, file names, variables and versions: "a@b.com", "main.py", "v1.2"."""

import re

from ..tables import DOMAINS, EXTENSIONS, MARKS, READ_PARTS, SPELLED_PARTS, VERSIONED
from ..verbalisers import digits, letters, number
from .patterns import START, Match, Rule, any_of, rule

_TAIL = r"(?P<tail>[-_.]?(?:alpha|beta|rc|dev|post|a|b)[-.]?\d*)?(?![\w]|\.\d)"


def _part(text: str) -> str:
    """Returns a part of an address, file name or variable in words."""
    words = []
    for piece in re.findall(r"\d+|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]|[^\W\d_]+", text):
        low = piece.lower()
        is_spelled = (
            low in SPELLED_PARTS or (low not in READ_PARTS and not re.search("[aeiouy]", low)) or len(piece) == 1
        )
        words.append(number(piece) if piece.isdecimal() else letters(piece) if is_spelled else low)
    return " ".join(words)


def _identifier(m: Match) -> str:
    """Reads an e-mail or web address, a path, a file name or a variable."""
    text = m[0].rstrip(".,;:!?")
    parts = re.split(r"([./@\-_:?=&#%+~\\])", text)
    return (
        "".join(f" {MARKS[part]} " if part in MARKS else _part(part) for part in parts if part).strip()
        + m[0][len(text) :]
    )


def _version(m: Match) -> str:
    name = m["name"] if m["name"] else "version " if m["v"] else ""
    tail = re.sub(r"[-_.]?([A-Za-z]+|\d+)", lambda t: f" {_part(t[1])}", m["tail"] or "")
    return name + " point ".join(number(part) for part in m["n"].split(".")) + tail


INTERNET_RULES: list[Rule] = [
    rule(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", _identifier),
    rule(r"\b(?:https?|ftp)://[^\s<>\"“”()]+|\bwww\.[^\s<>\"“”()]+", _identifier),
    rule(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", lambda m: " dot ".join(map(digits, m[0].split(".")))),
    rule(rf"(?<![\w./@-])(?:[A-Za-z0-9-]{{2,64}}\.){{1,8}}(?:{'|'.join(DOMAINS)})\b(?:/[^\s<>\"“”()]*)?(?!\.?\w)", _identifier),
    rule(rf"(?<![\w/\\.-])[\w-]{{0,64}}[A-Za-z_][\w.-]{{0,64}}\.(?:{'|'.join(EXTENSIONS)})\b(?!\.\w)", _identifier),
    rule(r"(?<!\S)(?:~|\.{1,2})?(?:/[\w.-]+){2,}/?|(?<!\S)~/[\w./-]+|\b[A-Z]:\\[\w\\.-]+", _identifier),
    rule(r"(?<!\w)[^\W_]+(?:_[^\W_]+)+(?!\w)", _identifier),
]  # fmt: skip


VERSION_RULES: list[Rule] = [
    rule(rf"\b(?P<name>)(?P<v>[vV])\.?\s?(?P<n>\d+(?:\.\d+)*){_TAIL}", _version),
    rule(rf"\b(?P<name>(?:{any_of(VERSIONED)}) )(?P<v>)(?P<n>\d+(?:\.\d+)+){_TAIL}", _version),
    rule(rf"{START}(?P<name>)(?P<v>)(?P<n>\d+(?:\.\d+){{2,}}){_TAIL}", _version),
]  # fmt: skip
