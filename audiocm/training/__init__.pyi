from . import (
    checkpoint as checkpoint,
)
from . import (
    compile as compile,
)
from . import (
    optimizer as optimizer,
)
from . import (
    recipe as recipe,
)
from . import (
    run as run,
)
from . import (
    trainer as trainer,
)
from .run import Run as Run
from .trainer import train as train
