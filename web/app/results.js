// What came out: confusion matrix, scores of each label, and the rows it is most wrong about.

import { at, make, say, show, table } from './dom.js'
import { count, decimal, percent, percentFine } from './format.js'

const SHOWN_WORST = 6

export function showResults(evaluation) {
  show('results')
  showConfusion(evaluation)
  showClasses(evaluation)
  showWorst(evaluation.worst)
}

function showConfusion({ labels, confusion_matrix: matrix, examples, accuracy }) {
  const right = matrix.reduce((sum, row, index) => sum + row[index], 0)
  say('confusion-line', `${count(right)} of ${count(examples)} stand on the diagonal, where both agree: ${percentFine(accuracy)}.`)
  const heads = labels.map(label => make('span', { title: label }, label))
  const rows = matrix.map((row, truth) => [labels[truth], ...row.map((number, predicted) => heat(number, row, truth === predicted))])
  at('confusion').replaceChildren(table('True labels in lines, predicted labels in columns', [corner(), ...heads], rows, labels.length > 4 ? 'confusion many' : 'confusion'))
}

function corner() {
  return make('span', { className: 'corner' }, 'true ↓ taken for →')
}

/** A count, shaded by its share of the line; the root makes small shares visible. */
function heat(number, row, right) {
  const all = row.reduce((sum, other) => sum + other, 0) || 1
  const cell = make('span', { className: right ? 'heat right' : 'heat' }, number ? count(number) : '·')
  cell.style.setProperty('--p', Math.sqrt(number / all).toFixed(3))
  return cell
}

function showClasses({ per_class: classes, macro_f1: f1, mcc, accuracy, loss }) {
  const rows = classes.map(one => [one.label, percent(one.precision), percent(one.recall), percent(one.f1), count(one.support)])
  const scores = table('Scores of each label', ['Label', 'Precision', 'Recall', 'F1', 'Rows'], rows, 'numeric')
  const whole = make('p', { className: 'fineprint' }, `All together: accuracy ${percentFine(accuracy)}, macro F1 ${percentFine(f1)}, Matthews correlation ${decimal(mcc)}, loss ${decimal(loss)}.`)
  at('classes').replaceChildren(scores, whole)
}

function showWorst(worst) {
  at('worst').replaceChildren(...worst.map((one, index) => worstRow(one, index >= SHOWN_WORST)))
  const more = at('worst-more')
  more.hidden = worst.length <= SHOWN_WORST
  more.textContent = `Show all ${worst.length}`
  more.onclick = () => {
    for (const row of at('worst').children) row.hidden = false
    more.hidden = true
  }
}

function worstRow({ row, text, text_pair: pair, label, predicted, score }, hidden) {
  return make('li', { hidden },
    make('p', { className: 'quote' }, text, pair ? make('span', { className: 'second' }, pair) : null),
    make('p', { className: 'fineprint' }, `Row ${count(row)}. It is `, make('b', {}, label), ', the model says ', make('b', {}, predicted),
      ` and gives the true label ${percentFine(score)}.`))
}
