from . import (
    adversarial as adversarial,
    losses as losses,
    method as method,
    methods as methods,
    states as states,
    targets as targets,
    timesteps as timesteps,
)
from .method import Method as Method, Mix as Mix
from .methods import METHODS as METHODS, get_method as get_method
