// Classification: the confusion matrix, the scores of each label, and the rows that it is most wrong about.

import { make, table } from '../dom.js'
import { count, decimal, percent, percentFine } from '../format.js'
import { classTable, fineprint, quote, scroll, section, strong, worstSection } from './parts.js'

/** With more labels than this the matrix has colours only, and a list of confusions beside it. */
const CELLS = 20
/** With more than this there is the list only. */
const MAP = 120
const CONFUSIONS = 20

export function sectionsOf(evaluation) {
  return [
    confusionSection(evaluation, 'row'),
    section('classes', 'Label by label', '',
      classTable('Scores of each label', evaluation.per_class, { label: 'Label', unit: 'Rows' }),
      fineprint(`All together: accuracy ${percentFine(evaluation.accuracy)}, macro F1 ${percentFine(evaluation.macro_f1)}, Matthews correlation ${decimal(evaluation.mcc)}, loss ${decimal(evaluation.loss)}.`)),
    worstSection(evaluation.worst.map(worstRow), 'The held-out rows with a wrong label that have the highest loss. Often it is the label of the file that is wrong.'),
  ]
}

function worstRow({ row, text, text_pair: pair, label, predicted, score }) {
  return [quote(text, pair), fineprint(`Row ${count(row)}. It is `, strong(label), ', the model says ', strong(predicted), ` and gives the true label ${percentFine(score)}.`)]
}

/** Also of tags. */
export function confusionSection(report, unit) {
  const { labels, confusion_matrix: matrix, examples, accuracy } = report
  const right = matrix.reduce((sum, row, index) => sum + row[index], 0)
  const how = labels.length > MAP ? 'The most frequent confusions.' : `Each line is a true label; its numbers say how many ${unit}s the model took for each label.`
  const intro = `${how} ${count(right)} of ${count(examples)} ${labels.length > MAP ? 'are right' : 'stand on the diagonal, where both agree'}: ${percentFine(accuracy)}.`
  return section('confusion', 'What it takes for what', intro,
    ...labels.length > MAP ? [] : [confusion(report)], ...labels.length > CELLS ? confusions(report) : [])
}

function confusion({ labels, confusion_matrix: matrix }) {
  const heads = labels.map(label => make('span', { title: label }, label))
  const dense = labels.length > CELLS
  const cell = (number, row, truth, predicted) => {
    const box = heat(dense ? '' : number ? count(number) : '·', number / (sumOf(row) || 1), truth === predicted)
    if (dense && number) box.title = `${labels[truth]} taken for ${labels[predicted]}: ${count(number)}`
    return box
  }
  const rows = matrix.map((row, truth) => [labels[truth], ...row.map((number, predicted) => cell(number, row, truth, predicted))])
  const corner = make('span', { className: 'corner' }, 'true ↓ taken for →')
  const className = `confusion${labels.length > 4 ? ' many' : ''}${dense ? ' dense' : ''}`
  return scroll('Confusion matrix', table('True labels in lines, predicted labels in columns', [corner, ...heads], rows, className))
}

/** A field shaded by its share of the line; the root makes small shares visible. */
function heat(text, share, right) {
  const field = make('span', { className: right ? 'heat right' : 'heat' }, text)
  field.style.setProperty('--p', Math.sqrt(share).toFixed(3))
  return field
}

/** What is most often taken for something else. */
function confusions({ labels, confusion_matrix: matrix }) {
  const wrong = matrix.flatMap((row, truth) => row.map((number, predicted) => ({ truth, predicted, number, share: number / (sumOf(row) || 1) })))
    .filter(({ truth, predicted, number }) => truth !== predicted && number > 0).sort((a, b) => b.number - a.number)
  if (!wrong.length) return []
  const rows = wrong.slice(0, CONFUSIONS).map(({ truth, predicted, number, share }) => [labels[truth], labels[predicted], count(number), percent(share)])
  return [fineprint(`The most frequent confusions, ${rows.length} of ${count(wrong.length)}:`),
    scroll('The most frequent confusions', table('The most frequent confusions', ['True', 'Taken for', 'Count', 'Share of the true'], rows, 'numeric'))]
}

function sumOf(row) {
  return row.reduce((sum, number) => sum + number, 0)
}
