"""One reading of image files: what a model trains on is what its exported graph is served."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import export
import kvae
from export.files import meta_graph
from export.runtimes import child
from export.signatures import Call
from kvae.datasets import decoding

RUNTIME = "export.runtimes.c_api"
SIZE = (9, 7)  # Height and width of the files.


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "maker", orientation
    return tags


def noise(*channels, high=256, dtype=np.uint8):
    return np.random.default_rng(len(channels)).integers(0, high, (*SIZE, *channels), dtype)


def make_files():
    """A file of every kind that PNG and JPEG have, by name."""
    rgb = Image.fromarray(noise(3))
    smooth = rgb.resize((40, 30), Image.Resampling.BICUBIC)
    few = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=12)  # 4 bits.
    files = {
        "1": encoded(Image.fromarray(noise(high=2).astype(bool))),
        "L": encoded(Image.fromarray(noise())),
        "LA": encoded(Image.fromarray(noise(2))),
        "RGB": encoded(rgb),
        "RGBA": encoded(Image.fromarray(noise(4))),
        "P": encoded(rgb.convert("P")),
        "P of 4 bits": encoded(few),
        "P with transparency": encoded(few, transparency=bytes([0, 128, 255] + [30] * 9)),
        "P with a transparent colour": encoded(few, transparency=3),
        "L with a transparent level": encoded(Image.fromarray(noise(high=4)), transparency=2),
        "RGB with a transparent colour": encoded(
            Image.fromarray(noise(3, high=2) * np.uint8(255)), transparency=(255, 0, 0)
        ),
        "I;16": encoded(Image.fromarray(noise(high=65536, dtype=np.uint16))),
        "JPEG": encoded(smooth, "JPEG"),
        "progressive JPEG": encoded(smooth, "JPEG", progressive=True, quality=30),
        "grey JPEG": encoded(smooth.convert("L"), "JPEG"),
        "CMYK JPEG": encoded(smooth.convert("CMYK"), "JPEG"),
    }
    for orientation in range(1, 9):
        for kind, image in (("PNG", rgb), ("JPEG", smooth)):
            name = f"{kind} of orientation {orientation}"
            files[name] = encoded(image, kind, exif=exif(orientation))
    return files


FILES = make_files()


@pytest.fixture
def folder(tmp_path):
    """The files in the order of their names, with the suffix of their kind."""
    for index, content in enumerate(FILES.values()):
        suffix = "jpg" if content.startswith(b"\xff\xd8") else "png"
        (tmp_path / f"{index:02d}.{suffix}").write_bytes(content)
    return tmp_path


def by_pillow(content, channels, size=None):
    """The same rule by another library; `size` is (height, width) to stretch to."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I"):
        image = Image.fromarray(np.round(np.asarray(image) * (255 / 65535)).astype(np.uint8))
    if channels != 4 and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*image.size[::-1], channels).astype(int)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.default("3", "4")  # What is grey is tested below, in few files.
def test_pixels_are_those_that_pillow_reads(channels):
    """Exactly, JPEG too: both use the accurate transform; resized, their roundings may differ."""
    for name, content in FILES.items():
        own = by_pillow(content, channels)
        read = decoding.decode_image(tf.constant(content), own.shape).numpy()
        np.testing.assert_array_equal(read, own, err_msg=name)
        # Pillow resizes in whole numbers: with few opaque neighbours, colours suffer from that.
        if channels != 4:
            small = decoding.decode_image(tf.constant(content), (5, 12, channels)).numpy()
            other = by_pillow(content, channels, (5, 12))
            np.testing.assert_allclose(small, other, atol=1, err_msg=name)


@pytest.mark.parametrize(("shape", "fit"), [((8, 8, 1), "stretch"), ((8, 8, 3), "crop")])
@pytest.mark.default("shape1-crop")
def test_the_exported_graph_reads_what_the_folder_reads(folder, tmp_path, shape, fit):
    """To the bit, in the C++ runtime: `encode` returns the pixels of each file."""
    data = kvae.datasets.from_folder(folder, shape, fit=fit)
    stream = kvae.datasets.ImageFolder(folder, shape, fit=fit)
    np.testing.assert_array_equal(np.concatenate([*stream.batches(16)]), data.examples)
    vae = pixels_as_codes(shape)
    path = export.saved_model(
        vae, tmp_path / "model", preprocessing="png", signatures=["encode"], fit=fit
    )
    call = Call("encode", {"image_bytes": np.array([*FILES.values()])})
    (result,) = child.request(RUNTIME, path, [call], timeout=120).results
    assert not result.error
    served = result.outputs["z_mean"].reshape(len(FILES), *shape)
    np.testing.assert_array_equal(served, data.examples)
    content = json.loads((path / "assets.extra" / "kvae.json").read_text())
    assert content["preprocessing"] == "png"
    assert meta_graph.read_signatures(path)["encode"].inputs["image_bytes"].dtype == "string"


def pixels_as_codes(shape):
    import keras

    size = int(np.prod(shape))
    encoder = keras.Sequential([keras.Input(shape), keras.layers.Flatten()])
    decoder = keras.Sequential([keras.Input((size,)), keras.layers.Reshape(shape)])
    vae = kvae.VAE(encoder, decoder, latent_dim=size)
    for weight in vae.posterior.weights:
        weight.assign(np.eye(size) if weight.shape == (size, size) else np.zeros(weight.shape))
    return vae


def test_what_is_transparent_is_white_and_hides_what_is_below():
    clear = encoded(Image.new("RGBA", (8, 8), (200, 0, 0, 0)))
    half = encoded(Image.new("LA", (8, 8), (100, 51)))
    for channels in (1, 3):
        shape = (4, 4, channels)
        assert np.all(decoding.decode_image(clear, shape).numpy() == 255)
        assert np.all(decoding.decode_image(half, shape).numpy() == 224)  # 0.2·100 + 0.8·255
    # Four channels keep it, and the colours below do not bleed into their neighbours.
    image = Image.new("RGBA", (8, 8), (0, 255, 0, 0))
    image.paste((200, 100, 0, 255), (4, 0, 8, 8))
    read = decoding.decode_image(encoded(image), (8, 4, 4)).numpy()
    assert read[0, :, 3].tolist() == [0, 32, 223, 255]
    np.testing.assert_array_equal(read[:, 1:, :3], np.full((8, 3, 3), (200, 100, 0)))


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_an_upright_image_is_resized_as_if_it_had_been_stored_upright(fit):
    smooth = Image.fromarray(noise(3)).resize((31, 20), Image.Resampling.BICUBIC)
    for turn, orientation in ((90, 6), (180, 3), (270, 8)):
        stored = encoded(smooth.rotate(turn, expand=True), exif=exif(orientation))
        read = decoding.decode_image(stored, (8, 10, 3), fit)
        np.testing.assert_array_equal(read, decoding.decode_image(encoded(smooth), (8, 10, 3), fit))


def test_damaged_exif_data_are_no_obstacle():
    whole = FILES["JPEG of orientation 6"]
    place = whole.index(b"Exif\0\0")
    rng = np.random.default_rng(0)
    for _ in range(30):
        data = bytearray(whole)
        for at in place + 6 + rng.integers(0, 26, 3):
            data[at] = rng.integers(256)
        height, width, _ = decoding.decode_image(bytes(data), (6, 6, 3)).shape
        assert (height, width) == (6, 6)


def test_what_is_no_image_is_an_error_of_the_graph():
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def decode(content):
        return decoding.decode_image(content, (4, 4, 1), max_pixels=1500)

    decode(FILES["JPEG"])
    whole = FILES["RGB"]
    for content, message in (
        (b"", "PNG or a JPEG file"),
        (encoded(Image.new("L", (4, 4)), "GIF"), "PNG or a JPEG file"),
        (encoded(Image.new("L", (4, 4)), "BMP"), "PNG or a JPEG file"),
        (whole[:60], "PNG data"),
        (FILES["JPEG"][:300], "JPEG"),
        (FILES["JPEG"][:-50], "JPEG"),
        # A header of 2³¹ - 1 pixels on a side and of none, and a whole file.
        (whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:], "from 1 to 1500 pixels"),
        (whole[:16] + b"\0" * 8 + whole[24:], "from 1 to 1500 pixels"),
        (encoded(Image.new("L", (40, 40)), "JPEG"), "from 1 to 1500 pixels"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decode(content)


def test_a_fit_is_refused_where_there_is_none(dense, tmp_path):
    with pytest.raises(ValueError, match="`fit` is for preprocessing 'png', not 'uint8'"):
        export.saved_model(dense, tmp_path / "m", preprocessing="uint8", fit="crop")
    with pytest.raises(ValueError, match="Unknown fit 'corp'. Did you mean 'crop'"):
        export.saved_model(dense, tmp_path / "m", preprocessing="png", fit="corp")


@pytest.mark.slow  # By default `test_serving.py` sends such files, and the graph above reads them.
def test_a_server_takes_both_kinds_and_refuses_others(dense, tmp_path):
    path = export.saved_model(dense, tmp_path / "m", preprocessing="png", signatures=["embed"])
    content = json.loads((path / "assets.extra" / "kvae.json").read_text())
    assert content["preprocessing"] == "png"
    assert meta_graph.read_signatures(path)["embed"].inputs["image_bytes"].dtype == "string"
    wanted = dense.encode(
        np.stack([decoding.decode_image(FILES[name], (8, 8, 1)) for name in ("RGBA", "JPEG")]) / 255
    )
    gif = encoded(Image.new("L", (4, 4)), "GIF")
    calls = [[FILES["RGBA"], FILES["JPEG"]], [FILES["RGBA"], gif]]
    calls = [Call("embed", {"image_bytes": np.array(row)}) for row in calls]
    good, bad = child.request(RUNTIME, path, calls, timeout=120).results
    np.testing.assert_allclose(good.outputs["embedding"], wanted["z_mean"], atol=1e-6)
    assert bad.error == ("INVALID_ARGUMENT: assertion failed: [An image is a PNG or a JPEG file.]")
