"""Shared by all tests: which cases run by default, what tests cost, and fixtures."""

import collections
import contextlib
import dataclasses
import functools
import gc
import hashlib
import importlib.util
import itertools
import os
import pathlib
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# `import kvae` sets it as well, but some tests import TensorFlow first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("fork_server", _ROOT / "tests" / "fork_server.py")
fork_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fork_server)


# A default test that takes more CPU seconds than this is named at the end of a run.
DEAR = 4.0
SPENT = pytest.StashKey()


def covering(cases, size):
    """Returns which cases show all combinations of `size` values of different parameters.

    Args:
        cases: list of dicts. The value of each parameter.
        size: int. 1 for each value once, 2 for each pair of values.

    Returns:
        A set of indices of `cases`, as small as a greedy search makes it.
    """

    def shown(case):
        values = [(name, v if v.__hash__ else id(v)) for name, v in sorted(case.items())]
        return set(itertools.combinations(values, min(size, len(values))))

    chosen, rest = set(), [shown(case) for case in cases]
    while any(rest):
        best = max(range(len(rest)), key=lambda index: len(rest[index]))
        chosen.add(best)
        rest = [new - rest[best] for new in rest]
    return chosen


@pytest.hookimpl(tryfirst=True)  # Before `-m "not slow"` leaves tests out.
def pytest_collection_modifyitems(config, items):
    """Marks as slow what `@pytest.mark.default(…)` does not choose of the cases of a test.

    It names the ids of those that run by default, or with `cover=1` as few as show each value of
    every parameter, with `cover=2` each pair of values of two parameters.
    """
    tests = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("default"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for name, cases in tests.items():
        mark = cases[0].get_closest_marker("default")
        chosen = set(mark.args)
        if mark.kwargs:
            indices = covering([item.callspec.params for item in cases], mark.kwargs["cover"])
            chosen |= {cases[index].callspec.id for index in indices}
        unknown = chosen - {item.callspec.id for item in cases}
        if unknown and not any("[" in argument for argument in config.args):
            raise pytest.UsageError(f"{name} has no case {', '.join(sorted(unknown))}")
        for item in cases:
            if item.callspec.id not in chosen:
                item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)  # xdist may be switched off.
def pytest_xdist_auto_num_workers(config):
    """A process more than there are cores: tests of servers and other programs often wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) + 1


_forked = [0.0]  # CPU seconds of the programs of `run_forked`.
_ADDRESS = "KVAE_TESTS_FORKS"  # Where the processes of tests find the server of their forks.


def cpu_seconds():
    """Returns the CPU time of this process and of those of its children that have ended."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + _forked[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes what each phase of a test costs."""
    report = yield
    now = cpu_seconds()
    report.cpu_seconds = now - item.config.stash[SPENT]
    item.config.stash[SPENT] = now
    return report


def pytest_terminal_summary(terminalreporter):
    """Says what the tests cost, and names those that are dear and not slow."""
    costs = collections.Counter()
    slow = set()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if cost := getattr(report, "cpu_seconds", None):
            costs[report.nodeid] += cost
            slow |= {report.nodeid} if "slow" in report.keywords else set()
    dear = [(name, cost) for name, cost in costs.most_common() if cost > DEAR and name not in slow]
    terminalreporter.write_line(f"The tests took {sum(costs.values()):.0f} CPU seconds.")
    if dear:
        terminalreporter.write_line(
            f"These took more than {DEAR:.0f} and are not slow (CONTRIBUTING.md, Tests):"
        )
    for name, cost in dear:
        terminalreporter.write_line(f"{cost:6.1f}  {name}")


def _spare_tensorflow_what_no_test_needs():
    """Keeps TensorFlow's kernels, and notes no Python stack for each operation.

    Every small model of the tests is made after `keras.utils.set_random_seed`, upon which
    TensorFlow makes all kernels anew, for the sake of operations that keep a seed of their own;
    here there are none. Variables outside of graphs are made without their name, which debuggers
    show: with it each one has a kernel of its own, which takes a millisecond. The stacks say in
    errors where an operation was made. What the attributes of a protocol are, Python 3.11 finds out
    anew each time that something is asked whether it is a tensor.
    """
    from tensorflow.python.eager import context
    from tensorflow.python.ops import gen_resource_variable_ops
    from tensorflow.python.util import tf_stack

    def set_seed(self, seed):
        self._seed, self._rng = seed, random.Random(seed)

    handle_op = gen_resource_variable_ops.var_handle_op

    def var_handle_op(*arguments, debug_name="", **options):
        name = "" if context.executing_eagerly() else debug_name
        return handle_op(*arguments, debug_name=name, **options)

    here = tf_stack.extract_stack()
    context.Context._set_global_seed = set_seed
    gen_resource_variable_ops.var_handle_op = var_handle_op
    tf_stack.extract_stack = lambda stacklevel=1: here
    for name in ("_get_protocol_attrs", "_is_callable_members_only"):
        if hasattr(typing, name):  # The second one is of Python before 3.12.
            setattr(typing, name, functools.cache(getattr(typing, name)))


def pytest_collection_finish(session):
    """TensorFlow's million objects stay: looking through them again and again takes a tenth."""
    if "tensorflow" in sys.modules:
        _spare_tensorflow_what_no_test_needs()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    session.config.stash[SPENT] = cpu_seconds()


def _environment():
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _checked(finished, check):
    if check and finished.returncode != 0:
        raise AssertionError(f"exit status {finished.returncode}:\n{finished.stderr[-4000:]}")
    return finished


@pytest.fixture(scope="session")
def run_python():
    """Runs code in a new interpreter: `run_python(code, *arguments)` -> the finished process."""

    def run(code, *arguments, check=True, timeout=300):
        finished = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return _checked(finished, check)

    return run


@contextlib.contextmanager
def _fork_server():
    """Gives the address of a server, which ends at the end."""
    with tempfile.TemporaryDirectory() as folder:
        address = os.path.join(folder, "forks")
        server = subprocess.Popen(
            [sys.executable, fork_server.__file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not os.path.exists(address + fork_server.TESTS):
            assert server.poll() is None
            time.sleep(0.01)
        yield address
        server.stdin.close()
        server.wait()


_SERVER = contextlib.ExitStack()  # That of all processes of tests.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config, specs):
    """The processes in which tests run are forks of one that has imported TensorFlow.

    With KVAE_TESTS_FORK=0 in the environment each imports it for itself.
    """
    here = os.environ.get("KVAE_TESTS_FORK") != "0" and all(
        spec.popen and not (spec.python or spec.via) for spec in specs
    )
    if not here or not hasattr(socket, "send_fds"):
        return
    os.environ[_ADDRESS] = address = _SERVER.enter_context(_fork_server())
    python = shlex.join([sys.executable, "-I", "-S", fork_server.__file__, address])
    for place, spec in enumerate(specs):
        specs[place] = type(spec)(f"{spec}//python={python}{fork_server.TESTS}")
        specs[place].id = spec.id


def pytest_unconfigure():
    _SERVER.close()


@pytest.fixture(scope="session")
def run_forked(tmp_path_factory):
    """As `run_python`, in the fork of a process that has imported Keras and used nothing of it.

    For programs that import nothing else than they would in a new interpreter: six seconds less.
    """

    def run(code, *arguments, check=True, timeout=300):
        folder = tmp_path_factory.mktemp("forked")
        written = [folder / "stdout", folder / "stderr"]
        program = {
            "code": code,
            "arguments": list(map(str, arguments)),
            "environment": _environment(),
            "folder": os.getcwd(),
        }
        with open(os.devnull, "rb") as none, open(written[0], "wb") as out:
            with open(written[1], "wb") as error:
                files = [file.fileno() for file in (none, out, error)]
                status, seconds = fork_server.ask(address, program, files, timeout)
        _forked[0] += seconds
        texts = [path.read_text("utf-8", errors="replace") for path in written]
        return _checked(subprocess.CompletedProcess(code, status, *texts), check)

    with contextlib.ExitStack() as stack:
        address = os.environ.get(_ADDRESS) or stack.enter_context(_fork_server())
        yield run


@pytest.fixture
def heeded():
    """SIGINT has Python's own handler, though shells let background processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def eagerly():
    """Nothing is traced, which costs more than the few numbers that a test asks of a model."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@dataclasses.dataclass
class LinearGaussian:
    """`p(z) = N(0, I)`, `p(x|z) = N(W z + b, s² I)`, with orthogonal columns of W.

    Then `p(x) = N(b, W Wᵀ + s² I)`, and the posterior `N(A (x - b), diag(variance))` is diagonal.
    """

    w: np.ndarray
    b: np.ndarray
    s: float
    variance: np.ndarray

    @property
    def a(self):
        return (self.w / self.s**2 * self.variance).T

    def draw(self, n, seed):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, self.w.shape[1]))
        x = z @ self.w.T + self.b + self.s * rng.normal(size=(n, len(self.b)))
        return x.astype("float32")

    def log_prob(self, x):
        import scipy.stats

        cov = self.w @ self.w.T + self.s**2 * np.eye(len(self.b))
        return scipy.stats.multivariate_normal(self.b, cov).logpdf(np.asarray(x, np.float64))

    def vae(self, shift=0.0, widen=0.0, **parts):
        """A VAE with this decoder; the posterior is exact, or moved by `shift` and `widen`."""
        import keras
        from keras import layers
        from keras.initializers import Constant

        import kvae

        d, latent_dim = self.w.shape
        x = keras.Input((d,))
        mean = layers.Dense(
            latent_dim,
            kernel_initializer=Constant(self.a.T),
            bias_initializer=Constant(shift - self.a @ self.b),
            name="mean",
        )(x)
        log_var = layers.Dense(
            latent_dim,
            kernel_initializer="zeros",
            bias_initializer=Constant(np.log(self.variance) + widen),
            name="log_var",
        )(x)
        z = keras.Input((latent_dim,))
        outputs = layers.Dense(
            d, kernel_initializer=Constant(self.w.T), bias_initializer=Constant(self.b), name="w"
        )(z)
        return kvae.VAE(
            keras.Model(x, {"z_mean": mean, "z_log_var": log_var}),
            keras.Model(z, outputs),
            latent_dim=latent_dim,
            likelihood=kvae.likelihoods.Gaussian(scale=self.s),
            **parts,
        )


@pytest.fixture(scope="session")
def linear_gaussian():
    rng = np.random.default_rng(5)
    orthogonal = np.linalg.qr(rng.normal(size=(6, 2)))[0]
    w, s = orthogonal * [1.5, 0.7], 0.6
    variance = 1 / (1 + np.sum(w**2, axis=0) / s**2)
    return LinearGaussian(w, rng.normal(size=6), s, variance)


@pytest.fixture(scope="session")
def check_confined():
    """Checks that a pod of Kubernetes has what the Pod Security Standard `restricted` asks for.

    And a root file system that cannot be written, bounds of what it may take, and an image by its
    release or digest.
    """

    def check(pod):
        user = pod["securityContext"]
        assert user["runAsNonRoot"] is True and min(user["runAsUser"], user["runAsGroup"]) > 0
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "persistentVolumeClaim"}
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and "privileged" not in own
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][kind])
            image, _, tag = container["image"].rpartition(":")
            assert image and tag and not tag.startswith("latest")

    return check


@pytest.fixture
def remembered_runtimes(monkeypatch):
    """Lets runtimes answer from memory when they are asked the same of the same file again.

    For tests of what is done with the answers. Each process takes a second or two to start.
    """
    from export.runtimes import child

    request, known = child.request, {}

    def remembered(module, path, calls, timeout):
        digest = hashlib.sha256(module.encode())
        path = pathlib.Path(path)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            digest.update(file.read_bytes() if file.is_file() else b"")
        for call in calls:
            digest.update(call.signature.encode())
            for name, array in call.inputs.items():
                digest.update(repr((name, array.dtype, array.shape)).encode() + array.tobytes())
        key = digest.digest()
        if key not in known:
            known[key] = request(module, path, calls, timeout)
        return known[key]

    monkeypatch.setattr(child, "request", remembered)
    return known


@pytest.fixture(scope="module")
def calibration_in_this_process():
    """Converts to int8 in this process, which has imported TensorFlow already."""
    from export.runtimes import child
    from export.writers.tflite import converter

    request = child.request

    def here(module, path, calls, timeout):
        if module != "export.writers.tflite.converter":
            return request(module, path, calls, timeout)
        results = []
        for call in calls:
            samples = dict(call.inputs)
            name = str(samples.pop("signature"))
            data = converter.convert(path, call.signature, name, samples)
            results.append(child.Result({"file": np.frombuffer(data, np.uint8)}))
        return child.Answer(results, {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "request", here)
        yield
