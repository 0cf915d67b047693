# Written by `make stubs` from what the package registers.

from kvae.fills.fill import REGISTER as REGISTER
from kvae.fills.fill import Fill as Fill
from kvae.fills.fill import get as get
from kvae.fills.fill import names as names
from kvae.fills.fill import register as register
from kvae.fills.learned import Learned as Learned
from kvae.fills.mean import Mean as Mean
from kvae.fills.zero import Zero as Zero
