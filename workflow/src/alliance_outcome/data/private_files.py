"""Row-level files stay private: their folder is closed to others, and so is the key that links pseudonyms to people."""

from __future__ import annotations

from pathlib import Path

PRIVATE_DIRECTORY = 0o700


def private_directory(path: Path) -> Path:
    """Create a folder that only its owner can open, or close one that exists.

    Parameters
    ----------
    path : Path
        ``results/<study>/data``.

    Returns
    -------
    Path
        The folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(PRIVATE_DIRECTORY)
    return path
