from . import (
    adversarial as adversarial,
)
from . import (
    lora as lora,
)
from . import (
    losses as losses,
)
from . import (
    method as method,
)
from . import (
    methods as methods,
)
from . import (
    states as states,
)
from . import (
    targets as targets,
)
from . import (
    timesteps as timesteps,
)
from .method import Method as Method
from .method import Mix as Mix
