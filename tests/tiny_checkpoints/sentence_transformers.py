"""Tiny models of Sentence Transformers, in the layouts of published ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tiny_models import save_tiny_clip

TEXT_TOKENS = 20
"""Limit of the tiny text model's tokenizer."""


def save_tiny_st_clip(folder: Path | str, seed: int = 0) -> Path:
    """Write a multimodal model as the library saves it today: one Transformer module, in the folder itself."""
    from sentence_transformers import SentenceTransformer

    folder = Path(folder)
    source = save_tiny_clip(folder.with_name(f"{folder.name}-source"), seed)
    SentenceTransformer(str(source), device="cpu", local_files_only=True).save_pretrained(str(folder))
    return folder


def save_tiny_st_clip_as_published(folder: Path | str, seed: int = 0) -> Path:
    """Write the layout of sentence-transformers/clip-ViT-B-32: a module CLIPModel in a folder of its own."""
    folder = Path(folder)
    save_tiny_clip(folder / "0_CLIPModel", seed)
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    _write_json(folder / "modules.json", [module])
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.7.0", "pytorch": "1.9.0+cu102"}
    _write_json(folder / "config_sentence_transformers.json", {"__version__": versions})
    return folder


def save_tiny_st_text(folder: Path | str, seed: int = 0) -> Path:
    """Write a text model with prompts: a BERT, its mean, a dense layer to 16 dimensions, norm one."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel

    from tiny_checkpoints.weights import randomize
    from tiny_models import _write_bert_tokenizer

    folder = Path(folder)
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir(parents=True)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = BertModel(
        BertConfig(**tower, vocab_size=_write_bert_tokenizer(source), max_position_embeddings=64),
        add_pooling_layer=False,
    )
    randomize(model, seed)
    model.save_pretrained(source)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dense = modules.Dense(32, 16, activation_function=torch.nn.Tanh())
    parts = [modules.Transformer(str(source)), modules.Pooling(32, "mean"), dense, modules.Normalize()]
    prompts = {"query": "two dog ", "document": "the "}
    SentenceTransformer(modules=parts, device="cpu", prompts=prompts).save_pretrained(str(folder))
    shutil.rmtree(source)
    return folder


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
