# Written by `make stubs` from what the package registers.

from kvae.samplers.flow import Flow as Flow
from kvae.samplers.gaussian_mixture import GaussianMixture as GaussianMixture
from kvae.samplers.kmeans import KMeans as KMeans
from kvae.samplers.manifold import Manifold as Manifold
from kvae.samplers.pixel_cnn import PixelCNN as PixelCNN
from kvae.samplers.prior import Prior as Prior
from kvae.samplers.sampler import REGISTER as REGISTER
from kvae.samplers.sampler import Sampler as Sampler
from kvae.samplers.sampler import aggregate_codes as aggregate_codes
from kvae.samplers.sampler import get as get
from kvae.samplers.sampler import names as names
from kvae.samplers.sampler import register as register
from kvae.samplers.trained import TrainedSampler as TrainedSampler
from kvae.samplers.two_stage import TwoStage as TwoStage
from kvae.samplers.uniform_sphere import UniformSphere as UniformSphere
