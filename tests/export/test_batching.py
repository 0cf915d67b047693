"""Requests that wait at the same time: they run as one, and none is lost or mixed up."""

import concurrent.futures
import contextlib
import json
import threading
import time
import urllib.parse

import numpy as np
import pytest

from benchmarks import load
from export.runtimes import c_api
from export.serving.development import served_model
from export.serving.development.failures import Failure
from export.signatures import Signature, TensorInfo


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Rows:
    """A session that doubles rows, waits for a word in its first run, and refuses 13."""

    def __init__(self):
        self.asked, self.go, self.sizes, self.closed = threading.Event(), threading.Event(), [], 0
        info = TensorInfo("float32", (None, 1))
        scale = {"b": TensorInfo("float32", (None,))}
        self.signatures = {
            "x": Signature({"a": info, **scale}, {"a": info}, ("b",)),
            "free": Signature({"a": info}, {"a": TensorInfo("float32", (None, None))}),
            "sum": Signature({"a": info}, {"a": info}),  # Whose rows are not those of its input.
        }

    def run(self, name, inputs):
        self.asked.set()
        assert self.go.wait(20)
        a = inputs["a"]
        self.sizes.append(len(a))
        if 13 in a:
            raise c_api.SessionError("INVALID_ARGUMENT", "13 is no number.")
        if name == "sum":
            return {"a": a.sum(0, keepdims=True)}
        return {"a": a * 2 * inputs.get("b", np.ones(1, np.float32))[:, None]}

    def close(self):
        self.closed += 1


@pytest.fixture
def waiting(tmp_path, monkeypatch):
    """A model whose only thread is busy with a first request, and a way to ask it for more."""
    monkeypatch.setattr(served_model, "_THREADS", 1)
    with contextlib.ExitStack() as stack:

        def begin(batching=True):
            model = served_model.Model("rows", tmp_path, max_pending=64, batching=batching)
            model.session, model.version = Rows(), 1
            stack.callback(model.close)
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(32))
            stack.callback(model.session.go.set)

            def ask(*values, signature="x", **inputs):
                rows = np.array(values, np.float32)[:, None]
                inputs = {key: np.array(value, np.float32) for key, value in inputs.items()}
                before = len(model._waiting)
                end = time.monotonic() + 20
                future = pool.submit(model.run, signature, {"a": rows, **inputs}, end)
                if model.session.asked.is_set():
                    wait_for(lambda: len(model._waiting) > before)
                return future

            first = ask(1.0)
            assert model.session.asked.wait(20)
            return model, ask, first

        yield begin


def values(future):
    return future.result()[1]["a"].ravel().tolist()


def test_requests_that_wait_run_as_one(waiting):
    model, ask, first = waiting()
    some = [ask(2.0), ask(3.0, 4.0), ask(5.0, 6.0, b=[10]), ask(7.0, b=[10])]
    many, few = ask(*range(100, 163)), ask(8.0)
    others = [ask(1.0, 2.0, signature="free"), ask(5.0, 6.0, signature="sum")]
    others += [ask(7.0, signature="sum")]
    model.session.go.set()
    assert values(first) == [2]
    assert [values(each) for each in some] == [[4], [6, 8], [100, 120], [140]]
    assert values(many) == list(range(200, 326, 2)) and values(few) == [16]
    # What is not row by row is run alone.
    assert [values(each) for each in others] == [[2, 4], [11], [7]]
    # Together: 2, 3, 4 and 8 (not the 63 rows, which would make 67); 5, 6 and 7 with b; then `sum`,
    # which as one gave a single row.
    assert model.session.sizes == [1, 4, 3, 63, 2, 3, 2, 1]


def test_a_wrong_request_among_others_is_refused_alone(waiting):
    model, ask, _ = waiting()
    before, wrong, after = ask(2.0), ask(13.0), ask(3.0)
    model.session.go.set()
    assert (values(before), values(after)) == ([4], [6])
    with pytest.raises(Failure, match="13 is no number") as failure:
        wrong.result()
    assert failure.value.code == "INVALID_ARGUMENT"
    assert model.session.sizes == [1, 3, 1, 1, 1]


def test_without_batching_each_request_runs_alone(waiting):
    model, ask, _ = waiting(batching=False)
    more = [ask(2.0), ask(3.0)]
    model.session.go.set()
    assert [values(each) for each in more] == [[4], [6]] and model.session.sizes == [1, 1, 1]


def test_a_replaced_session_is_closed_by_its_last_run(waiting, monkeypatch):
    model, _, first = waiting()
    old, new = model.session, Rows()
    (model.folder / "2").mkdir()
    monkeypatch.setattr(served_model.c_api, "Session", lambda path: new)
    monkeypatch.setattr("export.files.versions.check", lambda path: None)
    model.refresh()
    assert (model.session, model.version, old.closed) == (new, 2, 0)
    old.go.set()
    assert first.result()[0] == 1
    wait_for(lambda: old.closed)
    assert (old.closed, new.closed) == (1, 0)


def test_threads_of_a_session_have_errors_of_their_own(repository):
    with c_api.Session(repository / "models" / "dense" / "1") as session:

        def ask(number):
            if number % 3:
                return session.run("generate", {"seed": np.array([number])})["z"].tolist()
            with pytest.raises(c_api.SessionError, match="A seed is an integer from 0"):
                session.run("generate", {"seed": np.array([-1 - number])})
            return None

        numbers = list(range(60))
        alone = [ask(number) for number in numbers]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, numbers)) == alone


def test_no_answer_is_lost_or_that_of_another_request(running, images):
    parts = urllib.parse.urlsplit(running[0])
    asked = [
        body
        for number in range(4)
        for body in (
            {"signature_name": "generate", "inputs": {"seed": [number, number + 50]}},
            {"signature_name": "generate", "inputs": {"seed": [number], "temperature": [0.5]}},
            {"signature_name": "score", "inputs": {"image": images[number : number + 1].tolist(),
                                                   "seed": [number]}},
            {"instances": [[number, -number]]},
            {"signature_name": "generate", "inputs": {"seed": [-1 - number]}},
        )
    ]  # fmt: skip
    path = "/v1/models/dense:predict"
    sent = [load.request(parts.netloc, path, json.dumps(body).encode()) for body in asked]
    address = parts.hostname, parts.port
    alone = [next(iter(load.run(address, [one], 1, 0.0).answers)) for one in sent]
    assert [status for _, status, _ in alone] == [200, 200, 200, 200, 400] * 4
    found = load.run(address, sent, clients=16, seconds=0.5)
    assert found.lost == 0 and sum(found.answers.values()) == len(found.latencies) >= 16
    for number, status, body in found.answers:
        one, other = json.loads(body), json.loads(alone[number][2])
        assert status == alone[number][1]
        if status != 200:
            assert one == other
            continue
        (content,), (expected,) = one.values(), other.values()
        # The bits of draws and scores, and images up to the rounding of a batched product.
        if isinstance(content, dict) and "image" in content:
            np.testing.assert_allclose(content.pop("image"), expected.pop("image"), atol=1e-5)
        if number % 5 == 3:
            rows = [[row[0][key] for row in (content, expected)] for key in content[0]]
            assert all(np.allclose(*row, atol=1e-5) for row in rows)
        else:
            assert content == expected
