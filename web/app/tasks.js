// The tasks and their scores in the page's words.

import { count, decimal, percent, percentFine, plural, scientific, short } from './format.js'

/** In the order of the page. `row` and `label` are what a task calls its examples and their labels. */
export const TASKS = {
  'classification': {
    name: 'Classification', about: 'one label for each text', row: 'row', label: 'label',
    bars: 'Rows of each label', column: 'Label',
  },
  'multi-label': {
    name: 'Multi-label', about: 'any number of labels for each text', row: 'row', label: 'label',
    bars: 'Rows with each label', column: 'Labels',
  },
  'regression': {
    name: 'Regression', about: 'a number for each text', row: 'row', label: 'score',
    bars: 'Rows by score', column: 'Score',
  },
  'question-answering': {
    name: 'Question answering', about: 'the answer, found in a paragraph', row: 'question', label: 'answer',
    bars: '', column: 'Answers',
  },
  'tagging': {
    name: 'Tagging', about: 'a label for each word', row: 'sentence', label: 'tag',
    bars: 'Words of each tag', column: 'Tags',
  },
}

const SHARE = { short: percent, fine: percentFine }
const CORRELATION = { short: value => decimal(value, 2), fine: value => decimal(value) }

/** A score's name, and how it is written: short for the eye, fine for comparing. Those below are chosen on the command line. */
export const METRICS = {
  accuracy: { name: 'Accuracy', ...SHARE },
  micro_f1: { name: 'F1', ...SHARE },
  f1: { name: 'F1', ...SHARE },
  pearson: { name: 'Correlation', ...CORRELATION },

  macro_f1: { name: 'Macro F1', ...SHARE },
  exact: { name: 'Exact match', ...SHARE },
  mcc: { name: 'Matthews correlation', ...CORRELATION },
  spearman: { name: 'Rank correlation', ...CORRELATION },
}

/** Long texts of these are read piece by piece, those of the others are cut. */
export function isWindowed(task) {
  return task === 'tagging' || task === 'question-answering'
}

/** What a file holds: "Tagging: 4,000 sentences, 12 tags". */
export function foundLine({ task, rows, labels, range }) {
  const { name, row, label } = TASKS[task]
  const more = labels.length ? `, ${plural(labels.length, label)}` : range ? `, scores from ${short(range[0])} to ${short(range[1])}` : ''
  return `${name}: ${plural(rows, row)}${more}`
}

/** What a run will do: "48 rows to learn from, 12 held out. 2 epochs of 6 steps, ...". */
export function planLine(plan) {
  const { row } = TASKS[plan.task]
  const held = plan.eval_source === 'file' ? `${plural(plan.eval_rows, row)} of your own file to test it` : `${count(plan.eval_rows)} held out`
  const windows = plan.train_windows > plan.train_rows ? ` in ${plural(plan.train_windows, 'window')}` : ''
  const unknown = plan.unknown_tokens > .2 ? ` ${Math.round(plan.unknown_tokens * 100)} % of the tokens are unknown to this model: take one of the texts’ language.` : ''
  const skipped = plan.skipped_count ? ` ${plural(plan.skipped_count, row)} could not be used.` : ''
  return `${plural(plan.train_rows, row)}${windows} to learn from, ${held}. ${plural(plan.epochs, 'epoch')} of ${plural(plan.steps_per_epoch, 'step')}, batch ${plan.batch_size}, `
    + `learning rate ${scientific(plan.learning_rate)}, up to ${plan.max_seq_length} tokens.${unknown}${skipped}`
}

/** The metrics that `meaningOf` explains; any other only has its name. */
const USUAL = { 'classification': ['accuracy'], 'multi-label': ['micro_f1'], 'regression': ['pearson'], 'tagging': ['accuracy', 'f1'], 'question-answering': ['f1'] }

/** What a score means. */
export function meaningOf({ metric, metrics }, { task, eval_rows: rows }) {
  const held = `${plural(rows, TASKS[task].row)} that it never learns from`
  if (!USUAL[task].includes(metric)) return `${METRICS[metric].name}, on ${held}.`
  switch (task) {
    case 'classification': return `of ${held}, put under the right label.`
    case 'multi-label': return `F1 of all labels, on ${held}. All are named and none beside them: 100%. None is named: 0%.`
    case 'regression': return `Pearson’s correlation of its numbers with the true ones, on ${held}. 1 is perfect, 0 is chance.`
    case 'tagging': return metric === 'accuracy'
      ? `of the words in ${held}, given the right tag.`
      : `F1 of entities, in ${held}. One counts when its type and both its ends are right; before it learns, some are hit by chance.`
    default: return `F1: the words its answers share with the right ones, in ${held}. ${percentFine(metrics.exact)} are answered to the letter.`
  }
}

/** Fewer rows than this measure little, and a label of fewer rows is hardly learnt. */
const FEW_HELD = 30
const FEW_OF_LABEL = 5
/** Scores that are closer than this are the same. */
const SAME = 0.005

/**
 * What a score is worth, in words; `isOver`: nothing more is learnt at the moment.
 * @returns `{ words, isBad }`: whether it is better than an answer that needs no learning; no words where nothing can be said
 */
export function judgementOf({ metric, score, is_collapsed: isCollapsed }, { baseline, eval_rows: rows }, isOver) {
  if (baseline?.metric !== metric) return { words: '', isBad: false }
  const { fine } = METRICS[metric]
  const isBetter = score > baseline.score + SAME
  if (!isBetter && !isOver) return { words: `So far no better than answering ${quoted(baseline.answer)}.`, isBad: false }
  if (!isBetter) return { words: `No better than answering ${quoted(baseline.answer)}${isCollapsed ? ': that is all it does' : ''}. More rows, more time or a stronger model may help.`, isBad: true }
  const words = `Better than answering ${quoted(baseline.answer)}: ${fine(score)} against ${fine(baseline.score)}`
  if (rows >= FEW_HELD) return { words: `${words}.`, isBad: false }
  // Within two standard errors of what needs no learning: of a share of right answers, else of a correlation.
  const share = baseline.score
  const isLuck = score - share < 2 * Math.sqrt((share > 0 && share < 1 ? share * (1 - share) : 1) / rows)
  return { words: isLuck ? `${words}, on so few rows that it may be luck.` : `${words}, on only ${plural(rows, 'row')}.`, isBad: isLuck }
}

export function quoted(answer) {
  return answer.replace(/"([^"]*)"/g, '“$1”')
}

/** What makes a score doubtful, a sentence each. */
export function doubtsOf({ task, eval_rows: rows, duplicates, labels }) {
  const { row, label } = TASKS[task]
  const rare = task === 'classification' || task === 'multi-label' ? labels.filter(({ count: number }) => number < FEW_OF_LABEL) : []
  return [
    rows < FEW_HELD && `Only ${plural(rows, row)} ${rows === 1 ? 'is' : 'are'} held out: a few more right or wrong change the score much.`,
    duplicates > 0 && `${plural(duplicates, row)} of those held out ${duplicates === 1 ? 'is' : 'are'} among those it learns from, too: the score flatters.`,
    rare.length > 0 && `${plural(rare.length, label)} with fewer than ${FEW_OF_LABEL} rows to learn from: ${rare.slice(0, 5).map(one => `“${one.label}”`).join(', ')}${rare.length > 5 ? ', …' : ''}.`,
  ].filter(Boolean)
}

/** The evaluation whose weights a run keeps: the best one, of equal ones that with the smallest loss; or the last. */
export function keptOf(evaluations, { keepBest, patience }) {
  if (!keepBest && !patience) return evaluations.at(-1)
  const isBetter = (one, best) => one.score > best.score || one.score === best.score && one.loss < best.loss
  return evaluations.reduce((best, one) => isBetter(one, best) ? one : best)
}

/** What a model that was fine-tuned elsewhere can do. */
export function abilityOf({ task, labels, score_range: range }) {
  const names = labels?.join(', ') ?? ''
  switch (task) {
    case 'multi-label': return `This model says which of these fit a text: ${names}.`
    case 'regression': return `This model gives a text a number${range ? ` from ${short(range[0])} to ${short(range[1])}` : ''}.`
    case 'tagging': return `This model tags words: ${[...new Set((labels ?? []).map(label => label.replace(/^[BIESLU]-|-[BIESLU]$/, '')))].filter(label => label !== 'O').join(', ')}.`
    case 'question-answering': return 'This model finds the answer to a question in a paragraph.'
    default: return `This model tells apart ${names || 'its labels'}.`
  }
}
