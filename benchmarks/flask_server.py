"""A server of Flask that calls `predict` of Keras for each request, as many first servers do.

    python -m benchmarks.flask_server PACKAGES

The networks are those of the dense case, and the requests and the answers those of TensorFlow
Serving. PACKAGES is a folder with Flask, which the environment of TensorFlow lacks.
"""

import os
import sys
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(sys.argv[1])

import flask
import keras
import numpy as np
from werkzeug import serving

from benchmarks import networks
from benchmarks.cases import CASES

_SAMPLES = 64  # The default of the signature `score`.


def _networks() -> tuple[keras.Model, keras.Model]:
    """Returns networks from x to the mean and the log-variance, and from z to the image's mean."""
    case = CASES[0]
    features = networks.encoder(case)
    params = [keras.layers.Dense(case.latent_dim)(features.outputs[0]) for _ in range(2)]
    logits = networks.decoder(case)
    image = keras.activations.sigmoid(logits.outputs[0])
    return keras.Model(features.inputs, params), keras.Model(logits.inputs, image)


def _app() -> flask.Flask:
    app = flask.Flask(__name__)
    encoder, decoder = _networks()
    latent_dim = CASES[0].latent_dim

    def generate(seed):
        noise = [np.random.default_rng(one).standard_normal(latent_dim) for one in seed]
        z = np.array(noise, "float32")
        return {"image": decoder.predict(z, verbose=0), "z": z}

    def encode(image):
        mean, log_var = encoder.predict(np.array(image, "float32"), verbose=0)
        return {"z_mean": mean, "z_log_var": log_var}

    def score(image, seed):
        x = np.array(image, "float32")
        mean, log_var = encoder.predict(x, verbose=0)
        found = []
        for row, one in enumerate(seed):
            noise = np.random.default_rng(one).standard_normal((_SAMPLES, latent_dim))
            z = (mean[row] + np.exp(0.5 * log_var[row]) * noise).astype("float32")
            p = np.clip(decoder.predict(z, verbose=0), 1e-6, 1 - 1e-6)
            log_px = np.sum(x[row] * np.log(p) + (1 - x[row]) * np.log1p(-p), axis=(1, 2, 3))
            log_ratio = 0.5 * np.sum(noise**2 + log_var[row] - z**2, axis=1)
            weights = log_px + log_ratio
            most = weights.max()
            found.append(most + np.log(np.mean(np.exp(weights - most))))
        return {"log_prob": np.array(found)}

    lock = threading.Lock()  # `predict` of several threads at once comes to a standstill.
    signatures = {"generate": generate, "encode": encode, "score": score}

    @app.post("/v1/models/dense:predict")
    def predict():
        content = flask.request.get_json()
        with lock:
            outputs = signatures[content["signature_name"]](**content["inputs"])
        return {"outputs": {name: array.tolist() for name, array in outputs.items()}}

    return app


def main() -> None:
    handler = serving.WSGIRequestHandler
    handler.disable_nagle_algorithm = True
    handler.log_request = lambda *_: None  # Lines of a log would cost it time.
    server = serving.make_server("127.0.0.1", 0, _app(), threaded=True, request_handler=handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
