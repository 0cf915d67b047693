"""What the interpreter shows of results is a line with their figures, and no arrays."""

import numpy as np
import pytest

from kvae.detection import Detection
from kvae.evaluation.imputation import Imputation
from kvae.evaluation.marginal_likelihood.log_prob import LogProb
from kvae.tables.conditional import Conditional

MANY = np.linspace(-3.0, 1.0, 4001)
GAPS = np.arange(12).reshape(4, 3) % 4 > 0


@pytest.mark.parametrize(
    ("result", "figures"),
    [
        (LogProb(MANY, 0 * MANY, 0 * MANY + 7, 50, MANY, MANY), ["4001 examples", "-1.000 nats"]),
        (Imputation(np.zeros((4, 3)), GAPS, np.full(4, 5.0), 9), ["3 values", "4 examples; 9"]),
        (Imputation(np.zeros((6, 4, 3)), GAPS, np.full(4, 5.0), 9), ["4 examples, 6 times"]),
        (Detection(MANY, MANY, MANY > 0, 0.5, 0.05), ["1000 of 4001 rows", "about 200 would"]),
        (Conditional(np.zeros((90, 2)), 12.34, -1.5, 1000), ["90 rows", "12.3 latents", "-1.500"]),
    ],
)
def test_a_result_is_shown_in_a_line(result, figures):
    assert repr(result) == str(result)
    assert len(repr(result)) < 200 and "\n" not in repr(result)
    for figure in figures:
        assert figure in repr(result)
