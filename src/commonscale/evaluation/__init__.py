"""Benchmarks of embeddings, the methods they compare, metrics, and comparisons with intervals."""

from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.bootstrap import Interval
from commonscale.evaluation.compare import Comparison, compare, compare_files, write_comparisons
from commonscale.evaluation.comparison_table import print_comparisons
from commonscale.evaluation.evaluate import (
    QuestionValues,
    Results,
    Scores,
    evaluate_benchmark,
    evaluate_files,
    evaluate_questions,
    means_of,
    score_files,
    score_methods,
    write_results,
)
from commonscale.evaluation.methods import METHODS, Method
from commonscale.evaluation.metrics import METRICS, per_question
from commonscale.evaluation.pairs import Pairs
from commonscale.evaluation.table import print_table

__all__ = [
    "METHODS",
    "METRICS",
    "Benchmark",
    "Comparison",
    "Interval",
    "Method",
    "Pairs",
    "QuestionValues",
    "Results",
    "Scores",
    "compare",
    "compare_files",
    "evaluate_benchmark",
    "evaluate_files",
    "evaluate_questions",
    "means_of",
    "per_question",
    "print_comparisons",
    "print_table",
    "score_files",
    "score_methods",
    "write_comparisons",
    "write_results",
]
