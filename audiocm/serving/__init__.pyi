from .app import build_app as build_app
from .batching import Worker as Worker
from .formats import Encoder as Encoder, encode as encode
from .guard import Guard as Guard
from .server import Server as Server, open_socket as open_socket, serve as serve
from .service import Limits as Limits, Service as Service
