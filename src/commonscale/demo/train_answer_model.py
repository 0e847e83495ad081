"""The untrained answerer: a LLaVA whose vision tower has learned to see in the demo's encoder."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from commonscale.demo.corpus import ENCODER_FOLDER
from commonscale.demo.train_answer_tokenizer import END, PAD, PICTURE, SPECIAL, START, TOKENS

WORD_NORM = 0.45
"""Length of the word vectors at the beginning."""

FLOOR = 1e-4
"""Directions whose variance is below this share of the largest one count less."""

if TYPE_CHECKING:
    from commonscale.demo.train_answerer import Settings


def build_model(settings: Settings, vocabulary: dict[str, int]) -> Any:
    """Make the ``LlavaForConditionalGeneration`` before training.

    Its vision tower is the first layers of the demo encoder's; and its words are where the encoder has them;
    everything else is random.

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
    _name_words(model, vocabulary)
    return model


def see_evenly(model: Any, pictures: npt.NDArray[np.uint8]) -> None:
    """Begin with a projector that gives each direction of what the tower sees the same weight, as small as words are.

    The background fills most of the tower's features, and they are a hundred times as long as word vectors: behind a
    random projector the decoder would see little else, and could add nothing to it.

    Args:
        model: changed in place.
        pictures: pixels of some scenes, shape (scenes, side, side, 3).
    """
    import torch

    with torch.no_grad():
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        seen = states[model.config.vision_feature_layer][:, 1:].flatten(0, 1).double()
        mean, covariance = seen.mean(dim=0), torch.cov(seen.T)
        strengths, directions = torch.linalg.eigh(covariance)
        whitening = (directions / (strengths + FLOOR * strengths.max()).sqrt()) @ directions.T
        projector = model.model.multi_modal_projector
        rows = min(whitening.shape[0], projector.linear_1.weight.shape[0])
        projector.linear_1.weight[:rows] = whitening[:rows].float()
        projector.linear_1.bias[:rows] = -(whitening @ mean)[:rows].float()
        projector.linear_2.weight.normal_(std=WORD_NORM / projector.linear_2.weight.shape[1])


def _name_words(model: Any, vocabulary: dict[str, int]) -> None:
    """Begin with word vectors in which words of one meaning lie close: the encoder's, less their mean."""
    import torch

    from commonscale.encoders import load_encoder

    words = [word for word in vocabulary if word not in SPECIAL]
    vectors = torch.from_numpy(load_encoder(str(ENCODER_FOLDER)).encode_texts(words))
    vectors = torch.nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)
    table = model.get_input_embeddings().weight
    width = min(table.shape[1], vectors.shape[1])
    with torch.no_grad():
        table[[vocabulary[word] for word in words], :width] = WORD_NORM * vectors[:, :width]


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
