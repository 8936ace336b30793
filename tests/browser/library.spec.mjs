// electra.js on an empty page: the whole flow on both devices, and that they agree.

import { expect, ROWS, serveGenerator, test } from './site.mjs'

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

// Each is compiled before it runs, by CubeCL and by the driver: they are most of a first step on a GPU.
test('the self-test and fine-tuning take few pipelines of a GPU', async ({ page, blank }) => {
  test.setTimeout(300_000)
  await page.route('**/worker.js', async route => {
    const response = await route.fetch()
    await route.fulfill({ response, body: `(${countPipelines})();\n${await response.text()}` })
  })
  await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'webgpu' })
    await model.finetune({ train: rows, eval: rows.slice(0, 8), epochs: 1, batchSize: 32, maxSeqLength: 8, learningRate: 1e-3 })
  }, ROWS)
  const pipelines = await page.workers().at(-1).evaluate(() => self.pipelines)
  expect(pipelines).toBeGreaterThan(20)
  expect(pipelines).toBeLessThanOrEqual(40)
})

/** Runs in the worker before anything else. */
function countPipelines() {
  self.pipelines = 0
  for (const name of ['createComputePipeline', 'createComputePipelineAsync']) {
    const real = GPUDevice.prototype[name]
    GPUDevice.prototype[name] = function (...words) {
      self.pipelines++
      return real.apply(this, words)
    }
  }
}

test('the browser takes the engine with relaxed SIMD, and both say the same', async ({ blank }) => {
  const found = await blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    const engines = []
    const onFetch = addresses => engines.push(...addresses.filter(address => address.endsWith('.wasm')).map(address => address.split('/').pop()))
    const answers = []
    for (const wasmUrl of [undefined, 'wasm/electra_wasm_bg.wasm']) {
      const model = await Electra.load('models/electra-tiny/', { device: 'cpu', wasmUrl, onFetch })
      answers.push((await model.detect('The chef ate the meal.')).replaced)
      model.dispose()
    }
    return { engines, answers }
  })
  expect(found.engines).toEqual(['electra_wasm_relaxed_bg.wasm', 'electra_wasm_bg.wasm'])
  const [relaxed, plain] = found.answers
  plain.forEach((probability, index) => expect(Math.abs(relaxed[index] - probability)).toBeLessThan(1e-5))
})

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

const CONTEXT = 'Anna keeps a small bakery in Lund. She bakes bread with rye every Friday.'
const TASKS = {
  'classification': {
    rows: ROWS.slice(0, 32), metric: 'accuracy', inputs: ['the moon', { text: 'soup', text_pair: undefined }],
    evaluation: { examples: 32, accuracy: expect.any(Number), labels: ['food', 'space'] },
    prediction: { label: expect.stringMatching(/food|space/), score: expect.any(Number), scores: { food: expect.any(Number), space: expect.any(Number) } },
  },
  'multi-label': {
    rows: ROWS.slice(0, 32).map(({ text, label }, row) => ({ text, labels: row % 3 ? [label] : [label, 'third'] })), metric: 'micro_f1', inputs: ['the moon', 'soup'],
    evaluation: { examples: 32, micro: { f1: expect.any(Number) }, per_label: { length: 3 }, subset_accuracy: expect.any(Number) },
    prediction: { labels: expect.any(Array), scores: { food: expect.any(Number), space: expect.any(Number), third: expect.any(Number) } },
  },
  'regression': {
    rows: ROWS.slice(0, 32).map(({ text, label }, row) => ({ text, score: (label === 'food' ? 1 : 3) + row % 5 / 10 })), metric: 'pearson', inputs: ['the moon', 'soup'],
    evaluation: { examples: 32, mse: expect.any(Number), points: { length: 32 } },
    prediction: { value: expect.any(Number) },
  },
  'tagging': {
    rows: ROWS.slice(0, 32).map(({ text, label }) => ({ words: [...text.split(' '), 'here'], labels: [...text.split(' ').map(() => `B-${label.toUpperCase()}`), 'O'] })), metric: 'f1', inputs: [{ words: ['moon', 'soup'] }, 'moon soup'],
    evaluation: { sentences: 32, tags: { examples: 160 }, entities: { micro: { f1: expect.any(Number) }, per_type: { length: 2 } } },
    prediction: { words: ['moon', 'soup'], labels: { length: 2 }, scores: { length: 2 } },
  },
  'question-answering': {
    rows: Array.from({ length: 32 }, (_, row) => ({ question: row % 2 ? 'Who keeps it?' : 'When does she bake?', context: `${CONTEXT} Day ${row}.`, answers: [row % 2 ? { text: 'Anna', answer_start: 0 } : { text: 'Friday', answer_start: CONTEXT.indexOf('Friday') }] })),
    metric: 'f1', inputs: [{ question: 'Who bakes bread?', context: CONTEXT }, { question: 'When?', context: CONTEXT }],
    evaluation: { exact: expect.any(Number), f1: expect.any(Number), total: 32 },
    prediction: { answer: expect.any(String), start: expect.any(Number), end: expect.any(Number), score: expect.any(Number), n_best: expect.any(Array) },
  },
}

for (const [task, { rows, metric, inputs, evaluation, prediction }] of Object.entries(TASKS)) {
  test(`${task}: look, train, evaluate, predict, take away, load again`, async ({ blank }) => {
    const found = await blank.evaluate(async ({ rows, inputs, maxSeqLength }) => {
      const { Electra } = await import('./electra.js')
      const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
      const found = { inspection: await model.inspect(rows, { maxSeqLength }), taskBefore: model.info.task }
      found.run = await model.finetune({
        train: rows, epochs: 0.5, batchSize: 8, maxSeqLength, docStride: 8, maxQueryLength: 16, keepBest: true, patience: 9, seed: 1, readEvery: 1,
      })
      found.info = model.info
      found.evaluation = await model.evaluate(rows, { maxSeqLength })
      found.predictions = await model.predict(inputs)
      const again = await Electra.load(await model.export(), { device: 'cpu' })
      model.dispose()
      found.infoAgain = again.info
      found.predictionsAgain = await again.predict(inputs)
      again.dispose()
      return found
    }, { rows, inputs, maxSeqLength: 64 })

    expect(found.taskBefore).toBeNull()
    expect(found.inspection.task).toBe(task)
    expect(found.inspection.rows).toBe(rows.length)
    expect(found.inspection.preview.length).toBeGreaterThan(0)
    expect(found.run.plan.task).toBe(task)
    expect(found.run.losses.map(({ step }) => step)).toEqual(Array.from({ length: found.run.plan.steps }, (_, index) => index + 1))
    expect(found.run.evaluations.length).toBeGreaterThanOrEqual(2)
    const said = { task, metric, score: expect.any(Number), is_collapsed: expect.any(Boolean), metrics: { [metric]: expect.any(Number) } }
    for (const one of found.run.evaluations) expect(one).toMatchObject({ ...said, step: expect.any(Number), epoch: expect.any(Number) })
    expect(found.info.task).toBe(task)
    expect(found.evaluation).toMatchObject({ ...said, ...evaluation, skipped: 0 })
    // One JSON: what a run says of a model is what `evaluate` and the command line say.
    const names = ({ step, epoch, skipped, ...line }) => Object.keys(line).sort()
    expect(names(found.run.evaluations.at(-1))).toEqual(names(found.evaluation))
    expect(found.predictions).toHaveLength(inputs.length)
    for (const one of found.predictions) expect(one).toMatchObject(prediction)
    expect(found.infoAgain).toMatchObject({ task, can_predict: true, can_detect: false })
    expect(rounded(found.predictionsAgain)).toEqual(rounded(found.predictions))
  })
}

/** Numbers to four places: what was saved and loaded may differ in the last digits. */
function rounded(value) {
  return JSON.parse(JSON.stringify(value), (_, part) => typeof part === 'number' ? Number(part.toFixed(4)) : part)
}

test('a column for each label, and every option, reach the engine', async ({ blank }) => {
  const found = await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    const table = rows.map(({ text, label }, row) => ({ text, food: Number(label === 'food'), late: row % 3 ? 0 : 1 }))
    const inspection = await model.inspect(table, { task: 'multi-label', labelColumns: ['food', 'late'] })
    const { plan } = await model.finetune({
      train: table, task: 'multi-label', labelColumns: ['food', 'late'], epochs: 0.1, batchSize: 16, accumulate: 1, learningRate: 1e-3, maxSeqLength: 8, docStride: 4,
      maxQueryLength: 4, doublePairs: false, warmup: 0, schedule: 'multiplied', weightDecay: 0, layerwiseDecay: 0.9, layerwiseGap: true, biasCorrection: false,
      dropout: 0, freeze: 'embeddings', evalFraction: 0.2, evalEvery: 5, keepBest: true, patience: 3, readEvery: 1, seed: 5,
    })
    const wrong = await model.inspect(table, { task: 'multi-label', labelColumns: ['food', 'late', 'nowhere'] }).catch(error => `${error.message} ${error.remedy}`)
    model.dispose()
    return { labels: inspection.labels.map(({ label }) => label), plan, wrong }
  }, ROWS)
  expect(found.labels).toEqual(['food', 'late'])
  expect(found.plan).toMatchObject({ task: 'multi-label', learning_rate: 1e-3, max_seq_length: 8, baseline: { metric: 'micro_f1' }, duplicates: expect.any(Number) })
  expect(found.wrong).toContain('nowhere')
})

test('a generator fills masks', async ({ blank, site }) => {
  await serveGenerator(blank, `${site}models/generator/`)
  const found = await blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/generator/', { device: 'cpu' })
    const say = promise => promise.then(() => 'no error', error => `${error.message} | ${error.remedy}`)
    const found = { info: model.info, one: await model.fill('The [MASK] word1.'), many: await model.fill(['[MASK] word2 [MASK].', 'the [MASK]'], { topK: 3 }) }
    found.none = (await model.fill('the word3.')).predictions
    found.detect = await say(model.detect('the word3.'))
    model.dispose()
    return found
  })
  expect(found.info).toMatchObject({ architecture: 'ElectraForMaskedLM', can_fill: true, can_detect: false, can_predict: false, task: null })
  expect(found.one.tokens).toContain('[MASK]')
  expect(found.one.predictions).toHaveLength(1)
  const scores = found.one.predictions[0].map(({ score }) => score)
  expect(scores).toEqual([...scores].sort((a, b) => b - a))
  expect(found.many.map(({ predictions }) => predictions.map(list => list.length))).toEqual([[3, 3], [3]])
  for (const { token, score } of found.many.flatMap(({ predictions }) => predictions.flat())) expect([typeof token, typeof score]).toEqual(['string', 'number'])
  expect(found.none).toEqual([])
  expect(found.detect).toContain('discriminator')
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

test('a run that cannot be started leaves the one before as it was', async ({ blank }) => {
  const found = await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    const stop = new AbortController()
    const options = { train: rows, epochs: 1, batchSize: 8, maxSeqLength: 8, readEvery: 1, seed: 2 }
    await model.finetune({ ...options, signal: stop.signal, onStep: ({ step }) => step === 3 && stop.abort() })
    const look = async () => ({ run: model.run, info: model.info, answer: await model.predict('the moon'), files: Object.keys(await model.exportFiles()).sort() })
    const before = await look()
    const refused = []
    const refuse = options => model.finetune(options).then(() => 'no error', error => error.message).then(message => refused.push(message))
    await refuse({ ...options, train: [{ text: 'a', label: 'one' }, { text: 'b', label: 'one' }] })
    await refuse({ ...options, maxSeqLength: 100_000 })
    await refuse({ ...options, eval: [{ text: 'a', label: 'another' }] })
    const after = await look()
    const rest = await model.finetune({ resume: true })
    // Over now, it stays too.
    const last = await model.predict('the moon')
    await refuse({ ...options, train: [] })
    const lastAfter = await model.predict('the moon')
    model.dispose()
    return { before, after, refused, rest, last, lastAfter }
  }, ROWS)
  for (const message of found.refused) expect(message).not.toBe('no error')
  expect(found.refused).toHaveLength(4)
  expect(found.before.info.labels).toEqual(['food', 'space'])
  expect(found.after).toEqual(found.before)
  expect(found.rest).toMatchObject({ stopped: false, steps: found.rest.plan.steps })
  expect(found.lastAfter).toEqual(found.last)
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
      notText: await say(() => model.inspect(new File([new Uint8Array([0xc3, 0xa9, 10, 0xff, 0xfe, 0x80])], 'bytes.csv'))),
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
