// Multi-label: how well each label is found, and the rows that it is most wrong about.

import { count, decimal, percent, percentFine } from '../format.js'
import { classTable, figures, fineprint, quote, section, strong, worstSection } from './parts.js'

export function sectionsOf(evaluation) {
  const { micro, macro_f1: macro, subset_accuracy: subset, per_label: labels, examples, loss, worst } = evaluation
  return [
    section('figures', 'How well it does', '', figures([
      ['F1 of all labels', percentFine(micro.f1), `precision ${percent(micro.precision)}, recall ${percent(micro.recall)}`],
      ['F1, each label alike', percentFine(macro), 'rare labels count as much as common ones'],
      ['All labels right', percentFine(subset), `of ${count(examples)} rows`],
    ])),
    section('classes', 'Label by label', 'Precision: how often it is right when it names the label. Recall: how much of what has the label it finds.',
      classTable('Scores of each label', labels, { label: 'Label', unit: 'Rows' }), fineprint(`Loss ${decimal(loss)}.`)),
    worstSection(worst.map(worstRow), 'The held-out rows with a wrong label that have the highest loss. Often it is the labels of the file that are wrong.'),
  ]
}

function worstRow({ row, text, text_pair: pair, labels, predicted }) {
  const missed = labels.filter(label => !predicted.includes(label))
  const extra = predicted.filter(label => !labels.includes(label))
  const note = (words, some) => some.length ? [`; ${words} `, strong(listed(some))] : []
  return [quote(text, pair), fineprint(`Row ${count(row)}. It has `, strong(listed(labels)), ', the model says ', strong(listed(predicted)),
    ...note('missed:', missed), ...note('not its own:', extra), '.')]
}

function listed(labels) {
  return labels.length ? labels.join(', ') : 'no label'
}
