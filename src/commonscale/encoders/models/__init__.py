"""One file for each kind of model that runs here, on transformers or another library."""
