// Machines other than this one: without WebGPU, with a GPU that fails, with an engine that dies, without a network.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DIST, expect, fixture, NO_WEBGPU, openPage, patchWorker, REAL_GPU, replaceEngine, ROWS, serveHub, test, VOCABULARY } from './site.mjs'
import { startServer } from './server.mjs'

const FAILED_SELF_TEST = `
  import init, { Session as Real } from './electra_wasm.js?real'
  export default init
  export class Session {
    static async create(kind) {
      if (kind === 'webgpu') throw new Error('self-test: the loss differs by 0.3 from the CPU')
      return Real.create(kind)
    }
  }`
// As a panic shows: thrown outside of the call, whose promise then never settles.
const PANIC_IN_SELF_TEST = FAILED_SELF_TEST.replace(/throw new Error\(.*\)/, 'return new Promise(() => setTimeout(() => { throw new WebAssembly.RuntimeError("unreachable") }))')
const PANIC_IN_DETECT = `
  import init, { Session } from './electra_wasm.js?real'
  Session.prototype.detect = () => new Promise(() => setTimeout(() => { throw new WebAssembly.RuntimeError('unreachable') }))
  export default init
  export { Session }`

const loadTiny = device => `import('./electra.js').then(async ({ Electra }) => {
  try {
    const model = await Electra.load('models/electra-tiny/', { device: '${device}' })
    return model.info.device
  } catch (error) {
    return { error: error.message, remedy: error.remedy }
  }
})`

test('without WebGPU, auto takes the CPU and says why; webgpu is an error that says why', async ({ blank }) => {
  await patchWorker(blank, NO_WEBGPU)
  const auto = await blank.evaluate(loadTiny('auto'))
  expect(auto.kind).toBe('cpu')
  expect(auto.reason).toContain('this browser offers none here')
  const asked = await blank.evaluate(loadTiny('webgpu'))
  expect(asked.error).toContain('no WebGPU')
  expect(asked.remedy).toContain('Chrome')
})

test('on a software GPU, auto takes the CPU and says why', async ({ blank }) => {
  const auto = await blank.evaluate(loadTiny('auto'))
  expect(auto.kind).toBe('cpu')
  expect(auto.reason).toContain('imitated in software')
})

for (const [name, engine] of [['fails', FAILED_SELF_TEST], ['panics in', PANIC_IN_SELF_TEST]]) {
  test(`a GPU that ${name} its self-test: auto goes on with the CPU, webgpu is an error`, async ({ blank }) => {
    await patchWorker(blank, REAL_GPU)
    await replaceEngine(blank, engine)
    const auto = await blank.evaluate(loadTiny('auto'))
    expect(auto.kind).toBe('cpu')
    expect(auto.reason).toContain('failed its self-test')
    const asked = await blank.evaluate(loadTiny('webgpu'))
    expect(asked.error).toMatch(/self-test|engine stopped/)
  })
}

test('a dead engine is said, and the model can be loaded again', async ({ page, site }) => {
  await replaceEngine(page, PANIC_IN_DETECT)
  await page.goto(`${site}#detect`)
  await expect(page.locator('#problem-message')).toContainText('The engine stopped')
  await page.unroute(/electra_wasm\.js$/)
  await page.click('#problem-again')
  await expect(page.locator('.token').first()).toBeVisible()
  await expect(page.locator('#problem')).toBeHidden()
})

test.describe('downloads that fail', () => {
  test.use({ tolerated: /Failed to load resource|net::ERR/ })

  test('the engine cannot be fetched: the address is named, trying again works', async ({ page, site }) => {
    await page.route('**/*.wasm', route => route.abort())
    await page.goto(`${site}#detect`)
    await expect(page.locator('#problem-message')).toContainText('electra_wasm_relaxed_bg.wasm')
    await expect(page.locator('#problem-remedy')).not.toBeEmpty()
    await page.unroute('**/*.wasm')
    await page.click('#problem-again')
    await expect(page.locator('.token').first()).toBeVisible()
  })

  test('a model from the hub: loads, is cached, and says what is missing', async ({ blank }) => {
    const tiny = join(DIST, 'models/electra-tiny')
    const weights = readFileSync(join(tiny, 'model.safetensors'))
    const { __metadata__, ...tensors } = JSON.parse(weights.subarray(8, 8 + Number(weights.readBigUInt64LE())))
    const part = 'model-00001-of-00001.safetensors'
    const index = { weight_map: Object.fromEntries(Object.keys(tensors).map(tensor => [tensor, part])) }
    // Each a folder, and what it has beside or instead of the folder's files; null: it is not there.
    const repositories = {
      'owner/tiny': [tiny, {}],
      'owner/parts': [tiny, { 'model.safetensors': null, 'model.safetensors.index.json': JSON.stringify(index), [part]: weights }],
      'owner/bare': [tiny, { 'model.safetensors': null }],
      // As it is: the old form of torch.save, and no safetensors.
      'google/electra-small-discriminator': [fixture('format_bin_2020'), { 'vocab.txt': VOCABULARY }],
      'owner/bert': [fixture('format_bert_model'), { 'vocab.txt': VOCABULARY }],
    }
    const asked = await serveHub(blank, repositories)
    const load = source => blank.evaluate(async source => {
      const { Electra } = await import('./electra.js')
      let last = null
      try {
        const model = await Electra.load(source, { device: 'cpu', onProgress: progress => { last = progress.total ?? last } })
        return { parameters: model.info.parameters, architecture: model.info.architecture, notes: model.info.notes, total: last }
      } catch (error) {
        return { error: error.message, remedy: error.remedy }
      }
    }, source)
    const first = await load('owner/tiny')
    expect(first.parameters).toBeGreaterThan(1e5)
    expect(first.total).toBeGreaterThan(1e6)
    expect(asked.length).toBe(4)
    expect((await load({ repo: 'owner/tiny' })).parameters).toBe(first.parameters)
    expect(asked.length, 'the second time it comes from the cache').toBe(4)
    expect((await load('owner/parts')).parameters).toBe(first.parameters)
    expect((await load('google/electra-small-discriminator')).architecture).toBe('ElectraForSequenceClassification')
    const bert = await load('owner/bert')
    expect(bert.architecture).toBe('ElectraModel')
    expect(bert.notes.join()).toContain('left behind: pooler')
    expect((await load('nobody/nothing')).error).toContain('no such model')
    expect((await load('owner/bare')).error).toContain('no model.safetensors and no pytorch_model.bin')
    await blank.unroute('https://huggingface.co/**')
    await blank.route('https://huggingface.co/**', route => route.abort())
    expect((await load('owner/other')).error).toContain('could not be fetched')
  })
})

// Small ones, in the forms that the hub has them in: Google's of 2020, and a sentence-transformer with a BERT in the middle.
const CARDS = {
  small: ['ELECTRA-Small', 'google/electra-small-discriminator', [fixture('format_bin_2020'), { 'vocab.txt': VOCABULARY }]],
  base: ['ELECTRA-Base', 'google/electra-base-discriminator', [fixture('format_bin_2020'), { 'vocab.txt': VOCABULARY }]],
  minilm: ['MiniLM-L6', 'sentence-transformers/all-MiniLM-L6-v2', [fixture('format_bert_pretraining'), { 'vocab.txt': VOCABULARY, 'modules.json': '[]' }]],
}

test.describe('the cards of models', () => {
  test.use({ tolerated: /Failed to load resource/ })

  for (const [card, [name, repository, files]] of Object.entries(CARDS)) {
    test(`${name} is fetched by its name and kept`, async ({ page, site }) => {
      const asked = await serveHub(page, { [repository]: files })
      await openPage(page, site)
      await page.click('#model-button')
      await expect(page.locator(`#size-${card}`)).toContainText('to fetch')
      await page.check(`#source-${card}`)
      await page.click('#model-load')
      await expect(page.locator('#model-line')).toHaveText(`${name} · CPU`)
      await expect(page.locator('#problem')).toBeHidden()
      expect(asked).toContain('config.json')
      await page.click('#model-button')
      await expect(page.locator(`#size-${card}`)).toContainText('kept in this browser')
      const before = asked.length
      await page.check(`#source-${card}`)
      await page.click('#model-load')
      await expect(page.locator('#model-line')).toContainText('Loading')
      await expect(page.locator('#model-line')).toHaveText(`${name} · CPU`)
      // Of what is not there it is asked again.
      expect(asked.slice(before).filter(file => file in files[1] || /config|\.bin$|model\.safetensors$/.test(file) && existsSync(join(files[0], file)))).toEqual([])
    })
  }
})

test.describe('with the service worker', () => {
  test.use({ serviceWorkers: 'allow', tolerated: /Failed to load resource|net::ERR/ })

  test('works without a network once it was loaded', async ({ page }) => {
    const server = await startServer(DIST)
    await openPage(page, server.address, '#detect')
    await expect(page.locator('.token').first()).toBeVisible()
    await page.click('#tab-finetune')
    await page.click('#samples .card >> nth=0')
    await expect(page.locator('#columns')).toBeVisible()
    await server.close()
    await page.reload()
    await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'cpu')
    await page.click('#samples .card >> nth=0')
    await expect(page.locator('#columns')).toBeVisible()
    await expect(page.locator('#train')).toBeEnabled()
  })
})

test.describe('the content security policy', () => {
  test.use({ tolerated: /Content Security Policy|Refused to connect|violates/ })

  test('neither the page nor its worker can reach another site', async ({ blank: page, site }) => {
    const address = 'https://other.example/'
    await page.route(address, route => route.fulfill({ headers: { 'access-control-allow-origin': '*' }, body: 'open' }))
    const reach = address => fetch(address).then(() => 'reached', () => 'blocked')
    expect(await page.evaluate(reach, address), 'without the policy').toBe('reached')
    await openPage(page, site)
    expect(await page.evaluate(reach, address)).toBe('blocked')
    expect(page.workers()).toHaveLength(1)
    expect(await page.workers()[0].evaluate(reach, address)).toBe('blocked')
  })
})

test('the exported files, loaded again, give the same logits', async ({ blank }) => {
  const found = await blank.evaluate(async rows => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    await model.finetune({ train: new File([rows.map(row => JSON.stringify(row)).join('\n')], 'rows.jsonl'), epochs: 0.2, batchSize: 8, maxSeqLength: 16 })
    const files = await model.exportFiles()
    const again = await Electra.load(Object.entries(files).map(([name, bytes]) => new File([bytes], name)), { device: 'cpu' })
    const [before, after] = [await model.predict('the moon', { logits: true }), await again.predict('the moon', { logits: true })]
    return { names: Object.keys(files), before, after }
  }, ROWS)
  for (const name of ['config.json', 'model.safetensors', 'tokenizer.json']) expect(found.names).toContain(name)
  found.before.logits.forEach((logit, index) => expect(found.after.logits[index]).toBeCloseTo(logit, 5))
})
