from . import (
    checkpoint as checkpoint,
    compile as compile,
    meters as meters,
    optimizer as optimizer,
    recipe as recipe,
    run as run,
    trainer as trainer,
)
from .run import Run as Run
from .trainer import train as train
