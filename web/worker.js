// Owns the Session: the engine, its model and its training run. One request {id, type, data} gets exactly one
// reply {id, ok, result | error}; progress goes out between as {event, id, ...}.

import { chooseDevice, describeMachine } from './device.js'
import { countBytes, fetchOrExplain, readSource } from './source.js'

const GLUE = new URL('./wasm/electra_wasm.js', import.meta.url).href
const ENGINE = new URL('./wasm/electra_wasm_bg.wasm', import.meta.url).href
const PROGRESS_INTERVAL = 50

let session = null
let run = null
let death = null
let panic = ''
let queue = Promise.resolve()
const open = new Set()

self.onmessage = ({ data: { id, type, data } }) => {
  open.add(id)
  answer(id, type, data)
}
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
    case 'inspect': return alone(() => session.inspect(data.data, data.columns, data.maxSeqLength))
    case 'finetune': return finetune(id, data)
    case 'pause': return pause()
    case 'resume': return resume()
    case 'stop': return stop()
    case 'evaluate': return alone(() => session.evaluate(data.data, data.options))
    case 'predict': return alone(() => session.predict(data.inputs, data.options))
    case 'detect': return alone(() => session.detect(data.texts))
    case 'export_files': return alone(() => session.export_files())
    case 'export_zip': return alone(() => session.export_zip())
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

// ---- load

async function load(id, { source, device: wanted, wish, reason, engine }) {
  const chosen = await chooseDevice(wanted)
  const device = { kind: chosen.kind, name: chosen.name, software: chosen.software, reason: reason ?? chosen.reason, limits: chosen.limits, features: chosen.features, wish }
  const onBytes = tally(id, [!engine && /\.wasm$/, !source.files && /\.(safetensors|zip)$/i].filter(Boolean))
  const [{ Session, module }, files] = await Promise.all([loadEngine(engine, onBytes), readSource(source, onBytes)])
  emit(id, { event: 'loading', stage: device.kind === 'webgpu' ? 'self-test' : 'start' })
  const made = await createSession(Session, device.kind)
  emit(id, { event: 'loading', stage: 'model' })
  await made.load(files)
  session = made
  return { info: made.info(), device: { ...device, self_test: made.self_test() }, engine: module }
}

async function loadEngine(engine, onBytes) {
  const glue = await import(GLUE).catch(() => {
    throw new Error(`${GLUE}: could not be fetched\n  Check the connection, and that the site was built with ./build.sh web.`)
  })
  const module = engine ?? await compileEngine(onBytes)
  await glue.default({ module_or_path: module })
  return { Session: glue.Session, module }
}

async function compileEngine(onBytes) {
  const response = await fetchOrExplain(ENGINE)
  if (!response.ok) throw new Error(`${ENGINE}: the server answered ${response.status}\n  Build the site with ./build.sh web.`)
  // Named here, because not every static server knows the type, and without it nothing is compiled while it arrives.
  const wasm = new Response(countBytes(response, ENGINE, onBytes), { headers: { 'content-type': 'application/wasm' } })
  try {
    return await WebAssembly.compileStreaming(wasm)
  } catch (error) {
    throw new Error(`${ENGINE}: ${error.message}\n  Load the page again; if that does not help, this browser cannot run the engine.`)
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

async function finetune(id, { options, train, evaluation, again }) {
  if (run?.active) throw new Error('A training run is going on.\n  Stop it first.')
  if (again && (!run || run.done)) throw new Error('There is no training run to resume.\n  Start one first.')
  const mine = run = { active: true, stopped: false, paused: null, done: false }
  try {
    if (!again) emit(id, { event: 'plan', plan: await alone(() => session.start(options, train, evaluation)) })
    await advance(id, mine)
  } catch (error) {
    // What failed to start, or in the middle of a step, cannot go on from there.
    run = null
    throw error
  } finally {
    mine.active = false
  }
  return { stopped: !mine.done, info: session.info() }
}

async function advance(id, mine) {
  while (!mine.done) {
    await mine.paused?.until
    if (mine.stopped) return
    const started = performance.now()
    const progress = await alone(() => session.advance())
    mine.done = progress.event === 'done'
    emit(id, { ...progress, milliseconds: performance.now() - started })
    await macrotask()
  }
}

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

// Lets requests in between two steps. A timer would do as well, but browsers slow timers down in hidden tabs.
const { port1, port2 } = new MessageChannel()
const waiting = []
port1.onmessage = () => waiting.shift()()

function macrotask() {
  return new Promise(resolve => {
    waiting.push(resolve)
    port2.postMessage(null)
  })
}

// ---- replies

function emit(id, event) {
  self.postMessage({ ...event, id })
}

function reply(id, body, transfer = []) {
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
