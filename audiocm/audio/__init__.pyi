from . import io as io
from . import loudness as loudness
from . import pitch as pitch
from . import spectral as spectral
