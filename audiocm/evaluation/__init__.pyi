from .preprocessing import Preprocessing as Preprocessing
from .result import Comparison as Comparison, ScoreResult as ScoreResult
from .scoring import compare as compare, score as score
from .session import ScoreRequest as ScoreRequest
