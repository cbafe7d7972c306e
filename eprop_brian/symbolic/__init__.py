"""Symbolic layer: step maps, their derivatives, gradient programs, and how they are printed."""
