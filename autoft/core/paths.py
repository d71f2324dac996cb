"""Paths as a person types them."""

from pathlib import Path

from autoft.core.errors import ConfigError

_SHOWN = 80


def local_path(text: str | Path) -> Path:
    """Return a path that a person gave as an absolute one, "~" resolved; it need not exist.

    Raises:
        ConfigError: If it is empty or cannot be the name of a file.
    """
    name = str(text)
    if not name:
        raise ConfigError("The path is empty; give a file or folder.")
    if "\0" in name:
        raise ConfigError(f"The path {name!r} cannot be used: it holds a zero byte.")
    try:
        path = Path(name).expanduser().absolute()
        str(path).encode()
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path
    except RuntimeError as error:
        raise ConfigError(f"There is no home folder of the user in '{name}'.") from error
    except UnicodeEncodeError as error:
        shown = name.encode("utf-8", "replace").decode()
        raise ConfigError(f"The name '{shown}' is not UTF-8; rename the file or folder.") from error
    except OSError as error:
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
        raise ConfigError(f"The path '{shown}' cannot be used: {error.strerror}.") from error
    return path
