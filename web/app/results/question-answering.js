// Question answering: the scores of SQuAD, and the questions that it answers wrongly.

import { make, table } from '../dom.js'
import { count, decimal, percentFine } from '../format.js'
import { paragraph } from '../marks.js'
import { figures, fineprint, quote, scroll, section, strong, worstList } from './parts.js'

const AROUND = 160

export function sectionsOf(evaluation) {
  const { all, has_ans: answerable, no_ans: unanswerable, worst } = evaluation
  const whole = all ?? evaluation
  return [
    section('figures', 'How well it does', '', figures([
      ['Answered to the letter', tenths(whole.exact), `of ${count(whole.total)} questions`],
      ['F1', tenths(whole.f1), 'words shared with the right answer'],
    ]), ...answerable && unanswerable ? [byKind(evaluation)] : []),
    section('worst-rows', worst.length ? 'What it answers wrongly' : 'Nothing is answered wrongly', worst.length ? 'The held-out questions whose answers share least with the right ones.' : '',
      ...worstList(worst.map(worstQuestion))),
  ]
}

/** The scripts of SQuAD give percents, everything else here gives shares. */
function tenths(percents) {
  return percentFine(percents / 100)
}

function byKind({ all, has_ans: answerable, no_ans: unanswerable, no_answer_threshold: threshold, pr_f1_ap: average }) {
  const line = (name, { exact, f1, total }) => [name, tenths(exact), tenths(f1), count(total)]
  const caption = 'Questions with and without an answer'
  return make('div', { id: 'by-kind' },
    scroll(caption, table(caption, ['Questions', 'To the letter', 'F1', 'Number'],
      [line('All', all), line('The paragraph has an answer', answerable), line('It has none', unanswerable)], 'numeric')),
    fineprint(`It keeps silent where “no answer” is ahead of the best answer by more than ${decimal(threshold, 2)}: the threshold that does best on these questions. Average precision of finding those with an answer, by F1: ${tenths(average)}.`))
}

function worstQuestion({ row, question, golds, predicted, f1, context }) {
  const right = golds.length ? `“${golds[0]}”` : 'that there is no answer'
  const said = predicted ? `“${predicted}”` : 'that there is no answer'
  return [
    quote(question),
    context ? excerpt(context, golds[0] ?? '', predicted) : null,
    fineprint(`Question ${count(row)}. The file says `, strong(right), ', the model says ', strong(said), f1 > 0 ? `; they share ${percentFine(f1)}.` : '.'),
  ]
}

/** The part of a paragraph around both answers. */
function excerpt(context, gold, predicted) {
  const spans = [spanOf(context, gold, 'gold', 'file'), spanOf(context, predicted, 'given', 'model')].filter(Boolean)
  if (!spans.length) return null
  const letters = [...context]
  const from = Math.max(Math.min(...spans.map(span => span.start)) - AROUND, 0)
  const to = Math.min(Math.max(...spans.map(span => span.end)) + AROUND, letters.length)
  const shift = from ? from - 1 : 0
  const text = `${from ? '…' : ''}${letters.slice(from, to).join('')}${to < letters.length ? '…' : ''}`
  return paragraph(text, pieces(spans.map(span => ({ ...span, start: span.start - shift, end: span.end - shift }))))
}

/** Spans that may overlap as pieces that do not; each note stands where its span ends. */
function pieces(spans) {
  const cuts = [...new Set(spans.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b)
  return cuts.slice(1).map((end, index) => {
    const covering = spans.filter(span => span.start < end && span.end > cuts[index])
    const ending = covering.filter(span => span.end === end)
    return { start: cuts[index], end, className: covering.map(({ className }) => className).join(' '), note: ending.map(({ note }) => note).join(', ') }
  }).filter(({ className }) => className)
}

/** Where a text first stands in the context, in code points. */
function spanOf(context, text, className, note) {
  const place = text ? context.indexOf(text) : -1
  if (place < 0) return null
  const start = [...context.slice(0, place)].length
  return { start, end: start + [...text].length, className, note }
}
