// What the results of several tasks are made of.

import { bar } from '../chart.js'
import { make, table } from '../dom.js'
import { count, percent } from '../format.js'

const SHOWN_WORST = 6

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

/** A text as it stands in the data, with its second text. */
export function quote(text, pair) {
  return make('p', { className: 'quote' }, text, pair ? make('span', { className: 'second' }, pair) : null)
}

export function fineprint(...content) {
  return make('p', { className: 'fineprint' }, ...content)
}

export function strong(text) {
  return make('b', {}, text)
}
