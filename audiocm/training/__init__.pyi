from . import (
    checkpoint as checkpoint,
    compile as compile,
    memory as memory,
    meters as meters,
    optimizer as optimizer,
    recipe as recipe,
    run as run,
    sharding as sharding,
    trainer as trainer,
)
from .run import Run as Run
from .trainer import train as train
