"""Verification of spiking-network implementations against ground truth."""
