"""Files of weights that take less room."""

import hashlib
import pathlib
import shutil

import h5py
import ml_dtypes
import numpy as np
import pytest

import zoo
import zoo.recipes
from kvae.utils import archives, io
from zoo import cards, packing, weights

SMALL = {"event_shape": (6, 6, 1), "latent_dim": 3, "hidden": (100, 100)}


def bits(model) -> list[bytes]:
    return [np.asarray(weight).tobytes() for weight in model.weights]


def test_packed_weights_load_bit_for_bit_from_a_smaller_file(tmp_path):
    # A discriminator's optimizer and the states of noise are in the file as well.
    vae = zoo.build("factor_vae", seed=1, event_shape=(16, 16, 1), latent_dim=2, hidden=8)
    plain, packed, again = (tmp_path / f"{name}.weights.h5" for name in ("plain", "a", "b"))
    vae.save_weights(plain)
    packing.save(vae, packed)
    packing.save(vae, again)
    assert packed.read_bytes() == again.read_bytes()
    assert packed.stat().st_size < 0.9 * plain.stat().st_size
    archives.check_hdf5(packed, "the packed file")  # As whoever downloads it does.
    other = zoo.build("factor_vae", seed=2, event_shape=(16, 16, 1), latent_dim=2, hidden=8)
    assert bits(other) != bits(vae)
    other.load_weights(packed)
    assert bits(other) == bits(vae)


def test_large_arrays_of_one_value_are_stored_so_that_a_download_takes_them(tmp_path):
    plain, packed, again = (tmp_path / f"{name}.h5" for name in ("plain", "a", "b"))
    arrays = {"layers/zeros": np.zeros(2**19, np.float32), "layers/few": np.arange(2**14) % 7}
    with h5py.File(plain, "w") as file:
        file.update(arrays)
    for path in (packed, again):
        packing.pack(plain, path)
    archives.check_hdf5(packed, "the packed file")
    assert packed.read_bytes() == again.read_bytes()
    with h5py.File(packed) as file:
        for name, values in arrays.items():
            np.testing.assert_array_equal(file[name], values)
        assert file["layers/few"].compression == "gzip"


@pytest.mark.parametrize(("kept", "as_type"), [(7, ml_dtypes.bfloat16), (10, np.float16)])
def test_fewer_bits_are_the_nearest_numbers_that_have_them(tmp_path, kept, as_type):
    """Those of types that have so many, where their exponents reach."""
    vae = zoo.build("dense_vae", seed=1, likelihood="gaussian:global,scale=0.3", **SMALL)
    tie = 1 + 2.0 ** -(kept + 1)
    special = np.float32([0.0, -0.0, 1.0, tie, -tie, tie + 2.0**-kept, np.inf, np.nan, 2**-10])
    weight = vae.weights[0]
    values = np.asarray(weight)
    values.flat[: special.size] = special
    weight.assign(values)
    before = vae.get_weights()
    packing.rounded(vae, None)
    packing.rounded(vae, packing.MANTISSA)
    np.testing.assert_array_equal(vae.get_weights()[0].view(np.uint32), values.view(np.uint32))
    packing.rounded(vae, kept)
    assert any(old.ndim == 0 and old != 0 for old in before)  # σ is a single number.
    for own, old in zip(vae.get_weights(), before, strict=True):
        assert own.dtype == old.dtype and own.shape == old.shape
        whole = old.dtype != "float32"  # The state of the noise.
        expected = old if whole else old.astype(as_type).astype("float32")
        normal = True if whole else (old == 0) | (np.abs(old) >= 2**-14) | ~np.isfinite(old)
        np.testing.assert_array_equal(own[normal], expected[normal])
    other = zoo.build("dense_vae", seed=1, likelihood="gaussian:global,scale=0.3", **SMALL)
    sizes = []
    for name, model in (("whole", other), ("fewer", vae)):
        packing.save(model, tmp_path / f"{name}.weights.h5")
        sizes.append((tmp_path / f"{name}.weights.h5").stat().st_size)
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("wrong", [0, 24, -1])
def test_numbers_of_bits_that_a_mantissa_does_not_have(wrong):
    with pytest.raises(ValueError, match=f"mantissa_bits is from 1 to 23, not {wrong}"):
        zoo.recipes.Recipe("dense_vae.x", "digits", mantissa_bits=wrong)


class TestRepack:
    NAME = "dense_autoencoder.digits"

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """A zoo of one model."""
        for kind, name in (("cards", f"{self.NAME}.json"), ("weights", f"{self.NAME}.weights.h5")):
            (tmp_path / kind).mkdir()
            shutil.copyfile(pathlib.Path(zoo.__file__).parent / kind / name, tmp_path / kind / name)
        monkeypatch.setattr(weights, "_FOLDER", tmp_path / "weights")
        monkeypatch.setattr(cards, "_FOLDER", tmp_path / "cards")
        return tmp_path

    def test_the_card_names_the_new_file_and_nothing_else_is_new(self, folder):
        old, before = zoo.card(self.NAME), bits(zoo.load(self.NAME))
        packing.repack(self.NAME, folder)
        new, path = zoo.card(self.NAME), folder / "weights" / f"{self.NAME}.weights.h5"
        assert new.weights["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert new.weights["bytes"] == path.stat().st_size < old.weights["bytes"]
        assert {**new.to_dict(), "weights": None} == {**old.to_dict(), "weights": None}
        assert bits(zoo.load(self.NAME)) == before

    def test_an_altered_file_is_not_packed(self, folder):
        path = folder / "weights" / f"{self.NAME}.weights.h5"
        altered = bytearray(path.read_bytes())
        altered[-1] ^= 1
        path.write_bytes(altered)
        with pytest.raises(ValueError, match="is not the file that its card describes"):
            packing.repack(self.NAME, folder)
        assert io.sha256_file(path) == hashlib.sha256(altered).hexdigest()
