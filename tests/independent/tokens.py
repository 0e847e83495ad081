"""From text to token ids by the rules that the models were published with."""

from __future__ import annotations

import json
import string
import unicodedata
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex


def cut(ids: list[int], limit: int) -> list[int]:
    """Keep ``limit`` ids; the end mark stays the last."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


class ClipTokens:
    """Byte-level BPE of OpenAI's CLIP (clip/simple_tokenizer.py)."""

    def __init__(self, folder: Path) -> None:
        self.ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        marks = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
        self.pattern = regex.compile(marks + r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)

    @cached_property
    def letters(self) -> dict[int, str]:
        """Name every byte by a printable character: its own where it has one, else from 256 on."""
        own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
        others = [byte for byte in range(256) if byte not in own]
        return {byte: chr(byte) for byte in own} | {byte: chr(256 + place) for place, byte in enumerate(others)}

    def __call__(self, text: str) -> list[int]:
        words = self.pattern.findall(" ".join(text.split()).lower())
        pieces = [piece for word in words for piece in self.split("".join(self.letters[b] for b in word.encode()))]
        return [self.ids["<|startoftext|>"], *(self.ids[piece] for piece in pieces), self.ids["<|endoftext|>"]]

    def split(self, word: str) -> list[str]:
        """Join the pair that was learned first, again and again."""
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            first = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if first not in self.ranks:
                break
            joined: list[str] = []
            for part in parts:
                if joined and (joined[-1], part) == first:
                    joined[-1] += part
                else:
                    joined.append(part)
            parts = joined
        return parts


class WordPieces:
    """BERT's tokenizer for lower case (google-research/bert, tokenization.py)."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.ids = {token: number for number, token in enumerate(lines)}

    def __call__(self, text: str) -> list[int]:
        pieces = [piece for word in self.words(text) for piece in self.split(word)]
        return [self.ids[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def words(self, text: str) -> list[str]:
        """Lower, drop accents, and set every mark of punctuation apart."""
        plain = [sign for sign in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(sign) != "Mn"]
        apart = [f" {sign} " if self.stands_alone(sign) else sign for sign in plain]
        return "".join(apart).split()

    @staticmethod
    def stands_alone(sign: str) -> bool:
        """Tell punctuation and Chinese characters."""
        return sign in string.punctuation or unicodedata.category(sign)[0] == "P" or "\u4e00" <= sign <= "\u9fff"

    def split(self, word: str) -> list[str]:
        """Take the longest known beginning, again and again; a word with a rest is unknown."""
        pieces: list[str] = []
        while word:
            lead = "##" if pieces else ""
            ends = range(len(word), 0, -1)
            end = next((end for end in ends if lead + word[:end] in self.ids), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(lead + word[:end])
            word = word[end:]
        return pieces


class SiglipTokens:
    """SentencePiece on canonical text (big_vision, prompt_engineering.py), filled up with the end mark, id 1."""

    def __init__(self, folder: Path, limit: int) -> None:
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        self.limit = limit

    def __call__(self, text: str) -> list[int]:
        kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
        ids = [*self.model.encode(" ".join(kept.split())), 1]
        return [*cut(ids, self.limit), *[1] * (self.limit - len(ids))]


class GemmaTokens:
    """Gemma's BPE on lower case (big_vision: lower, then tok(length, model="gemma", bos="no", eos="sticky")).

    "lower" is TensorFlow's, which without an encoding changes ASCII only.
    Merges are applied here, from tokenizer.json: the pair learned first, with bytes for what has no piece.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        self.ids = model["vocab"]
        pairs = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
        self.ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self.limit = limit

    def __call__(self, text: str) -> list[int]:
        lowered = "".join(sign.lower() if sign.isascii() else sign for sign in text)
        ids = [*self.pieces(lowered.replace(" ", "\u2581")), self.ids["<eos>"]]
        return [*cut(ids, self.limit), *[self.ids["<pad>"]] * (self.limit - len(ids))]

    def pieces(self, text: str) -> list[int]:
        """Return the ids of a text whose blanks are marked."""
        parts = list(text)
        while len(parts) > 1:
            ranks = [self.ranks.get(pair, len(self.ranks)) for pair in pairwise(parts)]
            place = ranks.index(min(ranks))
            if ranks[place] == len(self.ranks):
                break
            parts[place : place + 2] = ["".join(parts[place : place + 2])]
        found: list[int] = []
        for part in parts:
            names = [part] if part in self.ids else [f"<0x{byte:02X}>" for byte in part.encode()]
            found += [self.ids[name] for name in names]
        return found
