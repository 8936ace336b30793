// A model that was trained in the browser, carried to the command line: `electra predict` on the downloaded
// zip gives the page's own logits. ELECTRA_BIN is the native program; build.sh test sets it.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, ROWS, test } from './site.mjs'

const BIN = process.env.ELECTRA_BIN
const TEXTS = ['the soup was wonderful', 'a far planet came too late', '']

test('the downloaded model predicts the same natively', async ({ blank }) => {
  test.skip(!BIN || !existsSync(BIN), 'ELECTRA_BIN does not name the native program')
  const found = await blank.evaluate(async ({ rows, texts }) => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    await model.finetune({ train: rows, epochs: 1, batchSize: 8, maxSeqLength: 16, learningRate: 1e-3, seed: 1 })
    const predictions = await model.predict(texts, { logits: true })
    const zip = [...new Uint8Array(await (await model.export()).arrayBuffer())]
    model.dispose()
    return { predictions, zip }
  }, { rows: ROWS, texts: TEXTS })

  const folder = mkdtempSync(join(tmpdir(), 'electra-handover-'))
  const zip = join(folder, 'model.zip')
  writeFileSync(zip, Buffer.from(found.zip))
  const output = execFileSync(BIN, ['predict', '--model', zip, '--logits', '--device', 'cpu'], { input: TEXTS.join('\n') + '\n', encoding: 'utf8' })
  const native = output.trim().split('\n').map(line => JSON.parse(line))
  expect(native).toHaveLength(TEXTS.length)
  native.forEach(({ label, logits }, row) => {
    expect(label).toBe(found.predictions[row].label)
    logits.forEach((logit, index) => expect(Math.abs(logit - found.predictions[row].logits[index])).toBeLessThan(1e-4))
  })
})
