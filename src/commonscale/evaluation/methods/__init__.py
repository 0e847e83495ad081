"""Every method that benchmarks compare."""

from commonscale.evaluation.methods.table import METHODS, Method

__all__ = ["METHODS", "Method"]
