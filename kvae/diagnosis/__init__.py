"""What is wrong with a trained model: faults with their evidence, and what to do about them.

- `figures`: what is measured of a model, once for all checks.
- `checks`: one function for each fault.
- `trial`: what a suggestion gains, measured by a short training.
- `diagnose`: all checks in one call; its `Diagnosis` prints and writes.
"""

from kvae.diagnosis.diagnose import Diagnosis, diagnose
from kvae.diagnosis.fault import Fault

__all__ = ["Diagnosis", "Fault", "diagnose"]
