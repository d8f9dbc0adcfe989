from . import (
    adapter as adapter,
    audioldm as audioldm,
    bundled as bundled,
    card as card,
    consistencytta as consistencytta,
    denoiser as denoiser,
    graphed as graphed,
    lora as lora,
    schedulers as schedulers,
    stable_audio as stable_audio,
    students as students,
    teacher as teacher,
)
from .adapter import Adapter as Adapter, register_adapter as register_adapter
from .consistencytta import convert_consistencytta as convert_consistencytta
from .denoiser import DenoiserNet as DenoiserNet
from .graphed import GraphedStudent as GraphedStudent
from .lora import add_lora as add_lora, load_lora as load_lora, merge_lora as merge_lora, save_lora as save_lora
from .schedulers import NoiseSchedule as NoiseSchedule, read_scheduler as read_scheduler
from .students import StudentNet as StudentNet, bake as bake, save_student as save_student
from .teacher import Teacher as Teacher, load_teacher as load_teacher
