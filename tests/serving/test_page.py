"""The page in a real browser: it speaks, makes a sound, and shows errors."""

import base64
import io

import numpy
import pytest
import soundfile
from served import running, tiny_service
from spoilt import SILENT, seed_of, spoil

from audiocm.pipelines import failures
from recipes.browser.chromium import CHROMIUM, open_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the page is not tried in a browser")


@pytest.fixture(scope="module")
def page():
    with open_browser() as page:
        yield page


def submit(page, form: str, **fields) -> None:
    for name, value in fields.items():
        page.evaluate(f"document.forms.{form}.elements.{name}.value = {value!r}")
    page.evaluate(f"document.querySelector('#{form} [type=submit]').click()")
    page.wait_for(f"!!document.forms.{form}.dataset.state")


def shown(page, form: str, role: str) -> str:
    return page.evaluate(f"document.querySelector('#{form} [role={role}]').textContent")


def heard(page, form: str) -> numpy.ndarray:
    """The sound in the page's player."""
    code = f"""(async () => {{
        const audio = document.querySelector('#{form} audio');
        const bytes = new Uint8Array(await (await fetch(audio.src)).arrayBuffer());
        return btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(""));
    }})()"""
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(page.evaluate(code))), dtype="float32")
    assert rate == 24_000
    return wav


def picture_colours(page, form: str) -> int:
    """The number of colours in the page's picture."""
    code = f"""(() => {{
        const canvas = document.querySelector('#{form} canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size;
    }})()"""
    return page.evaluate(code)


def test_the_page_speaks_makes_sounds_and_shows_errors(page, monkeypatch):
    service = tiny_service()
    with running(service) as address:
        page.open(address)
        page.wait_for("!document.forms.speech.hidden && !document.forms.sounds.hidden")
        voices = page.evaluate("[...document.forms.speech.elements.voice.options].map((one) => one.value)")
        assert voices == ["anna", "ben"]

        submit(page, "speech", text="Hello there. Bye.", voice="ben")
        wav = heard(page, "speech")
        pieces = list(service.open_speech("Hello there. Bye.", voice="ben"))
        assert len(pieces) == 2 and numpy.abs(wav - numpy.concatenate(pieces)).max() < 2 / 32768
        assert "s of sound, made in" in shown(page, "speech", "status") and not shown(page, "speech", "alert")
        assert picture_colours(page, "speech") > 50
        page.wait_for("document.querySelector('#speech audio').duration > 0.5")

        submit(page, "sounds", text="rain", seconds="1", guidance="2", seed="3")
        wav = heard(page, "sounds")
        assert len(wav) == 24_000 and numpy.sqrt(numpy.square(wav).mean()) > failures.SILENCE_RMS
        assert picture_colours(page, "sounds") > 50 and page.errors == []

        submit(page, "speech", text="?!")
        assert shown(page, "speech", "alert") == "the text has no character that can be pronounced"
        monkeypatch.setattr("audiocm.serving.service.MAX_RETRIES", 0)
        spoil(monkeypatch, {seed_of(3): SILENT})
        submit(page, "sounds")
        assert "is silent (seeds tried: 1)" in shown(page, "sounds", "alert")


def test_the_page_asks_for_the_token(page):
    with running(tiny_service(), token="s3cret") as address:
        page.open(address)
        page.wait_for("!document.getElementById('token').hidden")
        page.evaluate("document.forms.token.elements.token.value = 's3cret'")
        page.evaluate("document.querySelector('#token [type=submit]').click()")
        page.wait_for("!document.forms.sounds.hidden && document.getElementById('token').hidden")
        submit(page, "sounds", text="rain", seconds="1")
        assert len(heard(page, "sounds")) == 24_000 and not shown(page, "sounds", "alert")
    submit(page, "sounds", text="rain", seconds="1")
    assert "cannot be reached" in shown(page, "sounds", "alert")
