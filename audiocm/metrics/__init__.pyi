from . import (
    classification as classification,
    frechet as frechet,
    kernel as kernel,
    moments as moments,
    score as score,
    signal as signal,
    similarity as similarity,
    speech as speech,
)
from .classification import (
    inception_score as inception_score,
    kl_divergences as kl_divergences,
    top_k_hits as top_k_hits,
)
from .frechet import (
    frechet_contributions as frechet_contributions,
    frechet_distance as frechet_distance,
    frechet_infinity as frechet_infinity,
    frechet_infinity_score as frechet_infinity_score,
    frechet_score as frechet_score,
)
from .kernel import (
    Neighbours as Neighbours,
    kernel_distance as kernel_distance,
    kernel_score as kernel_score,
    median_bandwidth as median_bandwidth,
)
from .moments import Projection as Projection, RunningMoments as RunningMoments
from .score import (
    Score as Score,
    mean_score as mean_score,
    paired_difference as paired_difference,
    set_difference as set_difference,
)
from .similarity import (
    cosine_similarities as cosine_similarities,
    retrieval_ranks as retrieval_ranks,
    set_diversity as set_diversity,
)
