"""The gap between modalities in numbers, pictures and words.

    diagnosis = diagnose(Material.of_benchmark(Benchmark.load("mine.npz")))
    for sentence in verdict(diagnosis): ...
    write_diagnoses([diagnosis], "out")     # out/diagnosis.json, out/report.html and figures

Figures and pages need the extra ``report``, and benchmarks with labels ``cli``.
"""

from commonscale.diagnostics.as_json import as_json
from commonscale.diagnostics.diagnose import diagnose
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.material import Material
from commonscale.diagnostics.page import build_report
from commonscale.diagnostics.terminal import print_diagnosis
from commonscale.diagnostics.words import verdict
from commonscale.diagnostics.writing import write_diagnoses

__all__ = [
    "Diagnosis",
    "Material",
    "as_json",
    "build_report",
    "diagnose",
    "print_diagnosis",
    "verdict",
    "write_diagnoses",
]
