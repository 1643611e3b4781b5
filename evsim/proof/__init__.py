"""Proofs of spike times: enclosures of every spike, and of every silence between two.

`evsim.proof.certify` holds what users call; `docs/certification.md` the theorem.
"""
