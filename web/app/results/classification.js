// Classification: the confusion matrix, the scores of each label, and the rows that it is most wrong about.

import { make, table } from '../dom.js'
import { count, decimal, percentFine } from '../format.js'
import { classTable, fineprint, quote, scroll, section, strong, worstList } from './parts.js'

export function sectionsOf(evaluation) {
  return [
    section('confusion', 'What it takes for what', confusionIntro(evaluation, 'row'), confusion(evaluation)),
    section('classes', 'Label by label', '',
      classTable('Scores of each label', evaluation.per_class, { label: 'Label', unit: 'Rows' }),
      fineprint(`All together: accuracy ${percentFine(evaluation.accuracy)}, macro F1 ${percentFine(evaluation.macro_f1)}, Matthews correlation ${decimal(evaluation.mcc)}, loss ${decimal(evaluation.loss)}.`)),
    section('worst-rows', 'Where it is most wrong', 'The held-out rows with the highest loss. Often it is the label that is wrong.', ...worstList(evaluation.worst.map(worstRow))),
  ]
}

function worstRow({ row, text, text_pair: pair, label, predicted, score }) {
  return [quote(text, pair), fineprint(`Row ${count(row)}. It is `, strong(label), ', the model says ', strong(predicted), ` and gives the true label ${percentFine(score)}.`)]
}

export function confusionIntro({ confusion_matrix: matrix, examples, accuracy }, unit) {
  const right = matrix.reduce((sum, row, index) => sum + row[index], 0)
  return `Each line is a true label; its numbers say how many ${unit}s the model took for each label. ${count(right)} of ${count(examples)} stand on the diagonal, where both agree: ${percentFine(accuracy)}.`
}

/** Also of tags. */
export function confusion({ labels, confusion_matrix: matrix }) {
  const heads = labels.map(label => make('span', { title: label }, label))
  const rows = matrix.map((row, truth) => [labels[truth], ...row.map((number, predicted) => heat(number, row, truth === predicted))])
  const corner = make('span', { className: 'corner' }, 'true ↓ taken for →')
  return scroll('Confusion matrix', table('True labels in lines, predicted labels in columns', [corner, ...heads], rows, labels.length > 4 ? 'confusion many' : 'confusion'))
}

/** A count, shaded by its share of the line; the root makes small shares visible. */
function heat(number, row, right) {
  const all = row.reduce((sum, other) => sum + other, 0) || 1
  const cell = make('span', { className: right ? 'heat right' : 'heat' }, number ? count(number) : '·')
  cell.style.setProperty('--p', Math.sqrt(number / all).toFixed(3))
  return cell
}
