// What a file holds, as the engine found it: the task, the columns, labels or scores, lengths, rows that cannot be used.

import { histogram } from './chart.js'
import { at, make, say, show, table } from './dom.js'
import { count, plural, short } from './format.js'
import { legend, schemeOf, tagged } from './marks.js'
import { labelTable, skippedItems } from './results/parts.js'
import { foundLine, isWindowed, TASKS } from './tasks.js'
import { inWords } from './words.js'

const SHOWN_LABELS = 12
const SHOWN_LETTERS = 300
const DELIMITERS = { ',': 'comma-separated', ';': 'semicolon-separated', '\t': 'tab-separated' }
const FORMATS = { csv: 'a table', tsv: 'tab-separated', jsonl: 'JSON lines', conll: 'a word a line', squad: 'SQuAD’s JSON', spreadsheet: 'a spreadsheet' }

export function showInspection(found, limit) {
  show('columns')
  show('found')
  const noHeader = found.chosen && !found.has_header && found.format !== 'jsonl'
  say('columns-title', found.unclear ? plural(found.rows, 'row') : foundLine(found))
  const why = [found.reason && `taken as ${TASKS[found.task].name}: ${found.reason}`, ...(found.notes ?? []).map(note => inWords({ message: note }).message)].filter(Boolean)
  const format = DELIMITERS[found.delimiter] ?? FORMATS[found.format] ?? found.format
  say('columns-line', `The file is ${format}${noHeader ? ', without a header' : ''}${why.map(words => `; ${words}`).join('')}.`)
  fillSheets(found)
  fillTasks(found.tasks, found.unclear ? null : found.task)
  fillPickers(found)
  showLabels(found)
  showScores(found)
  showLengths(found, limit)
  showSkipped(found)
  at('preview').replaceChildren(preview(found))
}

/** Nothing could be made of the file: what is left to choose is the task. */
export function offerTasks(chosen) {
  show('columns')
  show('found', false)
  say('columns-title', 'What is it for?')
  fillSheets({ sheets: [] })
  fillTasks(Object.keys(TASKS), chosen)
}

function fillTasks(tasks, chosen) {
  show('task-field', tasks.length > 1 || !chosen)
  const options = tasks.map(task => make('option', { value: task, selected: task === chosen }, `${TASKS[task].name}: ${TASKS[task].about}`))
  if (!chosen) options.unshift(make('option', { value: '', selected: true }, 'choose one'))
  at('task').replaceChildren(...options)
}

function fillSheets({ sheets, sheet }) {
  show('sheet-field', sheets.length > 1)
  at('sheet').replaceChildren(...sheets.map(title => make('option', { value: title, selected: title === sheet }, title)))
}

// ---- columns

/** The sheet of a spreadsheet that is chosen, where there is a choice. */
export function chosenSheet() {
  return at('sheet-field').hidden ? {} : { sheet: at('sheet').value }
}

/** What is chosen by hand, in the words of the engine's options. */
export function chosenReading() {
  const value = id => at(id).value || undefined
  const own = { task: value('task'), ...chosenSheet() }
  if (at('pickers').hidden) return { ...own, ...!at('tag-field').hidden && { tagColumn: at('tag-column').value.trim() || undefined } }
  const [each] = at('label-column').selectedOptions
  const label = each?.dataset.each ? { labelColumns: checkedColumns() } : { labelColumn: value('label-column') }
  return { ...own, textColumn: value('text-column'), pairColumn: value('pair-column'), ...label }
}

function checkedColumns() {
  return [...at('label-columns').querySelectorAll('input:checked')].map(box => box.value)
}

/** `flags`: the columns that were chosen for labels with a column each, if that is how the file is read. */
function fillPickers({ task, columns, chosen, preview: rows, flags }) {
  show('pickers', Boolean(chosen))
  if (!chosen) return show('label-columns', false)
  fillColumns('text-column', columns, chosen.text)
  fillColumns('pair-column', columns, chosen.pair, 'none')
  fillColumns('label-column', columns, chosen.label, chosen.label || flags ? null : 'choose one')
  say('label-name', TASKS[task].column)
  if (task === 'multi-label') at('label-column').append(eachOption(Boolean(flags)))
  const isFlag = place => rows.length > 0 && rows.every(row => row[place] === '0' || row[place] === '1')
  const free = columns.map((name, place) => ({ name, isFlag: isFlag(place) })).filter(({ name }) => name !== chosen.text && name !== chosen.pair)
  fillFlags(free, flags)
}

function eachOption(selected) {
  const option = make('option', { value: '', selected }, 'a column for each label')
  option.dataset.each = 'yes'
  return option
}

/** The boxes for labels with a column each; those that are there stay, and with them the keyboard's focus. */
function fillFlags(columns, flags) {
  show('label-columns', Boolean(flags))
  const boxes = () => [...at('label-boxes').querySelectorAll('input')]
  const isSame = boxes().length === columns.length && boxes().every((box, index) => box.value === columns[index].name)
  if (!isSame) at('label-boxes').replaceChildren(...columns.map(flagBox))
  boxes().forEach((box, index) => {
    box.checked = Boolean(flags?.includes(box.value))
    box.dataset.isFlag = columns[index].isFlag
  })
}

function flagBox({ name }, index) {
  const box = make('input', { type: 'checkbox', id: `label-box-${index}`, value: name })
  return make('p', { className: 'choice' }, box, make('label', { htmlFor: box.id }, name))
}

/** Asks for the columns of the labels when they have one each; at first those are chosen whose first rows are 0 and 1. */
export function followLabelChoice() {
  const [chosen] = at('label-column').selectedOptions
  const each = Boolean(chosen?.dataset.each)
  if (each && at('label-columns').hidden) {
    for (const box of at('label-boxes').querySelectorAll('input')) box.checked = box.dataset.isFlag === 'true'
  }
  show('label-columns', each)
}

function fillColumns(id, columns, chosen, none) {
  const options = columns.map(name => make('option', { value: name, selected: name === chosen }, name))
  if (none) options.unshift(make('option', { value: '', selected: chosen === null }, none))
  at(id).replaceChildren(...options)
}

// ---- labels, scores, lengths

function showLabels(found) {
  const { task, labels } = found
  show('labels-figure', labels.length > 0)
  if (!labels.length) return
  const { bars: title } = TASKS[task]
  say('labels-title', labels.length > SHOWN_LABELS ? `${title}, the commonest ${SHOWN_LABELS} of ${labels.length}` : title)
  at('label-counts').replaceChildren(labelTable(title, found, SHOWN_LABELS))
}

function showScores({ scores, range }) {
  show('scores-figure', Boolean(scores))
  if (!scores) return
  at('scores').replaceChildren(...bins(scores.bins, { range, name: 'scores from', unit: 'row' }))
  say('scores-line', `From ${short(range[0])} to ${short(range[1])}, ${short(scores.mean)} on average.`)
}

function showLengths({ task, rows, skipped_count: skipped, lengths: { measured, bins: all, mean, max, truncated } }, limit) {
  const { row } = TASKS[task]
  at('lengths').replaceChildren(...bins(all, { range: [all[0]?.from ?? 0, all.at(-1)?.to ?? 0], unit: row, after: ' tokens', limit }))
  const isSome = measured < rows - skipped
  const fate = isWindowed(task) ? 'read in several windows' : 'cut'
  const long = truncated ? `${plural(truncated, row)} longer than ${limit} will be ${fate}.` : `None is longer than ${limit}, so nothing is ${fate}.`
  say('lengths-title', task === 'question-answering' ? 'Length in tokens, question and paragraph' : 'Length in tokens')
  say('lengths-line', `${Math.round(mean)} on average, ${count(max)} at most${isSome ? `, of ${plural(measured, row)} from all over the file` : ''}. ${long}`)
}

function bins(all, { range, unit, name = '', after = '', limit = Infinity }) {
  const most = Math.max(...all.map(bin => bin.count), 1)
  const bars = all.map(({ from, to, count: number }) => ({
    share: number / most, over: from > limit, title: `${name} ${short(from)} to ${short(to)}${after}: ${plural(number, unit)}`.trim(),
  }))
  return histogram(bars, range.map(short))
}

function showSkipped(found) {
  const { task, skipped_count: all } = found
  show('skipped', all > 0)
  say('skipped-title', `${plural(all, TASKS[task].row)} cannot be used`)
  at('skipped-rows').replaceChildren(...skippedItems(found))
}

// ---- the first rows

function preview({ task, columns, preview: rows, labels }) {
  if (task === 'tagging' && labels.length) return previewTags(rows, schemeOf(labels.map(({ label }) => label)))
  const cut = cell => cell === null ? '' : cell.length > SHOWN_LETTERS ? `${cell.slice(0, SHOWN_LETTERS)}…` : cell
  return table('The first rows', columns, rows.map(row => row.map(cut)), 'rows')
}

function previewTags(rows, scheme) {
  const sentences = rows.map(([words, labels]) => tagged(words.split(' '), labels.split(' '), scheme))
  return make('div', {}, legend(scheme), ...sentences)
}
