"""Fractions, and what is written like one: "1/2", "part 2/3", "9/10" of a rating, "3/4" of a date."""

from ..verbalisers import cardinal, number, ordinal, pairs
from .dates_and_times import DAY, date_words
from .patterns import Match, Rule, preceded_by, rule


def fraction_words(whole: str | None, top: int, bottom: int) -> str:
    """Returns a fraction in words, behind its whole number if it has one: "two and a half"."""
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    name = names.get(bottom) or (ordinal(bottom), ordinal(bottom) + "s")
    if top > max(bottom, 20):
        return f"{pairs(str(top))} over {cardinal(bottom)}"  # of blood pressure
    words = f"{cardinal(top)} {name[top != 1]}"
    return f"{number(whole)} and {'a half' if words == 'one half' else words}" if whole else words


def _fraction(m: Match) -> str | None:
    top, bottom = int(m["top"]), int(m["bottom"])
    if not m["whole"]:
        if preceded_by(m, r"\b(?:[Pp]art|[Pp]age|[Ss]tep|[Ss]lide|[Ww]eek|[Rr]ound|[Dd]ay) "):
            return f"{cardinal(top)} of {cardinal(bottom)}"
        if preceded_by(m, r"\b(?:[Rr]ated|[Ss]cored?|[Gg]ot|[Gg]ave it|[Rr]ating:?|of) (?:an? )?") and bottom in (
            5,
            10,
            20,
            100,
        ):
            return f"{cardinal(top)} out of {cardinal(bottom)}"
        if (top, bottom) in ((24, 7), (9, 11), (7, 7)) or (top > 9 and (top == bottom or top + bottom == 100)):
            return f"{cardinal(top)} {cardinal(bottom)}"
        if preceded_by(m, rf"\b(?:[Oo]n|[Uu]ntil|[Ss]ince|[Bb]y|[Dd]ue|[Dd]ated|{DAY}),? ") and (
            date := date_words(top, bottom, None)
        ):
            return date
    if bottom < 2:
        return None
    return fraction_words(m["whole"], top, bottom)


FRACTION_RULES: list[Rule] = [
    rule(r"(?<![\w/.,])\d{1,3}(?:/\d{1,3}){2,}(?![\w/]|\.\d)", lambda m: " ".join(number(part) for part in m[0].split("/"))),
    rule(r"(?<![\w/.,])(\d+\.\d+)\s?/\s?(\d+)(?![\w/]|\.\d)", lambda m: f"{number(m[1])} out of {number(m[2])}"),
    rule(r"(?<![\w/.,])(?:(?P<whole>\d+)[ -]+)?(?P<top>\d{1,3})\s?/\s?(?P<bottom>\d{1,3})(?:ths?|rds?|nds?)?(?![\w/]|\.\d)", _fraction),
]  # fmt: skip
