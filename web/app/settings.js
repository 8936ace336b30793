// The settings of a run: the fields of the form, read and written under the names of the library.

import { at } from './dom.js'

/** The field of each setting and what may stand in it. */
export const SETTINGS = {
  epochs: { field: 'epochs', above: 0 },
  batchSize: { field: 'batch-size', least: 1, whole: true },
  learningRate: { field: 'learning-rate', above: 0 },
  maxSeqLength: { field: 'max-length', least: 8, whole: true },
  docStride: { field: 'doc-stride', least: 1, whole: true, optional: true },
  seed: { field: 'seed', least: 0, whole: true },
  freeze: { field: 'freeze', kind: 'word' },
  evalFraction: { field: 'eval-fraction', above: 0, most: 90, kind: 'percent' },
  evalEvery: { field: 'eval-every', least: 1, whole: true, optional: true },
  keepBest: { field: 'keep-best', kind: 'yes' },
  patience: { field: 'patience', least: 1, whole: true, optional: true },
  warmup: { field: 'warmup', least: 0, most: 100, kind: 'percent' },
  weightDecay: { field: 'weight-decay', least: 0 },
  layerwiseDecay: { field: 'layerwise-decay', above: 0, most: 1 },
  dropout: { field: 'dropout', least: 0, most: 0.9, optional: true },
  doublePairs: { field: 'double-pairs', kind: 'yes' },
}

/**
 * All settings as the library takes them; a field that is hidden has no say. Throws at the first that is wrong, and leads
 * there unless it is to be quiet.
 */
export function readSettings({ isQuiet = false } = {}) {
  const shown = Object.entries(SETTINGS).filter(([, { field }]) => !at(field).closest('p').hidden)
  return Object.fromEntries(shown.map(([name, setting]) => [name, read(setting, isQuiet)]))
}

/** Fills the fields of these settings; one without a value becomes empty. */
export function writeSettings(settings) {
  for (const [name, value] of Object.entries(settings)) {
    const { field, kind } = SETTINGS[name] ?? {}
    if (!field) continue
    if (kind === 'yes') at(field).checked = Boolean(value)
    else at(field).value = kind === 'percent' ? Number((value * 100).toPrecision(6)) : value ?? ''
  }
}

function read(setting, isQuiet) {
  const { field, kind } = setting
  if (kind === 'yes') return at(field).checked
  if (kind === 'word') return at(field).value
  const number = readNumber(at(field), setting, isQuiet)
  return kind === 'percent' ? number / 100 : number
}

function readNumber(field, setting, isQuiet) {
  const text = field.value.trim().replace(',', '.')
  // What a number field cannot read as a number looks empty, but is not nothing.
  const number = field.validity.badInput ? NaN : text ? Number(text) : undefined
  const problem = valueProblem(setting, number)
  if (!isQuiet) field.setAttribute('aria-invalid', String(Boolean(problem)))
  if (!problem) return number
  if (isQuiet) throw new Error(problem)
  field.closest('details')?.setAttribute('open', '')
  field.focus()
  throw new Error(`${field.labels[0].textContent}: ${problem}.`)
}

/** Why a number, in the unit of its field, cannot stand there; nothing where it can. */
export function valueProblem({ above = -Infinity, least = -Infinity, most = Infinity, whole = false, optional = false }, number) {
  if (number === undefined ? optional : number > above && number >= least && number <= most && (!whole || Number.isInteger(number))) return ''
  const bounds = [above > -Infinity && `above ${above}`, least > -Infinity && `at least ${least}`, most < Infinity && `at most ${most}`].filter(Boolean).join(' and ')
  return `write a ${whole ? 'whole ' : ''}number ${bounds}`
}
