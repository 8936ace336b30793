// The Fine-tune tab before training: data, columns, settings. What happens after Train is in run.js.

import { bar, histogram } from './chart.js'
import { at, complain, make, say, settled, show, table } from './dom.js'
import { count, plural } from './format.js'
import { mountRun } from './run.js'
import { fetchSample, listSamples, sourceOf } from './samples.js'

const PATIENCE = 400
const PREFETCH_AFTER = 8000
const SHOWN_LABELS = 12

export function mountFinetune(app) {
  // `data` is what the page holds: { table, title, file, sample? }; `inspection` what the engine made of it.
  const state = { data: null, inspection: null, asked: 0 }
  const run = mountRun(app, { leave: () => showSetup(true), enter: () => showSetup(false) })
  const look = (columns = {}) => inspect(app, state, columns)
  const choose = data => {
    Object.assign(state, { data, inspection: null })
    fillSettings(data.sample)
    say('data-line', data.line ?? '')
    return look()
  }
  mountSamples(choose)
  mountOwnData(app, choose)
  for (const id of ['text-column', 'pair-column', 'label-column']) at(id).addEventListener('change', () => look(chosenColumns()))
  at('max-length').addEventListener('input', settled(PATIENCE, () => state.inspection && look(chosenColumns())))
  at('form').addEventListener('input', () => refresh(app, state))
  at('form').addEventListener('submit', event => {
    event.preventDefault()
    train(state, run)
  })
  at('back-to-run').addEventListener('click', () => showSetup(false))
  return {
    ready(model) {
      run.ready(model)
      if (state.data) look(state.inspection ? chosenColumns() : {})
      refresh(app, state)
    },
    gone() {
      run.gone()
      showSetup(true)
      show('back-to-run', false)
      refresh(app, state)
    },
  }
}

function showSetup(visible) {
  show('setup', visible)
  show('run', !visible)
  show('back-to-run', visible)
  if (!visible) at('run-title').focus({ preventScroll: true })
  scrollTo({ top: 0 })
}

// ---- data

async function mountSamples(choose) {
  try {
    const samples = await listSamples('classification')
    at('samples').append(...samples.map(sample => sampleCard(sample, choose)))
    // In a moment of rest, so that the sets are there without a network later.
    if (!navigator.connection?.saveData) setTimeout(() => samples.forEach(({ file }) => fetchSample(file).catch(() => {})), PREFETCH_AFTER)
  } catch {
    at('samples').append(make('p', { className: 'fineprint' }, 'The bundled sets could not be fetched; your own file works all the same.'))
  }
}

function sampleCard(sample, choose) {
  const radio = make('input', { type: 'radio', name: 'sample', value: sample.id })
  radio.addEventListener('change', async () => {
    complain('data-problem', null)
    say('data-line', 'Fetching…')
    try {
      const bytes = await fetchSample(sample.file)
      await choose({ table: { name: sample.file, bytes }, title: sample.title, file: sample.file, sample })
      showSource(sample)
    } catch {
      say('data-line', '')
      complain('data-problem', { message: `${sample.title} could not be fetched.`, remedy: 'Check the connection and choose it again.' })
    }
  })
  return make('label', { className: 'card' }, radio,
    make('strong', {}, sample.title), make('span', {}, sample.about), make('small', {}, plural(sample.rows, 'row')))
}

function showSource(sample) {
  at('data-line').replaceChildren(`${sample.licence}. `, make('a', { href: sourceOf(sample) }, 'Where it comes from'))
}

function mountOwnData(app, choose) {
  const own = (blob, name) => chooseOwn(blob, name, choose)
  at('file').addEventListener('change', event => {
    const [file] = event.target.files
    if (file) own(file, file.name)
    event.target.value = ''
  })
  at('paste-open').addEventListener('click', event => {
    const open = at('paste').hidden
    show('paste', open)
    event.target.setAttribute('aria-expanded', String(open))
    if (open) at('paste-text').focus()
  })
  at('paste-use').addEventListener('click', () => own(new Blob([at('paste-text').value]), 'pasted rows'))
  mountDrop(files => /\.zip$/i.test(files[0].name) ? app.openModel(files) : own(files[0], files[0].name))
}

async function chooseOwn(blob, name, choose) {
  for (const radio of document.querySelectorAll('input[name=sample]')) radio.checked = false
  const bytes = new Uint8Array(await blob.arrayBuffer())
  choose({ table: { name, bytes }, title: name, file: name, line: `${name}, ${plural(bytes.length, 'byte')}` })
}

/** A file may be dropped anywhere on the page: rows to train on, or the zip of a model. */
function mountDrop(take) {
  const over = on => at('drop').classList.toggle('over', on)
  // Without this the browser would leave the page and open the file.
  window.addEventListener('dragover', event => {
    event.preventDefault()
    over(true)
  })
  window.addEventListener('dragleave', event => event.relatedTarget || over(false))
  window.addEventListener('drop', event => {
    event.preventDefault()
    over(false)
    const files = [...event.dataTransfer.files]
    if (files.length && !at('setup').hidden) take(files)
  })
}

// ---- columns

function chosenColumns() {
  const chosen = id => at(id).value || undefined
  return { textColumn: chosen('text-column'), pairColumn: chosen('pair-column'), labelColumn: chosen('label-column') }
}

async function inspect(app, state, columns) {
  complain('data-problem', null)
  if (!app.model || !state.data) return refresh(app, state)
  const asked = ++state.asked
  const { sample } = state.data
  const named = sample ? { textColumn: sample.text, pairColumn: sample.pair ?? undefined, labelColumn: sample.label } : {}
  try {
    const inspection = await app.model.inspect(state.data.table, { ...named, ...columns, maxSeqLength: Number(at('max-length').value) || 128 })
    if (asked !== state.asked) return
    state.inspection = inspection
    showInspection(inspection)
  } catch (error) {
    if (asked !== state.asked) return
    if (error.fatal) return app.lost(error)
    // With columns chosen by hand the pickers stay, so that another choice can be made.
    if (!Object.keys(columns).length) {
      state.inspection = null
      show('columns', false)
    } else {
      state.inspection &&= { ...state.inspection, broken: true }
    }
    complain('data-problem', error)
  }
  refresh(app, state)
}

function showInspection(found) {
  show('columns')
  fillColumns('text-column', found.columns, found.chosen.text)
  fillColumns('pair-column', found.columns, found.chosen.pair, 'none')
  fillColumns('label-column', found.columns, found.chosen.label, found.chosen.label ? null : 'choose one')
  const kinds = { csv: 'comma-separated', tsv: 'tab-separated', jsonl: 'JSON lines' }
  say('columns-line', `${plural(found.rows, 'row')}, ${kinds[found.format] ?? found.format}${found.has_header || found.format === 'jsonl' ? '' : ', no header'}.`)
  showLabels(found.labels)
  showLengths(found.lengths)
  showSkipped(found)
  at('preview').replaceChildren(table('The first rows', found.columns, found.preview.map(row => row.map(cell => cell ?? '')), 'rows'))
}

function fillColumns(id, columns, chosen, none) {
  const options = columns.map(name => make('option', { value: name, selected: name === chosen }, name))
  if (none) options.unshift(make('option', { value: '', selected: chosen === null }, none))
  at(id).replaceChildren(...options)
}

function showLabels(labels) {
  const most = Math.max(...labels.map(label => label.count))
  const rows = labels.slice(0, SHOWN_LABELS).map(({ label, count: rows }) => [label, bar(rows / most), count(rows)])
  say('labels-title', labels.length > SHOWN_LABELS ? `Rows of each label, ${SHOWN_LABELS} of ${labels.length}` : 'Rows of each label')
  at('label-counts').replaceChildren(table('Rows of each label', ['Label', '', 'Rows'], rows, 'bars'))
}

function showLengths({ bins, mean, max, truncated }) {
  const limit = Number(at('max-length').value)
  const most = Math.max(...bins.map(bin => bin.count), 1)
  at('lengths').replaceChildren(histogram(bins.map(({ from, to, count: rows }) => ({
    share: rows / most, over: from > limit, title: `${from} to ${to} tokens: ${plural(rows, 'row')}`,
  }))), make('div', { className: 'ends', 'aria-hidden': 'true' }, make('span', {}, String(bins[0]?.from ?? 0)), make('span', {}, String(bins.at(-1)?.to ?? 0))))
  const cut = truncated ? `${plural(truncated, 'row')} longer than ${limit} will be cut.` : `None is longer than ${limit}, so nothing is cut.`
  say('lengths-line', `${Math.round(mean)} on average, ${max} at most. ${cut}`)
}

function showSkipped({ skipped, skipped_count: all }) {
  show('skipped', all > 0)
  say('skipped-title', `${plural(all, 'row')} cannot be used`)
  const lines = skipped.map(({ row, reason }) => make('li', {}, `Row ${count(row)}: ${reason}`))
  if (all > skipped.length) lines.push(make('li', {}, `and ${count(all - skipped.length)} more`))
  at('skipped-rows').replaceChildren(...lines)
}

// ---- settings

function fillSettings(sample) {
  if (!sample) return
  at('epochs').value = sample.epochs ?? at('epochs').value
  at('batch-size').value = sample.batchSize ?? at('batch-size').value
  at('learning-rate').value = sample.learningRate ?? at('learning-rate').value
  at('max-length').value = sample.maxSeqLength ?? at('max-length').value
}

/** What Train would do, or what it still waits for. */
function refresh(app, state) {
  const usable = app.model && state.inspection?.chosen.label && !state.inspection.broken
  at('train').disabled = !usable
  say('train-line', !state.data ? 'Choose data first.'
    : !app.model ? 'The model is still on its way.'
      : usable ? stepsLine(state.inspection)
        : state.inspection ? 'Choose the column with the labels.' : '')
}

function stepsLine({ labels }) {
  const rows = labels.reduce((sum, label) => sum + label.count, 0)
  const held = at('eval-file').files.length ? 0 : Number(at('eval-fraction').value) / 100
  const steps = Math.ceil(rows * (1 - held) / Number(at('batch-size').value))
  const all = Math.ceil(steps * Number(at('epochs').value))
  return Number.isFinite(all) && all > 0 ? `${plural(all, 'step')}, ${count(steps)} for each time through the data.` : ''
}

async function train(state, run) {
  complain('train-problem', null)
  try {
    const held = at('eval-file').files[0]
    run.start({ ...state.data, pair: at('pair-column').value, settings: { ...readSettings(), ...chosenColumns() }, held })
  } catch (error) {
    complain('train-problem', error)
  }
}

function readSettings() {
  return {
    epochs: readNumber('epochs', { above: 0 }),
    batchSize: readNumber('batch-size', { least: 1, whole: true }),
    learningRate: readNumber('learning-rate', { above: 0 }),
    maxSeqLength: readNumber('max-length', { least: 8, whole: true }),
    seed: readNumber('seed', { least: 0, whole: true }),
    freeze: at('freeze').value,
    evalFraction: readNumber('eval-fraction', { above: 0, most: 90 }) / 100,
    evalEvery: readNumber('eval-every', { least: 1, whole: true, optional: true }),
    warmup: readNumber('warmup', { least: 0, most: 100 }) / 100,
    weightDecay: readNumber('weight-decay', { least: 0 }),
    layerwiseDecay: readNumber('layerwise-decay', { above: 0, most: 1 }),
    dropout: readNumber('dropout', { least: 0, most: 0.9, optional: true }),
  }
}

function readNumber(id, { above = -Infinity, least = -Infinity, most = Infinity, whole = false, optional = false }) {
  const field = at(id)
  const text = field.value.trim().replace(',', '.')
  if (optional && !text) return undefined
  const number = Number(text)
  const good = text && number > above && number >= least && number <= most && (!whole || Number.isInteger(number))
  field.setAttribute('aria-invalid', String(!good))
  if (good) return number
  field.closest('details')?.setAttribute('open', '')
  field.focus()
  const bounds = [above > -Infinity && `above ${above}`, least > -Infinity && `at least ${least}`, most < Infinity && `at most ${most}`].filter(Boolean).join(' and ')
  throw new Error(`${field.labels[0].textContent}: write a ${whole ? 'whole ' : ''}number ${bounds}.`)
}
