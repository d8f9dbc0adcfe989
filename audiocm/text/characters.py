"""Rare characters -> plain ones, and those that are not read."""

import re
import unicodedata

from .tables import GREEK, SYMBOLS

WORD_MARK = "\ue000"  # private-use characters stand for words of the lexicon: WORD_MARK + n
LAST_MARK = "\uf8ff"
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_PLAIN_SIGNS = " \t\n\r.,;:!?'\"()[]-–—…“”_*|\\{}`"
_KEPT = "²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻™µ…ℓ℮№℃℉Ω∆Å"  # signs that Unicode's compatibility forms would lose
_READ = set("²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻℃℉Å″′·")
_SUBSCRIPTED = re.compile(r"(?<![^\W\d_])([a-zα-ω])(?=[₀-₉])")  # a variable, no chemical element
_FORMS = str.maketrans(
    {**dict.fromkeys("’‘ʼʻ＇`´‛ʹˈ❛❜‹›", "'"), **dict.fromkeys("«„‟❝", "“"), **dict.fromkeys("»❞", "”")}
    | {**dict.fromkeys("‐‑﹣", "-"), "‒": "–", "―": "—", "⁄": "/", "∕": "/", "∶": ":", "‥": "…", "⋅": "×"}
    | {**dict.fromkeys("⁓∼", "~"), **dict.fromkeys("✕✖", "×"), **dict.fromkeys("➔➜➡", "→"), "μ": "µ"}
    | {"【": "(", "】": ")", "{": "(", "}": ")", "￼": " ", "￾": " "}
)


def replace_characters(text: str) -> str:
    """Returns the text with plain quotes, spaces, letters and digits in the place of their rare forms.

    Invisible characters vanish, control characters become spaces; composed accents, full-width and mathematical
    letters become those of Unicode NFC and NFKC. Characters of which no plain form is known stay."""
    if text.isascii() and text.isprintable():
        return text
    text = _SUBSCRIPTED.sub(r"\1 ", unicodedata.normalize("NFC", text))
    rare = {character for character in set(text) if not character.isascii() or not character.isprintable()}
    return text.translate({ord(character): _plain_form(character) for character in rare}).translate(_FORMS)


def _plain_form(character: str) -> str:
    category, plain = unicodedata.category(character), unicodedata.normalize("NFKC", character)
    if category in ("Cf", "Mn", "Me") or _is_tone(character):
        return ""
    if character == "\n" or category in ("Zl", "Zp"):
        return "\n"
    if category in ("Zs", "Cc"):
        return " "
    if category == "No" and "⁄" in plain:
        return f" {plain.replace('⁄', '/')} "
    if (
        character in _KEPT
        or character in SYMBOLS
        or not plain.isprintable()
        or (is_latin(character) and len(plain) == 1)
    ):
        return character
    return plain


def is_latin(character: str) -> bool:
    """Whether a character is a letter of the Latin script."""
    return character.isalpha() and (character.isascii() or unicodedata.name(character, "").startswith("LATIN"))


def unread_characters(text: str) -> list[str]:
    """Returns the characters of a text that are not read, each once, in their order.

    Those are symbols, letters of other scripts, control and private-use characters, and accents that no letter has.
    Invisible ones that change no word, such as the soft hyphen, do not count."""
    text = unicodedata.normalize("NFC", text)
    return [character for character in dict.fromkeys(text) if not _vanishes(character) and not _is_read(character)]


def _vanishes(character: str) -> bool:
    """Whether a character has no sound and no meaning of its own: spaces, format characters, variants of emoji."""
    is_variant = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef" or character == "\u20e3"
    return character.isspace() or is_variant or unicodedata.category(character) == "Cf" or _is_tone(character)


def _is_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"  # of the skin of an emoji


def _is_read(character: str) -> bool:
    plain = _plain_form(character).translate(_FORMS)
    return (
        bool(plain)
        and all(
            (one.isascii() and one.isprintable() and (one.isalnum() or one in SYMBOLS or one in _PLAIN_SIGNS))
            or one in SYMBOLS
            or one in _PLAIN_SIGNS
            or one in _READ
            or one.lower() in GREEK
            or is_latin(one)
            for one in ([character] if character in _KEPT else plain)
        )
        and unicodedata.category(character) != "Cc"
    )


def drop_unread(text: str) -> str:
    """Returns the text with plain characters, and spaces in the place of those that are not read.

    The private-use characters from WORD_MARK to LAST_MARK stay."""
    plain = replace_characters(text)
    unread = {ord(one): " " for one in unread_characters(plain) if not WORD_MARK <= one <= LAST_MARK}
    return re.sub(r"\(\s*\)", " ", plain.translate(unread)) if unread else plain
