// Takes a model of ELECTRA-Base's size through the page's engine on the CPU, in Chromium: loads it, trains, exports, loads
// what came out. Prints after each how large the engine's memory is (it never shrinks), and what its process held at most:
// JSON lines. By hand, for it wants 10 GB of memory and some minutes.
//
//   node browser/base.mjs [--dtype F32] [--layers 12] [--batch-size 8] [--seq 32] [--steps 1] [--checkpoints]

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from '@playwright/test'
import config from './playwright.config.mjs'
import { BASE, writeRandomModel } from './random.mjs'
import { startServer } from './server.mjs'
import { DIST, replaceEngine, TELLING_ENGINE } from './site.mjs'

const { values: options } = parseArgs({
  options: {
    'dtype': { type: 'string', default: 'F32' },
    'batch-size': { type: 'string', default: '8' },
    'seq': { type: 'string', default: '32' },
    'steps': { type: 'string', default: '1' },
    'layers': { type: 'string', default: '12' },
    'checkpoints': { type: 'boolean', default: false },
  },
})

const work = mkdtempSync(join(tmpdir(), 'electra-base-'))
try {
  cpSync(DIST, join(work, 'site'), { recursive: true })
  const bytes = writeRandomModel(join(work, 'site/models/base'), { ...BASE, num_hidden_layers: Number(options.layers) }, options.dtype)
  await measure(bytes)
} finally {
  rmSync(work, { recursive: true })
}

async function measure(bytes) {
  const server = await startServer(join(work, 'site'))
  const browser = await chromium.launch(config.use.launchOptions)
  try {
    const page = await browser.newPage({ serviceWorkers: 'block' })
    page.setDefaultTimeout(0)
    page.on('console', message => console.error(`[browser] ${message.text()}`))
    await page.route('**/blank.html', route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>base</title>' }))
    await replaceEngine(page, TELLING_ENGINE)
    let started = performance.now()
    await page.exposeFunction('tell', async (after, more = {}) => {
      const worker = page.workers().at(-1)
      const memory = await worker?.evaluate(() => self.engineMemory?.buffer.byteLength).catch(() => null)
      const seconds = Math.round((performance.now() - started) / 100) / 10
      started = performance.now()
      console.log(JSON.stringify({ after, dtype: options.dtype, weights_mb: mb(bytes), engine_mb: mb(memory), process_peak_mb: rendererPeak(), seconds, ...more }))
    })
    await page.goto(`${server.address}blank.html`)
    await page.evaluate(wholeFlow, { batch: Number(options['batch-size']), seq: Number(options.seq), steps: Number(options.steps), checkpoints: options.checkpoints })
  } finally {
    await browser.close()
    await server.close()
  }
}

function mb(bytes) {
  return bytes && Math.round(bytes / 1e5) / 10
}

/** What the page's process, worker included, has held at most. */
function rendererPeak() {
  if (process.platform !== 'linux') return null
  const pids = execFileSync('pgrep', ['-f', 'type=renderer']).toString().trim().split('\n')
  const peaks = pids.map(pid => {
    const path = `/proc/${pid}/status`
    return existsSync(path) ? Number(/VmHWM:\s*(\d+)/.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) : 0
  })
  return mb(Math.max(...peaks) * 1024)
}

/** Runs in the page. */
async function wholeFlow({ batch, seq, steps, checkpoints }) {
  const { Electra } = await import('./electra.js')
  const words = 'the of and in to was is for on as with by he that at from his it an were are which this be or'.split(' ')
  const text = row => Array.from({ length: seq }, (_, index) => words[(row * 7 + index * (row % 5 + 1)) % words.length]).join(' ')
  const rows = Array.from({ length: batch * (steps + 1) }, (_, row) => ({ text: text(row), label: row % 2 ? 'odd' : 'even' }))
  const model = await Electra.load('models/base/', { device: 'cpu' })
  const { parameters } = model.info
  await tell('load', { parameters })
  await model.detect('The chef ate the meal.')
  await tell('detect')
  const stop = new AbortController()
  const said = []
  await model.finetune({
    train: rows, eval: rows.slice(0, 2), epochs: 9, batchSize: batch, maxSeqLength: seq, seed: 1, readEvery: 1, evalEvery: 1e6,
    checkpointEvery: checkpoints ? 1 : undefined, signal: stop.signal,
    onPlan: () => tell('start of training'),
    onStep: async ({ step, milliseconds, losses }) => {
      if (step === steps) stop.abort()
      await tell(`step ${step}`, { step_ms: Math.round(milliseconds), losses })
    },
    onCheckpoint: ({ bytes }) => tell('checkpoint', { state_mb: bytes / 1e6 }),
    onUnsaved: error => tell('not saved', { message: `${error.message} ${error.remedy}` }),
  }).catch(error => said.push(`${error.message} | ${error.remedy}`))
  if (said.length) return tell('the run failed', { said })
  await tell('stop')
  if (checkpoints) {
    model.dispose()
    const again = await Electra.resume()
    await tell('load of the saved run', { at_step: again.run.steps })
    again.dispose()
    return
  }
  const before = await model.predict('the cat', { logits: true })
  const zip = await model.export()
  await tell('export', { zip_mb: zip.size / 1e6 })
  model.dispose()
  const again = await Electra.load(zip, { device: 'cpu' })
  const after = await again.predict('the cat', { logits: true })
  await tell('load of the exported zip', { logits_before: before.logits, logits_after: after.logits })
}
