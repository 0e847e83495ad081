"""The untrained answerer: a LLaVA whose vision tower has learned to see in the demo's encoder."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonscale.demo.corpus import ENCODER_FOLDER
from commonscale.demo.train_answer_tokenizer import END, PAD, PICTURE, START, TOKENS

if TYPE_CHECKING:
    from commonscale.demo.train_answerer import Settings


def build_model(settings: Settings, vocabulary: dict[str, int]) -> Any:
    """Make the ``LlavaForConditionalGeneration`` before training.

    Its vision tower is the first layers of the demo encoder's; everything else is random.

    Args:
        settings: sizes.
        vocabulary: the tokenizer's.
    """
    from transformers import CLIPModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    encoder: Any = CLIPModel.from_pretrained(ENCODER_FOLDER, dtype="float32")
    seeing = copy.deepcopy(encoder.config.vision_config)
    seeing.num_hidden_layers = settings.vision_layers
    reading = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=settings.width,
        intermediate_size=settings.inner,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=TOKENS,
        tie_word_embeddings=True,
        bos_token_id=vocabulary[START],
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[PAD],
    )
    config = LlavaConfig(
        vision_config=seeing.to_dict(),
        text_config=reading.to_dict(),
        image_token_index=vocabulary[PICTURE],
        image_seq_length=(seeing.image_size // seeing.patch_size) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    # A block mask and bfloat16 are slow in torch's fused attention on a CPU.
    model: Any = LlavaForConditionalGeneration(config)
    model.set_attn_implementation("eager")
    learned = encoder.vision_model.state_dict()
    tower = model.model.vision_tower
    # Some versions of transformers have one more layer of names in CLIPVisionModel.
    names = tower.state_dict()
    tower.load_state_dict({name: learned[name.removeprefix("vision_model.")] for name in names})
    return model


def save(model: Any, out: Path) -> None:
    """Save the weights in half precision, which halves the file, and leave the model as it is.

    The names of the weights are those of the published LLaVA checkpoints, which every version of transformers reads.
    """
    from safetensors.torch import load_file, save_file

    copy.deepcopy(model).half().save_pretrained(out)
    file = out / "model.safetensors"
    weights = {
        re.sub(r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", name): weight
        for name, weight in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)
