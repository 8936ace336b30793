#!/usr/bin/env python3
"""Does the large corpus leave out what it says? Tiny texts, no network: python3 corpus/test_large.py"""

import unittest
from collections import Counter

import large
from large import BundledRows, Seen, cleaned, every_so_many, is_prose

ROW = "The steamboat reached the small harbour of the island before the storm broke."
PROSE = "In spring the whole village came down to the river to wash their carpets."


def kept(*lines, rows=(ROW,), **options):
    left_out = Counter()
    found = list(cleaned([list(lines)], BundledRows(rows), Seen(), left_out, **options))
    return [line for document in found for line in document], left_out


class LargeCorpus(unittest.TestCase):
    def test_a_line_with_eight_words_of_a_bundled_row_is_left_out(self):
        copy = f"As they say, {ROW[4:-1].upper()}, and nobody was on board any more."
        lines, left_out = kept(copy, PROSE)
        self.assertEqual(lines, [PROSE])
        self.assertEqual(left_out, {"bundled rows": len(copy) + 1})

    def test_seven_words_of_a_row_are_no_copy(self):
        line = "We saw how the steamboat reached the small harbour, and went home again."
        self.assertEqual(kept(line)[0], [line])

    def test_a_short_row_is_found_as_a_whole_line_only(self):
        line = "He asked her what does that mean, and she did not answer him."
        lines, _ = kept("What does that mean?", line, rows=["What does that mean?"], glosses=True)
        self.assertEqual(lines, [line])

    def test_every_bundled_set_is_looked_for(self):
        rows = BundledRows(large.bundled_rows())
        for entry, text in (
            ("topic", first("topic.tsv", "sentence")), ("pair", first("pair.tsv", "sentence2")), ("errors", first("errors.tsv", "right")),
        ):
            self.assertTrue(rows.hold(f"{text} And so on."), entry)
        self.assertFalse(rows.hold(PROSE))

    def test_what_was_read_before_is_left_out(self):
        long = PROSE[:-1] + ", and when they had done so they sang until the sun had gone down behind the old mill."
        lines, left_out = kept(long, long.replace("old mill", "new mill"), PROSE)
        self.assertEqual(lines, [long])
        self.assertEqual(set(left_out), {"repeated"})

    def test_code_tables_and_headings_are_no_prose(self):
        self.assertTrue(is_prose(PROSE))
        for line in (
            "int main(int argc, char **argv) { return run_all(argc, argv) == 0 ? 0 : 1; }",
            "1999 2000 2001 2002 2003 2004 12.5 13.7 14.9 16.1",
            "Chapter seven which tells of the long way home",
        ):
            self.assertFalse(is_prose(line), line)

    def test_markup_loses_tags_tables_and_code(self):
        page = f"<html><head><title>T</title></head><body><p>{PROSE.replace('village', '<b>village</b>')}</p><pre>x = 1;</pre>"
        page += "<table><tr><td>one</td></tr></table><ul><li>A &amp; B.</li></ul></body></html>"
        self.assertEqual([line for line in large.paragraphs_of_markup(page) if line], [PROSE, "A & B."])

    def test_dictionaries_are_thinned_evenly(self):
        documents = [[f"entry {number:03}"] for number in range(100)]
        few = every_so_many(documents, large.size(documents) // 4)
        self.assertEqual(len(few), 25)
        self.assertGreater(few[-1][0], "entry 090")
        self.assertEqual(every_so_many(documents, 10**9), documents)


def first(file, column):
    rows = [line.split("\t") for line in (large.SAMPLES / file).read_text(encoding="utf-8").splitlines()]
    return max((row[rows[0].index(column)] for row in rows[1:50]), key=len)


if __name__ == "__main__":
    unittest.main()
