"""Checks for authors of parts: whether a new posterior keeps what every posterior promises.

Each check takes a part, asks it for everything that a model may ask, and raises an `AssertionError`
that says which promise is broken. The library's own parts pass them too.

```python
import kvae.testing

def test_my_prior():
    kvae.testing.check_prior(MyPrior(num_components=3))
```

They know nothing of the formula: a test of yours against a closed form or another implementation
belongs beside them.
"""

from kvae.testing.flows import check_flow
from kvae.testing.likelihoods import check_likelihood
from kvae.testing.objectives import check_objective
from kvae.testing.parts import check_part
from kvae.testing.posteriors import check_posterior
from kvae.testing.priors import check_prior

__all__ = [
    "check_flow",
    "check_likelihood",
    "check_objective",
    "check_part",
    "check_posterior",
    "check_prior",
]
