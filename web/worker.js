// Owns the Session: the engine, its model and its training run. One request {id, type, data} gets exactly one
// reply {id, ok, result | error}; progress goes out between as {event, id, ...}.

import { finishRun, holdRun, readRun, writeRun } from './checkpoints.js'
import { chooseDevice, describeMachine } from './device.js'
import { copyOf, readable } from './pieces.js'
import { countBytes, fetchOrExplain, readSource } from './source.js'

const PROGRESS_INTERVAL = 50
// 'auto' checkpoints: so often, and never more than a twentieth of the time.
const CHECKPOINT_INTERVAL = 10_000
const CHECKPOINT_SHARE = 20
// How long updates are timed, in milliseconds and in number.
const TIMED = 1000
const TIMED_UPDATES = 10

let session = null
// The model's files as they came, for the engine and for checkpoints; Blobs, which the browser holds elsewhere than in memory.
let modelFiles = null
let chosenDevice = null
let run = null
let death = null
let panic = ''
let queue = Promise.resolve()
const open = new Set()
// Requests that nobody waits for any more.
const cancelled = new Set()
// A file is read from the disk once, however often it is looked into.
let lastFile = null

self.onmessage = ({ data: { id, type, data } }) => {
  if (type === 'cancel') return void (open.has(data) && cancelled.add(data))
  open.add(id)
  answer(id, type, data)
}
// What was asked of the network, for a page that counts it.
new PerformanceObserver(list => self.postMessage({ event: 'fetched', addresses: list.getEntries().map(({ name }) => name) })).observe({ type: 'resource', buffered: true })
// A panic inside the engine shows up here, not in the promise that was waiting for it, which then never settles.
self.addEventListener('error', event => {
  event.preventDefault()
  die(event.error ?? event.message)
})
self.addEventListener('unhandledrejection', event => {
  if (event.reason instanceof WebAssembly.RuntimeError) die(event.reason)
})
const report = console.error
console.error = (...words) => {
  panic = /panicked at [^\n]*\n(.*)/.exec(String(words[0]))?.[1] ?? panic
  report(...words)
}

async function answer(id, type, data) {
  try {
    if (death) throw death
    const result = await handle(id, type, data)
    reply(id, { ok: true, result }, buffersOf(result))
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) die(error)
    else reply(id, { ok: false, error: describeError(error) })
  }
}

function handle(id, type, data) {
  switch (type) {
    case 'devices': return describeMachine()
    case 'load': return load(id, data)
    case 'inspect': return inspect(id, data)
    case 'time': return time(id, data)
    case 'finetune': return finetune(id, data)
    case 'pause': return pause()
    case 'resume': return resume()
    case 'stop': return stop()
    case 'evaluate': return tableOf(id, data.data).then(table => alone(() => session.evaluate(table, data.options)))
    case 'predict': return alone(() => session.predict(data.inputs, data.options))
    case 'detect': return alone(() => session.detect(data.texts))
    case 'fill': return alone(() => session.fill(data.texts, data.options))
    case 'export_files': return exportFiles()
    case 'export_zip': return exportZip(data.more)
    default: throw new Error(`The worker knows no request "${type}".`)
  }
}

/** Runs a call when the ones before it are through: the Session takes one at a time. */
function alone(call) {
  const result = queue.then(() => {
    if (death) throw death
    if (!session) throw new Error('No model is loaded.')
    return call()
  })
  queue = result.catch(() => {})
  return result
}

// ---- data

/** A table as { name, bytes }; a file is read in pieces, so that it can be told how far that is, and be left off. */
async function tableOf(id, { name, bytes, blob }) {
  if (!blob) return { name, bytes }
  const key = [name, blob.size, blob.lastModified].join('/')
  if (lastFile?.key === key) return { name, bytes: lastFile.bytes }
  const all = new Uint8Array(blob.size)
  const reader = blob.stream().getReader()
  for (let loaded = 0; ;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Error(`${name}: cannot be read\n  Choose it again; it may have been changed, moved or removed.`)
    })
    if (done) break
    checkWanted(id)
    all.set(value, loaded)
    loaded += value.length
    emit(id, { event: 'reading', loaded, total: blob.size })
  }
  lastFile = blob.lastModified === undefined ? null : { key, bytes: all }
  return { name, bytes: all }
}

function checkWanted(id) {
  if (cancelled.has(id)) throw new Error('It was cancelled.')
}

async function inspect(id, { data, options, maxSeqLength }) {
  const table = await tableOf(id, data)
  return alone(() => {
    checkWanted(id)
    return session.inspect(table, options, maxSeqLength)
  })
}

/** How long an update and a row of a test take: on some rows of the data, for a second or a few updates. */
async function time(id, { data, options }) {
  const table = await tableOf(id, data)
  const timed = call => alone(async () => {
    checkWanted(id)
    const started = performance.now()
    const result = await call()
    return { taken: performance.now() - started, result }
  })
  await timed(() => session.rehearse(options, table))
  // The first makes what the others use again.
  await timed(() => session.rehearse_update())
  const updates = []
  for (let spent = 0; updates.length < 2 || (spent < TIMED && updates.length < TIMED_UPDATES); spent += updates.at(-1)) {
    updates.push((await timed(() => session.rehearse_update())).taken)
  }
  const { taken, result: rows } = await timed(() => session.rehearse_evaluation())
  return { update: updates.reduce((sum, one) => sum + one, 0) / updates.length, evaluation: taken / rows }
}

// ---- load

async function load(id, { source, device: wanted, wish, reason, wasm, engine }) {
  const saved = source.saved && await readRun()
  const chosen = await chooseDevice(wanted)
  const device = { kind: chosen.kind, name: chosen.name, software: chosen.software, reason: reason ?? chosen.reason, limits: chosen.limits, features: chosen.features, wish }
  const onBytes = tally(id, [!engine && /\.wasm$/, source.url || source.repo ? /\.(safetensors|zip)$/i : null].filter(Boolean))
  const [{ Session, module }, files] = await Promise.all([loadEngine(wasm, engine, onBytes), saved ? filesOf(saved) : readSource(source, onBytes)])
  emit(id, { event: 'loading', stage: device.kind === 'webgpu' ? 'self-test' : 'start' })
  const made = await createSession(Session, device.kind)
  emit(id, { event: 'loading', stage: 'model' })
  await made.load(Object.fromEntries(await Promise.all(Object.entries(files).map(async ([name, file]) => [name, await readable(file)]))))
  const restored = saved && await restore(made, saved)
  session = made
  run = restored
  modelFiles = files
  device.self_test = made.self_test()
  chosenDevice = { kind: device.kind, name: device.name, wish }
  return { info: made.info(), device, engine: module, run: run && tellRun(run) }
}

async function loadEngine(wasm, engine, onBytes) {
  const glue = await import('./wasm/electra_wasm.js').catch(() => {
    throw new Error(`${new URL('./wasm/electra_wasm.js', import.meta.url)}: could not be fetched\n  Check the connection, and that the site was built with ./build.sh web.`)
  })
  const module = engine ?? await compileEngine(wasm, onBytes)
  await glue.default({ module_or_path: module })
  return { Session: glue.Session, module }
}

async function compileEngine(url, onBytes) {
  const response = await fetchOrExplain(url)
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}\n  Build the site with ./build.sh web, or say where the engine is with wasmUrl.`)
  // Named here, because not every static server knows the type, and without it nothing is compiled while it arrives.
  const wasm = new Response(countBytes(response, url, onBytes), { headers: { 'content-type': 'application/wasm' } })
  try {
    return await WebAssembly.compileStreaming(wasm)
  } catch (error) {
    throw new Error(`${url}: ${error.message}\n  Load the page again; if that does not help, this browser cannot run the engine.`)
  }
}

/** A Session on the device. A failure on the GPU is marked: the page may go on with the CPU in a fresh worker. */
async function createSession(Session, kind) {
  try {
    return await Session.create(kind)
  } catch (error) {
    if (kind !== 'webgpu') throw error
    throw Object.assign(new Error(error?.message ?? String(error)), { code: 'webgpu-failed' })
  }
}

/**
 * Adds up the bytes of all downloads and reports them, not more often than a person can see. The total is not known
 * before the large files, those that match `awaited`, have begun to arrive.
 */
function tally(id, awaited) {
  const files = new Map()
  let last = 0
  return progress => {
    files.set(progress.file, progress)
    const all = [...files.values()]
    const known = all.every(file => file.total !== null) && awaited.every(pattern => all.some(({ file }) => pattern.test(file)))
    const [loaded, total] = ['loaded', 'total'].map(key => all.reduce((sum, file) => sum + file[key], 0))
    if (performance.now() - last < PROGRESS_INTERVAL && loaded !== total) return
    last = performance.now()
    emit(id, { event: 'loading', stage: 'download', file: progress.file, loaded, total: known ? total : null })
  }
}

// ---- training

async function finetune(id, { options, train, evaluation, again, checkpoints }) {
  if (run?.active) throw new Error('A training run is going on.\n  Stop it first.')
  if (again && (!run || run.done)) throw new Error('There is no training run to resume.\n  Start one first.')
  if (!again) {
    train = await tableOf(id, train)
    evaluation = evaluation && await tableOf(id, evaluation)
  }
  const before = run
  const mine = run = { ...(again ? run : newRun({ options, train, evaluation })), ...checkpoints, active: true, stopped: false, paused: null }
  let isStarted = again
  try {
    if (!again) {
      const plan = await alone(() => session.start(options, train, evaluation))
      isStarted = true
      tell(id, mine, { event: 'plan', plan })
    }
    // A test that came when it was stopped is none of the run's own.
    mine.history.evaluations = mine.history.evaluations.filter(({ extra }) => !extra)
    if (mine.every) await hold(id, mine)
    await advance(id, mine)
    await (mine.done ? finish(mine) : rest(id, mine))
  } catch (error) {
    // What failed to start changed nothing: the run before is still there, here as in the Session. What failed in the
    // middle of a step cannot go on from there.
    run = isStarted ? null : before
    throw error
  } finally {
    mine.active = false
    mine.release?.()
    mine.release = null
  }
  return { stopped: !mine.done, info: session.info(), run: tellRun(mine) }
}

/** Saves a run that was stopped, and then tests it as it stands. */
async function rest(id, mine) {
  await keep(id, mine)
  const extra = await alone(() => session.rest())
  if (extra === undefined) return
  for (let event = ''; event !== 'evaluation';) {
    const progress = await alone(() => session.advance())
    event = progress.event
    tell(id, mine, extra && event === 'evaluation' ? { ...progress, extra } : progress)
  }
}

function tellRun({ job, title, about, history }) {
  return { title: title ?? job.train.name, about: about ?? null, ...history }
}

function newRun(job) {
  return { id: null, job, done: false, history: { plan: null, losses: [], evaluations: [], steps: 0, seconds: 0 }, kept: { step: 0, at: performance.now(), cost: 0 } }
}

async function advance(id, mine) {
  while (!mine.done) {
    if (mine.paused) {
      await keep(id, mine)
      await mine.paused?.until
    }
    if (mine.stopped) return
    const started = performance.now()
    const progress = await alone(() => session.advance())
    mine.done = progress.event === 'done'
    tell(id, mine, { ...progress, milliseconds: performance.now() - started })
    if (isDue(mine, progress)) await keep(id, mine)
    await macrotask()
  }
}

/** Keeps what the run says, and passes it on. */
function tell(id, { history }, { milliseconds = 0, ...progress }) {
  const { event, ...rest } = progress
  history.seconds += milliseconds / 1000
  if (event === 'plan') history.plan = progress.plan
  if (event === 'step') {
    history.steps = progress.step
    history.losses.push(...progress.losses)
    progress.milliseconds = milliseconds
  }
  if (event === 'evaluation') history.evaluations.push(rest)
  emit(id, progress)
}

// ---- checkpoints of the run

/** Takes the one place for runs, or says once why this run is not saved. */
async function hold(id, mine) {
  try {
    mine.release = await holdRun()
    if (!mine.release) throw new Error('Another tab is saving its run, so this one is not saved.\n  Training goes on; download the model before you leave.')
    mine.id ??= crypto.randomUUID()
  } catch (error) {
    mine.release = null
    emit(id, { event: 'unsaved', problem: describeError(error) })
  }
}

/** Checkpoints are made where no loss waits to be read, so that what is kept of the losses is whole. */
function isDue({ every, kept, release, history }, { event, losses }) {
  if (!release || event !== 'step' || !losses.length) return false
  if (every !== 'auto') return history.steps - kept.step >= every
  return performance.now() - kept.at >= Math.max(CHECKPOINT_INTERVAL, CHECKPOINT_SHARE * kept.cost)
}

/** Writes a checkpoint, where there is a place and something new. What goes wrong is said once; training goes on. */
async function keep(id, mine) {
  const { history, kept } = mine
  if (!mine.release || kept.step === history.steps) return
  const started = performance.now()
  try {
    const state = write => alone(() => session.save_state(write))
    const bytes = await writeRun(describeRun(mine), { state, 'history.json': new TextEncoder().encode(JSON.stringify(history)) })
    kept.step = history.steps
    emit(id, { event: 'checkpoint', step: history.steps, bytes })
  } catch (error) {
    if (death || error instanceof WebAssembly.RuntimeError) throw error
    if (!kept.failed) emit(id, { event: 'unsaved', problem: describeError(explainUnsaved(error)) })
    kept.failed = true
  }
  kept.at = performance.now()
  kept.cost = kept.at - started
}

function explainUnsaved(error) {
  const advice = 'Training goes on; download the model before you leave.'
  if (error?.name === 'QuotaExceededError') return new Error(`The browser has no room to save the run.\n  ${advice}`)
  return new Error(`The run could not be saved (${error?.message ?? error}).\n  ${advice}`)
}

function describeRun({ id, job: { options, train, evaluation }, every, title, about, history }) {
  const { plan, steps } = history
  const model = Object.entries(modelFiles).map(([name, file]) => [`model/${name}`, file])
  return {
    id,
    job: {
      about: { options, every, train: train.name, evaluation: evaluation?.name ?? null },
      files: { train: train.bytes, ...(evaluation && { evaluation: evaluation.bytes }), ...Object.fromEntries(model) },
    },
    summary: {
      title: title ?? train.name, about: about ?? null, task: plan.task, step: steps, steps: plan.steps, time: new Date().toISOString(),
      device: { kind: chosenDevice.kind, name: chosenDevice.name }, wish: chosenDevice.wish,
    },
  }
}

async function finish(mine) {
  // What cannot be removed now is replaced by the next run.
  if (mine.release) await finishRun(mine.id).catch(() => {})
}

/** The model of a saved run; it is needed longer than the run is saved. */
async function filesOf({ files }) {
  const model = Object.entries(files).filter(([name]) => name.startsWith('model/'))
  return Object.fromEntries(await Promise.all(model.map(async ([name, blob]) => [name.slice('model/'.length), await copyOf(blob)])))
}

/** The saved run in a Session that holds its model. */
async function restore(made, { id, summary: { title, about }, about: { options, every, train, evaluation }, files, parts }) {
  const table = async (name, blob) => ({ name, bytes: new Uint8Array(await blob.arrayBuffer()) })
  const job = {
    options,
    train: await table(train, files.train),
    evaluation: evaluation === null ? undefined : await table(evaluation, files.evaluation),
  }
  await made.restore(options, job.train, job.evaluation, await readable(parts.state))
  const history = JSON.parse(await parts['history.json'].text())
  const kept = { step: history.steps, at: performance.now(), cost: 0 }
  return { ...newRun(job), id, every, title, about, history, kept }
}

// ---- export

/** The files whole; until then their pieces lie outside of the engine's memory. */
async function exportFiles() {
  const pieces = {}
  await alone(() => session.export_files((name, bytes) => { (pieces[name] ??= []).push(new Blob([bytes])) }))
  const whole = Object.entries(pieces).map(async ([name, parts]) => [name, new Uint8Array(await new Blob(parts).arrayBuffer())])
  return Object.fromEntries(await Promise.all(whole))
}

async function exportZip(more) {
  return new Blob(await alone(() => session.export_zip(more, bytes => new Blob([bytes]))), { type: 'application/zip' })
}

// ---- stop and pause

function stop() {
  if (!run?.active) return false
  run.stopped = true
  resume()
  return true
}

function pause() {
  if (!run?.active) return false
  if (!run.paused) {
    let go
    run.paused = { until: new Promise(resolve => { go = resolve }) }
    run.paused.go = go
  }
  return true
}

function resume() {
  if (!run?.paused) return false
  run.paused.go()
  run.paused = null
  return true
}

// Lets requests in between two steps. A timer would do as well, but browsers slow timers down in hidden tabs. Node.js, for
// its part, empties one port's queue before it looks at another's.
const { port1, port2 } = new MessageChannel()
const waiting = []
port1.onmessage = () => waiting.shift()()

function macrotask() {
  return new Promise(resolve => {
    if (globalThis.setImmediate) return setImmediate(resolve)
    waiting.push(resolve)
    port2.postMessage(null)
  })
}

// ---- replies

function emit(id, event) {
  self.postMessage({ ...event, id })
}

function reply(id, body, transfer = []) {
  cancelled.delete(id)
  if (open.delete(id)) self.postMessage({ id, ...body }, transfer)
}

/** The engine is gone: everything that waits hears of it, and nothing enters it again. */
function die(error) {
  const what = panic || error?.message || String(error)
  death ??= Object.assign(new Error(`The engine stopped: ${what}\n  Load the model again. A smaller batch or a shorter maximum length needs less memory.`), { fatal: true })
  for (const id of [...open]) reply(id, { ok: false, error: describeError(death) })
  self.postMessage({ event: 'dead', error: describeError(death) })
}

function describeError(error) {
  const message = typeof error === 'string' ? error : error?.message ?? String(error)
  const [first, ...rest] = message.split('\n')
  const remedy = rest.map(line => line.trim()).filter(Boolean).join(' ')
  return { message: first, remedy: error?.remedy ?? remedy, code: error?.code ?? null, fatal: Boolean(error?.fatal) }
}

function buffersOf(result) {
  const arrays = result instanceof Uint8Array ? [result] : Object.values(result ?? {}).filter(value => value instanceof Uint8Array)
  return arrays.map(array => array.buffer)
}
