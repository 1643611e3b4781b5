"""Closed forms, oracles and derived gradients; never imports evsim."""
