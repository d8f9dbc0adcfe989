"""The page of recipes/browser: its parts against their Python twins under node, and the whole page in headless chromium."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from audiocm.export.onnx_files import signal_to_noise
from audiocm.models.text_encoder import BUNDLED_ENCODER
from audiocm.runtime import OnnxTextToAudio
from audiocm.runtime.inversion import Inversion
from audiocm.runtime.noise import drawn_seed, normal_noise
from recipes.browser.chromium import CHROMIUM, MADE, PAGE, open_browser, served_page

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def in_node(program, given):
    """What a program of node, which has the page's module as `page` and `given`, writes as JSON."""
    script = f"const page = await import({json.dumps((PAGE / 'audiocm.js').as_uri())});\n"
    script += "import { readFileSync } from 'node:fs';\nconst given = JSON.parse(readFileSync(0));\n"
    script += f"process.stdout.write(JSON.stringify({program}));"
    command = ["node", "--input-type=module", "-e", script]
    return json.loads(
        subprocess.run(command, input=json.dumps(given), check=True, capture_output=True, text=True, timeout=60).stdout
    )


TEXTS = [
    "a dog barks", "  Rain\ton a tin-roof!! ", "Ünïcödé çafé naïve Ångström", "İstanbul ΣΑΣ Straße ﬁne", "日本語の音 and 中文", "",
    "[MASK] then [SEP]x[CLS]", "don't can't $5.99 @ 10% #tag a_b ^~`|<>", "zero\u200bwidth \u00a0nbsp\u3000wide \x00\ufffd\x07bell", "x" * 101 + " " + "y" * 100,
    "emoji 🐶 barks 👩‍🚀", "ελληνικά русский العربية हिन्दी 한국어", "supercalifragilisticexpialidocious onomatopoeia", "«quoted» “text” — dash… ¿qué? ¡sí!", "a\u0301 e\u0308 combining",
]  # fmt: skip


@needs_node
def test_the_tokenizer_is_that_of_the_library():
    tokenizer = Tokenizer.from_file(str(BUNDLED_ENCODER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    generator = np.random.default_rng(0)
    words = (" ".join(TEXTS) + " ".join(json.loads(tokenizer.to_str())["model"]["vocab"])).split()
    letters = [*"abcdeé ßäΣ,.-'\t中文", *map(chr, range(0xA0, 0x250))]
    texts = [*TEXTS, *(" ".join(generator.choice(words, 12)) for _ in range(300))]
    texts += ["".join(generator.choice(letters, 30)) for _ in range(300)]
    program = "given[1].map((text) => new page.Tokenizer(given[0]).encode(text, 1000))".replace(
        "new page.Tokenizer(given[0])", "(globalThis.t ??= new page.Tokenizer(given[0]))"
    )
    made = in_node(program, [json.loads(tokenizer.to_str()), texts])
    wanted = [tokenizer.encode(text).ids for text in texts]
    assert [text for text, a, b in zip(texts, made, wanted, strict=True) if a != b] == []
    tokenizer.enable_truncation(32)
    cut = in_node("new page.Tokenizer(given[0]).encode(given[1], 32)", [json.loads(tokenizer.to_str()), "dog " * 50])
    assert cut == tokenizer.encode("dog " * 50).ids


@needs_node
@pytest.mark.parametrize("seed", (0, 7, 2**31 + 5))
def test_the_noise_of_a_seed_is_that_of_the_runtime(seed):
    made = in_node("Array.from(page.drawNoise(given, 1600))", seed)
    np.testing.assert_allclose(made, normal_noise(drawn_seed(seed), (1600,)), atol=2e-6)


@needs_node
@pytest.mark.parametrize("iterations", (0, 3))
def test_griffin_lim_is_that_of_the_runtime(iterations):
    real, imag = np.random.default_rng(0).standard_normal((2, 129, 20)).astype(np.float32)
    given = [real.ravel().tolist(), imag.ravel().tolist()]
    made = in_node(f"Array.from(page.griffinLim(given[0], given[1], 20, 256, 64, {iterations}))", given)
    assert signal_to_noise(np.array(made), Inversion(256, 64)(real, imag, iterations)) > 80


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the page is not tried in a browser")
def test_the_page_makes_a_sound(sound_folder, tmp_path):
    """A tiny model: what is asserted is that the page computes what the runtime does, without an error in the console,
    and again without the server, from what the browser has kept."""
    runtime = Path(os.environ.get("AUDIOCM_ONNXRUNTIME_WEB", PAGE / "node_modules" / "onnxruntime-web"))
    if not runtime.is_dir():
        pytest.skip("needs onnxruntime-web (npm install in recipes/browser)")
    wanted = OnnxTextToAudio.from_pretrained(sound_folder)("a dog barks", max_retries=0, on_failure="return").audios[0]
    with served_page(tmp_path / "site", runtime, sound_folder) as (address, stop), open_browser() as page:
        page.open(address)
        page.wait_for(MADE, 120)
        wav, state = page.evaluate("[Array.from(lastWav), document.getElementById('state').textContent]")
        assert len(wav) == 96_000 and not page.errors, (state, page.errors)
        assert signal_to_noise(np.array(wav, np.float32), wanted) > 40
        page.wait_for("navigator.serviceWorker.controller !== null")
        page.open(address)  # its worker keeps the page
        page.wait_for(MADE, 120)
        stop()
        page.open(address)
        page.wait_for(MADE, 120)
        assert page.evaluate("Array.from(lastWav)") == wav
