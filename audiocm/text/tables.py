"""What the semiotic classes of text are written with and how it is read: currencies, units, symbols, abbreviations, names.

The words stand in tables.tsv, lines of a table's name and its columns; those of a list stand side by side."""

from pathlib import Path

_ROWS: dict[str, list[list[str]]] = {}
for _line in Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines():
    if not _line.startswith("# "):
        _name, *_columns = _line.split("\t")
        _ROWS.setdefault(_name, []).append(_columns)


def rows(name: str) -> list[list[str]]:
    """Returns the rows of a table. Raises KeyError for an unknown table."""
    return _ROWS[name]


def table(name: str) -> dict[str, list[str]]:
    """Returns the rows of a table by their first column. Raises KeyError for an unknown table."""
    return {key: columns for key, *columns in rows(name)}


def mapping(name: str) -> dict[str, str]:
    """Returns the second column of a table by the first one. Raises KeyError for an unknown table."""
    return {key: columns[0] if columns else "" for key, columns in table(name).items()}


def names(name: str) -> list[str]:
    """Returns the words of a list. Raises KeyError for an unknown one."""
    return [word for columns in rows(name) for word in columns[0].split()]


def _units() -> dict[str, list[str]]:
    """Returns all units with their singular and plural, those of SI with each of their prefixes."""
    units, prefixes = table("unit"), mapping("si prefix")
    for symbol, (name, *allowed) in table("si unit").items():
        for prefix in ["", *"".join(allowed)]:
            word = prefixes.get(prefix, "") + name
            units.setdefault(prefix + symbol, [word, word + "s" * (name not in ("hertz", "lux"))])
    return units


CURRENCIES, UNITS = table("currency"), _units()
MAGNITUDES, PER, TITLES, STREETS = mapping("magnitude"), mapping("per"), mapping("title"), mapping("street")
DIRECTIONS, STATES, DATE_ABBREVIATIONS = mapping("direction"), mapping("state"), mapping("date abbreviation")
BEFORE_NUMBERS, ABBREVIATIONS = mapping("before number"), mapping("abbreviation")
SYMBOLS, GREEK = mapping("symbol"), mapping("greek")
MONTHS, DAYS, EXTENSIONS, DOMAINS = names("month"), names("day"), names("extension"), names("domain")
SPACED_UNITS, PER_WORDS = {*names("spaced unit")}, {*names("per word")}
SPELLED, AMBIGUOUS, ACRONYM_WORDS = {*names("spelled")}, {*names("ambiguous")}, {*names("acronym word")}
REGNAL, REGNAL_TITLES, ROMAN_CUES = {*names("regnal name")}, {*names("regnal title")}, {*names("roman cue")}
STARTERS, CONTINUES, BIBLE = {*names("starter")}, {*names("continued")}, {*names("bible book")}
SPELLED_PARTS, READ_PARTS = {*names("spelled part")}, {*names("read part")}
ELEMENTS, LETTER_CUES, NO_NOUNS, MARKS = names("element"), names("letter cue"), {*names("no noun")}, mapping("mark")
NUMBERED, VERSIONED, NAMES = [*table("numbered")], [*table("versioned")], mapping("name")
