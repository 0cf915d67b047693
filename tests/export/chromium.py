"""Drives headless Chromium over a pipe, by the DevTools protocol; serves folders to it."""

import base64
import contextlib
import functools
import http.server
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time

import numpy as np

PATH = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--mute-audio",
    # WebGPU in software.
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # Nothing but this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serve(folder):
    """Serves a folder on this machine; gives its address."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Browser:
    """One tab. A context manager: leaving it ends the browser."""

    def __init__(self, width=1000, height=1400):
        self.profile = tempfile.mkdtemp(prefix="kvae-chromium-")
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def place_pipes():  # Chromium reads descriptor 3 and writes 4.
            first, second = os.dup(read), os.dup(write)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [PATH, *_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self.profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=place_pipes,
            start_new_session=True,
        )
        os.close(read)
        os.close(write)
        self._numbers, self._buffer, self._session = itertools.count(1), b"", None
        self.requests, self.problems = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, timeout=120, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._receive(end - time.monotonic(), method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _receive(self, seconds, method):
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium did not answer {method}.")
            data = os.read(self._read, 1 << 16)
            if not data:
                raise RuntimeError(f"Chromium ended at {method}.")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event):
        method, values = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(values["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] == "error":
            self.problems.append(" ".join(str(part.get("value")) for part in values["args"]))

    def run(self, expression):
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait(self, expression, seconds=90):
        end = time.monotonic() + seconds
        while not (value := self.run(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is {value!r}; {self.problems}")
            time.sleep(0.05)
        return value

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    @contextlib.contextmanager
    def screen(self, width, height, mobile=False):
        """Gives the page a screen of this size, and its own size again afterwards."""
        scale = 2 if mobile else 1
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=mobile,
        )  # fmt: skip
        try:
            yield
        finally:
            self.call("Emulation.clearDeviceMetricsOverride")
            self.run("scrollTo(0, 0)")

    def mouse(self, kind, x, y, buttons=1):
        # Without its button, a release would leave the pointer with what has captured it.
        button = "left" if buttons or kind == "mouseReleased" else "none"
        self.call(
            "Input.dispatchMouseEvent",
            type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1,
        )  # fmt: skip

    def key(self, key, shift=False):
        code = {"Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code[key]}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, modifiers=8 * shift, **common)

    def scheme(self, name):
        """Chooses "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(shot["data"]))


def as_file(image, alpha=None):
    """JavaScript, up to where `transfer` holds a PNG file of an image `[height, width, 1]`."""
    height, width, _ = image.shape
    opaque = np.full(image.shape, 255) if alpha is None else alpha
    return (
        "(async () => { const c = document.createElement('canvas');"
        f"c.width = {width}; c.height = {height};"
        f"const v = {image.ravel().astype(int).tolist()};"
        f"const a = {opaque.ravel().astype(int).tolist()};"
        f"const p = new ImageData({width}, {height});"
        "v.forEach((x, i) => p.data.set([x, x, x, a[i]], 4 * i));"
        "c.getContext('2d').putImageData(p, 0, 0);"
        "const blob = await new Promise((done) => c.toBlob(done));"
        "const transfer = new DataTransfer();"
        "transfer.items.add(new File([blob], 'digit.png', { type: 'image/png' }));"
    )


def give(browser, image):
    """Chooses an image of the model's own size, and waits for what is said of it."""
    browser.run(
        as_file(np.round(255 * image)) + "const input = document.getElementById('file');"
        "input.files = transfer.files; input.dispatchEvent(new Event('change')); })()"
    )
    browser.wait("page.answers && page.image && !page.drawn && !page.encoding")
