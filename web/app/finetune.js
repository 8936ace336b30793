// The Fine-tune tab before training: data, columns, settings. What happens after Train is in run.js.

import { at, complain, make, say, settled, show } from './dom.js'
import { count, plural } from './format.js'
import { chosenReading, followLabelChoice, offerTasks, showInspection } from './inspection.js'
import { mountRun } from './run.js'
import { fetchSample, listSamples, sourceOf } from './samples.js'
import { readSettings, SETTINGS, writeSettings } from './settings.js'
import { isWindowed, TASKS } from './tasks.js'

const PATIENCE = 400
const PREFETCH_AFTER = 8000
const DEFAULT_LENGTH = 128

export function mountFinetune(app) {
  // `data`: { table, title, file, sample? }; `reading`: the task and the columns, as options of the library;
  // `inspection`: what the engine found.
  const state = { data: null, reading: {}, inspection: null, asked: 0 }
  const run = mountRun(app, {
    leave() {
      showSetup(true)
      app.saved.look()
    },
    enter() {
      showSetup(false)
      app.saved.hide()
    },
  })
  const look = reading => inspect(app, state, reading)
  const choose = data => {
    Object.assign(state, { data, inspection: null })
    if (data.sample) writeSettings(settingsOf(data.sample))
    say('data-line', data.line ?? '')
    return look(data.sample ? readingOf(data.sample) : {})
  }
  const samples = mountSamples(choose)
  mountOwnData(app, choose)
  at('task').addEventListener('change', () => look({ task: at('task').value || undefined }))
  for (const id of ['text-column', 'pair-column', 'label-column', 'label-columns']) {
    at(id).addEventListener('change', () => {
      followLabelChoice()
      look(chosenReading())
    })
  }
  at('max-length').addEventListener('input', settled(PATIENCE, () => state.inspection && look(state.reading)))
  at('form').addEventListener('input', () => {
    refresh(app, state)
    app.remember()
  })
  at('form').addEventListener('submit', event => {
    event.preventDefault()
    train(app, state, run)
  })
  at('back-to-run').addEventListener('click', () => showSetup(false))
  app.setup = setupOf(state, { samples, look })
  return {
    ready(model) {
      run.ready(model)
      if (state.data) look(state.reading)
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

/** What is set up for a run, and a way to set it up again: for links and for the list of runs. */
function setupOf(state, { samples, look }) {
  return {
    get: () => ({ sample: state.data?.sample ?? null, reading: state.reading }),
    /** `sample`: the id of a bundled set; without it the data stays what it is. */
    async set({ sample, reading, settings = {} }) {
      if (sample) await samples.then(choose => choose(sample))
      writeSettings(settings)
      if (state.data) await look(reading ?? state.reading)
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

function readingOf({ task, text, pair, label }) {
  return { task, textColumn: text ?? undefined, pairColumn: pair ?? undefined, labelColumn: label ?? undefined }
}

/** What a bundled set says about training; an option that it does not name is as the page has it at first. */
function settingsOf(sample) {
  const names = ['epochs', 'batchSize', 'learningRate', 'maxSeqLength', 'docStride']
  return Object.fromEntries(names.map(name => [name, sample[name] ?? at(SETTINGS[name].field).defaultValue]))
}

/** Lists the bundled sets by task; resolves with a function that chooses one by its id. */
async function mountSamples(choose) {
  try {
    const all = await Promise.all(Object.keys(TASKS).map(async task => [task, await listSamples(task)]))
    const filled = all.filter(([, samples]) => samples.length)
    at('samples').append(...filled.map(([task, samples]) => sampleGroup(task, samples, choose)))
    // In a moment of rest, so that the sets are there without a network later.
    const files = filled.flatMap(([, samples]) => samples.map(({ file }) => file))
    if (!navigator.connection?.saveData) setTimeout(() => files.forEach(file => fetchSample(file).catch(() => {})), PREFETCH_AFTER)
    const samples = filled.flatMap(([, list]) => list)
    return async id => {
      const sample = samples.find(one => one.id === id)
      if (!sample) return
      document.querySelector(`input[name=sample][value="${CSS.escape(id)}"]`).checked = true
      await chooseSample(sample, choose)
    }
  } catch {
    at('samples').append(make('p', { className: 'fineprint' }, 'The bundled sets could not be fetched; your own file works all the same.'))
    return async () => {}
  }
}

function sampleGroup(task, samples, choose) {
  const id = `sets-${task}`
  const size = ['', '', 'two'][samples.length] ?? 'many'
  return make('div', { className: `group ${size}`, role: 'group', 'aria-labelledby': id },
    make('p', { className: 'group-name', id }, make('strong', {}, TASKS[task].name), ` ${TASKS[task].about}`),
    make('div', { className: 'cards' }, ...samples.map(sample => sampleCard(sample, choose))))
}

function sampleCard(sample, choose) {
  const radio = make('input', { type: 'radio', name: 'sample', value: sample.id })
  radio.addEventListener('change', () => chooseSample(sample, choose))
  return make('label', { className: 'card' }, radio,
    make('strong', {}, sample.title), make('span', {}, sample.about), make('small', {}, plural(sample.rows, TASKS[sample.task].row)))
}

async function chooseSample(sample, choose) {
  complain('data-problem', null)
  say('data-line', 'Fetching…')
  try {
    const bytes = await fetchSample(sample.file)
    await choose({ table: { name: sample.file, bytes }, title: sample.title, file: sample.file, sample })
    at('data-line').replaceChildren(`${sample.licence}. `, make('a', { href: sourceOf(sample) }, 'Where it comes from'))
  } catch {
    say('data-line', '')
    complain('data-problem', { message: `${sample.title} could not be fetched.`, remedy: 'Check the connection and choose it again.' })
  }
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

/** A file may be dropped anywhere on the page: data to train on, or the zip of a model. */
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

// ---- inspection

async function inspect(app, state, reading) {
  complain('data-problem', null)
  state.reading = reading
  if (!app.model || !state.data) return refresh(app, state)
  const asked = ++state.asked
  const limit = Number(at('max-length').value) || DEFAULT_LENGTH
  try {
    const found = await app.model.inspect(state.data.table, { ...reading, maxSeqLength: limit })
    if (asked !== state.asked) return
    // Labels with a column each, and none of the columns named: what the engine then finds by itself is not meant.
    if (reading.labelColumns?.length === 0) found.labels = []
    state.inspection = found
    // Of a guess, the task is still to be chosen.
    state.reading = found.unclear ? reading : readingAs(found, reading)
    showInspection({ ...found, flags: reading.labelColumns }, limit)
    showSettingsFor(found)
    if (found.unclear) {
      const [message, remedy] = found.unclear.split(/\n\s*/)
      complain('data-problem', { message, remedy })
    }
    app.remember()
  } catch (error) {
    if (asked !== state.asked) return
    if (error.fatal) return app.lost(error)
    // Where something was found before, the pickers stay, so that another choice can be made.
    if (state.inspection) state.inspection = { ...state.inspection, broken: true }
    else if (state.data.sample) show('columns', false)
    else offerTasks(reading.task)
    complain('data-problem', error)
  }
  refresh(app, state)
}

/** The task and the columns that were found, so that training reads the file just so. */
function readingAs({ task, chosen }, { labelColumns }) {
  if (!chosen) return { task }
  const columns = { textColumn: chosen.text, pairColumn: chosen.pair ?? undefined, labelColumn: chosen.label ?? undefined }
  return labelColumns ? { task, ...columns, labelColumn: undefined, labelColumns } : { task, ...columns }
}

// ---- settings

/** Some settings are for some tasks only. */
function showSettingsFor({ task, chosen }) {
  say('length-hint', isWindowed(task) ? 'tokens; longer ones are read in windows' : 'tokens; the rest is cut off')
  show('doc-stride-field', isWindowed(task))
  show('double-pairs-field', Boolean(chosen?.pair))
}

/** What Train would do, or what it still waits for. */
function refresh(app, state) {
  const { inspection: found } = state
  const usable = Boolean(app.model && found && !found.broken && isLearnable(found))
  at('train').disabled = !usable
  say('train-line', !state.data ? 'Choose data first.'
    : !app.model ? 'The model is still on its way.'
      : usable ? stepsLine(found)
        : found ? missing(found) : '')
}

function isLearnable({ task, unclear, labels, range, rows }) {
  if (unclear) return false
  if (task === 'regression') return Boolean(range)
  return task === 'question-answering' ? rows > 0 : labels.length > 0
}

function missing({ task, unclear, chosen }) {
  if (unclear) return 'Choose above what to read it as.'
  if (!chosen) return `This file has no ${TASKS[task].label}s to learn from.`
  return task === 'regression' ? 'Choose the column with the scores.' : 'Choose the column with the labels.'
}

function stepsLine({ task, rows: all, labels, lengths }) {
  const rows = task === 'classification' ? labels.reduce((sum, label) => sum + label.count, 0) : all
  const held = at('eval-file').files.length ? 0 : Number(at('eval-fraction').value) / 100
  const steps = Math.ceil(rows * (1 - held) / Number(at('batch-size').value))
  const total = Math.ceil(steps * Number(at('epochs').value))
  if (!Number.isFinite(total) || total <= 0) return ''
  // How many windows there will be, only the run itself knows.
  const least = isWindowed(task) && lengths.truncated ? 'At least ' : ''
  return `${least}${plural(total, 'step')}, ${count(steps)} for each time through the data.`
}

function train(app, state, run) {
  complain('train-problem', null)
  try {
    const { sample } = state.data
    const origin = { started: new Date(), model: app.modelName, link: sample && location.hash }
    run.start({ ...state.data, ...origin, sample: sample?.id, reading: state.reading, inspection: state.inspection, settings: readSettings(), held: at('eval-file').files[0] })
  } catch (error) {
    complain('train-problem', error)
  }
}
