from . import denoiser as denoiser, editing as editing, guidance as guidance, paths as paths, solvers as solvers
from .denoiser import Condition as Condition, Net as Net, Prediction as Prediction, adapt as adapt
from .guidance import guided_net as guided_net
from .solvers import sample as sample
