"""Exact event-driven simulation of spiking neural networks."""
