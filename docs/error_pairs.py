#!/usr/bin/env python3
"""Does a discriminator see which word of a sentence is wrong? (docs/results.md)

    python3 docs/error_pairs.py --electra PATH --model DIR [--pairs TSV] [--correct TXT] [--examples]

TSV has the columns `wrong` and `right`: two sentences that differ in one word. The discriminator, as pre-trained, reads the
wrong ones. Positive are the tokens that the right sentence has not, between what both begin and end with; [CLS] and [SEP]
do not count. TXT has sentences without a mistake: in how many is a token above one half? docs/sentences/ holds sixty
everyday pairs and sixty such sentences, written before the model that they judge. Python 3 alone.

--examples writes MODEL/examples.json for the page's Detect tab: how often the most suspicious word, as the page merges pieces to
words, is the wrong one; and short sentences in which it is, those with the clearest lead, one of each rule.
"""

import argparse
import csv
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lines(command, texts):
    run = subprocess.run(command, input="".join(text + "\n" for text in texts), capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


def difference(wrong, right):
    """Which places of `wrong` are not in `right`."""
    shorter = min(len(wrong), len(right))
    start = next((i for i in range(shorter) if wrong[i] != right[i]), shorter)
    end = next((i for i in range(shorter - start) if wrong[-1 - i] != right[-1 - i]), shorter - start)
    return range(start, len(wrong) - end)


def words(text, answer):
    """[start, end, probability] of every word with a letter or digit, as web/app/detect.js merges pieces; the highest piece counts."""
    merged = []
    for (start, end), probability in zip(answer["offsets"], answer["replaced"]):
        if end == start or not any(letter.isalnum() for letter in text[start:end]):
            continue
        if merged and merged[-1][1] == start:
            merged[-1][1:] = [end, max(merged[-1][2], probability)]
        else:
            merged.append([start, end, probability])
    return sorted(merged, key=lambda word: -word[2])


def write_examples(path, rows, answers):
    found, first, sentences = [], 0, 0
    for row, answer in zip(rows, answers):
        if row["wrong"].lower() == row["right"].lower():
            continue  # capitals, which an uncased model does not see
        sentences += 1
        ranked = words(row["wrong"], answer)
        places = difference(row["wrong"], row["right"])
        # What is missing lies between two letters; the word around it is the wrong one.
        span = (places.start, max(places.stop, places.start + 1))
        if len(ranked) < 2 or not (ranked[0][0] < span[1] and ranked[0][1] >= span[0]):
            continue
        first += 1
        if len(row["wrong"]) <= 70 and row["wrong"][-1] in ".!?":
            found.append((ranked[0][2] - ranked[1][2], row, row["wrong"][ranked[0][0]:ranked[0][1]]))
    found.sort(key=lambda one: -one[0])
    examples, rules = [], set()
    for _, row, word in found:
        if row["rule"] not in rules and len(examples) < 6:
            rules.add(row["rule"])
            examples.append({"text": row["wrong"], "right": row["right"], "word": word})
    content = {"found": {"first": first, "of": sentences}, "examples": examples}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"examples": str(path), **content["found"]}))


def auc(scored):
    """How often a positive scores above a negative, ties counting half."""
    scored = sorted(scored)
    ranks, i = [0.0] * len(scored), 0
    while i < len(scored):
        j = i
        while j < len(scored) and scored[j][0] == scored[i][0]:
            j += 1
        ranks[i:j] = [(i + j + 1) / 2] * (j - i)
        i = j
    positives = sum(positive for _, positive in scored)
    total = sum(rank for rank, (_, positive) in zip(ranks, scored) if positive)
    return (total - positives * (positives + 1) / 2) / (positives * (len(scored) - positives))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--electra", default="electra")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, default=ROOT / "public/samples/errors.tsv")
    parser.add_argument("--correct", type=Path)
    parser.add_argument("--examples", action="store_true")
    options = parser.parse_args()
    with options.pairs.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = lines([options.electra, "predict", "--device", "cpu", "--model", options.model], [row["wrong"] for row in rows])
    if options.examples:
        return write_examples(options.model / "examples.json", rows, found)
    rights = lines([options.electra, "tokenize", "--model", options.model], [row["right"] for row in rows])
    scored, first, chance, sentences = [], 0, 0.0, 0
    for wrong, right in zip(found, rights):
        places = difference(wrong["tokens"], right["tokens"])
        scores = wrong["replaced"]
        inner = range(1, len(scores) - 1)
        if len(places) == 0:
            continue  # the same tokens: a difference in capitals, or a word that is only missing
        sentences += 1
        scored += [(scores[i], i in places) for i in inner]
        first += max(inner, key=lambda i: scores[i]) in places
        chance += len(places) / len(inner)
    alarms = {}
    if options.correct:
        read = lines([options.electra, "predict", "--device", "cpu", "--model", options.model], options.correct.read_text(encoding="utf-8").splitlines())
        alarms = {"correct": len(read), "with_a_token_above_half": sum(max(each["replaced"][1:-1]) > 0.5 for each in read)}
    print(json.dumps({
        "sentences": sentences, "tokens": len(scored), "wrong_tokens": sum(positive for _, positive in scored),
        "auc": round(auc(scored), 4), "likeliest_is_wrong": round(first / sentences, 4), "by_chance": round(chance / sentences, 4),
        **alarms,
    }))


if __name__ == "__main__":
    main()
