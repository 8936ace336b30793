// The Fine-tune tab before training: data, columns, settings. What happens after Train is in run.js.

import { ask, at, bringUp, complain, make, say, settled, show } from './dom.js'
import { bytes, duration, plural } from './format.js'
import { chosenReading, chosenSheet, followLabelChoice, offerTasks, showInspection } from './inspection.js'
import { mountRun } from './run.js'
import { fetchSample, listSamples, sourceOf } from './samples.js'
import { readSettings, SETTINGS, writeSettings } from './settings.js'
import { isWindowed, TASKS } from './tasks.js'
import { inWords } from './words.js'

const PATIENCE = 400
const PREFETCH_AFTER = 8000
const DEFAULT_LENGTH = 128
/** What "Watch it learn" learns. */
const EASIEST = 'spam'
const START = 'The first needs nothing from you: it trains on text messages that come with the page.'
const FITTED = ['epochs', 'batchSize', 'learningRate']
/** Held-out rows that are as good as more, and how often a run is tested. */
const ENOUGH_HELD = 1000
const TESTS = 8
/** Steps of larger models take too long to try any for an estimate. */
const LARGEST_TIMED = 4e7
const LONG = 600

export function mountFinetune(app) {
  // `data`: { table, title, file, sample? }; `reading`: the task and the columns, as options of the library;
  // `inspection`: what the engine found; `effort`: how long it may take, null where the numbers are one's own; `times`: what
  // an update and a test take here; `stop`: leaves off what is being read.
  const state = { data: null, reading: {}, inspection: null, asked: 0, effort: 'normal', times: null, stop: null, isReading: false, startsAtOnce: false, linkFile: null }
  const run = mountRun(app, {
    leave() {
      showSetup(true)
      refresh(app, state)
      app.saved.look()
    },
    enter() {
      showSetup(false)
      app.saved.hide()
    },
  })
  const go = () => train(app, state, run)
  const look = (reading, options) => inspect(app, state, { reading, go, ...options })
  const choose = (data, { bring = true, startsAtOnce = false } = {}) => {
    const isLinked = !data.sample && data.file === state.linkFile
    Object.assign(state, { data, inspection: null, times: null, startsAtOnce, linkFile: null })
    complain('train-problem', null)
    show('columns', false)
    at('tag-column').value = ''
    if (!isLinked && !state.effort) chooseEffort(state, 'normal')
    say('data-line', data.line ?? '')
    return look(data.sample ? readingOf(data.sample) : {}, { fits: !isLinked, bring })
  }
  const samples = mountSamples(choose)
  mountOwnData(app, run, choose)
  at('task').addEventListener('change', () => look({ task: at('task').value || undefined, ...chosenSheet() }, { fits: true }))
  at('sheet').addEventListener('change', () => look(chosenSheet(), { fits: true }))
  for (const id of ['text-column', 'pair-column', 'label-column', 'label-columns', 'tag-column']) {
    at(id).addEventListener('change', () => {
      followLabelChoice()
      look(chosenReading(), { fits: true })
    })
  }
  at('max-length').addEventListener('input', settled(PATIENCE, () => state.inspection && look(state.reading)))
  at('batch-size').addEventListener('input', settled(PATIENCE, () => time(app, state)))
  at('efforts').addEventListener('change', ({ target }) => {
    chooseEffort(state, target.value)
    fit(state)
    time(app, state)
  })
  at('take-quick').addEventListener('click', () => {
    chooseEffort(state, 'quick')
    fit(state)
    refresh(app, state)
    at('train').focus()
  })
  at('form').addEventListener('input', ({ target }) => {
    if (FITTED.some(name => SETTINGS[name].field === target.id)) chooseEffort(state, null)
    refresh(app, state)
    app.remember()
  })
  at('form').addEventListener('submit', event => {
    event.preventDefault()
    go()
  })
  at('reading-cancel').addEventListener('click', () => leaveOff(app, state))
  at('back-to-run').addEventListener('click', () => showSetup(false))
  at('start-now').addEventListener('click', () => startNow(app, state, { samples, look }))
  app.setup = setupOf(state, { samples, look })
  return {
    ready(model) {
      run.ready(model)
      state.times = null
      if (state.data) look(state.reading, { fits: state.effort !== null })
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
    get: () => ({ sample: state.data?.sample ?? null, file: namedFile(state.data), reading: state.reading, effort: state.effort, fitting: fittingOf(state) }),
    /** `sample`: the id of a bundled set; `file`: the name of one's own, which is to be chosen; without either the data stays what it is. */
    async set({ sample, file, reading, settings = {}, own = [] }) {
      if (sample) await samples.then(choose => choose(sample, { bring: false }))
      if (FITTED.some(name => own.includes(name))) chooseEffort(state, null)
      writeSettings(settings)
      if (!sample && file && file !== state.data?.file) {
        state.linkFile = file
        say('data-line', `This link is for your file “${file}”: choose it, and all is set up as the link says.`)
      }
      if (state.data) await look(reading ?? state.reading)
    },
  }
}

/** The name of a file of one's own; pasted rows have none. */
function namedFile(data) {
  return data && !data.sample && /\.\w+$/.test(data.file) ? data.file : null
}

/** Trains on the easiest set at once, with no question asked. */
async function startNow(app, state, { samples, look }) {
  at('start-now').disabled = true
  say('start-line', app.model ? 'Getting the messages…' : 'The engine is still on its way; it starts as soon as it is there.')
  chooseEffort(state, 'quick')
  // What is there is not fetched again.
  if (state.data?.sample?.id === EASIEST) {
    state.startsAtOnce = true
    return look(state.reading, { fits: true })
  }
  await samples.then(choose => choose(EASIEST, { bring: false, startsAtOnce: true }))
  if (state.data?.sample?.id === EASIEST) return
  at('start-now').disabled = false
  say('start-line', 'The set could not be fetched. Your own spreadsheet works all the same.')
}

function showSetup(visible) {
  show('setup', visible)
  show('run', !visible)
  show('curves-box', !visible)
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
  const names = [...FITTED, 'maxSeqLength', 'docStride', 'evalFraction']
  return Object.fromEntries(names.map(name => [name, sample[name] ?? firstOf(SETTINGS[name])]))
}

function firstOf({ field, kind }) {
  const first = at(field).defaultValue
  return kind === 'percent' ? Number(first) / 100 : first
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
    return async (id, options) => {
      const sample = samples.find(one => one.id === id)
      if (!sample) return
      document.querySelector(`input[name=sample][value="${CSS.escape(id)}"]`).checked = true
      await chooseSample(sample, data => choose(data, options))
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
  return make('label', { className: 'card', title: sample.about }, radio,
    make('strong', {}, sample.title), make('small', {}, plural(sample.rows, TASKS[sample.task].row)))
}

async function chooseSample(sample, choose) {
  complain('data-problem', null)
  say('data-line', 'Fetching…')
  try {
    const bytes = await fetchSample(sample.file)
    await choose({ table: { name: sample.file, bytes }, title: sample.title, file: sample.file, sample })
    at('data-line').replaceChildren(`${sample.about} ${sample.licence}. `, make('a', { href: sourceOf(sample) }, 'Where it comes from'))
  } catch {
    say('data-line', '')
    complain('data-problem', { message: `${sample.title} could not be fetched.`, remedy: 'Check the connection and choose it again.' })
  }
}

function mountOwnData(app, run, choose) {
  const own = async (blob, name) => {
    if (app.isTraining()) {
      const leave = await ask({ title: `Read ${name}?`, text: 'A run is going on. To look at another file it is stopped; you can continue it later.', yes: 'Stop it and read the file', no: 'Go on training' })
      if (!leave) return
      await run.halt()
    }
    app.openTab('finetune')
    if (at('setup').hidden) showSetup(true)
    for (const radio of document.querySelectorAll('input[name=sample]')) radio.checked = false
    choose({ table: { name, blob }, title: name, file: name, line: `${name}, ${sizeOf(blob)}` })
  }
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
  const take = ([file]) => /\.zip$/i.test(file.name) ? app.openModel([file]) : own(file, file.name)
  mountDrop(take)
  // Where a text is being written, a paste belongs there.
  window.addEventListener('paste', ({ target, clipboardData }) => {
    if (target.closest?.('input, textarea, dialog')) return
    const text = clipboardData.getData('text')
    if (clipboardData.files.length) take([...clipboardData.files])
    else if (text.trim().includes('\n')) own(new Blob([text]), 'pasted rows')
  })
}

/** A file may be dropped anywhere on the page, on any tab: data to train on, or the zip of a model. */
function mountDrop(take) {
  const isFile = event => event.dataTransfer?.types.includes('Files')
  // Without this the browser would leave the page and open the file.
  window.addEventListener('dragover', event => {
    event.preventDefault()
    if (isFile(event)) show('veil')
  })
  window.addEventListener('dragleave', event => event.relatedTarget || show('veil', false))
  window.addEventListener('drop', event => {
    event.preventDefault()
    show('veil', false)
    const files = [...event.dataTransfer.files]
    if (files.length && !document.querySelector('dialog[open]')) take(files)
  })
}

function sizeOf({ size }) {
  return size < 1e5 ? plural(size, 'byte') : bytes(size)
}

// ---- inspection

/** Looks into the data; `fits`: the settings are to fit what is found; `bring`: what is found is brought into view. */
async function inspect(app, state, { reading, go, fits = false, bring = false }) {
  complain('data-problem', null)
  state.reading = reading
  if (!app.model || !state.data) return refresh(app, state)
  const asked = ++state.asked
  state.stop?.abort()
  const stop = state.stop = new AbortController()
  const limit = Number(at('max-length').value) || DEFAULT_LENGTH
  // What is looked into once more, for other columns or lengths, can be trained on meanwhile.
  state.isReading = !state.inspection
  refresh(app, state)
  try {
    const found = await app.model.inspect(state.data.table, {
      ...reading, maxSeqLength: limit, signal: stop.signal,
      onReading: ({ loaded, total }) => state.isReading && say('train-line', `Reading ${state.data.title}, ${bytes(loaded)} of ${bytes(total)}`),
    })
    if (asked !== state.asked) return
    state.isReading = false
    // Labels with a column each, and none of the columns named: what the engine then finds by itself is not meant.
    if (reading.labelColumns?.length === 0) found.labels = []
    state.inspection = found
    // Of a guess, the task is still to be chosen.
    state.reading = found.unclear ? reading : readingAs(found, reading)
    showInspection({ ...found, flags: reading.labelColumns }, limit)
    showSettingsFor(found)
    if (fits) fit(state)
    if (found.unclear) {
      const [message, remedy] = found.unclear.split(/\n\s*/)
      complain('data-problem', inWords({ message, remedy }))
    }
    app.remember()
  } catch (error) {
    if (asked !== state.asked || stop.signal.aborted) return
    state.isReading = state.startsAtOnce = false
    if (error.fatal) return app.lost(error)
    // Where something was found before, the pickers stay, so that another choice can be made.
    if (state.inspection) state.inspection = { ...state.inspection, broken: true }
    else if (state.data.sample || isForeign(error)) show('columns', false)
    else offerTasks(reading.task)
    complain('data-problem', inWords(error))
  }
  refresh(app, state)
  if (state.startsAtOnce && state.inspection) return go()
  if (bring) bringUp(state.inspection ? 'columns' : 'data-problem')
  time(app, state)
}

/** What cannot be read as anything is for no task. */
function isForeign({ message }) {
  return /, and no text|is empty|no row below|not UTF|NUL|cannot be read|password/.test(message)
}

/** Leaves off what is being read; there is no data then. */
function leaveOff(app, state) {
  state.asked++
  state.stop?.abort()
  Object.assign(state, { isReading: false, data: null, inspection: null })
  say('data-line', '')
  for (const radio of document.querySelectorAll('input[name=sample]')) radio.checked = false
  refresh(app, state)
  at('file').focus()
}

/** The task and the columns that were found, so that training reads the file just so. */
function readingAs({ task, chosen, sheet }, { labelColumns, tagColumn }) {
  const own = sheet ? { task, sheet } : { task }
  if (!chosen) return { ...own, ...task === 'tagging' && { tagColumn } }
  const columns = { textColumn: chosen.text, pairColumn: chosen.pair ?? undefined, labelColumn: chosen.label ?? undefined }
  return labelColumns ? { ...own, ...columns, labelColumn: undefined, labelColumns } : { ...own, ...columns }
}

// ---- settings

/** Some settings are for some tasks only. */
function showSettingsFor({ task, chosen, format }) {
  say('length-hint', isWindowed(task) ? 'tokens; longer ones are read in windows' : 'tokens; the rest is cut off')
  show('doc-stride-field', isWindowed(task))
  show('double-pairs-field', Boolean(chosen?.pair))
  show('tag-field', task === 'tagging' && format !== 'squad')
}

function chooseEffort(state, effort) {
  state.effort = effort
  for (const radio of document.querySelectorAll('input[name=effort]')) radio.checked = radio.value === effort
}

/** The settings that fit the data, as a bundled set or the engine says; nothing where there is no data yet. */
function fittingOf({ data, inspection, effort }, wish = effort) {
  if (!inspection?.settings || !wish) return null
  const held = Math.min(firstOf(SETTINGS.evalFraction), ENOUGH_HELD / inspection.rows)
  const own = wish === 'normal' && data.sample ? settingsOf(data.sample) : {}
  return { ...inspection.settings[wish], evalFraction: data.sample ? firstOf(SETTINGS.evalFraction) : Math.ceil(held * 1000) / 1000, ...own }
}

function fit(state) {
  const fitting = fittingOf(state)
  if (fitting) writeSettings(fitting)
}

// ---- what Train would do

/** Measures what a step takes here, so that Train can say how long it will take. */
async function time(app, state) {
  state.timing?.abort()
  const { model } = app
  if (!model || !isUsable(app, state) || app.isTraining() || model.info.parameters > LARGEST_TIMED) return
  const timing = state.timing = new AbortController()
  try {
    const { maxSeqLength, batchSize, docStride } = readSettings({ isQuiet: true })
    const taken = await model.time(state.data.table, { ...state.reading, maxSeqLength, batchSize, docStride, seed: 0, signal: timing.signal })
    if (timing.signal.aborted) return
    state.times = { ...taken, batchSize }
    refresh(app, state)
  } catch (error) {
    // Without a measurement there is no estimate; what is wrong with the data or a setting, Train says.
    if (error.fatal && app.model === model) app.lost(error)
  }
}

/** Seconds that a run would take, or null; `settings` in the place of those of the form. */
function secondsOf(state, settings = {}) {
  const { times, inspection } = state
  if (!times || !inspection) return null
  const { steps, batch, held } = sizesOf(inspection, settings)
  return (steps * times.update * batch / times.batchSize + (TESTS + 1) * held * times.evaluation) / 1000
}

function sizesOf({ task, rows: all, labels }, { epochs = Number(at('epochs').value), batchSize = Number(at('batch-size').value) } = {}) {
  const rows = task === 'classification' ? labels.reduce((sum, label) => sum + label.count, 0) : all
  const share = at('eval-file').files.length ? 0 : Number(at('eval-fraction').value) / 100
  const held = Math.round(rows * share)
  const perEpoch = Math.ceil((rows - held) / batchSize)
  return { rows, held, perEpoch, batch: batchSize, steps: Math.max(1, Math.round(perEpoch * epochs)) }
}

function isUsable(app, { inspection: found, isReading }) {
  return Boolean(app.model && !isReading && found && !found.broken && isLearnable(found))
}

/** What Train would do, or what it still waits for. */
function refresh(app, state) {
  const { data, inspection: found, isReading } = state
  const usable = isUsable(app, state)
  at('train').disabled = !usable
  show('train-bar', Boolean(data))
  show('reading-cancel', isReading)
  showEfforts(state)
  const seconds = usable ? secondsOf(state) : null
  show('take-quick', seconds > LONG && state.effort !== 'quick')
  if (!app.isTraining()) at('start-now').disabled = state.startsAtOnce
  say('train-line', !data ? 'Choose data first.'
    : !app.model ? 'The model is still on its way.'
      : isReading ? `Reading ${data.title}${data.table.blob ? `, ${sizeOf(data.table.blob)}` : ''}`
        : usable ? stepsLine(app, found, seconds)
          : found ? missing(found) : '')
}

function showEfforts(state) {
  for (const effort of ['quick', 'normal', 'thorough']) {
    const fitting = fittingOf(state, effort)
    const seconds = fitting && secondsOf(state, fitting)
    say(`effort-${effort}`, fitting ? [`${plural(Number(fitting.epochs), 'epoch')}`, seconds && `about ${duration(seconds)}`].filter(Boolean).join(', ') : '')
  }
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

/** "574 rows, 3 labels, 144 steps, about 40 s on this CPU." */
function stepsLine(app, found, seconds) {
  const { rows, steps } = sizesOf(found)
  const { task, labels, lengths } = found
  const facts = [plural(rows, TASKS[task].row), labels.length ? plural(labels.length, TASKS[task].label) : '']
  if (!Number.isFinite(steps)) return `${facts.filter(Boolean).join(', ')}; one of the numbers under Advanced cannot be.`
  // How many windows there will be, only the run itself knows.
  const least = isWindowed(task) && lengths.truncated ? 'at least ' : ''
  const device = app.model.info.device.kind === 'webgpu' ? 'GPU' : 'CPU'
  const long = seconds === null ? '' : `, about ${duration(seconds)} on this ${device}`
  return `${facts.filter(Boolean).join(', ')}, ${least}${plural(steps, 'step')}${long}.`
}

function train(app, state, run) {
  complain('train-problem', null)
  state.timing?.abort()
  state.startsAtOnce = false
  say('start-line', START)
  try {
    const { sample } = state.data
    const origin = { started: new Date(), model: app.modelName, link: sample && location.hash }
    run.start({ ...state.data, ...origin, sample: sample?.id, licence: sample?.licence, reading: state.reading, inspection: state.inspection, settings: readSettings(), held: at('eval-file').files[0], estimate: secondsOf(state) })
  } catch (error) {
    complain('train-problem', error)
  }
}
