from . import (
    augmentation as augmentation,
    io as io,
    loudness as loudness,
    pitch as pitch,
    spectral as spectral,
    timbre as timbre,
)
