"""The Debian packages of the corpus, from packages.tsv; the clips themselves are never redistributed."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package: the licences of its debian/copyright, the share of it that is held out, and the lowest rate in Hz.

    The test share is larger where names are best and 1 for packages that are held out as a whole. Where everyday sounds
    exist in no other package, rates from 11 kHz on are allowed; the manifest has each clip's bandwidth."""

    licence: str
    test_share: float = 0.05
    min_rate: int = 16000


def read_packages(path: Path) -> dict[str, Package]:
    """Reads the table: package, licence, test share, minimum rate."""
    rows = csv.reader(path.read_text(encoding="utf-8").splitlines()[1:], delimiter="\t")
    return {name: Package(licence, float(share), int(rate)) for name, licence, share, rate in rows}


PACKAGES = read_packages(Path(__file__).with_name("packages.tsv"))
OTHER = Package("see the package")
