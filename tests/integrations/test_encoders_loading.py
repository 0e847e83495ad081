"""load_encoder: which checkpoint is served by what, and every way in which loading can go wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from commonscale.core.errors import EncoderError, ImageError, InvalidInputError, MissingExtraError
from commonscale.encoders import FAMILIES, Family, ImageOptions, load_encoder, resolving
from commonscale.encoders.models.dual import text_limit
from tiny_models import CLIP_TOKENS, save_tiny_clip, save_tiny_dual_encoder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("loading") / "clip")


@pytest.fixture
def copy(clip_folder, tmp_path) -> Path:
    """A copy of the tiny CLIP that a test may damage."""
    return Path(shutil.copytree(clip_folder, tmp_path / "copy"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- names


def test_path_and_string_and_home(clip_folder, monkeypatch):
    expected = load_encoder(clip_folder).fingerprint
    assert load_encoder(str(clip_folder)).fingerprint == expected
    monkeypatch.setenv("HOME", str(clip_folder.parent))
    assert load_encoder("~/clip").fingerprint == expected
    monkeypatch.chdir(clip_folder.parent)
    assert load_encoder("clip").fingerprint == expected


@pytest.mark.parametrize("name", [Path("missing"), "./missing", "/no/such/folder", "a/b/c", "", "C:\\models\\clip"])
def test_no_such_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=r"There is no folder|needs a folder"):
        load_encoder(name)


@pytest.mark.parametrize(
    "name", ["~no-such-user/clip", Path("~no-such-user/clip"), "a" * 5000, "a/" * 2500, "a\0b", Path("a" * 5000)]
)
def test_names_that_no_file_can_have(name):
    with pytest.raises(InvalidInputError, match="There is no folder") as caught:
        load_encoder(name)
    assert len(str(caught.value)) < 2500


def test_a_name_much_like_a_known_one():
    with pytest.raises(EncoderError, match=r"Names much like it that are known: .*'embed-english-v3\.0'"):
        load_encoder("embed-english-v3", local_files_only=True)
    with pytest.raises(InvalidInputError, match=r"known: 'clip-ViT-B-32'"):
        load_encoder("clip ViT B 32")
    with pytest.raises(EncoderError) as caught:
        load_encoder("openai/clip-vit-base-patch32", local_files_only=True, revision="no-such-revision")
    assert "much like" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, b"clip"])
def test_names_of_other_types(name):
    with pytest.raises(InvalidInputError, match="needs a folder or a name"):
        load_encoder(name)


def test_a_hub_id_that_is_not_cached():
    with pytest.raises(EncoderError, match=r"config\.json of 'nobody/no-such-model'"):
        load_encoder("nobody/no-such-model", local_files_only=True)


def test_a_hub_id_from_the_cache(clip_folder, tmp_path, monkeypatch):
    """The layout of the hub's cache: refs/main names a commit, snapshots/<commit> holds its files."""
    cached = tmp_path / "models--someone--tiny-clip"
    shutil.copytree(clip_folder, cached / "snapshots" / "abc123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    script = "from commonscale.encoders import load_encoder; "
    script += "print(load_encoder('someone/tiny-clip', local_files_only=True, revision='main').fingerprint)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"HF_HUB_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == load_encoder(clip_folder).fingerprint


# --- families


def test_a_model_that_no_family_serves_lists_those_that_are(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(InvalidInputError, match=r"(?s)type 'bert'.*CLIP: .*VisionTextDual.*CallableEncoder"):
        load_encoder(tmp_path)


def test_a_new_family_is_one_row(clip_folder, monkeypatch):
    module, requests = ModuleType("my_family"), []
    module.load = requests.append
    monkeypatch.setitem(sys.modules, "my_family", module)
    mine = Family("Mine", "my_family", ("me/mine",), model_types=("clip",), settings=("colour",))
    monkeypatch.setattr(resolving, "FAMILIES", (mine,))
    load_encoder(clip_folder, batch_size=5, colour="red")
    (request,) = requests
    assert request.name == str(clip_folder)
    assert request.checkpoint().config.model_type == "clip"
    assert request.options.batch_size == 5
    assert request.settings == {"colour": "red"}
    with pytest.raises(InvalidInputError, match=r"shade: no settings of the family Mine; .* it has colour of its own"):
        load_encoder(clip_folder, shade="red")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_row_names_a_module_that_loads(family):
    assert callable(family.loader())
    assert family.examples
    assert family.model_types or family.names or family.files


def test_a_setting_that_is_mistyped(clip_folder):
    with pytest.raises(InvalidInputError, match=r"batchsize: no settings of the family CLIP.*mean batch_size\?"):
        load_encoder(clip_folder, batchsize=3)


def test_a_hub_out_of_reach_is_asked_once(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def hf_hub_download(name, file, *, local_files_only, **hub):
        asked.append((file, local_files_only))
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    with pytest.raises(EncoderError, match=r"(?s)Cannot load config.json of 'nobody/nothing'.*HF_HUB_OFFLINE=1"):
        load_encoder("nobody/nothing")
    assert asked[0] == ("config.json", False)
    assert all(local for _, local in asked[1:])


def test_family_by_name(clip_folder):
    assert type(load_encoder(clip_folder, family="clip")).__name__ == "CLIPEncoder"
    with pytest.raises(InvalidInputError, match=r"family must be one of CLIP, .*, got 'KLIP'"):
        load_encoder(clip_folder, family="KLIP")


def test_a_family_that_is_no_text(clip_folder):
    with pytest.raises(InvalidInputError, match=r"family must be one of CLIP, .*, got 3"):
        load_encoder(clip_folder, family=3)


OF_OTHER_TYPES = [family for family in FAMILIES if family.model_types and "clip" not in family.model_types]


@pytest.mark.parametrize("family", OF_OTHER_TYPES, ids=lambda family: family.name)
def test_a_family_that_does_not_serve_the_model(clip_folder, tmp_path, family):
    """The config says what the model is; whoever wrote the loader of a family need not look."""
    if "clip" not in family.other_types:
        advice = f"type 'clip', and the family {family.name} serves .*give family='CLIP'"
        with pytest.raises(InvalidInputError, match=advice):
            load_encoder(clip_folder, family=family.name)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InvalidInputError, match=f"type 'bert', and the family {family.name} .*no family of"):
        load_encoder(tmp_path, family=family.name)


@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.model_types], ids=lambda row: row.name)
def test_families_that_look_at_other_things_than_the_type(tmp_path, family):
    """These find nothing of theirs in the folder, or want a package or a name; what they say is for users."""
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises((EncoderError, InvalidInputError, MissingExtraError)):
        load_encoder(tmp_path, family=family.name)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.model_types], ids=lambda row: row.name)
def test_a_family_for_a_folder_without_a_config(tmp_path, family):
    with pytest.raises(EncoderError, match=r"there is no config\.json in the folder|must hold one Long-CLIP"):
        load_encoder(tmp_path, family=family.name)


# --- arguments


@pytest.mark.parametrize("value", ["yes", 1, None])
@pytest.mark.parametrize("setting", ["progress", "allow_urls", "local_files_only"])
def test_what_is_on_or_off(clip_folder, setting, value):
    with pytest.raises(InvalidInputError, match=f"{setting} must be True or False, got {value!r}"):
        load_encoder(clip_folder, **{setting: value})


@pytest.mark.parametrize("value", [5, 0, {"allow_urls": True}, ImageOptions])
@pytest.mark.parametrize("allow_urls", [False, True])
def test_image_options(clip_folder, value, allow_urls):
    with pytest.raises(InvalidInputError, match=r"image_options must be ImageOptions\(\.\.\.\)"):
        load_encoder(clip_folder, image_options=value, allow_urls=allow_urls)


def test_a_revision_of_what_is_on_disk(clip_folder, tmp_path):
    (tmp_path / "longclip-B.pt").touch()
    for place in (clip_folder, tmp_path / "longclip-B.pt"):
        with pytest.raises(InvalidInputError, match=r"revision cannot be set for .*: it lies on this machine"):
            load_encoder(place, revision="main")


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "8"])
def test_batch_size(clip_folder, batch_size):
    with pytest.raises(InvalidInputError, match="batch_size"):
        load_encoder(clip_folder, batch_size=batch_size)


@pytest.mark.parametrize("setting", ["threads", "readers"])
@pytest.mark.parametrize("value", [-1, 2.5, True, "8"])
def test_numbers_of_threads(clip_folder, setting, value):
    with pytest.raises(InvalidInputError, match=f"{setting} must be a whole number"):
        load_encoder(clip_folder, **{setting: value})


def test_threads_are_those_of_torch(clip_folder):
    before = torch.get_num_threads()
    try:
        load_encoder(clip_folder, threads=before + 1)
        assert torch.get_num_threads() == before + 1
        load_encoder(clip_folder)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float64", "int8", "half", torch.int8, 16])
def test_dtype(clip_folder, dtype):
    with pytest.raises(InvalidInputError, match="dtype must be one of float32, float16, bfloat16"):
        load_encoder(clip_folder, dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cpu:x", object()])
def test_devices_that_torch_does_not_know(clip_folder, device):
    with pytest.raises(InvalidInputError, match="device must be one that torch knows"):
        load_encoder(clip_folder, device=device)


def test_devices(clip_folder, monkeypatch):
    assert load_encoder(clip_folder, device=torch.device("cpu")).device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert load_encoder(clip_folder).device == "cpu"
    with pytest.raises(InvalidInputError, match="'cuda:0' is not available on this machine; usable here: cpu"):
        load_encoder(clip_folder, device="cuda:0")


@pytest.mark.parametrize(("cuda", "mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_automatic_device(monkeypatch, cuda, mps, device):
    from commonscale.encoders.checkpoint import choose_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device() == device


@pytest.mark.parametrize("max_tokens", [2, 0, 5.0, True])
def test_max_tokens(clip_folder, max_tokens):
    with pytest.raises(InvalidInputError, match="max_tokens"):
        load_encoder(clip_folder, max_tokens=max_tokens)


def test_urls_are_allowed_by_either_argument(clip_folder):
    url = "http://127.0.0.1:1/a.png"
    for encoder in (
        load_encoder(clip_folder, allow_urls=True),
        load_encoder(clip_folder, image_options=ImageOptions(allow_urls=True)),
        load_encoder(clip_folder, allow_urls=True, image_options=ImageOptions(timeout=3)),
    ):
        with pytest.raises(ImageError, match="not on the public internet"):
            encoder.encode_images([url])
    with pytest.raises(ImageError, match="allow_urls=True"):
        load_encoder(clip_folder).encode_images([url])


def test_repr_says_where_it_came_from_and_runs(clip_folder):
    text = repr(load_encoder(clip_folder, device="cpu", dtype="bfloat16"))
    assert text == f"CLIPEncoder({str(clip_folder)!r}, device='cpu', dtype='bfloat16', dimension=16)"


# --- damaged and foreign checkpoints


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("config.json", r"config\.json"),
        ("model.safetensors", "the weights"),
        ("preprocessor_config.json", "the image processor"),
    ],
)
def test_missing_files(copy, file, part):
    (copy / file).unlink()
    with pytest.raises(EncoderError, match=f"Cannot load {part} of"):
        load_encoder(copy)


def test_truncated_weights(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(EncoderError, match="Cannot load the weights"):
        load_encoder(copy)


def test_missing_weights_are_not_filled_with_random_numbers(copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks 1 weights .*'text_projection\.weight'.*random"):
        load_encoder(copy)


def test_weights_of_another_shape(copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    tensors["text_projection.weight"] = torch.ones(3, 32)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="weights"):
        load_encoder(copy)


def test_pickled_weights_are_read_as_weights_only(copy, tmp_path):
    from safetensors.torch import load_file

    expected = load_encoder(copy).fingerprint
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    assert load_encoder(copy).fingerprint == expected


def test_a_pickle_that_would_run_code_is_refused(copy, tmp_path):
    trace = tmp_path / "it-ran"

    class Harmful:
        def __reduce__(self):
            return Path.touch, (trace,)

    (copy / "model.safetensors").unlink()
    torch.save({"logit_scale": Harmful()}, copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="Cannot load the weights"):
        load_encoder(copy)
    assert not trace.exists()


def test_code_in_a_checkpoint_is_never_run(copy, tmp_path):
    trace = tmp_path / "it-ran"
    (copy / "custom.py").write_text(f"import pathlib; pathlib.Path({str(trace)!r}).touch()\nclass Config: pass\n")
    edit(copy / "config.json", auto_map={"AutoConfig": "custom.Config"}, model_type="clip")
    assert load_encoder(copy).dimension == 16
    edit(copy / "config.json", model_type="made-up")
    with pytest.raises(EncoderError, match=r"Cannot load config\.json"):
        load_encoder(copy)
    assert not trace.exists()


def test_a_tokenizer_whose_end_mark_the_model_never_sees(copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 7
    edit(copy / "config.json", text_config=config["text_config"])
    with pytest.raises(EncoderError, match="reads its text vector at token 7, so all texts would get one vector"):
        load_encoder(copy)


def test_the_old_sign_for_the_highest_token_is_understood(copy, clip_folder):
    """Configs written before transformers 4.31, OpenAI's own among them, say eos_token_id 2."""
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    edit(copy / "config.json", text_config=config["text_config"])
    texts = ["a dog", "the red cat sleeps"]
    assert np.abs(load_encoder(copy).encode_texts(texts) - load_encoder(clip_folder).encode_texts(texts)).max() < 1e-6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", r"it must hold a JSON object, got \[\]"),
        ("3", "it must hold a JSON object, got 3"),
        ("{", "Expecting property name"),
        ('{"model_type": 5}', "type `5`"),
        ('{"model_type": "clip", "text_config": []}', "."),
        ("{}", "model_type"),
    ],
)
@pytest.mark.parametrize("family", [None, "CLIP"])
def test_damaged_configs(tmp_path, content, words, family):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(EncoderError, match=rf"(?s)Cannot load config\.json of .*: .*{words}"):
        load_encoder(tmp_path, family=family)


def test_an_empty_folder(tmp_path):
    with pytest.raises(EncoderError, match=r"there is no config\.json in the folder") as caught:
        load_encoder(tmp_path)
    assert "model_type" not in str(caught.value)


# --- text limits


def test_a_tokenizer_without_a_limit_falls_back_to_the_positions(copy):
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = load_encoder(copy)
    assert encoder._tokenizer.model_max_length > 1e20
    assert encoder.max_tokens == CLIP_TOKENS


def test_a_tokenizer_that_promises_more_than_the_positions(copy):
    edit(copy / "tokenizer_config.json", model_max_length=512)
    assert load_encoder(copy).max_tokens == CLIP_TOKENS


@pytest.mark.parametrize(
    ("tokenizer", "config", "wanted", "limit"),
    [
        (128, {"max_position_embeddings": 512, "model_type": "bert"}, None, 128),
        (10**30, {"max_position_embeddings": 514, "model_type": "xlm-roberta", "pad_token_id": 1}, None, 512),
        (10**30, {"max_position_embeddings": 512, "model_type": "bert"}, 100, 100),
        (10**30, {"model_type": "t5"}, 100, 100),
        (512, {"max_position_embeddings": -1, "model_type": "deberta"}, None, 512),
    ],
)
def test_text_limits(tokenizer, config, wanted, limit):
    assert text_limit(SimpleNamespace(model_max_length=tokenizer), SimpleNamespace(**config), wanted) == limit


def test_no_limit_at_all():
    with pytest.raises(InvalidInputError, match="max_tokens="):
        text_limit(SimpleNamespace(model_max_length=10**30), SimpleNamespace(model_type="t5"), None)


# --- packages


@pytest.mark.parametrize(
    ("missing", "named"), [("torch", "torch"), ("transformers", "transformers"), ("PIL.Image", "PIL")]
)
def test_missing_packages_name_the_extra(clip_folder, monkeypatch, missing, named):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=f"{named!r}") as caught:
        load_encoder(clip_folder)
    assert str(caught.value).splitlines()[-1] == "pip install 'commonscale[encoders]'"


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import sys, commonscale.encoders; "
        "print(sorted({'torch', 'transformers', 'PIL', 'httpx', 'tqdm', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the real encoder beside the repository


@pytest.fixture(scope="module")
def photos(shared) -> tuple[Path, dict[str, np.ndarray]]:
    models = shared / "models"
    if not (models / "photo-dual-encoder").is_dir():
        pytest.skip(f"the photo encoder is not in {models}")
    with np.load(models / "photo-test-embeddings.npz") as saved:
        return models, {name: saved[name] for name in ("image", "text", "names", "captions")}


def test_real_photos_and_captions_agree_with_the_saved_vectors(photos):
    models, saved = photos
    encoder = load_encoder(models / "photo-dual-encoder", batch_size=8)
    assert (encoder.dimension, encoder.max_tokens) == (256, 128)
    images = encoder.encode_images([models / "photos" / str(name) for name in saved["names"][:20]])
    texts = encoder.encode_texts([str(caption) for caption in saved["captions"][:20].ravel()])
    assert (images * saved["image"][:20]).sum(axis=1).min() > 0.999
    assert (texts * saved["text"][:20].reshape(100, -1)).sum(axis=1).min() > 0.999
    right = (texts[::5] @ images.T).argmax(axis=1) == np.arange(20)
    assert right.mean() > 0.5  # each caption among 20 photographs


def test_two_families_never_share_a_fingerprint(clip_folder, tmp_path):
    assert load_encoder(clip_folder).fingerprint != load_encoder(save_tiny_dual_encoder(tmp_path)).fingerprint
