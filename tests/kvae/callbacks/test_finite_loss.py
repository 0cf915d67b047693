"""A training that diverges ends with a reason, and with its checkpoint as it was."""

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import Checkpoint


def test_divergence_names_the_weights_and_spares_the_checkpoint(digits, make_vae, tmp_path):
    vae = make_vae(optimizer=keras.optimizers.SGD(1e-3), eager=True)
    checkpoint = Checkpoint(tmp_path, every_seconds=0.0)
    vae.fit(digits, epochs=1, batch_size=32, verbose=0, callbacks=[checkpoint])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    vae.optimizer.learning_rate = 1e30
    with pytest.raises(
        FloatingPointError, match=r"epoch 2 is .*between steps 2 and 4.*NaN"
    ) as stop:
        vae.fit(
            digits,
            epochs=3,
            initial_epoch=1,
            batch_size=32,
            verbose=0,
            callbacks=[Checkpoint(tmp_path, every_seconds=0.0)],
        )
    assert "kernel" in str(stop.value) and "learning rate" in str(stop.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    again = make_vae(optimizer=keras.optimizers.SGD(1e-3), eager=True)
    assert checkpoint.restore(again) == 1
    assert all(np.isfinite(weight).all() for weight in again.get_weights())


def test_a_loss_that_overflows_while_the_weights_are_finite(digits, make_vae):
    class Overflows(kvae.objectives.ELBO):
        def terms(self, *arguments, **options):
            terms = super().terms(*arguments, **options)
            return {**terms, "loss": terms["loss"] * 0.0 + 1e30 * 1e30}

    vae = make_vae(objective=Overflows(), optimizer=keras.optimizers.SGD(0.0), eager=True)
    with pytest.raises(FloatingPointError, match="epoch 1 is inf.*All weights are finite still"):
        vae.fit(digits, epochs=2, verbose=0)


def test_callbacks_of_any_kind_are_kept(digits, make_vae):
    seen = []
    own = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    vae = make_vae(optimizer="adam", eager=True)
    for callbacks in (own, [own], keras.callbacks.CallbackList([own], model=vae), None):
        vae.fit(digits[:8], epochs=1, verbose=0, callbacks=callbacks)
    assert seen == [0, 0, 0]
