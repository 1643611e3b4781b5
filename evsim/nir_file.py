"""NIR files that nobody vouches for: nothing is read before its declared size has been checked."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

#: Beyond `BOMB_SIZE` bytes, data that pack better than `BOMB_RATIO` are no network.
BOMB_SIZE, BOMB_RATIO = 256 << 20, 200


def read_graph(path: str | os.PathLike[str]) -> Any:
    """The graph in a NIR file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it holds no NIR graph, or declares more data than it can hold.
    """
    import nir

    path = Path(path)
    with path.open("rb"):  # an absent file says so in its own words
        pass
    try:
        _check_size(path)
        with warnings.catch_warnings():  # what is wrong is said in one line, or refused later
            warnings.simplefilter("ignore")
            return nir.read(path)
    except Exception as error:  # h5py and nir raise anything for a broken file
        words = str(error) or type(error).__name__
        raise ValueError(f"{path} is not a NIR graph: {words}") from error


def _check_size(path: Path) -> None:
    """Refuse datasets that would unpack to much more than the file holds."""
    import h5py

    with h5py.File(path, "r") as file:
        sizes: list[int] = []

        def add(_name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                sizes.append(item.size * item.dtype.itemsize if item.size else 0)

        file.visititems(add)
        held, total = path.stat().st_size, sum(sizes)
        if total > max(BOMB_SIZE, BOMB_RATIO * held):
            raise ValueError(f"its {held} bytes would unpack to {total}")
