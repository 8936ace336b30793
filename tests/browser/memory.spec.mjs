// The engine has 4 GiB at most, and its memory never shrinks: how often a model's weights are in it, and what happens where
// there is no room.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect, openPage, replaceEngine, ROWS, serveHub, TELLING_ENGINE, test } from './site.mjs'
import { writeRandomModel } from './random.mjs'

const MIDDLING = { hidden_size: 512, embedding_size: 128, num_hidden_layers: 4, num_attention_heads: 8, intermediate_size: 2048 }

/** Bytes of the engine's memory. */
const memoryOf = page => page.workers().at(-1).evaluate(() => self.engineMemory.buffer.byteLength)

/** Leaves the engine so many mebibytes beyond what it has. */
const leave = (page, room) => page.workers().at(-1).evaluate(room => {
  const pages = self.engineMemory.buffer.byteLength / 65536
  self.engineMemory.grow(65536 - pages - room * 16)
}, room)

test('the weights are in the engine once when loaded, and a saved run and a zip take no more', async ({ blank, site }) => {
  test.setTimeout(600_000)
  const folder = mkdtempSync(join(tmpdir(), 'electra-middling-'))
  try {
    const weights = writeRandomModel(folder, MIDDLING)
    await blank.route(`${site}models/middling/*`, route => route.fulfill({ path: join(folder, basename(new URL(route.request().url()).pathname)) }).catch(() => route.fulfill({ status: 404 })))
    await replaceEngine(blank, TELLING_ENGINE)
    const found = {}
    await blank.exposeFunction('look', async name => { found[name] = await memoryOf(blank) / weights })
    const sizes = await blank.evaluate(async rows => {
      const { Electra } = await import('./electra.js')
      const tiny = await Electra.load('models/electra-tiny/', { device: 'cpu' })
      await look('tiny')
      tiny.dispose()
      const model = await Electra.load('models/middling/', { device: 'cpu' })
      await look('loaded')
      const stop = new AbortController()
      const kept = []
      await model.finetune({
        train: rows, epochs: 1, batchSize: 2, maxSeqLength: 8, readEvery: 1, evalEvery: 1000, checkpointEvery: 1, signal: stop.signal,
        onStep: () => look('step'), onCheckpoint: ({ bytes }) => { kept.push(bytes); stop.abort() },
      })
      await look('saved')
      const zip = await model.export()
      await look('zipped')
      model.dispose()
      const again = await Electra.load(zip, { device: 'cpu' })
      await look('again')
      again.dispose()
      const resumed = await Electra.resume()
      await look('resumed')
      resumed.dispose()
      await Electra.forgetRun()
      return { kept: kept[0], zip: zip.size }
    }, ROWS)
    expect(sizes.kept).toBeGreaterThan(3 * weights)
    expect(sizes.zip).toBeGreaterThan(weights)
    // Once, and the largest part of it once more.
    expect(found.loaded - found.tiny).toBeLessThan(1.6)
    expect(found.again - found.tiny).toBeLessThan(1.6)
    expect(found.step - found.tiny, 'the loaded, the trained, two gradients, two moments').toBeLessThan(7)
    expect(found.saved - found.step).toBeLessThan(0.3)
    expect(found.zipped - found.saved).toBeLessThan(0.3)
    expect(found.resumed - found.tiny).toBeLessThan(7)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a model that is too large is an error, and the one before goes on', async ({ page, site }) => {
  const config = { ...MIDDLING, hidden_size: 4096, num_attention_heads: 64, intermediate_size: 16384, num_hidden_layers: 24, architectures: ['ElectraForPreTraining'], model_type: 'electra', vocab_size: 7 }
  const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', '.'].join('\n')
  await serveHub(page, { 'owner/huge': ['', { 'config.json': JSON.stringify(config), 'vocab.txt': vocabulary, 'model.safetensors': 'not read' }] })
  await openPage(page, site)
  await page.click('#model-button')
  await page.check('#source-hub')
  await page.fill('#hub-name', 'owner/huge')
  await page.click('#model-load')
  await expect(page.locator('#problem-message')).toContainText('huge could not be loaded')
  await expect(page.locator('#problem-message')).toContainText('too large')
  await expect(page.locator('#problem-remedy')).toContainText('ELECTRA-Tiny goes on working')
  await page.click('#problem-close')
  await page.click('#tab-detect')
  await expect(page.locator('.token').first()).toBeVisible()
})

test('a run that there is no room for is an error, and the model goes on', async ({ blank }) => {
  await replaceEngine(blank, TELLING_ENGINE)
  await blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    window.model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
  })
  await leave(blank, 4)
  const found = await blank.evaluate(async rows => {
    const before = await model.detect('The chef ate the meal.')
    const refused = await model.finetune({ train: rows, epochs: 1 }).then(() => 'no error', error => `${error.message} | ${error.remedy}`)
    return { before, refused, after: await model.detect('The chef ate the meal.') }
  }, ROWS)
  expect(found.refused).toContain('too large to be trained')
  expect(found.after).toEqual(found.before)
})
