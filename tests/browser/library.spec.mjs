// electra.js on an empty page: the whole flow on both devices, and that they agree.

import { expect, ROWS, test } from './site.mjs'

const SETTINGS = {
  epochs: 5, batchSize: 8, maxSeqLength: 8, learningRate: 2e-3, seed: 1, dropout: 0, evalFraction: 0.25, evalEvery: 30, readEvery: 1,
}

for (const device of ['cpu', 'webgpu']) {
  test(`the whole flow on ${device}`, async ({ blank }) => {
    test.setTimeout(900_000)
    const found = await blank.evaluate(wholeFlow, { device, rows: ROWS, settings: SETTINGS })

    expect(found.info.device.kind).toBe(device)
    expect(found.info.device.self_test).toEqual(device === 'cpu' ? null : { loss_error: expect.any(Number), weight_error: expect.any(Number) })
    expect(found.info.parameters).toBeGreaterThan(1e5)
    expect(found.stages).toContain('download')
    expect(found.detection.tokens[0]).toBe('[CLS]')
    expect(found.detection.replaced).toHaveLength(found.detection.tokens.length)
    expect(found.inspection.chosen).toEqual({ text: 'text', pair: null, label: 'label' })
    expect(found.inspection.labels).toEqual([{ label: 'food', count: 32 }, { label: 'space', count: 32 }])

    expect(found.plan.steps).toBe(30)
    expect(found.first.stopped).toBe(true)
    // The step under way when Stop is pressed is finished.
    expect([10, 11]).toContain(found.first.steps)
    expect(found.during.label).toMatch(/food|space/)
    expect(found.second.stopped).toBe(false)
    expect(found.second.steps).toBe(30)
    const losses = found.second.losses.map(({ loss }) => loss)
    expect(losses).toHaveLength(30)
    expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)) / 2)
    expect(found.second.evaluations.map(({ step }) => step)).toEqual([0, 30])
    expect(found.evaluation.accuracy).toBeGreaterThan(0.9)
    expect(found.evaluation.confusion_matrix.flat().reduce((sum, number) => sum + number)).toBe(ROWS.length)

    // Loaded again on the CPU, whatever it was trained on, and compared with the first losses there.
    expect(found.zipType).toBe('application/zip')
    expect(found.labelsAgain).toEqual(['food', 'space'])
    found.logits.forEach((row, index) => row.forEach((logit, label) => expect(Math.abs(found.logitsAgain[index][label] - logit)).toBeLessThan(device === 'cpu' ? 1e-5 : 1e-3)))
    expect(found.cpuLosses).toHaveLength(5)
    found.cpuLosses.forEach((loss, index) => expect(Math.abs(losses[index] - loss), `loss ${index + 1}`).toBeLessThan(1e-3))
  })
}

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number) / numbers.length
}

/** Runs in the page. */
async function wholeFlow({ device, rows, settings }) {
  const { Electra } = await import('./electra.js')
  const stages = new Set()
  const model = await Electra.load('models/electra-tiny/', { device, onProgress: ({ stage }) => stages.add(stage) })
  const found = { info: model.info, stages: [...stages] }
  found.detection = await model.detect('The chef ate the meal.')
  found.inspection = await model.inspect(rows, { maxSeqLength: 8 })

  const stop = new AbortController()
  const texts = ['cheese bread soup apple', 'moon star moon planet']
  found.first = await model.finetune({
    ...settings, train: rows, signal: stop.signal,
    onPlan: plan => { found.plan = plan },
    onStep: ({ step }) => step === 10 && stop.abort(),
  })
  found.during = await model.predict(texts[0])
  found.second = await model.finetune({ resume: true })
  found.evaluation = await model.evaluate(rows, { maxSeqLength: 8 })
  found.logits = (await model.predict(texts, { logits: true })).map(({ logits }) => logits)
  const zip = await model.export()
  found.zipType = zip.type
  model.dispose()

  const again = await Electra.load(zip, { device: 'cpu' })
  found.labelsAgain = again.info.labels
  found.logitsAgain = (await again.predict(texts, { logits: true })).map(({ logits }) => logits)
  again.dispose()

  const fresh = await Electra.load('models/electra-tiny/', { device: 'cpu' })
  const five = new AbortController()
  const { losses } = await fresh.finetune({ ...settings, train: rows, signal: five.signal, onStep: ({ step }) => step === 5 && five.abort() })
  found.cpuLosses = losses.slice(0, 5).map(({ loss }) => loss)
  fresh.dispose()
  return found
}

test('a stopped and resumed run equals one that was never stopped', async ({ blank }) => {
  const [whole, parts] = await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const all = []
    for (const stopAt of [null, 4]) {
      const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
      const stop = new AbortController()
      const options = { train: rows, epochs: 1, batchSize: 8, maxSeqLength: 8, seed: 3, evalEvery: 1000, readEvery: 1 }
      let run = await model.finetune({ ...options, signal: stop.signal, onStep: ({ step }) => step === stopAt && stop.abort() })
      if (stopAt) {
        await model.predict('the moon')
        run = await model.finetune({ resume: true })
      }
      all.push(run.losses)
      model.dispose()
    }
    return all
  }, ROWS)
  expect(whole.length).toBeGreaterThan(5)
  expect(parts.map(({ step, loss }) => [step, loss])).toEqual(whole.map(({ step, loss }) => [step, loss]))
})

test('pause holds the run and still answers', async ({ blank }) => {
  const found = await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    let steps = 0
    let reached
    const third = new Promise(resolve => { reached = resolve })
    const run = model.finetune({ train: rows, epochs: 1, batchSize: 8, maxSeqLength: 8, evalEvery: 1000, onStep: ({ step }) => { steps = step; if (step === 3) reached() } })
    await third
    const paused = await model.pause()
    // One more step may have been on its way.
    await model.predict('the moon')
    const before = steps
    await new Promise(resolve => setTimeout(resolve, 500))
    const after = steps
    await model.resume()
    const { stopped, steps: all } = await run
    model.dispose()
    return { paused, before, after, stopped, all }
  }, ROWS)
  expect(found.paused).toBe(true)
  expect(found.after).toBe(found.before)
  expect(found.stopped).toBe(false)
  expect(found.all).toBeGreaterThan(found.after)
})

test('errors say what is wrong and what to do', async ({ blank }) => {
  const errors = await blank.evaluate(async rows => {
    const { Electra, ElectraError } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    const say = async call => {
      try {
        await call()
        return 'no error'
      } catch (error) {
        return error instanceof ElectraError ? `${error.message} | ${error.remedy}` : `not ours: ${error}`
      }
    }
    const found = {
      option: await say(() => model.finetune({ train: rows, learning_rate: 1 })),
      data: await say(() => model.finetune({ train: 7 })),
      none: await say(() => model.finetune()),
      column: await say(() => model.inspect(rows, { textColumn: 'sentense' })),
      oneClass: await say(() => model.finetune({ train: rows.filter(({ label }) => label === 'food') })),
      empty: await say(() => model.inspect(new File([''], 'empty.csv'))),
      notText: await say(() => model.inspect(new File([new Uint8Array([116, 101, 10, 0xff, 0xfe, 0x80])], 'bytes.csv'))),
      resume: await say(() => model.finetune({ resume: true })),
      source: await say(() => Electra.load(42)),
      device: await say(() => Electra.load('models/electra-tiny/', { device: 'cuda' })),
      zip: await say(() => Electra.load(new File(['no zip'], 'model.zip'), { device: 'cpu' })),
      files: await say(() => Electra.load([new File(['{}'], 'a.json'), new File(['{}'], 'b.json')], { device: 'cpu' })),
      // After all of these it still works.
      alive: (await model.inspect(rows)).rows,
    }
    model.dispose()
    found.disposed = await say(() => model.predict('a'))
    return found
  }, ROWS)
  expect(errors.option).toContain('Did you mean learningRate?')
  expect(errors.data).toContain('not labelled data')
  expect(errors.none).toContain('no training data')
  expect(errors.column).toContain('sentense')
  expect(errors.oneClass).toMatch(/one label|two/)
  expect(errors.empty).toContain('empty')
  expect(errors.notText).toMatch(/UTF-8/)
  expect(errors.resume).toContain('no training run')
  expect(errors.source).toContain('no model')
  expect(errors.device).toContain('cuda')
  expect(errors.zip).toMatch(/zip/)
  expect(errors.files).toMatch(/config\.json|tokenizer/)
  expect(errors.alive).toBe(ROWS.length)
  expect(errors.disposed).toContain('disposed')
  for (const text of Object.values(errors)) expect(String(text)).not.toMatch(/not ours|undefined|\[object/)
})
