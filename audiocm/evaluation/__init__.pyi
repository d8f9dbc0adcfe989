from .card_scores import write_scores as write_scores
from .preprocessing import Preprocessing as Preprocessing
from .presets import PRESETS as PRESETS, preset_options as preset_options
from .ranking import ranks as ranks, table_of_systems as table_of_systems, write_table as write_table
from .reference import ReferenceStatistics as ReferenceStatistics
from .result import Comparison as Comparison, ScoreResult as ScoreResult
from .scoring import compare as compare, evaluate_systems as evaluate_systems, score as score
from .session import ScoreRequest as ScoreRequest
