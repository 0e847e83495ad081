"""The tiny CLIP and dual encoder of ``tiny_models``, with weights in which every parameter matters."""

from __future__ import annotations

from pathlib import Path

from tiny_checkpoints.blip import write_bert_tokenizer, write_json
from tiny_checkpoints.weights import randomize
from tiny_models import DIMENSION, IMAGE_SIZE, save_tiny_clip, save_tiny_dual_encoder


def save_random_clip(folder: Path, seed: int = 0) -> Path:
    """Write a CLIPModel and return its folder."""
    return _randomized("CLIPModel", save_tiny_clip(folder), seed)


def save_random_dual_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a ViT beside a BERT and return its folder."""
    return _randomized("VisionTextDualEncoderModel", save_tiny_dual_encoder(folder), seed)


def save_random_clip_and_bert(folder: Path, seed: int = 0) -> Path:
    """Write CLIP's image tower beside a BERT, as clip-italian is, and return its folder."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    size = write_bert_tokenizer(folder)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.CLIPVisionConfig(**tower, image_size=IMAGE_SIZE, patch_size=8),
        transformers.BertConfig(**tower, vocab_size=size, max_position_embeddings=64),
        projection_dim=DIMENSION,
    )
    model = transformers.VisionTextDualEncoderModel(config=config)
    randomize(model, seed)
    model.save_pretrained(folder)
    settings = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    size_of = {"size": {"shortest_edge": IMAGE_SIZE}, "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}}
    kind = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": True, "resample": 3}
    write_json(folder / "preprocessor_config.json", {**kind, **size_of, **settings})
    return folder


def _randomized(class_name: str, folder: Path, seed: int) -> Path:
    import transformers

    model = getattr(transformers, class_name).from_pretrained(folder)
    randomize(model, seed)
    model.save_pretrained(folder)
    return folder
