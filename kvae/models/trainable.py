"""Freezing of parts, and the optimizer's knowledge of the weights that train."""

from kvae.utils import keras_internals, names

__all__ = ["Trainable"]

# The names that `freeze` takes, and the layers that they stand for: a network alone would leave
# the heads of the part that reads it.
_FROZEN_WITH = {
    "encoder": ("encoder", "posterior", "missing", "conditions"),
    "decoder": ("decoder", "likelihood", "conditions"),
    "posterior": ("posterior",),
    "prior": ("prior",),
    "likelihood": ("likelihood",),
}


class Trainable:
    """The methods of `kvae.VAE` that say which of its weights train."""

    def freeze(self, *parts: str) -> None:
        """Keeps parts of the model as they are in training.

        `"encoder"` is all of q(z|x): the network, the posterior with the heads that turn the
        network's features into parameters, and what is filled in for missing values. `"decoder"` is
        all of p(x|z): the network and the likelihood, which may have a variance of its own. Either
        keeps what stands for unknown conditions.
        `vae.encoder.trainable = False` freezes the network alone, and the heads go on training.

        `fit` follows at once; a model that has been compiled need not be compiled again, and the
        optimizer keeps what it has gathered of the weights that go on training.

        Args:
            *parts: str. Of `"encoder"`, `"decoder"`, `"posterior"`, `"prior"`, `"likelihood"`.

        Raises:
            ValueError: for other names, and for none.

        Example:

        ```python
        vae = zoo.load("dense_vae.digits")
        vae.freeze("encoder")
        vae.fit(kvae.datasets.load("digits", "train"), epochs=1)
        ```
        """
        self._set_trainable(parts, False)

    def unfreeze(self, *parts: str) -> None:
        """Lets parts of the model train again.

        Args:
            *parts: str. As for `freeze`.

        Raises:
            ValueError: for other names, and for none.
        """
        self._set_trainable(parts, True)

    def _set_trainable(self, parts, value: bool) -> None:
        if not parts:
            raise ValueError(f"Name the parts: {', '.join(map(repr, _FROZEN_WITH))}.")
        for part in parts:
            if part not in _FROZEN_WITH:
                raise names.unknown_name("part", part, _FROZEN_WITH)
        for part in parts:
            for name in _FROZEN_WITH[part]:
                layer = getattr(self, name)
                if layer is not None:  # An autoencoder has no prior, for one.
                    keras_internals.set_trainable(layer, value)

    def prepare_optimizer(self) -> None:
        """Gives the optimizer the variables that train at present.

        This happens before the first step: a step that fails while it makes variables would spoil
        the next `fit`, and an optimizer without its variables is not saved whole. Graphs that were
        traced for other variables are dropped.

        Raises:
            ValueError: where nothing trains.
        """
        if not self.built or self.optimizer is None:
            return
        variables = self.trainable_variables
        if not variables:
            raise ValueError(
                f"Every weight of {self.name} is frozen, so there is nothing to train. Set "
                f"{self.name}.trainable = True, or call unfreeze('encoder', 'decoder') for the "
                "parts that are to train."
            )
        present = tuple(id(variable) for variable in variables)
        if self._prepared_for not in (None, present):
            self.forget_training_functions()
        self._prepared_for = present
        with self.distribute_strategy.scope():
            keras_internals.build_optimizer_for(self.optimizer, variables)
