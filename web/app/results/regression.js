// Regression: predicted against true scores, and the rows that are furthest off.

import { scatter } from '../chart.js'
import { make } from '../dom.js'
import { count, decimal, short } from '../format.js'
import { figures, fineprint, quote, section, strong, worstList } from './parts.js'

export function sectionsOf({ pearson, spearman, mse, mae, examples, points, worst }) {
  const words = `Predicted against true scores of ${count(examples)} rows: correlation ${known(pearson)}, ${short(mae)} off on average.`
  return [
    section('scatter', 'Predicted against true', 'A dot is a held-out row. On the line both agree; above it the model says too much, below it too little.',
      make('div', { className: 'beside' }, scatter(points, words), figures([
        ['Pearson’s correlation', known(pearson), '1 is perfect, 0 is chance'],
        ['Spearman’s correlation', known(spearman), 'of the ranks'],
        ['Mean squared error', short(mse), 'in squares of the score’s unit'],
        ['Off on average', short(mae), 'in the score’s unit'],
      ]))),
    section('worst-rows', 'Where it is most wrong', 'The held-out rows that are furthest off. Often it is the score that is wrong.', ...worstList(worst.map(worstRow))),
  ]
}

/** A correlation is not defined where all numbers are the same. */
function known(correlation) {
  return correlation === null ? 'not defined' : decimal(correlation)
}

function worstRow({ row, text, text_pair: pair, score, predicted }) {
  return [quote(text, pair), fineprint(`Row ${count(row)}. Its score is `, strong(short(score)), ', the model says ', strong(short(predicted)), '.')]
}
