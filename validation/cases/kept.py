"""What training goes on from after an interruption: parameters, optimiser, statistics, epoch."""

from __future__ import annotations

import numpy as np

from validation.evtrace import replacing


def save(place, epoch: int, params, optimizer, gathered) -> None:
    """Everything that training goes on from."""
    arrays = {"epoch": np.array(epoch)} | {f"p/{k}": v for k, v in params.items()}
    arrays |= {f"o/{k}": v for k, v in optimizer.state().items()}
    for k, (mean, var) in enumerate(gathered):
        arrays |= {f"s/{k}/mean": mean, f"s/{k}/var": var}
    with replacing(place) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def restored(place, params, optimizer):
    """Put parameters and optimiser back in place; epoch and statistics."""
    with np.load(place) as file:
        for key in params:
            params[key][...] = file[f"p/{key}"]
        optimizer.load({key[2:]: file[key] for key in file.files if key.startswith("o/")})
        depth = sum(key.endswith("/mean") for key in file.files)
        gathered = [(file[f"s/{k}/mean"], file[f"s/{k}/var"]) for k in range(depth)]
        return int(file["epoch"]), gathered
