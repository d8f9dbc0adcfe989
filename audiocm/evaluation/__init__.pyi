from .scoring import compare as compare
from .scoring import score as score
from .session import ScoreRequest as ScoreRequest
