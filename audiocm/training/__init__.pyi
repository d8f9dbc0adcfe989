from . import (
    checkpoint as checkpoint,
    compile as compile,
    graphed_step as graphed_step,
    memory as memory,
    meters as meters,
    optimizer as optimizer,
    recipe as recipe,
    run as run,
    sharding as sharding,
    step as step,
    trainer as trainer,
    trees as trees,
)
from .run import Run as Run
from .trainer import train as train
