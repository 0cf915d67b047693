# Written by `make stubs` from what the package registers.

from kvae.flows.autoregressive import Autoregressive as Autoregressive
from kvae.flows.autoregressive import InverseAutoregressive as InverseAutoregressive
from kvae.flows.autoregressive import MaskedAutoregressive as MaskedAutoregressive
from kvae.flows.autoregressive import RealNVP as RealNVP
from kvae.flows.flow import REGISTER as REGISTER
from kvae.flows.flow import Flow as Flow
from kvae.flows.flow import chain as chain
from kvae.flows.flow import get as get
from kvae.flows.flow import names as names
from kvae.flows.flow import register as register
from kvae.flows.planar import Planar as Planar
from kvae.flows.sylvester import Sylvester as Sylvester
