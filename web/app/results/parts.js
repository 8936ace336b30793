// What the results of several tasks are made of.

import { bar } from '../chart.js'
import { make, table } from '../dom.js'
import { count, percent } from '../format.js'
import { TASKS } from '../tasks.js'

const SHOWN_WORST = 6
/** Of a text, in characters. */
const LONG = 1200

/** A part of the results under a heading; `id` names what tests and links look for. */
export function section(id, title, intro, ...content) {
  const heading = `${id}-title`
  return make('section', { className: 'step', 'aria-labelledby': heading },
    make('h2', { id: heading }, title), intro ? make('p', { className: 'fineprint' }, intro) : null, make('div', { id }, ...content))
}

/** What may be wider than the page, and then scrolls. */
export function scroll(label, ...content) {
  return make('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': label }, ...content)
}

/** A few large numbers side by side: [[name, value, note], ...]. */
export function figures(numbers) {
  return make('dl', { className: 'figures' }, ...numbers.map(([name, value, note]) => {
    return make('div', {}, make('dt', {}, name), make('dd', {}, value), note ? make('dd', { className: 'hint' }, note) : null)
  }))
}

/** Precision, recall and F1 of each label, the F1 also as a bar; `unit` is what the last column counts. */
export function classTable(caption, classes, { label, unit }) {
  const rows = classes.map(one => [one.label, percent(one.precision), percent(one.recall), percent(one.f1), bar(one.f1), count(one.support)])
  return scroll(caption, table(caption, [label, 'Precision', 'Recall', 'F1', '', unit], rows, 'numeric scores'))
}

/** The rows that went most wrong, the first few at once and the others on request. */
export function worstList(items) {
  const list = make('ol', { className: 'worst', id: 'worst' }, ...items.map((content, index) => make('li', { hidden: index >= SHOWN_WORST }, ...content)))
  if (items.length <= SHOWN_WORST) return [list]
  const more = make('button', { type: 'button', className: 'plain', id: 'worst-more' }, `Show all ${items.length}`)
  more.addEventListener('click', () => {
    for (const row of list.children) row.hidden = false
    list.children[SHOWN_WORST].tabIndex = -1
    list.children[SHOWN_WORST].focus()
    more.remove()
  })
  return [list, more]
}

/** The section of the rows that went most wrong, which may be none; `intro` says which they are. */
export function worstSection(items, intro, ...before) {
  if (!items.length) return section('worst-rows', 'Nothing is wrong', '', ...before, fineprint('Everything that is held out is right.'))
  return section('worst-rows', 'Where it is most wrong', intro, ...before, ...worstList(items))
}

/** How often each label stands in the data, the commonest first, at most `limit` of them. */
export function labelTable(caption, { task, labels }, limit = Infinity) {
  const { label: one, row } = TASKS[task]
  const sorted = [...labels].sort((a, b) => b.count - a.count)
  const most = sorted[0].count
  const rows = sorted.slice(0, limit).map(({ label, count: number }) => [label, bar(number / most), count(number)])
  return table(caption, [one, '', task === 'tagging' ? 'words' : `${row}s`], rows, 'bars')
}

/** Why rows cannot be used, as items of a list. */
export function skippedItems({ skipped, skipped_count: all }) {
  const lines = skipped.map(({ row, reason }) => make('li', { dir: 'auto' }, `Row ${count(row)}: ${reason}`))
  if (all > skipped.length) lines.push(make('li', {}, `and ${count(all - skipped.length)} more`))
  return lines
}

/** A text as it stands in the data, with its second text; the start of a long one. */
export function quote(text, pair) {
  return make('p', { className: 'quote', dir: 'auto' }, ...shortened(text), pair ? make('span', { className: 'second', dir: 'auto' }, ...shortened(pair)) : null)
}

function shortened(text) {
  const letters = [...text]
  if (letters.length <= LONG) return [text]
  return [letters.slice(0, LONG).join(''), make('small', {}, ` … ${count(letters.length)} characters in all`)]
}

export function fineprint(...content) {
  return make('p', { className: 'fineprint' }, ...content)
}

/** A piece of data among other words: its writing direction stays inside. */
export function strong(text) {
  return make('b', { dir: 'auto' }, text)
}
