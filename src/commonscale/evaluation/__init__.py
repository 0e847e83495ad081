"""Benchmarks of embeddings, the methods they compare, and metrics."""

from commonscale.evaluation.benchmark import Benchmark, Pairs
from commonscale.evaluation.evaluate import (
    QuestionValues,
    Results,
    Scores,
    evaluate_benchmark,
    evaluate_files,
    evaluate_questions,
    write_results,
)
from commonscale.evaluation.methods import METHODS, Method
from commonscale.evaluation.metrics import METRICS, per_question
from commonscale.evaluation.table import print_table

__all__ = [
    "METHODS",
    "METRICS",
    "Benchmark",
    "Method",
    "Pairs",
    "QuestionValues",
    "Results",
    "Scores",
    "evaluate_benchmark",
    "evaluate_files",
    "evaluate_questions",
    "per_question",
    "print_table",
    "write_results",
]
