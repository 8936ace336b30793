// Times the built page's engine in Chromium and counts what it asks of WebGPU: one JSON line a measurement.
//
//   node bench.mjs [--device cpu,webgpu] [--mode finetune,infer,sizes] [--model DIR] [--batch-size 8] [--seq 64] [--steps 5]
//
// --model is any model folder (its name is printed); without it the bundled tiny model is used. Results go to stdout,
// talk to stderr. On a software GPU trust the counts, not the times.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { chromium } from '@playwright/test'
import config from './playwright.config.mjs'
import { startServer } from './server.mjs'

const DIST = resolve(process.env.DIST ?? join(import.meta.dirname, '../../dist'))
const BUNDLED = join(DIST, 'models/electra-tiny')

const { values: options } = parseArgs({
  options: {
    'device': { type: 'string', default: 'cpu,webgpu' },
    'mode': { type: 'string', default: 'sizes,infer,finetune' },
    'model': { type: 'string', default: BUNDLED },
    'batch-size': { type: 'string', default: '8' },
    'seq': { type: 'string', default: '64' },
    'steps': { type: 'string', default: '5' },
    'help': { type: 'boolean', default: false },
  },
})
if (options.help) {
  console.error(readFileSync(import.meta.filename, 'utf8').match(/^\/\/.*$/gm).map(line => line.slice(3)).join('\n'))
  process.exit(0)
}
const [modes, devices] = [options.mode.split(','), options.device.split(',')]
const [batch, seq, steps] = [options['batch-size'], options.seq, options.steps].map(Number)

if (modes.includes('sizes')) printSizes()
for (const device of devices) await measure(device)

function print(result) {
  console.log(JSON.stringify(result))
}

// ---- sizes

/** What a visitor fetches before the model: the engine, the scripts, the page. */
function printSizes() {
  const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && /\.(wasm|js|css|html|svg)$/.test(entry.name))
    .map(entry => relative(DIST, join(entry.parentPath, entry.name)))
  // Of the two engines, a browser fetches one.
  const groups = { engine: files.filter(name => name.startsWith('wasm/') && !name.includes('relaxed')), page: files.filter(name => !name.startsWith('wasm/')) }
  for (const [name, members] of Object.entries(groups)) print({ bench: 'size', part: name, files: members.length, ...sizesOf(members) })
}

function sizesOf(names) {
  const total = { raw: 0, gzip: 0, brotli: 0 }
  for (const name of names) {
    const bytes = readFileSync(join(DIST, name))
    total.raw += bytes.length
    total.gzip += gzipSync(bytes, { level: 9 }).length
    total.brotli += brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length
  }
  return total
}

// ---- work on a device

async function measure(device) {
  const server = await startServer(DIST)
  const browser = await chromium.launch(config.use.launchOptions)
  try {
    const page = await openBlank(browser, server.address)
    const about = { device, model: basename(resolve(options.model)), batch, seq }
    if (modes.includes('infer')) await measureInference(page, about)
    if (modes.includes('finetune')) await measureFinetuning(page, about)
  } finally {
    await browser.close()
    await server.close()
  }
}

async function openBlank(browser, address) {
  const page = await browser.newPage({ serviceWorkers: 'block' })
  page.setDefaultTimeout(0)
  page.on('console', message => console.error(`[browser] ${message.text()}`))
  await page.route(`${address}blank.html`, route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>bench</title>' }))
  await page.route(`${address}models/bench/*`, route => {
    const path = join(options.model, basename(new URL(route.request().url()).pathname))
    return statSync(path, { throwIfNoEntry: false }) ? route.fulfill({ path }) : route.fulfill({ status: 404 })
  })
  await page.route('**/worker.js', async route => {
    const response = await route.fetch()
    await route.fulfill({ response, body: `(${countWebgpu})();\n${await response.text()}` })
  })
  await page.goto(`${address}blank.html`)
  return page
}

async function measureInference(page, about) {
  const { adapter } = await page.evaluate(prepare, about.device)
  const [first] = await page.evaluate(detect, { seq, times: 2 })
  await resetCounts(page)
  const times = await page.evaluate(detect, { seq, times: steps })
  print({ bench: 'infer', ...about, batch: 1, steps, adapter, first_ms: Math.round(first), ms: median(times), ...await counts(page, steps) })
  await page.evaluate(() => window.model.dispose())
}

async function measureFinetuning(page, about) {
  const started = performance.now()
  const { adapter, parameters } = await page.evaluate(prepare, about.device)
  const load = performance.now() - started
  // The first steps compile the kernels; what is counted and timed comes after.
  const warm = await page.evaluate(trainSteps, { batch, seq, steps: 2, more: steps + 2 })
  await resetCounts(page)
  const run = await page.evaluate(trainSteps, { steps, resume: true, pause: true })
  const ms = median(run.times)
  const tokens = run.tokens / run.times.length
  print({
    bench: 'finetune', ...about, steps: run.times.length, adapter, parameters, load_ms: Math.round(load), first_step_ms: Math.round(warm.times[0]),
    step_ms: ms, tokens_per_second: Math.round(tokens / ms * 1000), loss: run.loss, ...await counts(page, run.seen),
  })
  await page.evaluate(() => window.model.dispose())
}

function median(times) {
  const sorted = [...times].sort((a, b) => a - b)
  return Math.round(sorted[Math.floor(sorted.length / 2)] * 10) / 10
}

function worker(page) {
  return page.workers().at(-1)
}

function resetCounts(page) {
  return worker(page).evaluate(() => self.webgpuCounts.reset())
}

/** Counts by step; what is held and made once is given as it is. */
async function counts(page, steps) {
  const { dispatches, submits, written, read, pipelines, buffers, bufferBytes } = await worker(page).evaluate(() => self.webgpuCounts.now())
  const each = number => Math.round(number / steps)
  return { dispatches: each(dispatches), submits: each(submits), bytes_written: each(written), bytes_read: each(read), pipelines, buffers_held: buffers, buffer_bytes_held: bufferBytes }
}

// ---- what runs in the page

async function prepare(device) {
  const { Electra } = await import('./electra.js')
  window.model = await Electra.load('models/bench/', { device })
  return { adapter: window.model.info.device.name, parameters: window.model.info.parameters }
}

/** The discriminator on one text, several times. */
async function detect({ seq, times }) {
  // A token each, and the two at the ends.
  const text = Array(seq - 2).fill('the').join(' ')
  const found = []
  for (let index = 0; index < times; index++) {
    const start = performance.now()
    await window.model.detect(text)
    found.push(performance.now() - start)
  }
  return found
}

/**
 * Trains, and stops or with `pause` only pauses after `steps`: a run that stops is tested, and that would be counted. The texts
 * are longer than any step takes, so that every row has full length.
 */
async function trainSteps({ batch, seq, steps, more, resume = false, pause = false }) {
  const words = 'the of and in to was is for on as with by he that at from his it an were are which this be or'.split(' ')
  const text = row => Array.from({ length: seq }, (_, index) => words[(row * 7 + index * (row % 5 + 1)) % words.length]).join(' ')
  const rows = resume ? undefined : Array.from({ length: batch * (more + 2) }, (_, row) => ({ text: text(row), label: row % 2 ? 'odd' : 'even' }))
  const stop = new AbortController()
  const found = { times: [], seen: 0, tokens: 0, loss: null }
  await new Promise((resolve, reject) => {
    const run = window.model.finetune({
      ...(resume ? { resume } : { train: rows, eval: rows.slice(0, 2), epochs: 4, batchSize: batch, maxSeqLength: seq, evalEvery: 1e6, readEvery: 1, seed: 1 }),
      signal: stop.signal,
      onStep: ({ milliseconds, tokens, losses }) => {
        // The step that is under way when the stop arrives is counted, but not timed.
        found.seen++
        if (found.times.length === steps) return
        found.times.push(milliseconds)
        found.tokens += tokens
        found.loss = losses.at(-1)?.loss ?? found.loss
        if (found.times.length < steps) return
        // What is asked after it waits for the step that is under way.
        if (pause) window.model.pause().then(() => window.model.inspect([{ text: 'a', label: 'b' }, { text: 'c', label: 'd' }])).then(resolve, reject)
        else stop.abort()
      },
    })
    run.then(resolve, reject)
  })
  return found
}

/** Runs in the worker before anything else: wraps WebGPU's prototypes and counts. */
function countWebgpu() {
  const zero = { dispatches: 0, submits: 0, written: 0, read: 0 }
  const made = { pipelines: 0, buffers: 0, bufferBytes: 0 }
  let counted = { ...zero }
  self.webgpuCounts = { now: () => ({ ...counted, ...made }), reset: () => { counted = { ...zero } } }
  if (!self.GPUDevice) return
  const around = (type, name, before) => {
    const real = type.prototype[name]
    if (!real) return
    type.prototype[name] = function (...words) {
      const result = real.apply(this, words)
      before.call(this, words, result)
      return result
    }
  }
  const gone = new WeakSet()
  around(GPUComputePassEncoder, 'dispatchWorkgroups', () => { counted.dispatches++ })
  around(GPUComputePassEncoder, 'dispatchWorkgroupsIndirect', () => { counted.dispatches++ })
  around(GPUQueue, 'submit', () => { counted.submits++ })
  // Offset and size count elements of a typed array, and bytes of a plain buffer.
  around(GPUQueue, 'writeBuffer', ([, , data, offset = 0, size = (data.length ?? data.byteLength) - offset]) => { counted.written += size * (data.BYTES_PER_ELEMENT ?? 1) })
  around(GPUBuffer, 'mapAsync', function ([mode]) { if (mode & GPUMapMode.READ) counted.read += this.size })
  around(GPUDevice, 'createComputePipeline', () => { made.pipelines++ })
  around(GPUDevice, 'createComputePipelineAsync', () => { made.pipelines++ })
  around(GPUDevice, 'createBuffer', function ([{ size, mappedAtCreation }]) {
    made.buffers++
    made.bufferBytes += size
    if (mappedAtCreation) counted.written += size
  })
  around(GPUBuffer, 'destroy', function () {
    if (gone.has(this)) return
    gone.add(this)
    made.buffers--
    made.bufferBytes -= this.size
  })
}
