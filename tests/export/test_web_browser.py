"""The page in headless Chromium: its pixels are the model's, and pointer and keys move z."""

import importlib.util
import pathlib

import numpy as np
import pytest

import export
import kvae
import zoo


def _module(name):
    place = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chromium = _module("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PATH is None, reason="Chromium is not installed"),
]

NAME = "conv_vae.digits"


@pytest.fixture(scope="module")
def model():
    return zoo.load(NAME)


@pytest.fixture(scope="module")
def test_set():
    return kvae.datasets.load("digits", "test")


@pytest.fixture(scope="module")
def address(model, test_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    try:
        export.web(model, folder, test_set, title=NAME)
    except ConnectionError as error:
        pytest.skip(str(error))
    with chromium.serve(folder) as address:
        yield address


@pytest.fixture(scope="module", params=["wasm", "webgpu"])
def browser(address, request):
    with chromium.Browser() as browser:
        browser.open(f"{address}?device={request.param}")
        browser.wait("window.page?.frames > 0")
        assert browser.run("page.decoder.accelerator") == request.param
        yield browser
        assert browser.problems == []
        assert [r for r in browser.requests if not r.startswith((address, "data:"))] == []


@pytest.fixture
def settled(browser):
    """Waits until the image shows the newest z."""
    return lambda: browser.wait("!page.drawing && !page.wanted")


def pixels(browser, canvas="image"):
    return np.array(
        browser.run(
            f"(() => {{ const c = document.getElementById('{canvas}');"
            "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; })()"
        )
    ).reshape(-1, 4)


def test_images_are_those_of_the_model(browser, model):
    rows = np.random.default_rng(0).normal(size=(4, model.latent_dim)).astype("float32")
    for z in rows:
        image = browser.run(f"page.decode({z.tolist()}).then((image) => [...image])")
        expected = np.asarray(model.decode(z[None])).ravel()
        np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_canvas_shows_the_image(browser, settled, model):
    z = np.asarray(browser.run("(page.moveTo(page.draws()[3]), page.z)"), np.float32)
    settled()
    expected = 255 * np.asarray(model.decode(z[None])).ravel()
    shown = pixels(browser)
    for channel in range(3):
        assert np.abs(shown[:, channel] - expected).max() <= 0.51
    assert (shown[:, 3] == 255).all()


def test_samples_appear_in_their_card_and_are_the_models(browser, settled, model):
    before = browser.run("page.z")
    browser.run(
        "(() => { const seed = document.getElementById('seed'); seed.value = 7;"
        "seed.dispatchEvent(new Event('change')); })()"
    )
    names = "[...document.querySelectorAll('#tiles button')].map((b) => b.textContent)"
    assert browser.run(names) == [str(seed) for seed in range(7, 19)]
    assert browser.run("page.z") == before  # Only a choice moves the point.
    z = np.asarray(model.prior.sample(1, kvae.random.split(kvae.random.as_seed(9))[0]))
    expected = np.round(255 * np.asarray(model.decode(z))).ravel()
    seen = (
        "[...document.querySelectorAll('#tiles canvas')][2].getContext('2d')"
        ".getImageData(0, 0, 8, 8).data.filter((_, i) => i % 4 === 0)"
    )
    browser.wait(f"{seen}.every((v, i) => Math.abs(v - {expected.astype(int).tolist()}[i]) <= 1)")
    browser.run("document.querySelectorAll('#tiles button')[2].click()")
    np.testing.assert_array_equal(np.float32(browser.run("page.z")), z[0])
    settled()
    browser.run("document.getElementById('next').click()")
    assert browser.run("document.getElementById('seed').value") == "19"


def place(browser):
    return browser.run("page.plane.project(page.z)")


def test_dragging_moves_along_the_plane_and_changes_the_image(browser, settled):
    box = browser.run(
        "(() => { const r = document.getElementById('plane').getBoundingClientRect();"
        "return [r.left, r.top, r.width]; })()"
    )
    left, top, width = box
    extent = browser.run("page.plane.extent")
    images = []
    browser.mouse("mousePressed", left + 0.3 * width, top + 0.3 * width)
    settled()
    np.testing.assert_allclose(place(browser), [-0.4 * extent, 0.4 * extent], atol=0.02 * extent)
    images.append(pixels(browser))
    for share in (0.4, 0.6, 0.8):
        browser.mouse("mouseMoved", left + share * width, top + 0.3 * width)
        settled()
        images.append(pixels(browser))
    browser.mouse("mouseReleased", left + 0.8 * width, top + 0.3 * width, buttons=0)
    np.testing.assert_allclose(place(browser), [0.6 * extent, 0.4 * extent], atol=0.02 * extent)
    for before, after in zip(images, images[1:], strict=False):
        assert np.abs(before - after).max() > 10
    browser.mouse("mouseMoved", left + 0.1 * width, top + 0.1 * width, buttons=0)
    np.testing.assert_allclose(place(browser), [0.6 * extent, 0.4 * extent], atol=0.02 * extent)


def test_keys_move_the_point(browser, settled):
    extent = browser.run("page.plane.extent")
    browser.run("document.getElementById('plane').focus()")
    browser.key("Home")
    np.testing.assert_allclose(place(browser), [0, 0], atol=1e-6)
    browser.key("ArrowRight")
    browser.key("ArrowUp", shift=True)
    np.testing.assert_allclose(place(browser), [extent / 40, extent / 8], rtol=1e-5)
    settled()
    browser.wait("document.getElementById('spoken').textContent.includes('class')")


def test_sliders_move_one_dimension(browser, settled):
    before = browser.run("page.z")
    browser.run(
        "(() => { const { input } = page.sliders[2]; input.focus(); input.value = 1.25;"
        "input.dispatchEvent(new Event('input')); })()"
    )
    after = browser.run("page.z")
    assert after[2] == 1.25
    assert [a for i, a in enumerate(after) if i != 2] == [b for i, b in enumerate(before) if i != 2]
    settled()


def test_the_walk_ends_where_it_was_told_to(browser, settled):
    browser.run("(page.moveTo(page.draws()[1]), document.getElementById('keep-a').click())")
    browser.run("(page.moveTo(page.draws()[2]), document.getElementById('keep-b').click())")
    for share, expected in ((0, "page.a"), (1, "page.b")):
        browser.run(
            "(() => { const walk = document.getElementById('walk');"
            f"walk.value = {share}; walk.dispatchEvent(new Event('input')); }})()"
        )
        np.testing.assert_allclose(browser.run("page.z"), browser.run(expected), atol=1e-6)
    settled()


def test_everything_can_be_reached_and_has_a_name(browser):
    names = browser.run(
        "[...document.querySelectorAll('button, input, select, canvas[tabindex]')]"
        ".filter((e) => e.checkVisibility()).map((e) => [e.tabIndex, e.id,"
        "e.textContent || e.labels?.[0]?.textContent || e.getAttribute('aria-label') || ''])"
    )
    assert len(names) > 20
    assert [one for one in names if one[0] < 0 or not one[2].strip()] == []


def test_light_and_dark_differ(browser):
    colours = {}
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        colours[scheme] = browser.run("getComputedStyle(document.body).backgroundColor")
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 31)"}


def test_a_picture_is_encoded_and_decoded_as_by_the_model(browser, settled, model, test_set):
    image = np.round(255 * test_set.examples[5])
    browser.run(
        chromium.as_file(image) + "const input = document.getElementById('file');"
        "input.files = transfer.files; input.dispatchEvent(new Event('change')); })()"
    )
    browser.wait("document.getElementById('error').textContent")
    settled()
    np.testing.assert_array_equal(pixels(browser, "input")[:, 0], image.ravel())
    params = model.encode((image / 255)[None].astype("float32"))
    z = np.asarray(browser.run("page.z"))
    np.testing.assert_allclose(z, np.asarray(params["z_mean"])[0], atol=1e-5)
    expected = 255 * np.asarray(model.decode(z[None].astype("float32"))).ravel()
    assert np.abs(pixels(browser, "output")[:, 0] - expected).max() <= 0.51


def test_what_is_transparent_is_white_as_where_models_are_trained(browser, settled):
    """A picture of the model's own size is taken pixel for pixel, whatever its edge is."""
    rng = np.random.default_rng(0)
    image, alpha = rng.integers(256, size=(8, 8, 1)), rng.integers(2, size=(8, 8, 1)) * 255
    image[:2], alpha[0] = 255, 0
    browser.run(
        chromium.as_file(image, alpha) + "document.getElementById('paper').dispatchEvent("
        "new DragEvent('drop', { dataTransfer: transfer, cancelable: true })); })()"
    )
    expected = np.where(alpha > 0, image, 255).ravel().tolist()
    browser.wait(
        "!page.encoding && JSON.stringify([...document.getElementById('input').getContext('2d')"
        f".getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)) === '{expected}'"
        ".replaceAll(' ', '')"
    )
    settled()


def test_a_file_that_is_no_picture_is_named(browser):
    before = browser.run("page.z")
    browser.run(
        "(() => { const transfer = new DataTransfer();"
        "transfer.items.add(new File(['x'], 'x.txt'));"
        "document.getElementById('paper').dispatchEvent("
        "new DragEvent('drop', { dataTransfer: transfer, cancelable: true })); })()"
    )
    browser.wait("document.getElementById('error').textContent === '(x.txt is no picture)'")
    assert browser.run("page.z") == before


def test_a_dark_drawing_on_light_paper_is_turned_over(browser, settled, test_set):
    image = np.kron(255 - np.round(255 * test_set.examples[5]), np.ones((6, 6, 1)))
    image = np.pad(image, ((6, 6), (6, 6), (0, 0)), constant_values=255)
    before = browser.run("page.z")
    browser.run(
        chromium.as_file(image) + "document.getElementById('paper').dispatchEvent("
        "new DragEvent('drop', { dataTransfer: transfer, cancelable: true })); })()"
    )
    browser.wait(f"page.z.some((v, i) => v !== {before}[i]) && !page.encoding")
    settled()
    seen = pixels(browser, "input")[:, 0].reshape(8, 8)
    expected = 255 * test_set.examples[5, ..., 0]
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.8


def test_a_drawn_line_reaches_the_encoder_and_can_be_cleared(browser, settled):
    browser.run("document.getElementById('paper').scrollIntoView()")
    left, top, width = browser.run(
        "(() => { const r = document.getElementById('paper').getBoundingClientRect();"
        "return [r.left, r.top, r.width]; })()"
    )
    before = browser.run("page.z")
    browser.mouse("mousePressed", left + 0.5 * width, top + 0.2 * width)
    for share in (0.4, 0.6, 0.8):
        browser.mouse("mouseMoved", left + 0.5 * width, top + share * width)
    browser.mouse("mouseReleased", left + 0.5 * width, top + 0.8 * width, buttons=0)
    browser.wait(f"page.z.some((v, i) => v !== {before}[i]) && !page.encoding")
    settled()
    seen = pixels(browser, "input")[:, 0].reshape(8, 8)
    assert seen[2:6, 3:5].min() > 50 and seen[:, [0, 1, 6, 7]].max() == 0
    browser.run("document.getElementById('clear').click()")
    assert pixels(browser, "input")[:, 0].max() == pixels(browser, "paper")[:, 0].max() == 0
    browser.run("scrollTo(0, 0)")


def test_a_half_that_is_missing_is_filled_in(browser, settled, model, test_set):
    image = np.round(255 * test_set.examples[5]) / 255
    chromium.give(browser, image)
    browser.run(
        "(() => { const choice = document.getElementById('hide'); choice.value = 'lower';"
        "choice.dispatchEvent(new Event('change')); })()"
    )
    browser.wait("!page.drawn && !page.encoding")
    settled()
    filled = pixels(browser, "filled")[:, 0].reshape(8, 8)
    np.testing.assert_array_equal(filled[:4], 255 * image[:4, :, 0])
    # Nearer to what is there than black is, and so is the picture of what the encoder is given.
    truth = 255 * image[4:, :, 0]
    assert np.abs(filled[4:] - truth).mean() < np.abs(truth).mean()
    seen = pixels(browser, "input").reshape(8, 8, 4)
    np.testing.assert_array_equal(seen[:4, :, 0], 255 * image[:4, :, 0])
    assert (seen[4:, :, 2] > seen[4:, :, 0]).all()  # A blue pattern.
    browser.run("document.getElementById('clear').click()")
    assert not browser.run("page.gaps.any") and pixels(browser, "filled").max() == 0


def test_rubbing_marks_what_is_missing(browser, settled, test_set):
    chromium.give(browser, test_set.examples[5])
    browser.run("document.getElementById('input').scrollIntoView({ block: 'center' })")
    left, top, width = browser.run(
        "(() => { const r = document.getElementById('input').getBoundingClientRect();"
        "return [r.left, r.top, r.width]; })()"
    )
    browser.mouse("mousePressed", left + 0.3 * width, top + 0.5 * width)
    browser.mouse("mouseMoved", left + 0.4 * width, top + 0.5 * width)
    browser.mouse("mouseReleased", left + 0.4 * width, top + 0.5 * width, buttons=0)
    mask = np.array(browser.run("[...page.gaps.mask]")).reshape(8, 8)
    assert 2 <= (mask == 0).sum() <= 12 and not mask[3:5, 2:4].any()
    assert browser.run("document.getElementById('hide').value") == "own"
    browser.wait("!page.drawn && !page.encoding")
    settled()
    browser.run("document.getElementById('clear').click()")


def test_the_meter_shows_how_unusual_a_drawing_is(browser, settled, model, test_set):
    detector = kvae.detection.Detector(model)
    scores = detector.score(test_set[:500])
    noise = np.random.default_rng(0).integers(2, size=(8, 8, 1)).astype("float32")
    for image, unusual in ((test_set.examples[5], False), (noise, True)):
        image = np.round(255 * image) / 255
        chromium.give(browser, image)
        settled()
        score = detector.score(image[None].astype("float32"))[0]
        assert browser.run("page.meter.score") == pytest.approx(score, rel=1e-4)
        p = (1 + (scores >= score).sum()) / (1 + len(scores))
        told = browser.run("document.getElementById('verdict').textContent")
        assert f"More unusual than {int(100 * (1 - p))} % of the {len(scores)} images" in told
        flagged = "document.getElementById('verdict').classList.contains('flagged')"
        assert browser.run(flagged) is unusual
        # The dearest pixel glows white.
        glow = pixels(browser, "map")[:, :3].sum(axis=1)
        assert glow.argmax() == detector.map(image[None].astype("float32")).argmax()
    browser.run("document.getElementById('clear').click()")
    assert browser.run("page.meter.score") is None


SCREENS = {"phone": (390, 844, True), "laptop": (1280, 900, False)}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("control", ["walk", "sliders", "samples", "own"])
def test_the_image_stays_in_view_beside_what_moves_it(browser, settled, screen, control):
    width, height, mobile = SCREENS[screen]
    with browser.screen(width, height, mobile):
        browser.run(f"document.getElementById('{control}').scrollIntoView({{ block: 'center' }})")
        rectangle = (
            "(() => {{ const r = document.getElementById('{}').getBoundingClientRect();"
            "return [r.left, r.top, r.right, r.bottom]; }})()"
        )
        left, top, right, bottom = browser.run(rectangle.format("image"))
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert min(right - left, bottom - top) >= 120
        # Neither does it hide what is being moved.
        assert browser.run(
            "[...document.querySelectorAll('#walk, #sliders label:not([hidden]) input')]"
            ".some((e) => { const r = e.getBoundingClientRect(); return document.elementFromPoint("
            "(r.left + r.right) / 2, (r.top + r.bottom) / 2) === e; })"
        ) or control in ("samples", "own")
    settled()


def test_names_of_classes_do_not_lie_on_each_other(browser):
    boxes = browser.run("page.view.named.map(({ x, y, width, height }) => [x, y, width, height])")
    assert len(boxes) == 10
    # Many in one place, and one near the edge.
    crowd = [[10, 10, 50, 20]] * 12 + [[395, 395, 50, 20]]
    given = [dict(zip(("x", "y", "width", "height"), box, strict=True)) for box in crowd]
    moved = browser.run(
        f"import('./labels.js').then(({{ apart }}) => apart({given}, 400)"
        ".map(({ x, y, width, height }) => [x, y, width, height]))"
    )
    for found in (np.array(boxes), np.array(moved)):
        for i, (x, y, width, height) in enumerate(found):
            for other in found[i + 1 :]:
                across, down = abs(x - other[0]), abs(y - other[1])
                assert across >= (width + other[2]) / 2 - 1 or down >= (height + other[3]) / 2 - 1
    assert np.all(np.array(moved)[:, :2] >= 0) and np.all(np.array(moved)[:, :2] <= 400)


@pytest.mark.parametrize("screen", SCREENS)
def test_empty_frames_have_the_shape_of_the_drawing(browser, screen):
    with browser.screen(*SCREENS[screen]):
        browser.run("document.getElementById('clear').click()")
        sizes = browser.run(
            "['paper', 'input', 'output'].map((id) => document.getElementById(id))"
            ".map((e) => [e.clientWidth, e.clientHeight])"
        )
    for width, height in sizes:
        assert width > 100 and abs(width - height) <= 1
    if screen == "laptop":
        assert max(np.ptp(sizes, axis=0)) <= 1


def test_the_page_says_what_the_model_is_and_writes_numbers_as_people_do(browser, settled):
    summary = browser.run("document.getElementById('summary').innerText")
    assert "variational autoencoder" in summary and "8 × 8" in summary
    browser.run("page.moveTo(page.z.map((_, i) => [-0.001, -1.25, 0][i % 3]))")
    settled()
    shown = browser.run("page.sliders.slice(0, 3).map((row) => row.output.textContent)")
    assert shown == ["0.00", "−1.25", "0.00"]


def test_a_phone_scrolls_down_only_and_takes_touches(browser, settled):
    with browser.screen(360, 740, mobile=True):
        assert browser.run("document.documentElement.scrollWidth") <= 360
        browser.run("document.getElementById('plane').scrollIntoView({ block: 'center' })")
        left, top, width = browser.run(
            "(() => { const r = document.getElementById('plane').getBoundingClientRect();"
            "return [r.left, r.top, r.width]; })()"
        )
        extent = browser.run("page.plane.extent")
        for kind, share in (("touchStart", 0.5), ("touchMove", 0.6), ("touchMove", 0.75)):
            point = {"x": left + share * width, "y": top + 0.5 * width}
            browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=[point])
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        np.testing.assert_allclose(place(browser), [0.5 * extent, 0], atol=0.02 * extent)
        settled()
