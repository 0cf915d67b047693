# Written by `make stubs` from what the package registers.

from kvae.conditions.categorical import Categorical as Categorical
from kvae.conditions.condition import REGISTER as REGISTER
from kvae.conditions.condition import Condition as Condition
from kvae.conditions.condition import get as get
from kvae.conditions.condition import names as names
from kvae.conditions.condition import register as register
from kvae.conditions.conditions import Conditions as Conditions
from kvae.conditions.conditions import of_model as of_model
from kvae.conditions.multi_label import MultiLabel as MultiLabel
from kvae.conditions.periodic import Periodic as Periodic
from kvae.conditions.real import Real as Real
