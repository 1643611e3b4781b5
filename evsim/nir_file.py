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
        If it holds no NIR graph, declares more data than it can hold, or holds links: one that
        leads back would be followed for ever.
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
    """Refuse links, and datasets that would unpack to much more than the file holds."""
    import h5py

    with h5py.File(path, "r") as file:
        sizes: list[int] = []
        _check_links(file)

        def add(name: str, item: Any) -> None:
            if h5py.h5o.get_info(item.id).rc != 1:
                raise ValueError(f"what is called {name!r} is there by another name too")
            if isinstance(item, h5py.Dataset):
                sizes.append(item.size * item.dtype.itemsize if item.size else 0)

        add("/", file["/"])
        file.visititems(add)
        held, total = path.stat().st_size, sum(sizes)
        if total > max(BOMB_SIZE, BOMB_RATIO * held):
            raise ValueError(f"its {held} bytes would unpack to {total}")


def _check_links(file: Any) -> None:
    """Refuse what stands for another place of this file, or of another file."""
    import h5py

    def odd(name: bytes, info: Any) -> bytes | None:
        return None if info.type == h5py.h5l.TYPE_HARD else name

    found = file.id.links.visit(odd, info=True)
    if found is not None:
        raise ValueError(f"{found.decode(errors='replace')!r} is a link, which no NIR file needs")
