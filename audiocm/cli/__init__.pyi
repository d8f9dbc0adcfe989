from . import (
    distill as distill,
    export as export,
    generate as generate,
    graphs as graphs,
    loading as loading,
    main as main,
    output as output,
    score as score,
    serve as serve,
    speak as speak,
    train as train,
)
