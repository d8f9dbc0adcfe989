from . import (
    generate as generate,
)
from . import (
    loading as loading,
)
from . import (
    main as main,
)
from . import (
    output as output,
)
from . import (
    score as score,
)
from . import (
    speak as speak,
)
from . import (
    train as train,
)
