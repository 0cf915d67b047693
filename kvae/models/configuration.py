"""The configuration of a model, of which files and changed copies make it again."""

import weakref

import keras

from kvae.datasets.schema import Schema
from kvae.detection.calibration import Calibration
from kvae.parts import load_plugins

__all__ = ["MODELS", "OPTIONAL", "PARTS", "Configuration"]

# All models that there are, by their `id`: any of them may share weights with one that is trained.
MODELS: weakref.WeakValueDictionary = weakref.WeakValueDictionary()

# What a model keeps beside its parts.
_KEPT = {"schema": Schema, "calibration": Calibration}
PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")
OPTIONAL = ("missing", "conditions")


class Configuration:
    """The methods of `kvae.VAE` that say, and read, what it is made of."""

    def get_config(self):
        # Files without what is optional stay as they were.
        names = (*PARTS, *(name for name in OPTIONAL if getattr(self, name) is not None))
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}
        return {**self._settings(), **parts}

    def forget_measured(self):
        """Takes away what was measured of the weights as they were, before they change.

        Models that have any of the weights to be trained, such as those of `resized`, `with_prior`,
        `with_missing` and `kvae.stacked`, lose it too.
        """
        self.calibration = self.scale_factor = None
        models = [reference() for reference in MODELS.valuerefs()]
        measured = [model for model in models if model is not None and model._has_measured()]
        changing = {id(variable) for variable in self.trainable_variables} if measured else set()
        for model in measured:
            if any(id(variable) in changing for variable in model.variables):
                model.calibration = model.scale_factor = None

    def _has_measured(self) -> bool:
        return self.calibration is not None or self.scale_factor is not None

    def _settings(self) -> dict:
        """Returns the configuration without the networks and the parts."""
        # Files without them stay as they were.
        kept = {name: getattr(self, name) for name in _KEPT}
        own = {name: value.to_dict() for name, value in kept.items() if value is not None}
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "seed": self.seed,
            "num_classes": self.num_classes,
            **({"latent_shape": self.latent_shape} if len(self.latent_shape) > 1 else {}),
            **({} if self.scale_factor is None else {"scale_factor": self.scale_factor}),
            **own,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        load_plugins()
        for part in (*PARTS, *OPTIONAL):
            if isinstance(config.get(part), dict) and "class_name" in config[part]:
                config[part] = keras.saving.deserialize_keras_object(
                    config[part], custom_objects=custom_objects
                )
        kept = {name: config.pop(name) for name in _KEPT if name in config}
        scale_factor = config.pop("scale_factor", None)
        model = cls(**config)
        model.scale_factor = scale_factor
        for name, value in kept.items():
            setattr(model, name, _KEPT[name].from_dict(value))
        return model
