"""Small files in exactly the formats that MultiModalQA, WebQA, UniVL-DR and MixBench are published in."""

from __future__ import annotations

import base64
import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Pictures = Mapping[str, bytes]


def write_jsonl(path: Path, records: Sequence[Any]) -> Path:
    """Write JSON lines, compressed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def mmqa_question(key: str, text: str, kind: str, golds: Sequence[tuple[str, str]], **metadata: Any) -> dict[str, Any]:
    """One line of MMQA_dev.jsonl."""
    return {
        "qid": key,
        "question": text,
        "answers": [
            {
                "answer": "yes",
                "type": "string",
                "modality": kind[:-1].lower(),
                "text_instances": [],
                "table_indices": [],
                "image_instances": [],
            }
        ],
        "metadata": {
            "type": kind,
            "modalities": [kind[:-1].lower()],
            "wiki_entities_in_question": [],
            "wiki_entities_in_answers": [],
            "pseudo_language_question": text,
            "rephrasing_meta": {"accuracy": 1.0, "edit_distance": 0.5, "confidence": 0.9},
            "text_doc_ids": [],
            "image_doc_ids": [],
            "intermediate_answers": [],
            "table_id": "t0",
            **metadata,
        },
        "supporting_context": [{"doc_id": document, "doc_part": part} for part, document in golds],
    }


def write_mmqa(
    folder: Path,
    questions: Mapping[str, Sequence[Mapping[str, Any]]],
    texts: Mapping[str, str],
    pictures: Pictures,
    *,
    zipped: bool = False,
    ending: str = ".jsonl.gz",
) -> Path:
    """Write MultiModalQA.

    Args:
        folder: where to.
        questions: by split.
        texts: by id.
        pictures: file contents by file name; the id is the name without its extension.
        zipped: put the pictures into the archive, else into a folder.
        ending: of the files' names.
    """
    for split, records in questions.items():
        write_jsonl(folder / f"MMQA_{split}{ending}", records)
    url = "https://en.wikipedia.org/wiki/"
    write_jsonl(
        folder / f"MMQA_texts{ending}",
        [{"title": key, "url": url + key, "id": key, "text": text} for key, text in texts.items()],
    )
    write_jsonl(
        folder / f"MMQA_images{ending}",
        [{"title": name, "url": url + name, "id": name.rsplit(".")[0], "path": name} for name in pictures],
    )
    if zipped:
        with zipfile.ZipFile(folder / "final_dataset_images.zip", "w") as archive:
            for name, data in pictures.items():
                archive.writestr(f"final_dataset_images/{name}", data)
    else:
        (folder / "final_dataset_images").mkdir()
        for name, data in pictures.items():
            (folder / "final_dataset_images" / name).write_bytes(data)
    return folder


def text_fact(key: str, words: str) -> dict[str, Any]:
    """One text fact of WebQA, wrapped in quotes and stray carriage returns as they come."""
    return {"snippet_id": key, "title": "A page", "fact": f'"{words}\r"', "url": "https://example.org"}


def image_fact(key: int, caption: str) -> dict[str, Any]:
    """One image fact of WebQA."""
    url = "https://example.org/picture"
    return {"image_id": key, "title": "A page", "caption": f'"{caption}" ', "url": url, "imgUrl": url}


def webqa_question(split: str, key: str, text: str, category: str, **facts: Sequence[Mapping[str, Any]]) -> Any:
    """One entry of WebQA_train_val.json."""
    empty: dict[str, Any] = {"img_posFacts": [], "img_negFacts": [], "txt_posFacts": [], "txt_negFacts": []}
    return {"Q": f'"{text}"\r', "A": ['"yes"'], "Qcate": category, "split": split, "Guid": key, **empty, **facts}


def write_webqa(
    folder: Path, train_val: Mapping[str, Any], test: Mapping[str, Any], pictures: Mapping[int, bytes]
) -> Path:
    """Write WebQA: two huge objects, and pictures numbered from 30,000,000 on in lines of base64."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "WebQA_train_val.json").write_text(json.dumps(train_val), "utf-8")
    (folder / "WebQA_test.json").write_text(json.dumps(test), "utf-8")
    offsets = write_tsv(folder / "imgs.tsv", pictures)
    (folder / "imgs.lineidx").write_text("".join(f"{offset}\n" for offset in offsets.values()), "ascii")
    return folder


def write_tsv(path: Path, pictures: Mapping[int, bytes]) -> dict[int, int]:
    """Write imgs.tsv and give the byte offset of each line."""
    offsets: dict[int, int] = {}
    at = 0
    with path.open("wb") as file:
        for key, data in pictures.items():
            line = str(key).encode() + b"\t" + base64.b64encode(data) + b"\n"
            offsets[key] = at
            at += file.write(line)
    return offsets


def write_univl_dr(
    folder: Path,
    questions: Mapping[str, Sequence[Mapping[str, Any]]],
    texts: Mapping[str, str],
    captions: Mapping[int, str],
    pictures: Mapping[int, bytes],
) -> Path:
    """Write WebQA as UniVL-DR prepares it; dev and test get relevance files."""
    page = "https://example.org"
    write_jsonl(
        folder / "all_docs.json",
        [{"snippet_id": key, "fact": text, "title": "A page", "url": page} for key, text in texts.items()],
    )
    write_jsonl(
        folder / "all_imgs.json",
        [{"title": "A page", "caption": caption, "image_id": key} for key, caption in captions.items()],
    )
    for split, records in questions.items():
        write_jsonl(folder / f"{split}.json", records)
        if split != "train":
            rows = [
                f"{record['qid']}\t{document}\t1\n"
                for record in records
                for document in [*record["img_posFacts"], *record["txt_posFacts"]]
            ]
            (folder / f"{split}_qrels.txt").write_text("".join(rows), "utf-8")
    offsets = write_tsv(folder / "imgs.tsv", pictures)
    (folder / "imgs.lineidx.new").write_text("".join(f"{key}\t{at}\n" for key, at in offsets.items()), "ascii")
    return folder


def univl_question(key: str, text: str, **facts: Sequence[str]) -> dict[str, Any]:
    """One line of UniVL-DR's train.json."""
    empty: dict[str, Any] = {"img_posFacts": [], "img_negFacts": [], "txt_posFacts": [], "txt_negFacts": []}
    return {"qid": key, "Q": text, "A": ["yes"], **empty, **facts}


def write_mixbench(
    folder: Path,
    questions: Mapping[str, str],
    documents: Sequence[Mapping[str, Any]],
    relevant: Sequence[tuple[str, str]],
    pictures: Pictures,
    *,
    older: bool = False,
) -> Path:
    """Write one subset as JSON lines, in the columns of MixBench25 or of the older card.

    Args:
        folder: of the subset.
        questions: words by id.
        documents: ``id``, ``text`` and ``image`` (a file name) each; None for what it has not.
        relevant: pairs of a question and a document.
        pictures: file contents by file name.
        older: the older card's names and columns.
    """
    if older:
        write_jsonl(folder / "queries.jsonl", [{"id": key, "text": text} for key, text in questions.items()])
        write_jsonl(folder / "mixed_corpus.jsonl", documents)
        rows = "".join(f"{question}\t{document}\t1\n" for question, document in relevant)
        (folder / "qrels.tsv").write_text("qid\tcid\tscore\n" + rows, "utf-8")
    else:
        unused = {"query_id": None, "corpus_id": None, "text": None, "image": None, "score": None}
        asked = [{**unused, "query_id": key, "text": text} for key, text in questions.items()]
        found = [
            {**unused, "corpus_id": row["id"], "text": row["text"], "image": _below(folder, row["image"])}
            for row in documents
        ]
        judged = [{**unused, "query_id": question, "corpus_id": key, "score": 1} for question, key in relevant]
        for name, rows_of in (("query", asked), ("mixed_corpus", found), ("qrel", judged)):
            write_jsonl(folder / f"{name}.jsonl", rows_of)
    (folder / "images").mkdir()
    for name, data in pictures.items():
        (folder / "images" / name).write_bytes(data)
    return folder


def _below(folder: Path, name: str | None) -> str | None:
    return None if name is None else f"{folder.name}/images/{name}"
