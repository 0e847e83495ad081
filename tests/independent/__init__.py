"""The published definitions of the encoders in plain NumPy, from the files of a checkpoint.

Nothing here imports torch, transformers or the package: the weights are read from ``model.safetensors``, the numbers
of layers and heads from ``config.json``, and every formula is written out, in float64. Texts come in as token ids and
pictures as normalized pixels; ``tokens`` and ``pictures`` make both from the published rules.
"""
