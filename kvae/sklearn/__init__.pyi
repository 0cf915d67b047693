from .classifier import VAEClassifier as VAEClassifier
from .density import VAEDensity as VAEDensity
from .imputer import VAEImputer as VAEImputer
from .outlier_detector import VAEOutlierDetector as VAEOutlierDetector
from .transformer import VAETransformer as VAETransformer
