"""Every model of the zoo, exported and run outside Python: `make verify-zoo`, or one of them."""

import numpy as np
import pytest

import export
import zoo
from export.runtimes.register import RUNTIMES
from export.signatures import SIGNATURES, left_out
from export.verification import verify

QUICK = "dense_vae.digits"
MODELS = zoo.list_models(untrained=True)


def loaded(name):
    card = zoo.card(name)
    return zoo.load(name) if card.trained else zoo.build(card.architecture, **card.arguments)


def check(name, folder, signatures=None, **options):
    vae = loaded(name)
    path = export.saved_model(vae, folder / name, signatures=signatures)
    report = export.verify(path, vae, **options)
    assert report.ok, str(report)
    wanted = set(SIGNATURES) - set(left_out(vae))
    wanted &= {"serving_default", *(signatures or wanted)}
    sizes = set(options.get("batch_sizes", (1, 7, 64)))
    for signature in wanted:
        rows = [row for row in report.rows if row.signature == signature]
        compared = {row.batch for row in rows if row.max_abs_error is not None}
        assert compared >= sizes
        assert sum(row.output == "(warm-up)" for row in rows) == 2
    assert {row.signature for row in report.rows} == wanted
    seconds = [row for row in report.rows if row.runtime.startswith("OpenVINO")]
    assert bool(seconds) == RUNTIMES["openvino"].installed()
    return report


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_exported_and_verified(name, tmp_path):
    report = check(name, tmp_path)
    errors = [row for row in report.rows if row.max_abs_error is not None]
    worst = max(errors, key=lambda row: row.max_abs_error / row.scale)
    assert worst.max_abs_error / worst.scale <= 1e-5
    print(
        f"\n{name}: {len(report.rows)} comparisons, at most "
        f"{worst.max_abs_error / worst.scale:.1e} ({worst.signature}, {worst.output}, "
        f"{worst.runtime})"
    )


# By default `test_saved_model.py` verifies small models, with the same comparisons.
@pytest.mark.slow
def test_a_model_of_the_zoo_is_exported_and_verified(tmp_path):
    report = check(QUICK, tmp_path, ["generate", "reconstruct"], batch_sizes=(1, 7))
    assert np.max([row.max_abs_error or 0.0 for row in report.rows]) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense_vae.mnist", "conv_vae.frey_faces"])
def test_a_wrong_effective_sample_size_is_noticed(name, tmp_path, monkeypatch):
    vae, request, factor = zoo.load(name), verify.child.request, np.float32(0.9)
    path = export.saved_model(vae, tmp_path / "model", signatures=["score"])
    assert export.verify(path, vae, batch_sizes=(4,)).ok

    def altered(*arguments):
        answer = request(*arguments)
        for result in answer.results:
            if "effective_sample_size" in result.outputs:
                result.outputs["effective_sample_size"] *= factor
        return answer

    monkeypatch.setattr(verify.child, "request", altered)
    report = export.verify(path, vae, batch_sizes=(4,))
    wrong = {row.output for row in report.rows if not row.ok}
    assert wrong == {"effective_sample_size"}, str(report)
