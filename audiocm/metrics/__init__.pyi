from . import (
    classification as classification,
)
from . import (
    frechet as frechet,
)
from . import (
    kernel as kernel,
)
from . import (
    score as score,
)
from . import (
    signal as signal,
)
from . import (
    similarity as similarity,
)
from . import (
    speech as speech,
)
from .classification import inception_score as inception_score
from .classification import kl_divergences as kl_divergences
from .classification import top_k_hits as top_k_hits
from .frechet import (
    Projection as Projection,
)
from .frechet import (
    RunningMoments as RunningMoments,
)
from .frechet import (
    frechet_contributions as frechet_contributions,
)
from .frechet import (
    frechet_distance as frechet_distance,
)
from .frechet import (
    frechet_infinity as frechet_infinity,
)
from .frechet import (
    frechet_infinity_score as frechet_infinity_score,
)
from .frechet import (
    frechet_score as frechet_score,
)
from .kernel import (
    density_coverage as density_coverage,
)
from .kernel import (
    kernel_distance as kernel_distance,
)
from .kernel import (
    kernel_score as kernel_score,
)
from .kernel import (
    median_bandwidth as median_bandwidth,
)
from .kernel import (
    precision_recall as precision_recall,
)
from .score import (
    Score as Score,
)
from .score import (
    mean_score as mean_score,
)
from .score import (
    paired_difference as paired_difference,
)
from .score import (
    set_difference as set_difference,
)
from .similarity import (
    cosine_similarities as cosine_similarities,
)
from .similarity import (
    retrieval as retrieval,
)
from .similarity import (
    retrieval_ranks as retrieval_ranks,
)
from .similarity import (
    seed_diversity as seed_diversity,
)
from .similarity import (
    set_diversity as set_diversity,
)
