// ELECTRA in the browser, for any page: load a model, fine-tune it, ask it, take it away.
// All the work is done in one module worker (worker.js); this file turns its messages into promises.
//
//   import { Electra } from './electra.js'
//   const model = await Electra.load('models/electra-tiny/')
//   await model.finetune({ train: [{ text: 'Lovely.', label: 'good' }, ...], epochs: 4 })
//   await model.predict(['What a day!'])

import { forgetRun, savedRun } from './checkpoints.js'
import { ask, isPipelineTask, PIPELINE_TASKS, tellProgress } from './pipeline.js'
import { place } from './place.js'
import { describeSource } from './source.js'

// Written so that bundlers see the files and give them along.
const WORKER = new URL('./worker.js', import.meta.url).href
const PLAIN = new URL('./wasm/electra_wasm_bg.wasm', import.meta.url).href
const RELAXED = new URL('./wasm/electra_wasm_relaxed_bg.wasm', import.meta.url).href
// On the CPU a sixth faster, by a multiply-add that not every browser has.
const WASM = hasRelaxedSimd() ? RELAXED : PLAIN
const COLUMNS = ['textColumn', 'pairColumn', 'labelColumn', 'labelColumns', 'tagColumn', 'sheet', 'evalSheet']
// The listeners of `finetune` and the events that they hear.
const LISTENERS = {
  onPlan: 'plan', onStep: 'step', onEvaluating: 'evaluating', onEvaluation: 'evaluation', onCheckpoint: 'checkpoint', onUnsaved: 'unsaved',
}

// transformers.js's names of our devices.
const DEVICES = { wasm: 'cpu', gpu: 'webgpu' }

// The engines by their addresses, compiled once and handed to every worker after the first.
const compiled = new Map()

/** What went wrong, in words a person understands; `remedy` says what to do, where there is something. */
export class ElectraError extends Error {
  constructor({ message, remedy = '', code = null, fatal = false }) {
    super(message)
    this.name = 'ElectraError'
    this.remedy = remedy
    this.code = code
    this.fatal = fatal
  }
}

/** The door: `Electra.load`, `Electra.devices`, and the run that is saved in this browser. */
export const Electra = {
  /**
   * Loads a model and the engine.
   * @param source address of a folder ('models/electra-tiny/') or of a .zip, a File or Blob of a zip, the Files of a
   *   folder, or a Hugging Face repository ('google/electra-small-discriminator', 'owner/name@revision', { repo, revision })
   * @param options `device`: 'auto' (default), 'webgpu' or 'cpu'; `onProgress({ stage, loaded, total, file })`; `signal`;
   *   `onFetch(addresses)` hears of every request of the engine;
   *   `workerUrl` and `wasmUrl`: where worker.js and the engine are, if not beside this file
   * @returns {Promise<Model>}
   */
  async load(source, options = {}) {
    return load(describe(source), options)
  },

  /**
   * Loads the run that `finetune({ checkpointEvery })` saved, on the device it ran on or on another. `model.run` tells how
   * far it went; `model.finetune({ resume: true })` goes on exactly there.
   * @param options as of `load`
   * @returns {Promise<Model>}
   */
  async resume({ device, ...options } = {}) {
    const saved = await this.savedRun()
    return load({ saved: true }, { device: device ?? saved?.wish ?? 'auto', ...options })
  },

  /** The run that is saved in this browser, or null: title, step, steps, when, device. Throws where it cannot be continued. */
  async savedRun() {
    return inOurWords(savedRun())
  },

  /** Removes the saved run, also one that is damaged. */
  async forgetRun() {
    return inOurWords(forgetRun())
  },

  /** What this machine offers, and which device 'auto' takes and why. */
  async devices({ workerUrl } = {}) {
    const engine = new Engine({ workerUrl })
    try {
      return await engine.request('devices')
    } finally {
      engine.close()
    }
  },
}

function describe(source) {
  try {
    return describeSource(source, place.base())
  } catch (error) {
    throw fromMessage(error.message)
  }
}

async function load(source, { device = 'auto', ...options }) {
  options.signal?.throwIfAborted()
  const first = await tryLoad(source, { device }, options)
  if (first.model) return first.model
  // A GPU that failed may have left the engine in any state, so the CPU starts in a fresh worker.
  const reason = `WebGPU is here but failed its self-test (${first.error.message}). So the CPU does the work.`
  const second = await tryLoad(source, { device: 'cpu', reason, wish: device }, options)
  return second.model
}

async function inOurWords(promise) {
  return promise.catch(error => { throw error instanceof ElectraError ? error : fromMessage(error.message) })
}

/**
 * A model behind one function, called and answering as transformers.js's pipelines do.
 * @param task 'text-classification', 'token-classification', 'question-answering' or 'fill-mask'
 * @param model what `Electra.load` takes, or a `Model`, which may also be fine-tuned for the task later on
 * @param options `device`, `progress_callback`, and those of `Electra.load`
 * @returns a function with `task`, `model` (the `Model`, to fine-tune it too) and `dispose()`
 */
export async function pipeline(task, model, { device, progress_callback: tell = () => {}, ...options } = {}) {
  if (!isPipelineTask(task)) throw fromMessage(`pipeline: there is no task "${task}"\n  Choose one of ${PIPELINE_TASKS.join(', ')}.`)
  const name = String(model?.repo ?? model?.name ?? model)
  const onProgress = progress => tellProgress(progress, name, tell)
  const loaded = model instanceof Model ? model : await Electra.load(model, { ...options, device: DEVICES[device] ?? device ?? 'auto', onProgress })
  tell({ status: 'ready', task, model: name })
  const pipe = (...inputs) => inOurWords(ask(task, loaded, inputs))
  return Object.assign(pipe, { task, model: loaded, dispose: async () => loaded.dispose() })
}

/** A model, or the error after which the CPU should be tried; any other failure is thrown. */
async function tryLoad(source, { device, reason, wish = device }, { onProgress = () => {}, onFetch, signal, workerUrl, wasmUrl }) {
  const engine = new Engine({ workerUrl, onFetch })
  const wasm = absolute(wasmUrl, WASM)
  const abort = () => engine.close(signal.reason)
  signal?.addEventListener('abort', abort)
  let stage = 'download'
  const onEvent = ({ event, id, ...progress }) => {
    stage = progress.stage
    onProgress(progress)
  }
  try {
    const loaded = await engine.request('load', { source, device, wish, reason, wasm, engine: compiled.get(wasm) }, { onEvent })
    compiled.set(wasm, loaded.engine)
    return { model: new Model(engine, loaded) }
  } catch (error) {
    engine.close(error)
    const gpuFailed = error.code === 'webgpu-failed' || (error.fatal && stage === 'self-test')
    if (device === 'auto' && gpuFailed) return { error }
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** A loaded model. Only `Electra.load` and `Electra.resume` make one. */
export class Model {
  #engine
  #device
  #info
  #running = false
  #run

  constructor(engine, { info, device, run = null }) {
    this.#engine = engine
    this.#info = info
    this.#device = device
    this.#run = run
  }

  /** The run as it was when it last stopped, or when it was saved: title, about, plan, losses, evaluations, steps, seconds; null before. */
  get run() {
    return this.#run
  }

  /** The device and why it was taken; architecture, parameters, labels, and what the model can do. */
  get info() {
    return { ...this.#info, device: this.#device }
  }

  /**
   * Looks at labelled data without training: its task, columns, label counts, lengths, rows that cannot be used, settings
   * that fit. `onReading({ loaded, total })` hears how far a file is read, `signal` leaves it off.
   */
  async inspect(data, { maxSeqLength = 128, signal, onReading, ...reading } = {}) {
    checkNames(reading, ['task', ...COLUMNS])
    const onEvent = ({ loaded, total }) => onReading?.({ loaded, total })
    return this.#engine.request('inspect', { data: await readTable(data, 'data'), options: defined(reading), maxSeqLength }, { onEvent, signal })
  }

  /** How long training on this data takes here: milliseconds of an `update` and of a row of an `evaluation`; `options` as of `finetune`. */
  async time(data, { signal, ...options } = {}) {
    return this.#engine.request('time', { data: await readTable(data, 'data'), options: defined(options) }, { signal })
  }

  /**
   * Fine-tunes the model. Resolves when the run has ended or was stopped by `signal`; a stopped model stays usable,
   * and `finetune({ resume: true })` goes on exactly where it stopped. With `checkpointEvery` (steps, or 'auto') the run is
   * saved in this browser as it goes, under `title`; `about` (anything JSON can hold) is kept with it. What cannot be
   * started (its data, its options) is rejected before anything changes: the model is the one before, and so is its run.
   */
  async finetune({ train, eval: held, resume = false, signal, checkpointEvery, title, about, ...options } = {}) {
    if (this.#running) throw fromMessage('finetune: a run is going on\n  Stop it first.')
    // The engine knows its settings by name; those that it hears nothing of are checked here.
    const [settings, listeners] = partListeners(options)
    checkNames(listeners, Object.keys(LISTENERS))
    checkInterval(checkpointEvery)
    if (!resume && train === undefined) throw fromMessage('finetune: no training data\n  Give `train`: an array of objects, a File or an address.')
    this.#running = true
    const stop = () => this.#engine.request('stop').catch(() => {})
    try {
      const tables = resume ? {} : { train: await readTable(train, 'train'), evaluation: held && await readTable(held, 'eval') }
      const checkpoints = defined({ every: checkpointEvery, title, about })
      const run = this.#engine.request('finetune', { ...tables, options: defined(settings), again: resume, checkpoints }, { onEvent: event => tell(event, listeners) })
      signal?.addEventListener('abort', stop)
      if (signal?.aborted) stop()
      const { stopped, info, run: history } = await run
      this.#info = info
      this.#run = history
      const { plan, losses, evaluations, steps, seconds } = history
      return { plan, losses, evaluations, steps, seconds, stopped }
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#running = false
    }
  }

  /** Holds the run between two steps; `predict` and the rest go on working. */
  async pause() {
    return this.#engine.request('pause')
  }

  /** Lets a paused run go on. */
  async resume() {
    return this.#engine.request('resume')
  }

  /** Scores the fine-tuned model on labelled data: the numbers of its task, and the examples it is most wrong about. */
  async evaluate(data, options = {}) {
    checkNames(options, [...COLUMNS, 'batchSize', 'maxSeqLength', 'docStride', 'maxQueryLength'])
    return this.#engine.request('evaluate', { data: await readTable(data, 'data'), options: defined(options) })
  }

  /** What the fine-tuned model makes of each input: a text, { text, text_pair }, { words } or { question, context }. */
  async predict(inputs, { logits = false, topK } = {}) {
    const all = await this.#engine.request('predict', { inputs: [inputs].flat(), options: defined({ logits, topK }) })
    return Array.isArray(inputs) ? all : all[0]
  }

  /** For each token of each text, the probability that it replaced the original. */
  async detect(texts) {
    const all = await this.#engine.request('detect', { texts: [texts].flat() })
    return Array.isArray(texts) ? all : all[0]
  }

  /** For each [MASK] of each text, what a generator would put there, the likeliest first. */
  async fill(texts, { topK } = {}) {
    const all = await this.#engine.request('fill', { texts: [texts].flat(), options: defined({ topK }) })
    return Array.isArray(texts) ? all : all[0]
  }

  /** The model as one zip of a Hugging Face folder; `readme`: a text to put into it. */
  async export({ readme } = {}) {
    const more = readme === undefined ? {} : { 'README.md': new TextEncoder().encode(readme) }
    return this.#engine.request('export_zip', { more })
  }

  /** The model's files: { name: Uint8Array }, as `transformers` reads them. */
  async exportFiles() {
    return this.#engine.request('export_files')
  }

  /** Ends the worker and frees everything; what still waits is rejected. */
  dispose() {
    this.#engine.close(fromMessage('This model was disposed of.'))
  }
}

/** One worker, its open requests, and the way back from its replies to them. */
class Engine {
  #worker
  #open = new Map()
  #closed = null
  #next = 1

  #onFetch

  constructor({ workerUrl, onFetch = () => {} } = {}) {
    this.#onFetch = onFetch
    const address = absolute(workerUrl, WORKER)
    this.#worker = place.startWorker(address)
    this.#worker.onmessage = ({ data }) => this.#receive(data)
    this.#worker.onerror = event => {
      event.preventDefault()
      this.close(fromMessage(`${address}: the worker could not be started${event.message ? ` (${event.message})` : ''}\n  ${place.startRemedy}`))
    }
  }

  /** One request, one promise; the events that belong to it go to `onEvent`, and `signal` rejects it at once. */
  request(type, data, { onEvent = () => {}, signal } = {}) {
    if (this.#closed) return Promise.reject(this.#closed)
    if (signal?.aborted) return Promise.reject(signal.reason)
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, onEvent })
      this.#worker.postMessage({ id, type, data })
      signal?.addEventListener('abort', () => {
        if (!this.#open.delete(id)) return
        this.#worker.postMessage({ type: 'cancel', data: id })
        reject(signal.reason)
      }, { once: true })
    })
  }

  #receive({ id, ok, result, error, ...event }) {
    if (event.event === 'dead') return this.close(new ElectraError(error))
    if (event.event === 'fetched') return this.#onFetch(event.addresses)
    const call = this.#open.get(id)
    if (!call) return
    if (ok === undefined) return call.onEvent(event)
    this.#open.delete(id)
    if (ok) call.resolve(result)
    else call.reject(new ElectraError(error))
  }

  /** Ends the worker; every open and later request is rejected with `reason`. */
  close(reason = fromMessage('This model was disposed of.')) {
    this.#closed ??= reason
    this.#worker.terminate()
    for (const { reject } of this.#open.values()) reject(this.#closed)
    this.#open.clear()
  }
}

/** The listeners among the options, and the rest. */
function partListeners(options) {
  const isListener = ([name]) => name.startsWith('on')
  const [listeners, settings] = [true, false].map(wanted => Object.fromEntries(Object.entries(options).filter(entry => isListener(entry) === wanted)))
  return [settings, listeners]
}

/** Hands an event of a run to the one who listens for it. */
function tell({ event, ...progress }, listeners) {
  const name = Object.keys(LISTENERS).find(name => LISTENERS[name] === event)
  const detail = event === 'plan' ? progress.plan : event === 'unsaved' ? new ElectraError(progress.problem) : progress
  listeners[name]?.(detail)
}

function checkInterval(every) {
  if (every === undefined || every === 'auto' || (Number.isInteger(every) && every > 0)) return
  throw fromMessage('checkpointEvery: not a number of steps\n  Give a whole number from 1, or \'auto\'.')
}

/** Any form of labelled data as { name, bytes }. */
async function readTable(data, what) {
  if (typeof data === 'string' || data instanceof URL) return readTableAt(new URL(data, place.base()).href)
  if (data instanceof Blob) return { name: data.name ?? `${what}.csv`, blob: data }
  if (data?.bytes || data?.blob) return { name: data.name ?? `${what}.csv`, bytes: data.bytes, blob: data.blob }
  if (Array.isArray(data) && data.every(row => row && typeof row === 'object')) {
    const lines = data.map(row => JSON.stringify(row)).join('\n')
    return { name: `${what}.jsonl`, bytes: new TextEncoder().encode(lines) }
  }
  throw fromMessage(`${what}: not labelled data\n  Give an array of objects such as { text, label } or { words, labels }, a File or an address.`)
}

async function readTableAt(url) {
  const response = await place.fetch(url).catch(error => { throw fromMessage(error.message) })
  if (!response.ok) throw fromMessage(`${url}: the server answered ${response.status}\n  Check the address.`)
  const name = decodeURIComponent(new URL(url).pathname.split('/').pop())
  return { name, bytes: new Uint8Array(await response.arrayBuffer()) }
}

/** Whether this browser knows relaxed SIMD: a module of one function, `f32x4.relaxed_madd` of three splats. */
function hasRelaxedSimd() {
  const splat = [65, 1, 253, 15]
  const type = [1, 5, 1, 96, 0, 1, 123]
  const code = [10, 19, 1, 17, 0, ...splat, ...splat, ...splat, 253, 133, 2, 11]
  return WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, ...type, 3, 2, 1, 0, ...code]))
}

function absolute(address, otherwise) {
  return address === undefined ? otherwise : new URL(address, place.base()).href
}

function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function checkNames(options, known) {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const plain = text => text.toLowerCase().replace(/[^a-z]/g, '')
    const near = known.find(other => plain(other) === plain(name))
    throw fromMessage(`option "${name}": there is no such option\n  ${near ? `Did you mean ${near}?` : `The options are ${known.join(', ')}.`}`)
  }
}

/** "what is wrong\n  what to do", the form that errors have everywhere here, as an error. */
function fromMessage(text) {
  const [message, remedy = ''] = text.split(/\n\s*/)
  return new ElectraError({ message, remedy })
}
