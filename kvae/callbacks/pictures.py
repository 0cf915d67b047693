"""Pictures and histograms for TensorBoard after epochs, and its embedding projector in the end."""

import pathlib
import tempfile

import keras
import numpy as np

from kvae import plots
from kvae.callbacks.examples import some_examples
from kvae.callbacks.summaries import SummaryWriter
from kvae.plots.checked import event_kind
from kvae.plots.grid import as_images
from kvae.utils import arguments, callers, io

__all__ = ["Pictures"]

_SPRITE = 64  # Pixels of the side of an image in the projector, at most.


class Pictures(keras.callbacks.Callback):
    """Shows in TensorBoard what a model makes of examples while it trains.

    After each epoch it writes reconstructions of some examples, samples (of a model with a prior)
    and histograms of the codes, overall and of each dimension, and at the end of the training the
    files of the embedding projector: the mean codes, with the labels and the images of the
    examples. The examples and the noise are the same each time, and no random stream of the model
    advances. It acts between epochs alone, so that `fit` keeps its blocks of steps; scalars and
    collapse are what `LatentMonitor` and `keras.callbacks.TensorBoard` write. Of a model of several
    modalities it shows the codes alone.

    The package `tensorboard` reads the files, and is not needed to write them.

    Args:
        data: array `[n, *event]`, `kvae.datasets.Dataset`, `Stream` or `tf.data.Dataset`, e.g.
            validation data; for a conditional model with labels.
        log_dir: path. A folder for TensorBoard, such as `"logs/mine"`.
        num_images: int. The number of reconstructions, of examples without missing values at even
            distances, and of samples. Defaults to `10`.
        num_codes: int. The number of examples whose codes are shown, taken at even distances.
            Defaults to `1000`.
        every: int. The number of epochs between two pictures. Defaults to `1`.
        seed: int. Seeds the samples. Defaults to `0`.

    Raises:
        ValueError: for fewer than two examples, and for a number that is out of its range.

    Example:

    ```python
    validation = kvae.datasets.load("digits", "validation")
    pictures = kvae.callbacks.Pictures(validation, "logs/mine", every=5)
    vae.fit(data, epochs=50, callbacks=[pictures])      # tensorboard --logdir logs
    ```
    """

    def __init__(
        self,
        data,
        log_dir,
        *,
        num_images: int = 10,
        num_codes: int = 1000,
        every: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        self.num_images = arguments.whole("num_images", num_images)
        self.every = arguments.whole("every", every)
        num_codes = arguments.whole("num_codes", num_codes, 2)
        self._data = some_examples(data, num_codes, type(self).__name__)
        seen = np.isfinite(self._data.examples).reshape(len(self._data), -1).all(axis=1)
        rows = np.flatnonzero(seen)  # Pictures show no gaps.
        rows = rows[np.linspace(0, len(rows) - 1, min(self.num_images, len(rows))).astype(int)]
        self._shown = self._data.take(rows) if len(rows) else None
        self.log_dir, self.seed = pathlib.Path(log_dir), seed
        self._writer = None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        if self._writer is None:
            self._writer = SummaryWriter(self.log_dir)
        codes = self._codes()
        if not np.isfinite(codes).all():  # What ends a training that diverges is not this.
            callers.warn(f"Codes are not finite after epoch {epoch + 1}, which has no pictures.")
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, draw in self._drawn().items():
                path = pathlib.Path(folder) / f"{name}.png"
                draw(path)
                self._writer.image(f"pictures/{name}", path, epoch)
        self._writer.histogram("codes/all", codes, epoch)
        for index, values in enumerate(codes.T):
            self._writer.histogram(f"codes/z{index}", values, epoch)
        self._writer.flush()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        io.writable_folder(self.log_dir, "write codes for TensorBoard")
        with io.disk_errors(self.log_dir, "the projector lacks its files"):
            self._project()

    def _drawn(self) -> dict:
        model, n = self.model, self.num_images
        found = {}
        if model.modalities:  # No events of one kind.
            return found
        if self._shown is not None:
            shown = self._shown if model.conditional else self._shown.examples
            found["reconstructions"] = lambda path: plots.reconstructions(model, shown, n, path)
        if model.prior is not None:
            found["samples"] = lambda path: plots.samples(model, n, self.seed, path=path)
        return found

    def _codes(self) -> np.ndarray:
        return np.asarray(self.model.posterior.mean(self.model.encode_data(self._data)[0]))

    def _project(self) -> None:
        """Writes codes, labels, images and the settings that name them."""
        settings = ['tensor_name: "codes"', 'tensor_path: "codes.tsv"']
        self._text("codes.tsv", ("\t".join(f"{v:.6g}" for v in row) for row in self._codes()))
        labels = self._data.labels
        if labels is not None and np.ndim(labels) == 1:
            self._text("labels.tsv", map(str, labels))
            settings.append('metadata_path: "labels.tsv"')
        if event_kind(self.model.event_shape) == "image":
            height, width = self._sprite("images.png")
            size = f"single_image_dim: {width} single_image_dim: {height}"
            settings.append(f'sprite {{ image_path: "images.png" {size} }}')
        self._text("projector_config.pbtxt", ["embeddings {", *settings, "}"])

    def _text(self, name: str, lines) -> None:
        with io.atomic_write(self.log_dir / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _sprite(self, name: str) -> tuple[int, int]:
        """Writes the images beside each other, in a square; returns the size of one."""
        from PIL import Image

        images = as_images(np.nan_to_num(np.asarray(self._data.examples, np.float32)))
        low, high = plots.grid.value_bounds(images, decoded=False)
        images = np.uint8(255 * np.clip((images - low) / max(high - low, 1e-12), 0, 1))
        step = -(-max(images.shape[1:3]) // _SPRITE)
        images = images[:, ::step, ::step]
        side = int(np.ceil(np.sqrt(len(images))))
        sheet = plots.tile(images, side, side, gap=0)
        sheet = sheet[..., 0] if sheet.shape[2:] == (1,) else sheet
        with io.atomic_write(self.log_dir / name) as temporary:
            Image.fromarray(sheet).save(temporary)
        return images.shape[1:3]
