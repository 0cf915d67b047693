from .calibration import Calibration as Calibration
from .detector import Detection as Detection
from .detector import Detector as Detector
from .scores import SCORES as SCORES
