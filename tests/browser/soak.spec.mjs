// The memory of a long fine-tuning run in the page is flat. ./build.sh soak runs it for two thousand steps.

import { expect, ROWS, test } from './site.mjs'

const STEPS = Number(process.env.ELECTRA_SOAK_STEPS ?? 120)

test(`the memory of a run of ${STEPS} steps is flat`, async ({ blank: page, site }) => {
  test.setTimeout(60_000 + STEPS * 2000)
  await page.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    globalThis.model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
  })
  // WebAssembly's memory never shrinks: what is lost a step shows. The module is the engine's own; it is started once.
  const held = async () => {
    const wasm = await page.workers()[0].evaluate(async address => (await (await import(address)).default()).memory.buffer.byteLength, `${site}wasm/electra_wasm.js`)
    return { wasm, heap: await page.evaluate(() => performance.memory.usedJSHeapSize) }
  }
  const at = {}
  await page.exposeFunction('passed', async step => { at[step] = await held() })
  const early = Math.min(100, Math.floor(STEPS / 3))
  const taken = await page.evaluate(async ({ rows, steps, early }) => {
    const passed = []
    const { steps: all } = await globalThis.model.finetune({
      train: rows, batchSize: 8, maxSeqLength: 8, learningRate: 1e-3, seed: 0, epochs: steps / Math.ceil(rows.length * 0.85 / 8), evalTimes: 8,
      onStep: ({ step }) => step === early && passed.push(globalThis.passed(step)),
    })
    await Promise.all(passed)
    return all
  }, { rows: ROWS, steps: STEPS, early })
  at[taken] = await held()
  expect(taken).toBeGreaterThan(STEPS * 0.9)
  expect(at[taken].wasm).toBeLessThan(at[early].wasm * 1.05)
  expect(at[taken].heap).toBeLessThan(at[early].heap + 16e6)
})
