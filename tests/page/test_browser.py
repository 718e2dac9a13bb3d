"""`sr-jax view` and the page of `sr-jax evaluate`, used in a headless Chromium."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.upscale import upscale
from sr_jax.data.degradation import downscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.models import create_model
from sr_jax.weights import save, variable_shapes

pytestmark = pytest.mark.slow
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright, which drives the browser: pip install playwright"
)

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTHS = (390, 1280)  # of a phone and of a desktop
MILLISECONDS = 120_000  # that the server may take for anything


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def tab(chromium, request):
    """A tab of this width; a console error or a request to another host fails the test."""
    wide = request.param == max(WIDTHS)
    context = chromium.new_context(
        viewport={"width": request.param, "height": 844},
        has_touch=not wide,
        color_scheme="light" if wide else "dark",
    )
    tab = context.new_page()
    tab.set_default_timeout(MILLISECONDS)
    wrong = []
    tab.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    ours = re.compile(r"(http|ws)://127\.0\.0\.1:|file:|data:|blob:")
    tab.on("request", lambda asked: ours.match(asked.url) or wrong.append(asked.url))
    yield tab
    context.close()
    assert not wrong


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a small network, photographs, and what is none."""
    folder = tmp_path_factory.mktemp("home")
    model, rng = create_model("edsr_baseline", n_resblocks=1, n_feats=4), np.random.default_rng(0)
    shapes = variable_shapes(model)
    variables = jax.tree.map(lambda x: np.float32(0.1 * rng.standard_normal(x.shape)), shapes)
    save(folder / "mine.safetensors", model, variables)
    for name in "ab":
        image = rng.integers(0, 256, (80, 96, 3), np.uint8)
        write_image(folder / "HR" / f"{name}.png", image)
        write_image(folder / "LR" / f"{name}.png", downscale(image, 2))
    (folder / "broken.png").write_bytes((folder / "LR" / "a.png").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def server(home):
    """The address of `sr-jax view`; where it keeps its files is gone when it was ended."""
    pytest.importorskip("gradio", reason="no Gradio: pip install 'sr-jax[page]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "tmp").mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sr_jax", "view", home / "LR", "--no-browser"),
            *("--port", str(port), "--model", home / "mine.safetensors", "--tile", "16"),
        ],
        cwd=REPOSITORY,
        # A variable of Gradio that would open the page, and this machine's files, to all.
        env=os.environ | {"TMPDIR": str(home / "tmp"), "GRADIO_ALLOWED_PATHS": "/"},
        stdout=subprocess.PIPE,
        text=True,
    )
    first = process.stdout.readline()
    assert first == f"http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert len(list((home / "tmp").glob("sr_jax-view-*"))) == 1
    yield first.split()[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert not list((home / "tmp").iterdir())


def run(tab):
    """Clicks, and waits for the result."""
    tab.get_by_role("button", name="Upscale").click()
    tab.locator(".facts").wait_for()
    return tab.locator(".facts").inner_text()


def shown(tab):
    """The pixels of what is left and right under the slider, once both are loaded."""
    images = tab.get_by_test_id("imageslider-image")
    found = []
    for side in (images.nth(0), images.nth(1)):
        side.wait_for()
        side.evaluate("image => image.decode()")
        found.append(tab.request.get(side.get_attribute("src")).body())
    return found


def test_an_image_is_dropped_upscaled_compared_and_downloaded(tab, server, home, tmp_path):
    tab.goto(server)
    tab.get_by_text("a.png: 48 x 40 pixels, 8-bit RGB").wait_for()  # the first of the folder
    drop = tab.locator("input[type=file]")
    drop.first.set_input_files(home / "LR" / "b.png")
    tab.get_by_text("b.png: 48 x 40 pixels, 8-bit RGB").wait_for()
    drop.last.set_input_files(home / "HR" / "b.png")
    facts = run(tab)
    assert re.search(r"left\s+bicubic interpolation: \d+\.\d\d dB / ", facts)
    assert re.search(r"mine\.safetensors: \d+\.\d\d dB / ", facts)
    assert re.search(r", \d+ tiles", facts)

    before, after = shown(tab)
    assert before != after
    upscale(
        [home / "LR" / "b.png"], model=str(home / "mine.safetensors"), output=tmp_path, tile="16"
    )
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download the whole result").click()
    assert download.value.suggested_filename == "b_x2.png"
    assert Path(download.value.path()).read_bytes() == (tmp_path / "b.png").read_bytes()
    (tmp_path / "shown.png").write_bytes(after)
    np.testing.assert_array_equal(
        read_image(tmp_path / "shown.png"), read_image(tmp_path / "b.png")
    )

    right = tab.get_by_test_id("imageslider-image").nth(1)
    cut = right.evaluate("image => image.style.clipPath")
    seen = tab.get_by_test_id("imageslider-image").nth(0).screenshot()
    handle = tab.get_by_test_id("slider").locator(".icon-wrap")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 80, y, steps=4)
    tab.mouse.up()
    assert right.evaluate("image => image.style.clipPath") != cut
    assert tab.get_by_test_id("imageslider-image").nth(0).screenshot() != seen
    whole = right.evaluate("image => image.style.transform")
    tab.mouse.move(x, y - 40)
    tab.mouse.wheel(0, -300)
    tab.wait_for_function(
        "whole => document.querySelectorAll('[data-testid=imageslider-image]')[1]"
        ".style.transform !== whole",
        arg=whole,
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    tab.get_by_label("Images of this machine").click()  # of which the original is none
    tab.get_by_role("option", name="a.png").click()
    tab.get_by_text("a.png: 48 x 40 pixels, 8-bit RGB").wait_for()
    assert "dB" not in run(tab)


def test_a_broken_file_is_a_message_and_the_page_goes_on(tab, server, home):
    tab.goto(server)
    tab.get_by_text("a.png: 48 x 40 pixels").wait_for()
    tab.locator("input[type=file]").first.set_input_files(home / "broken.png")
    problem = tab.get_by_role("alert")
    playwright.expect(problem).to_contain_text("cannot read image broken.png: corrupt or truncated")
    tab.get_by_role("button", name="Upscale").click()
    playwright.expect(problem).to_contain_text("no image: drop one first")
    tab.get_by_label("Images of this machine").click()
    tab.get_by_role("option", name="b.png").click()
    tab.get_by_text("b.png: 48 x 40 pixels").wait_for()
    assert "48 x 40 to 96 x 80 pixels" in run(tab)
    assert "Traceback" not in tab.content()


def test_what_takes_long_is_stopped(tab, server, home):
    tab.goto(server)
    tab.get_by_text("a.png: 48 x 40 pixels").wait_for()
    drop = tab.locator("input[type=file]").first
    write_image(home / "large.png", np.zeros((1200, 1200), np.uint8))
    drop.set_input_files(home / "large.png")
    tab.get_by_text("large.png: 1200 x 1200 pixels").wait_for()
    tab.get_by_role("button", name="Upscale").click()
    tab.get_by_text("tiles").first.wait_for()
    tab.get_by_role("button", name="Stop").click()
    playwright.expect(tab.get_by_role("alert")).to_contain_text("stopped", timeout=30_000)
    tab.get_by_label("Images of this machine").click()
    tab.get_by_role("option", name="b.png").click()
    tab.get_by_text("b.png: 48 x 40 pixels").wait_for()
    assert "48 x 40 to 96 x 80 pixels" in run(tab)


def test_only_files_of_the_page_are_served(tab, server, home):
    tab.goto(server)
    for path in ("/etc/passwd", home / "mine.safetensors", home / "LR" / "a.png"):
        assert tab.request.get(f"{server}gradio_api/file={path}").status == 403
    # A path in place of what was dropped.
    tab.get_by_text("a.png: 48 x 40 pixels").wait_for()
    config = tab.request.get(f"{server}config").json()
    for number in (dependency["id"] for dependency in config["dependencies"]):
        stolen = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
        body = {"data": [stolen], "fn_index": number, "session_hash": "x", "trigger_id": None}
        tab.request.post(f"{server}gradio_api/queue/join", data=body)
    answer = tab.request.get(f"{server}gradio_api/queue/data?session_hash=x").text()
    assert "root:" not in answer


@pytest.fixture(scope="module")
def report(home):
    place = home / "out.html"
    evaluate(
        [home / "HR"],
        model=[f"mine={home / 'mine.safetensors'}"],
        output=home / "s.json",
        page=place,
    )
    return place


def test_a_benchmark_is_looked_at_from_its_file(tab, report):
    tab.goto(report.as_uri())
    figure = tab.locator("figure").first
    left, right = figure.locator("img.left"), figure.locator("img.right")
    for side, method in ((left, "bicubic"), (right, "mine")):
        side.evaluate("image => image.decode()")
        assert side.evaluate("image => image.naturalWidth") == 96
        assert re.match(rf"a, x2, {method}: \d+\.\d\d dB / ", side.get_attribute("alt"))
    assert left.get_attribute("src") != right.get_attribute("src")
    figure.scroll_into_view_if_needed()

    divider = figure.locator(".divider")
    cut = "image => parseFloat(image.style.clipPath.split(' ').at(-1))"
    assert right.evaluate(cut) == 48
    seen = figure.locator(".view").screenshot()
    divider.focus()
    for _ in range(20):
        tab.keyboard.press("ArrowLeft")
    assert right.evaluate(cut) == pytest.approx(38.4)
    box = figure.locator(".view").bounding_box()
    tab.mouse.move(box["x"] + 38.4, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 10, box["y"] + 40, steps=4)
    tab.mouse.up()
    assert right.evaluate(cut) == pytest.approx(10, abs=1)
    assert figure.locator(".view").screenshot() != seen

    for zoom in ("4", "0"):
        figure.locator(".view").dblclick(position={"x": 90, "y": 30})
        assert figure.locator(".zoom").input_value() == zoom

    figure.locator("select.right").select_option("original")
    assert right.get_attribute("alt") == "a, x2, original"
    tab.locator("#all select.left").select_option("mine")
    for image in tab.locator("img.left").all():
        playwright.expect(image).to_have_attribute("alt", re.compile(", mine: "))
    tab.locator("#all .zoom").select_option("8")
    assert figure.locator(".stack").bounding_box()["width"] == 8 * 96
    # The divider stands still while the image moves below it.
    scrolled = """(scroll, left) => {
        scroll.scrollTo(left, 0);
        return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
            () => done(scroll.scrollLeft))));
    }"""
    assert figure.locator(".scroll").evaluate(scrolled, 0) == 0
    at = right.evaluate(cut)
    moved = figure.locator(".scroll").evaluate(scrolled, 30)
    assert right.evaluate(cut) == pytest.approx(at + moved, abs=0.1)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
