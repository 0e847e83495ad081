"""Numbers that the makers of published checkpoints document, each with the place where they do.

None was measured or guessed here. What is not listed could not be found: the README of Long-CLIP prints nothing (the
probabilities that it printed until June 2024 are older than the checkpoints published now), the README of E5-V prints
its matrix without showing it, and Google shows no numbers for the SigLIP 2 checkpoints of one resolution. For these
there is ``record``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weights.pictures import circles, seen_by_openai_clip
from weights.scoring import Form


@dataclass(frozen=True)
class Case:
    """One documented set of numbers.

    Attributes:
        checkpoint: its hub id.
        source: repository, file and place in it.
        texts: what was compared.
        numbers: one row for each picture, one number for each text.
        form: what the numbers are.
        atol: largest difference that is accepted, and why so much where it is not what the source itself accepts.
        picture: key of ``pictures.PUBLISHED``; empty if the pictures are drawn.
        prepare: makes the picture that the encoder gets of the file; None to give it the file.
        draw: draws the pictures, in the order of the rows.
        factor: what cosines are multiplied with, if it is not the checkpoint's own.
        log_scale_if_absent: logarithm of the factor of checkpoints that have none.
        prefix: what ``load_encoder`` needs before the hub id, to tell the family.
    """

    checkpoint: str
    source: str
    texts: tuple[str, ...]
    numbers: tuple[tuple[float, ...], ...]
    form: Form
    atol: float
    picture: str = ""
    prepare: Callable[[Path], Any] | None = None
    draw: Callable[[], Mapping[str, Any]] | None = None
    factor: float | None = None
    log_scale_if_absent: float | None = None
    prefix: str = ""

    @property
    def id(self) -> str:
        """The readable id of the test."""
        return f"{self.prefix}{self.checkpoint}-{self.picture or 'drawn'}-{self.form}"


_TRANSFORMERS = "huggingface/transformers, tests/models"
_NAFLEX_TEXTS = (
    "circle",
    "ellipsoid",
    "blue circle on red background",
    "blue circle with green border on red background",
    "green circle on red background",
    "a dog",
    "a blue dog with a green border on a red background",
)
_NAFLEX = "huggingface/transformers, src/transformers/models/siglip2/convert_siglip2_to_hf.py, EXPECTED_OUTPUTS"

CASES = (
    Case(
        "openai/clip-vit-base-patch32",
        "openai/CLIP, README.md, Usage: ViT-B/32 on CLIP.png",
        ("a diagram", "a dog", "a cat"),
        ((0.9927937, 0.00421068, 0.00299572),),
        "softmax",
        # The source's own test of consistency accepts 0.01; the printed ones may have been computed in float16.
        atol=1e-3,
        picture="CLIP.png",
        prepare=seen_by_openai_clip,
    ),
    Case(
        "openai/clip-vit-base-patch32",
        f"{_TRANSFORMERS}/clip/test_modeling_clip.py, CLIPModelIntegrationTest.test_inference",
        ("a photo of a cat", "a photo of a dog"),
        ((24.5701, 19.3049),),
        "logits",
        # The source's 1e-3 + 1e-3 * 24.57.
        atol=0.0256,
        picture="000000039769.jpg",
    ),
    Case(
        "google/siglip-base-patch16-224",
        f"{_TRANSFORMERS}/siglip/test_modeling_siglip.py, SiglipModelIntegrationTest.test_inference",
        ("a photo of 2 cats", "a photo of 2 dogs"),
        ((-0.7567, -10.3354),),
        "logits",
        # The source's 1e-3 + 1e-3 * 10.3354.
        atol=0.0114,
        picture="000000039769.jpg",
    ),
    Case(
        "google/siglip-base-patch16-224",
        f"{_TRANSFORMERS}/siglip/test_modeling_siglip.py, SiglipModelIntegrationTest.test_inference",
        ("a photo of 2 cats", "a photo of 2 dogs"),
        ((3.1937e-01, 3.2463e-05),),
        "sigmoid",
        atol=1.32e-3,
        picture="000000039769.jpg",
    ),
    Case(
        "google/siglip2-base-patch16-naflex",
        _NAFLEX,
        _NAFLEX_TEXTS,
        (
            (1.0195, -4.5395, 4.1757, 9.4264, 2.4409, -12.3230, 1.1520),
            (-0.0280, -6.2269, 5.0358, 10.1879, 3.1058, -13.7355, 1.1687),
            (-1.4468, -1.5667, 3.5159, 6.3353, 4.5491, -13.4632, -1.9647),
        ),
        "logits",
        # The source accepts 1e-3 + 1e-3 * 13.7; more, because Pillow's circles differ by pixels between versions.
        atol=0.05,
        draw=circles,
    ),
    Case(
        "google/siglip2-so400m-patch16-naflex",
        _NAFLEX,
        _NAFLEX_TEXTS,
        (
            (0.9422, -7.3522, 5.7852, 9.9881, 5.3660, -12.7218, 0.6384),
            (0.5540, -9.4931, 6.7288, 10.8136, 5.7746, -14.2631, 0.4278),
            (-2.4405, -6.3499, 7.7893, 9.2121, 8.4130, -13.6442, -0.9022),
        ),
        "logits",
        atol=0.05,
        draw=circles,
    ),
    Case(
        "Salesforce/blip-itm-base-coco",
        f"{_TRANSFORMERS}/blip/test_modeling_blip.py, BlipModelIntegrationTest.test_inference_itm, use_itm_head=False",
        ("A woman and her dog sitting in a beach",),
        ((0.5053,),),
        "cosine",
        # The source's 1e-3 + 1e-3 * 0.5053.
        atol=1.51e-3,
        picture="blip-test-image.jpg",
    ),
    Case(
        "Salesforce/blip-itm-base-coco",
        "salesforce/BLIP, demo.ipynb, Image-Text Matching: model_base_retrieval_coco.pth, match_head='itc'",
        ("a woman sitting on the beach with a dog",),
        ((0.5262,),),
        "cosine",
        # Printed with four digits, of a picture resized by torchvision of 2022.
        atol=5e-3,
        picture="blip-demo.jpg",
    ),
    Case(
        "Salesforce/blip-itm-large-coco",
        "salesforce/LAVIS, examples/blip_image_text_matching.ipynb: blip_image_text_matching, large, match_head='itc'",
        ("merlion in singapore",),
        ((0.4474,),),
        "cosine",
        atol=5e-3,
        picture="merlion.png",
    ),
    Case(
        "clip-italian/clip-italian",
        f"{_TRANSFORMERS}/vision_text_dual_encoder/test_modeling_vision_text_dual_encoder.py, "
        "VisionTextDualEncoderIntegrationTest.test_inference, with logit_scale_init_value=1.0",
        ("una foto di un gatto", "una foto di un cane"),
        ((1.2284727, 0.3104122),),
        "logits",
        atol=1e-3,
        picture="000000039769.png",
        log_scale_if_absent=1.0,
    ),
    Case(
        "sentence-transformers/clip-ViT-B-32",
        "UKPLab/sentence-transformers, tests/test_image_embeddings.py, test_simple_encode",
        ("Two dogs in the snow", "A cat on a table", "A picture of London at night"),
        ((0.3069, 0.1010, 0.1086),),
        "cosine",
        atol=0.01,
        picture="two_dogs_in_snow.jpg",
    ),
    *(
        Case(
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            "mlfoundations/open_clip, README.md, Usage: ViT-B-32, laion2b_s34b_b79k, on docs/CLIP.png; 100 * cosine",
            ("a diagram", "a dog", "a cat"),
            ((1.0, 0.0, 0.0),),
            "softmax",
            # Printed as [[1., 0., 0.]].
            atol=5e-3,
            picture="CLIP.png",
            prepare=seen_by_openai_clip,
            factor=100.0,
            prefix=prefix,
        )
        for prefix in ("", "hf-hub:")  # by transformers, and by open_clip
    ),
)
