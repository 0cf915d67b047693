# %% [markdown]
# # From the zoo to TensorFlow Serving, a phone and a browser
#
# A trained model is useful where it runs. This guide takes a model of the zoo, writes it in each of the
# formats that kvae knows, checks every file in the runtime that will execute it, and calls it as a client
# would.
#
# | where it runs | format | written by | checked in |
# |---|---|---|---|
# | TensorFlow Serving, C++, Java | SavedModel | `export.saved_model`, `export.publish` | TensorFlow's C runtime, OpenVINO |
# | Android, iOS, Raspberry Pi | TFLite | `export.tflite` | LiteRT |
# | servers and devices without TensorFlow | ONNX | `export.onnx` | ONNX Runtime |
# | a browser | a folder of static files | `export.web` | Chromium, by `make web-test` |

# %%
import numpy as np

import export
import kvae
import zoo

rows = 64  # quick: 4
vae = zoo.load("dense_vae.digits")
test = kvae.datasets.load("digits", "test")

# %% [markdown]
# ## A SavedModel, with signatures
#
# `export.saved_model` writes a numbered version into a folder, which is what TensorFlow Serving expects.
# `export.verify` runs every signature of it in TensorFlow's C runtime, in a process without Python's
# TensorFlow, and compares the numbers with the model's.

# %%
path = export.saved_model(vae, "serving/digits")
print(path)
print(export.verify(path, vae))

# %% [markdown]
# The signatures go beyond the decoder: `encode`, `reconstruct`, `generate`, `interpolate` and `score`
# serve the whole model. [The page on exports](../EXPORT.md) lists each with its inputs and outputs.
#
# ## A server and a client
#
# `export.publish`, or `kvae export NAME -f repository models`, adds all that TensorFlow Serving needs:
# warm-up requests, the configuration, and files for Docker and Kubernetes. `kvae serve models` then starts
# TensorFlow Serving. For tests and notebooks there is a small development server with the same calls over
# the same C runtime:

# %%
with export.DevelopmentServer({"digits": "serving/digits"}, port=0) as server:
    with export.Client(server.url, "digits") as client:
        images, z = client.generate(list(range(rows)))
        again, _ = client.generate(list(range(rows)))
        scores = client.score(images[:4])

print("images", images.shape, "codes", z.shape)
print("the same seeds give the same images:", bool(np.array_equal(images, again)))
print("log p(x) of four of them, in nats:", np.round(scores.log_prob, 1))

# %% [markdown]
# On the command line the same looks like this. The calls of the last line are REST, which any language
# can send:
#
# ```sh
# kvae export dense_vae.digits -f repository models
# kvae serve models                                   # http://localhost:8501, gRPC at 8500
# curl -d '{"signature_name": "generate", "inputs": {"seed": [1, 2]}}' \
#     http://localhost:8501/v1/models/dense_vae.digits:predict
# ```
#
# Every server here listens at 127.0.0.1 unless `--host` says otherwise, and none knows users or TLS.
# `tensorflow_model_server` itself can only listen on every interface, so `kvae serve` starts it with
# `--host 0.0.0.0` alone ([what is open to whom](../EXPORT.md#serving)).
#
# ### Images from clients
#
# A client sends numbers in the range of the model. An export with `preprocessing="uint8"` takes whole
# numbers from 0 to 255, and one with `preprocessing="png"` takes PNG or JPEG files; the exported graph
# scales the numbers, and reads files as `kvae.datasets.from_folder` does, to the bit: turned upright,
# transparent parts on white, resized with antialiasing, grey by the weights of ITU-R 601. `fit="crop"` is
# for models that were trained on images read in this way.
#
# ## A phone
#
# `export.tflite` writes the decoder with operators that LiteRT has built in. Nothing in the file is
# random: the device draws z. With `parts="both"` the encoder comes along.

# %%
path = export.tflite(vae, "digits.tflite", precision="float16", parts="both")
print(export.verify(path, vae))
print(f"{path.stat().st_size / 1000:.0f} kB")

# %% [markdown]
# LiteRT runs the file. These lines need no kvae, and no TensorFlow:

# %%
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("digits.tflite")
decode = interpreter.get_signature_runner("serving_default")
z = np.random.default_rng(0).normal(size=(1, vae.latent_dim)).astype("float32")
image = decode(z=z)["image"]
print(
    "from LiteRT:", image.shape, "largest difference:", float(np.abs(image - vae.decode(z)).max())
)

# %% [markdown]
# Eight-bit files are smaller and faster and lose some quality. `int8` takes data to calibrate with, and
# `export.profile` measures what was lost, in nats:

# %%
calibration = kvae.datasets.load("digits", "train")[:100]
path = export.tflite(vae, "digits_int8.tflite", precision="int8", calibration=calibration)
print(export.profile(path, vae, test[:rows]))

# %% [markdown]
# ## A browser
#
# `export.web` writes a folder of static files with LiteRT.js, which it downloads once into a cache. The
# page computes on WebGPU, or in WebAssembly where there is none, and asks no other host for anything.
#
# ```sh
# kvae export dense_vae.digits -f web page
# python -m http.server --bind 127.0.0.1 --directory page
# ```
#
# Drag over the plane of the latents and the image follows; draw a digit and see it encoded and decoded.
#
# ## Share a model
#
# `zoo.push_to_hub` puts a model and its card on the Hugging Face Hub, and `zoo.load("hf://user/repo")` loads
# it from there; both need the extra `keras-kvae[hub]`. What comes from the Hub is checked before it is loaded.
#
# ## ONNX
#
# `export.onnx` needs the extra `keras-kvae[onnx]`. The file has the inputs and outputs of the SavedModel's
# decoder or encoder, and any batch size.

# %%
path = export.onnx(vae, "digits.onnx")
print(export.verify(path, vae))
