#!/usr/bin/env python3
"""What fine-tuning makes of the bundled models on every bundled task, beside a network untrained and plain baselines (docs/results.md).

    python3 docs/tasks.py --electra PATH --work FOLDER [--minilm FOLDER] [--sets ID ..] [--rows 1000|few|all ..] [--models M ..] [--seeds N] [--threads N] [--table]

Each seed splits each set of public/samples once: 15 %, but at most 400 rows, held out; of the others at most 1 000 to learn
from (--rows 1000, the default), some hundred (few: the same options, but ten epochs) or all. Everything that is compared on a
seed sees the same two files. Every result is a line of FOLDER/results.jsonl and is not made again, so the script can be
stopped and started. --table only prints what is there.

  mini        electra finetune from public/models/electra-mini, at a rate of 1e-4 (questions: 3e-4)
  MiniLM      the same from what electra-mini began as, where --minilm names it (docs/mini_body.py makes it)
  tiny        from public/models/electra-tiny
  untrained   from a network of tiny's shape whose weights are drawn, another draw for each seed
  TF-IDF      words and pairs of words; logistic regression (one a label where there are several, classes weighted), ridge
              regression for numbers, its strength chosen on the training rows
  simple      what needs no learning from text, or nearly: see SIMPLE below

Needs scikit-learn and NumPy; nothing is downloaded.
"""

import argparse
import json
import os
import random
import re
import statistics
import string
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "public/samples"

# What is fine-tuned with which options, and how many rows `few` learns from.
SETS = {
    "tags": {"options": "--epochs 3 --batch-size 8 --max-seq-length 64 --learning-rate 6e-4", "few": 200},
    "topic": {"options": "--epochs 6 --batch-size 8 --max-seq-length 48 --learning-rate 6e-4", "few": 330},
    "mistakes": {"options": "--epochs 5 --batch-size 8 --max-seq-length 64 --learning-rate 6e-4", "few": 500},
    "spam": {"options": "--epochs 3 --batch-size 8 --max-seq-length 64 --learning-rate 6e-4", "few": 200},
    "year": {"options": "--epochs 3 --batch-size 8 --max-seq-length 64 --learning-rate 6e-4", "few": 300},
    "occupations": {"options": "--epochs 10 --batch-size 8 --max-seq-length 48 --learning-rate 6e-4", "few": 300},
    "questions": {"options": "--epochs 3 --batch-size 8 --max-seq-length 160 --learning-rate 6e-4", "few": 200},
    "acceptability": {"options": "--epochs 3 --batch-size 8 --max-seq-length 48 --learning-rate 3e-4", "few": 400},
    "pair": {"options": "--epochs 3 --batch-size 8 --max-seq-length 96 --learning-rate 6e-4", "few": 400},
}
HELD_OUT = 400  # rows at most
MODELS = ["mini", "MiniLM", "tiny", "untrained", "TF-IDF", "simple"]
LARGE = ["mini", "MiniLM"]
# Theirs, in the place of a set's, which is for small networks; that of the questions was chosen on the split of seed 100.
RATE = defaultdict(lambda: "1e-4", questions="3e-4")
METRIC = {"classification": "accuracy", "regression": "pearson", "multi-label": "micro_f1", "tagging": "accuracy", "question-answering": "f1"}
SIMPLE = {
    "classification": "always the most frequent label",
    "pair": "the cosine of the two texts' TF-IDF, and the threshold that is best on the training rows",
    "multi-label": "always the most frequent label",
    "tagging": "the most frequent tag of each word, of unknown words that of all",
    "question-answering": "the sentence that shares most with the question, words weighted by their rarity",
}


# ---- Sets and splits --------------------------------------------------------------------------------


def index():
    return {entry["id"]: entry for entry in json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))}


class Data:
    """A bundled set as a list of rows, and how a part of it is written."""

    def __init__(self, name):
        self.name = name
        self.entry = index()[name]
        self.task, self.suffix = self.entry["task"], Path(self.entry["file"]).suffix
        text = (SAMPLES / self.entry["file"]).read_text(encoding="utf-8")
        if self.suffix == ".tsv":
            lines = [line.split("\t") for line in text.splitlines()]
            self.header, self.rows = lines[0], [dict(zip(lines[0], line)) for line in lines[1:]]
        elif self.suffix == ".conll":
            self.rows = [[line.split("\t") for line in block.split("\n")] for block in text.strip().split("\n\n")]
        else:
            self.rows = json.loads(text)["data"]

    @property
    def has_entities(self):
        return self.task == "tagging" and any(tag.startswith("B-") for sentence in self.rows for _, tag in sentence)

    @property
    def metric(self):
        return "f1" if self.has_entities else METRIC[self.task]

    def stratum(self, row):
        """As large a part of each of these is held out."""
        if self.task == "classification":
            return row[self.entry["label"]]
        return ""

    def split(self, seed):
        """(to learn from, held out), in an order that the seed decides."""
        draw = random.Random(f"{self.name} {seed}")
        strata = defaultdict(list)
        for row in self.rows:
            strata[self.stratum(row)].append(row)
        train, held_out = [], []
        share = min(0.15, HELD_OUT / len(self.rows))
        for _, rows in sorted(strata.items()):
            draw.shuffle(rows)
            part = round(len(rows) * share)
            held_out += rows[:part]
            train += rows[part:]
        draw.shuffle(train)
        return train, held_out

    def write(self, rows, file):
        if self.suffix == ".tsv":
            text = "".join("\t".join(cells) + "\n" for cells in [self.header, *(row.values() for row in rows)])
        elif self.suffix == ".conll":
            text = "".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in rows)
        else:
            text = json.dumps({"version": "1.1", "data": rows}, ensure_ascii=False)
        file.write_text(text, encoding="utf-8", newline="\n")

    def columns(self):
        named = {"--text-column": self.entry["text"], "--pair-column": self.entry["pair"], "--label-column": self.entry["label"]}
        return [word for option, column in named.items() if column for word in (option, column)]


# ---- Baselines ------------------------------------------------------------------------------------


def vectorizer():
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)


def linear(data, train, held_out):
    """TF-IDF and a linear model."""
    from scipy.sparse import hstack
    from sklearn.linear_model import LogisticRegression, RidgeCV

    def features(column):
        count = vectorizer()
        return count.fit_transform(row[column] for row in train), count.transform(row[column] for row in held_out)

    parts = [features(column) for column in (data.entry["text"], data.entry["pair"]) if column]
    x, x_held_out = (hstack(side).tocsr() for side in zip(*parts))
    targets, wanted = ([row[data.entry["label"]] for row in rows] for rows in (train, held_out))
    if data.task == "classification":
        guess = LogisticRegression(C=10, max_iter=2000).fit(x, targets).predict(x_held_out)
        return classification_scores(wanted, list(guess))
    if data.task == "regression":
        model = RidgeCV([0.03, 0.1, 0.3, 1, 3, 10]).fit(x, [float(value) for value in targets])
        return {"pearson": pearson(model.predict(x_held_out), [float(value) for value in wanted])}
    chosen = [set() for _ in held_out]
    for label in sorted({label for cell in targets for label in cell.split("|")}):
        model = LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
        model.fit(x, [label in cell.split("|") for cell in targets])
        for labels, yes in zip(chosen, model.predict(x_held_out)):
            labels.update([label] if yes else [])
    return {"micro_f1": micro_f1([set(cell.split("|")) for cell in wanted], chosen)}


def classification_scores(wanted, guess):
    from sklearn.metrics import accuracy_score, matthews_corrcoef

    return {"accuracy": accuracy_score(wanted, guess), "mcc": matthews_corrcoef(wanted, guess)}


def pearson(left, right):
    import numpy

    return float(numpy.corrcoef(left, right)[0, 1])


def micro_f1(wanted, chosen):
    both = sum(len(w & c) for w, c in zip(wanted, chosen))
    return 2 * both / max(1, sum(map(len, wanted)) + sum(map(len, chosen)))


def simple(data, train, held_out):
    if data.entry["id"] == "pair":
        return cosine(data, train, held_out)
    if data.task == "tagging":
        return frequent_tags(data, train, held_out)
    if data.task == "question-answering":
        return likest_sentence(train, held_out)
    if data.task == "regression":
        return {"pearson": 0.0}  # always the mean
    counts = Counter(label for row in train for label in row[data.entry["label"]].split("|"))
    label, wanted = counts.most_common(1)[0][0], [row[data.entry["label"]] for row in held_out]
    if data.task == "multi-label":
        return {"micro_f1": micro_f1([set(cell.split("|")) for cell in wanted], [{label}] * len(wanted))}
    return {**classification_scores(wanted, [label] * len(wanted)), "mcc": 0.0}


def cosine(data, train, held_out):
    import numpy
    from sklearn.feature_extraction.text import TfidfVectorizer

    left, right, label = data.entry["text"], data.entry["pair"], data.entry["label"]
    count = TfidfVectorizer(sublinear_tf=True).fit([row[side] for row in train for side in (left, right)])

    def likeness(rows):
        sides = [count.transform(row[side] for row in rows) for side in (left, right)]
        return numpy.asarray(sides[0].multiply(sides[1]).sum(axis=1)).ravel()

    known, same = likeness(train), numpy.array([row[label] == "same" for row in train])
    threshold = max(known, key=lambda at: ((known >= at) == same).sum())
    guess = ["same" if value >= threshold else "different" for value in likeness(held_out)]
    return classification_scores([row[label] for row in held_out], guess)


def frequent_tags(data, train, held_out):
    tags = defaultdict(Counter)
    for word, tag in (pair for sentence in train for pair in sentence):
        tags[word.lower()][tag] += 1
        tags[None][tag] += 1
    often = {word: counts.most_common(1)[0][0] for word, counts in tags.items()}
    wanted = [[tag for _, tag in sentence] for sentence in held_out]
    guess = [[often.get(word.lower(), often[None]) for word, _ in sentence] for sentence in held_out]
    pairs = [pair for w, g in zip(wanted, guess) for pair in zip(w, g)]
    scores = {"accuracy": sum(w == g for w, g in pairs) / len(pairs), "majority": sum(w == often[None] for w, _ in pairs) / len(pairs)}
    if data.has_entities:
        scores["f1"] = micro_f1([set(spans(tags)) for tags in wanted], [set(spans(tags)) for tags in guess])
    return scores


def spans(tags):
    """(start, end) of each mistake; an I- without a B- begins one, as in the CoNLL script."""
    start = None
    for place, tag in enumerate([*tags, "O"]):
        if start is not None and tag != "I-ERR":
            yield start, place
            start = None
        if tag == "B-ERR" or tag == "I-ERR" and start is None:
            start = place


def likest_sentence(train, held_out):
    questions = [(paragraph["context"], qa) for entry in held_out for paragraph in entry["paragraphs"] for qa in paragraph["qas"]]
    contexts = [paragraph["context"] for entry in train for paragraph in entry["paragraphs"]]
    seen = Counter(word for context in contexts for word in set(normal(context)))
    rarity = lambda word: 1 / (1 + seen[word])
    total = exact = 0.0
    for context, qa in questions:
        sentences = re.split(r'(?<=[.!?"])\s+(?=["“(]?[A-Z0-9])', context)
        asked = set(normal(qa["question"]))
        best = max(sentences, key=lambda sentence: sum(rarity(word) for word in asked & set(normal(sentence))))
        golds = [normal(answer["text"]) for answer in qa["answers"]]
        total += max(token_f1(normal(best), gold) for gold in golds)
        exact += any(normal(best) == gold for gold in golds)
    return {"f1": total / len(questions), "exact": 100 * exact / len(questions)}


def normal(text):
    """As the SQuAD script: lower case, no punctuation, no articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def token_f1(guess, gold):
    both = sum((Counter(guess) & Counter(gold)).values())
    return 2 * both / (len(guess) + len(gold)) if both else float(guess == gold)


# ---- Runs -----------------------------------------------------------------------------------------


class Bench:
    """Results by what was run, kept in a file."""

    def __init__(self, options):
        self.options, self.lock = options, Lock()
        self.file = options.work / "results.jsonl"
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.results = {self.key(row): row for row in map(json.loads, lines)}

    def key(self, row):
        return tuple(row[field] for field in ("set", "rows", "model", "options", "seed"))

    def run(self, name, rows, model, seed):
        """One result, made where it is not there yet. `rows`: "1000", "few" or "all"."""
        options = options_of(name, rows, model)
        row = {"set": name, "rows": rows, "model": model, "options": options, "seed": seed}
        if self.key(row) in self.results:
            return
        started = time.time()
        row.update(self.score(name, rows, model, options, seed), seconds=round(time.time() - started, 1))
        with self.lock:
            self.results[self.key(row)] = row
            with self.file.open("a") as file:
                file.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)

    def score(self, name, rows, model, options, seed):
        data = Data(name)
        train, held_out = data.split(seed)
        train = train[: limit(name, rows)]
        if model == "TF-IDF":
            return linear(data, train, held_out)
        if model == "simple":
            return simple(data, train, held_out)
        return self.finetune(data, train, held_out, rows, model, options, seed)

    def finetune(self, data, train, held_out, rows, model, options, seed):
        folder = self.options.work / f"{data.name}-{rows}-{seed}"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{part}{data.suffix}" for part in ("train", "held-out")]
        for part, file in zip((train, held_out), files):
            if not file.exists():
                data.write(part, file)
        start = self.begin(model, seed)
        lines = self.electra(
            "finetune", "--model", start, "--task", data.task, "--train", files[0], "--eval", files[1], "--output", folder / model,
            "--overwrite", "--seed", seed, "--eval-every", 100000, "--device", "cpu", *data.columns(), *options.split(),
        )
        last = [line for line in lines if line["event"] == "evaluation"][-1]
        wanted = {"accuracy", "mcc", "macro_f1", "pearson", "spearman", "mae", "exact"}
        found = {key: value for key, value in last.items() if key in wanted and isinstance(value, float)}
        done = next(line for line in lines if line["event"] == "done")
        return {**found, done["metric"]: done[done["metric"]]}

    def electra(self, *arguments):
        env = dict(os.environ, RAYON_NUM_THREADS="1")
        run = subprocess.run([self.options.electra, *map(str, arguments)], env=env, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"{' '.join(map(str, arguments))}\n{run.stderr}")
        return [json.loads(line) for line in run.stdout.splitlines()]

    def begin(self, model, seed):
        if model == "untrained":
            return self.untrained(seed)
        return self.options.minilm if model == "MiniLM" else ROOT / f"public/models/electra-{model}"

    def untrained(self, seed):
        """The tiny preset as drawn: one step at a rate of nothing."""
        folder = self.options.work / f"untrained-{seed}"
        with self.lock:
            if not (self.options.work / "shards").exists():
                self.electra(
                    "prepare", "--input", ROOT / "corpus/sample.txt", "--tokenizer", ROOT / "public/models/electra-tiny",
                    "--max-seq-length", 64, "--output", self.options.work / "shards",
                )
            if not (folder / "discriminator").exists():
                self.electra(
                    "pretrain", "--data", self.options.work / "shards", "--output", folder, "--overwrite", "--preset", "tiny",
                    "--set", "untied_generator=false", "--set", "eval_batches=1", "--steps", 1, "--learning-rate", "1e-30",
                    "--seed", 1000 + seed, "--device", "cpu",
                )
        return folder / "discriminator"


def limit(name, rows):
    """How many rows are learned from, at most."""
    return {"1000": 1000, "few": SETS[name]["few"], "all": None}[rows]


def options_of(name, rows, model):
    """What a network is fine-tuned with. Few rows are read more often: ten times."""
    if model in ("TF-IDF", "simple"):
        return ""
    options = SETS[name]["options"]
    if rows == "few":
        options = re.sub(r"--epochs \d+", "--epochs 10", options)
    if model in LARGE:
        options = re.sub(r"(--learning-rate) \S+", rf"\1 {RATE[name]}", options)
    return options


def jobs(options):
    """A seed after the other, so that a run that is stopped has something of everything."""
    for rows in options.rows:
        for seed in range(options.seeds):
            for name in options.sets:
                for model in options.models:
                    if model == "MiniLM" and not options.minilm:
                        continue
                    if model != "TF-IDF" or Data(name).suffix == ".tsv":
                        yield name, rows, model, seed


def table(bench, rows):
    """One row a set: median, lowest and highest of the seeds, the same ones for everything."""
    heading = {"1000": "up to 1 000 rows", "few": "few rows", "all": "all rows"}[rows]
    print(f"\n| {heading} | metric | seeds | {' | '.join(MODELS)} |\n|---|---|---:|{'---|' * len(MODELS)}")
    for name in SETS:
        data = Data(name)
        found = defaultdict(dict)
        for row in bench.results.values():
            if row["set"] == name and row["rows"] == rows:
                found[row["model"]][row["seed"]] = row[data.metric]
        # The same seeds for everything: those of which mini has been trained.
        seeds = found["mini"].keys()
        cells = [cell([score for seed, score in found[model].items() if seed in seeds]) for model in MODELS]
        if seeds:
            print("| " + " | ".join([name, data.metric, str(len(seeds)), *cells]) + " |")


def cell(scores):
    return f"{statistics.median(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})" if scores else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--rows", nargs="+", choices=["1000", "few", "all"], default=["1000"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="runs at once, one core each")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options)
    if not options.table:
        with ThreadPoolExecutor(options.threads) as pool:
            list(pool.map(lambda job: bench.run(*job), jobs(options)))
    for rows in options.rows:
        table(bench, rows)


if __name__ == "__main__":
    main()
