"""Whole clusters of the real engine in virtual time: seeded faults, invariants, readable failures.

A run is a pure function of its scenario. The world below the engines is modelled where real
split brains come from: an address outlives its process, a switch outlives its agent, an answer
may be lost after the write took effect, and every node has a clock of its own.
"""
