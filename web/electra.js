// ELECTRA in the browser, for any page: load a model, fine-tune it, ask it, take it away.
// All the work is done in one module worker (worker.js); this file turns its messages into promises.
//
//   import { Electra } from './electra.js'
//   const model = await Electra.load('models/electra-tiny/')
//   await model.finetune({ train: [{ text: 'Lovely.', label: 'good' }, ...], epochs: 4 })
//   await model.predict(['What a day!'])

import { describeSource, fetchOrExplain } from './source.js'

const WORKER = new URL('./worker.js', import.meta.url).href
const SETTINGS = [
  'task', 'textColumn', 'pairColumn', 'labelColumn', 'epochs', 'batchSize', 'accumulate', 'learningRate', 'maxSeqLength', 'seed', 'warmup',
  'schedule', 'weightDecay', 'layerwiseDecay', 'layerwiseGap', 'biasCorrection', 'dropout', 'freeze', 'evalFraction', 'evalEvery', 'readEvery',
]
const COLUMNS = ['textColumn', 'pairColumn', 'labelColumn']

// What relative addresses are relative to; a page's worker may use this library, too.
const BASE = globalThis.document?.baseURI ?? globalThis.location.href

// The engine, compiled once and handed to every worker after the first.
let compiled = null

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

/** The door: `Electra.load`, `Electra.devices`. */
export const Electra = {
  /**
   * Loads a model and the engine.
   * @param source address of a folder ('models/electra-tiny/') or of a .zip, a File or Blob of a zip, the Files of a
   *   folder, or a Hugging Face repository ('google/electra-small-discriminator', 'owner/name@revision', { repo, revision })
   * @param options `device`: 'auto' (default), 'webgpu' or 'cpu'; `onProgress({ stage, loaded, total, file })`; `signal`
   * @returns {Promise<Model>}
   */
  async load(source, { device = 'auto', onProgress = () => {}, signal } = {}) {
    const described = describe(source)
    signal?.throwIfAborted()
    const first = await tryLoad(described, { device }, onProgress, signal)
    if (first.model) return first.model
    // A GPU that failed may have left the engine in any state, so the CPU starts in a fresh worker.
    const reason = `WebGPU is here but failed its self-test (${first.error.message}). So the CPU does the work.`
    const second = await tryLoad(described, { device: 'cpu', reason, wish: device }, onProgress, signal)
    return second.model
  },

  /** What this machine offers, and which device 'auto' takes and why. */
  async devices() {
    const engine = new Engine()
    try {
      return await engine.request('devices')
    } finally {
      engine.close()
    }
  },
}

function describe(source) {
  try {
    return describeSource(source, BASE)
  } catch (error) {
    throw fromMessage(error.message)
  }
}

/** A model, or the error after which the CPU should be tried; any other failure is thrown. */
async function tryLoad(source, { device, reason, wish = device }, onProgress, signal) {
  const engine = new Engine()
  const abort = () => engine.close(signal.reason)
  signal?.addEventListener('abort', abort)
  let stage = 'download'
  const onEvent = ({ event, id, ...progress }) => {
    stage = progress.stage
    onProgress(progress)
  }
  try {
    const loaded = await engine.request('load', { source, device, wish, reason, engine: compiled }, { onEvent })
    compiled = loaded.engine
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

/** A loaded model. Only `Electra.load` makes one. */
export class Model {
  #engine
  #device
  #info
  #history = null
  #running = false

  constructor(engine, { info, device }) {
    this.#engine = engine
    this.#info = info
    this.#device = device
  }

  /** The device and why it was taken; architecture, parameters, labels, and what the model can do. */
  get info() {
    return { ...this.#info, device: this.#device }
  }

  /** Looks at labelled data without training: columns, label counts, lengths, rows that cannot be used. */
  async inspect(data, { maxSeqLength = 128, ...columns } = {}) {
    checkNames(columns, COLUMNS)
    const { textColumn: text, pairColumn: pair, labelColumn: label } = columns
    const table = await readTable(data, 'data')
    return this.#engine.request('inspect', { data: table, columns: defined({ text, pair, label }), maxSeqLength })
  }

  /**
   * Fine-tunes the model. Resolves when the run has ended or was stopped by `signal`; a stopped model stays usable,
   * and `finetune({ resume: true })` goes on exactly where it stopped.
   */
  async finetune({ train, eval: held, resume = false, signal, onStep, onPlan, onEvaluation, onEvaluating, ...settings } = {}) {
    if (this.#running) throw fromMessage('finetune: a run is going on\n  Stop it first.')
    checkNames(settings, SETTINGS)
    if (!resume && train === undefined) throw fromMessage('finetune: no training data\n  Give `train`: an array of objects, a File or an address.')
    this.#running = true
    const stop = () => this.#engine.request('stop').catch(() => {})
    try {
      const tables = resume ? {} : { train: await readTable(train, 'train'), evaluation: held && await readTable(held, 'eval') }
      if (!resume) this.#history = newHistory()
      const listeners = { step: onStep, plan: onPlan, evaluation: onEvaluation, evaluating: onEvaluating }
      const run = this.#engine.request('finetune', { ...tables, options: defined(settings), again: resume }, {
        onEvent: event => record(this.#history, event, listeners),
      })
      signal?.addEventListener('abort', stop)
      if (signal?.aborted) stop()
      const { stopped, info } = await run
      this.#info = info
      return { ...this.#history, stopped }
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

  /** Accuracy, F1, MCC, confusion matrix and worst rows of the fine-tuned model on labelled data. */
  async evaluate(data, options = {}) {
    checkNames(options, [...COLUMNS, 'batchSize', 'maxSeqLength'])
    return this.#engine.request('evaluate', { data: await readTable(data, 'data'), options: defined(options) })
  }

  /** The label of each input with its probability; an input is a text or { text, text_pair }. */
  async predict(inputs, { logits = false } = {}) {
    const all = await this.#engine.request('predict', { inputs: [inputs].flat(), options: { logits } })
    return Array.isArray(inputs) ? all : all[0]
  }

  /** For each token of each text, the probability that it replaced the original. */
  async detect(texts) {
    const all = await this.#engine.request('detect', { texts: [texts].flat() })
    return Array.isArray(texts) ? all : all[0]
  }

  /** The model as one zip of a Hugging Face folder. */
  async export() {
    return new Blob([await this.#engine.request('export_zip')], { type: 'application/zip' })
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

  constructor() {
    // A worker started from a blob inherits the page's Content-Security-Policy; started from its address it would
    // have none. It also lets a page of another site use this library.
    const start = URL.createObjectURL(new Blob([`import ${JSON.stringify(WORKER)}`], { type: 'text/javascript' }))
    this.#worker = new Worker(start, { type: 'module', name: 'electra' })
    this.#worker.onmessage = ({ data }) => {
      URL.revokeObjectURL(start)
      this.#receive(data)
    }
    this.#worker.onerror = event => {
      event.preventDefault()
      this.close(fromMessage(`${WORKER}: the worker could not be started${event.message ? ` (${event.message})` : ''}\n  Check the connection and that the browser is not older than 2023.`))
    }
  }

  /** One request, one promise; the events that belong to it go to `onEvent`. */
  request(type, data, { onEvent = () => {} } = {}) {
    if (this.#closed) return Promise.reject(this.#closed)
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, onEvent })
      this.#worker.postMessage({ id, type, data })
    })
  }

  #receive({ id, ok, result, error, ...event }) {
    if (event.event === 'dead') return this.close(new ElectraError(error))
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

function newHistory() {
  return { plan: null, losses: [], evaluations: [], steps: 0, seconds: 0 }
}

/** Keeps what the run tells and passes it on. */
function record(history, { event, milliseconds = 0, ...progress }, listeners) {
  history.seconds += milliseconds / 1000
  if (event === 'plan') history.plan = progress.plan
  if (event === 'step') {
    history.steps = progress.step
    history.losses.push(...progress.losses)
  }
  if (event === 'evaluation') history.evaluations.push(progress)
  const told = event === 'plan' ? progress.plan : event === 'step' ? { ...progress, milliseconds } : progress
  listeners[event]?.(told)
}

/** Any form of labelled data as { name, bytes }. */
async function readTable(data, what) {
  if (typeof data === 'string' || data instanceof URL) return readTableAt(new URL(data, BASE).href)
  if (data instanceof Blob) return { name: data.name ?? `${what}.csv`, bytes: new Uint8Array(await data.arrayBuffer()) }
  if (data?.bytes) return { name: data.name ?? `${what}.csv`, bytes: data.bytes }
  if (Array.isArray(data) && data.every(row => row && typeof row === 'object')) {
    const lines = data.map(row => JSON.stringify(row)).join('\n')
    return { name: `${what}.jsonl`, bytes: new TextEncoder().encode(lines) }
  }
  throw fromMessage(`${what}: not labelled data\n  Give an array of objects such as { text, label }, a File or an address.`)
}

async function readTableAt(url) {
  const response = await fetchOrExplain(url).catch(error => { throw fromMessage(error.message) })
  if (!response.ok) throw fromMessage(`${url}: the server answered ${response.status}\n  Check the address.`)
  const name = decodeURIComponent(new URL(url).pathname.split('/').pop())
  return { name, bytes: new Uint8Array(await response.arrayBuffer()) }
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
