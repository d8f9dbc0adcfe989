from . import (
    card as card,
    exporting as exporting,
    graphs as graphs,
    one_graph as one_graph,
    onnx_files as onnx_files,
    storage as storage,
)
from .exporting import export_model as export_model
from .graphs import graphs_of as graphs_of
