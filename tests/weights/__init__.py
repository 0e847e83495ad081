"""Published checkpoints against what their makers say that they give.

Marked ``weights``. Nothing is downloaded but pictures: a checkpoint that is not in the local Hugging Face cache skips
its tests, and the reason says how to get it.

``documented`` is a table of numbers that the original implementations print in their documents or assert in their own
tests, each with its source. ``originals`` computes vectors by the original implementations, ``record`` writes them to
``recorded/``, and ``test_recorded`` compares what is there. ``test_harness`` runs all of this on tiny checkpoints, so
that it is known to work where no published weights are.
"""
