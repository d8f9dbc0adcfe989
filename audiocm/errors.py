"""Failed imports and file errors as one line that says what to do."""

PACKAGES = {  # optional packages that are built for one release of torch -> what to do about one built for another
    "torchaudio": "install the build for this torch, or run `pip uninstall torchaudio` (only scores need it)",
    "torchvision": "run `pip uninstall torchvision` (only the extra laion-clap needs it) or install the build for this torch",
}


def explain_import_error(error: BaseException) -> Exception:
    """Returns a new one-line error that explains `error`, so that `raise explain_import_error(error) from error` is
    safe.

    A torchaudio or torchvision that does not fit the installed torch breaks the model classes of transformers; it is
    recognised anywhere in the chain of causes and gives an ImportError with the remedy. Any other ImportError keeps its
    text. An OSError becomes a ValueError with its file name and reason, anything else a RuntimeError."""
    for cause in _chain(error):
        is_missing = isinstance(cause, ModuleNotFoundError) and cause.name in PACKAGES  # not installed at all
        if is_missing or (isinstance(cause, OSError) and cause.filename):
            continue
        for package, remedy in PACKAGES.items():
            if package in str(cause):
                return ImportError(f"the installed {package} does not fit this torch: {remedy}")
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ImportError):
        return ImportError(text, name=error.name, path=error.path)
    if isinstance(error, OSError):
        reason = error.strerror or text
        return ValueError(f"{error.filename}: {reason}" if error.filename else reason)
    return RuntimeError(text)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Returns `error` and its causes; a chain that closes to a circle ends there."""
    chain: list[BaseException] = []
    while error is not None and all(error is not seen for seen in chain):
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
