"""The page of a model with conditions in headless Chromium: a control for each of them."""

import importlib.util
import pathlib

import numpy as np
import pytest

import export
import kvae
import zoo

_spec = importlib.util.spec_from_file_location(
    "chromium", pathlib.Path(__file__).with_name("chromium.py")
)
chromium = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chromium)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PATH is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def told():
    """A model that is told a thing of each kind, and images with what is known of them."""
    conditions = kvae.conditions.Conditions(
        {
            "kind": ["cat", "dog", "mouse"],
            "size": kvae.conditions.Real(2.0, 0.5),
            "hour": "periodic:24,2",
            "tags": ("multi", ["old", "new"]),
        }
    )
    sizes = {"event_shape": (8, 8, 1), "latent_dim": 3, "filters": (4, 8), "hidden": 8}
    model = zoo.build("conv_vae", conditions=conditions, seed=0, **sizes)
    rng = np.random.default_rng(0)
    model.conditions.unknown.assign(rng.normal(size=conditions.size))
    x = rng.integers(2, size=(40, 8, 8, 1)).astype("float32")
    label = {"kind": np.arange(40) % 3, "size": np.linspace(1.0, 3.0, 40), "hour": rng.random(40)}
    return model, kvae.datasets.from_array(x, {**label, "tags": [[0, 1], [1, np.nan]] * 20})


@pytest.fixture(scope="module")
def asked(told, tmp_path_factory):
    model, data = told
    folder = tmp_path_factory.mktemp("told")
    try:
        export.web(model, folder, data)
    except ConnectionError as error:
        pytest.skip(str(error))
    with chromium.serve(folder) as address, chromium.Browser() as browser:
        browser.open(f"{address}?device=wasm")
        browser.wait("window.page?.frames > 0 && page.answers")
        yield browser
        assert browser.problems == []


def choose(browser, text, value):
    """Chooses a value in the control that has this name."""
    browser.run(
        "(() => { const label = [...document.querySelectorAll('#told label')]"
        f".find((l) => l.textContent.startsWith('{text}'));"
        "const control = label.querySelector('input, select'); "
        f"control.value = '{value}';"
        "for (const name of ['input', 'change']) control.dispatchEvent(new Event(name)); })()"
    )


def test_images_are_those_of_the_conditions_that_are_chosen(asked, told):
    model, _ = told
    z = np.random.default_rng(1).normal(size=(1, 3)).astype("float32")
    wanted = {"kind": 0, "size": 1.0, "hour": told[1].labels["hour"][0], "tags": [[0, 1]]}

    def check():
        label = model.conditions.record(wanted, 1)
        encoded = asked.run("[...page.conditions.encoded()]")
        np.testing.assert_allclose(encoded, model.conditions.encode(label)[0], atol=1e-5)
        image = asked.run(f"page.decode({z[0].tolist()}).then((image) => [...image])")
        np.testing.assert_allclose(image, np.ravel(model.decode(z, label)), atol=1e-5)
        return np.array(image)

    images = [check()]
    for text, value, name, meant in (
        ("kind", 2, "kind", 2),
        ("size", 2.5, "size", 2.5),
        ("hour", 6.5, "hour", 6.5),
        ("old", 1, "tags", [[1, 1]]),
        ("new", "", "tags", [[1, np.nan]]),
        ("kind", "", "kind", -1),
    ):
        choose(asked, text, value)
        wanted[name] = meant
        images.append(check())
    asked.run("document.querySelector('#told [aria-label=\"size is known\"]').click()")
    wanted["size"] = np.nan
    images.append(check())
    assert all(
        np.abs(one - other).max() > 1e-4 for one, other in zip(images, images[1:], strict=False)
    )
    assert asked.run("page.conditions.shown()") == "hour 6.5, tags old"


def test_an_image_of_ones_own_is_encoded_and_judged_with_its_conditions(asked, told):
    model, data = told
    for text, value in (("kind", 1), ("size", 2.0), ("hour", 3), ("old", 0), ("new", 0)):
        choose(asked, text, value)
    label = {"kind": 1, "size": 2.0, "hour": 3.0, "tags": [[0, 0]]}
    chromium.give(asked, data.examples[3])
    z = np.asarray(model.encode(data.examples[3:4], label)["z_mean"])
    np.testing.assert_allclose(asked.run("page.z"), z[0], atol=1e-5)
    score = kvae.detection.Detector(model).score(data.examples[3:4], label=label)[0]
    assert asked.run("page.meter.score") == pytest.approx(score, rel=1e-4)
    # Another condition, the same z: the score is that of the new one.
    choose(asked, "kind", 0)
    label["kind"] = 0
    score = kvae.detection.Detector(model).score(data.examples[3:4], label=label)[0]
    asked.wait(f"Math.abs(page.meter.score - {score}) < 1e-3 * {score}")
    np.testing.assert_allclose(asked.run("page.z"), z[0], atol=1e-5)
