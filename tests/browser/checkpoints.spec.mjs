// What the browser keeps: the run in its private file system, which goes on exactly, whatever happened in between; the
// list of runs; and the settings in the address.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CSV, expect, expectAccessible, fillSettings, openBlank, openPage, patchWorker, ROWS, SHOTS, test } from './site.mjs'

const SETTINGS = { epochs: 2, batchSize: 8, maxSeqLength: 8, seed: 3, evalEvery: 6, readEvery: 1 }

/** Runs in the page: fine-tunes from the start and stops after step `stopAt`, or goes on with the saved run. */
async function train({ rows, settings, stopAt, resume = false }) {
  const { Electra } = await import('./electra.js')
  const model = resume ? await Electra.resume({ device: 'cpu' }) : await Electra.load('models/electra-tiny/', { device: 'cpu' })
  const stop = new AbortController()
  const found = { before: model.run, unsaved: [], kept: [] }
  const run = await model.finetune({
    ...(resume ? { resume } : { ...settings, train: rows, title: 'Food or space', about: { mark: 7 } }),
    signal: stop.signal,
    onStep: ({ step }) => step === stopAt && stop.abort(),
    onCheckpoint: ({ step }) => found.kept.push(step),
    onUnsaved: error => found.unsaved.push(`${error.message} | ${error.remedy}`),
  })
  found.prediction = await model.predict('the moon')
  model.dispose()
  return { ...found, ...run }
}

/** Runs in the page: what is saved, or why it is of no use. */
async function look() {
  const { Electra } = await import('./electra.js')
  return Electra.savedRun().catch(error => ({ error: error.message, remedy: error.remedy }))
}

/** Runs in the page: changes a byte in the middle of each file whose name begins so. */
async function damage(start) {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('electra-run')
  for await (const [name, handle] of folder) {
    if (!name.startsWith(start)) continue
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer())
    bytes[bytes.length >> 1] ^= 1
    const file = await handle.createWritable()
    await file.write(bytes)
    await file.close()
  }
}

const curve = ({ losses }) => losses.map(({ step, loss }) => [step, loss])
const scores = ({ evaluations }) => evaluations.map(({ step, score }) => [step, score])

test('stopped, reloaded, resumed: the run equals one that was never stopped', async ({ blank }) => {
  const whole = await blank.evaluate(train, { rows: ROWS, settings: SETTINGS })
  expect(await blank.evaluate(look), 'nothing is saved that was not asked for').toBeNull()

  const first = await blank.evaluate(train, { rows: ROWS, settings: { ...SETTINGS, checkpointEvery: 3 }, stopAt: 8 })
  expect(first.stopped).toBe(true)
  expect(first.kept.slice(0, 2)).toEqual([3, 6])
  expect(first.kept.at(-1), 'also when it stops').toBe(first.steps)
  await blank.reload()
  const saved = await blank.evaluate(look)
  expect(saved).toMatchObject({
    title: 'Food or space', about: { mark: 7 }, task: 'classification', step: first.steps, steps: whole.steps, device: { kind: 'cpu' }, wish: 'cpu', active: false,
  })
  expect(Math.abs(Date.now() - Date.parse(saved.time))).toBeLessThan(300_000)

  const second = await blank.evaluate(train, { resume: true })
  expect(second.before.steps).toBe(first.steps)
  expect(second.stopped).toBe(false)
  expect(curve(second)).toEqual(curve(whole))
  expect(scores(second)).toEqual(scores(whole))
  expect(second.prediction).toEqual(whole.prediction)
  expect(second.unsaved).toEqual([])
  expect(await blank.evaluate(look), 'a run that has ended is not kept').toBeNull()
})

test('a worker that is killed while it writes leaves the checkpoint before', async ({ blank }) => {
  const whole = await blank.evaluate(train, { rows: ROWS, settings: SETTINGS })
  // The third state gets half written, and then the worker hangs as if it had been shot.
  await patchWorker(blank, `
    let states = 0
    const write = FileSystemSyncAccessHandle.prototype.write
    FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
      if (options.at === 0 && new TextDecoder().decode(bytes.subarray(8, 40)).includes('__metadata__')) states++
      if (bytes.length < 1e5 || states < 3) return write.call(this, bytes, options)
      write.call(this, bytes.subarray(0, bytes.length >> 1), options)
      this.flush()
      new BroadcastChannel('half').postMessage('written')
      for (;;);
    }`)
  await blank.evaluate(async ({ rows, settings }) => {
    const half = new Promise(resolve => { new BroadcastChannel('half').onmessage = resolve })
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    const run = model.finetune({ ...settings, train: rows, checkpointEvery: 2 }).catch(error => error)
    await half
    model.dispose()
    await run
  }, { rows: ROWS, settings: SETTINGS })
  await blank.unroute('**/worker.js')
  await blank.reload()
  expect(await blank.evaluate(look)).toMatchObject({ step: 4 })
  const resumed = await blank.evaluate(train, { resume: true })
  expect(curve(resumed)).toEqual(curve(whole))
})

test('damage: one checkpoint falls back on the other, both are an error with a remedy, and can be forgotten', async ({ blank }) => {
  const start = () => blank.evaluate(train, { rows: ROWS, settings: { ...SETTINGS, checkpointEvery: 3 }, stopAt: 4 })
  const reload = () => blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    try {
      const model = await Electra.resume()
      model.dispose()
      return { step: model.run.steps }
    } catch (error) {
      return { error: error.message, remedy: error.remedy }
    }
  })
  const { kept } = await start()
  await blank.evaluate(damage, 'state-1')
  expect(await reload(), 'the one before').toEqual({ step: kept.at(-2) })
  await blank.evaluate(damage, 'state-0')
  const broken = await reload()
  expect(broken.error).toContain('damaged')
  expect(broken.remedy).toContain('Discard')

  await start()
  await blank.evaluate(damage, 'job')
  expect((await reload()).error).toContain('damaged')
  await start()
  await blank.evaluate(damage, 'manifest')
  expect((await blank.evaluate(look)).error).toContain('damaged')
  expect((await reload()).error).toContain('damaged')

  const after = await blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    await Electra.forgetRun()
    const names = []
    for await (const name of (await (await navigator.storage.getDirectory()).getDirectoryHandle('electra-run')).keys()) names.push(name)
    return { saved: await Electra.savedRun(), names }
  })
  expect(after).toEqual({ saved: null, names: [] })
  expect((await reload()).error).toContain('No run is saved')
})

/** Runs in the page: rewrites the only checkpoint as another version would have written it, with checksums that are right. */
async function makeForeign({ format, engine }) {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('electra-run')
  const read = async name => new Uint8Array(await (await (await folder.getFileHandle(name)).getFile()).arrayBuffer())
  const write = async (name, content) => {
    const file = await (await folder.getFileHandle(name)).createWritable()
    await file.write(content)
    await file.close()
  }
  const digest = async bytes => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), byte => byte.toString(16).padStart(2, '0')).join('')
  const { manifest } = JSON.parse(new TextDecoder().decode(await read('manifest-0')))
  manifest.format = format ?? manifest.format
  if (engine) {
    const bytes = await read('state-0')
    // The header stands first, as text in text.
    const place = new TextDecoder('latin1').decode(bytes.subarray(0, 100_000)).search(/version\\":\d/)
    bytes[place + 'version\\":'.length] = engine.charCodeAt(0)
    const [state] = manifest.state.parts
    const { checksumOf } = await import('./checkpoints.js')
    state.checksum = checksumOf(bytes.subarray(0, state.size))
    await write('state-0', bytes)
  }
  await write('manifest-0', JSON.stringify({ sha256: await digest(new TextEncoder().encode(JSON.stringify(manifest))), manifest }))
}

test('a checkpoint of another version, of the page or of the engine, is refused in words', async ({ blank }) => {
  const start = () => blank.evaluate(train, { rows: ROWS, settings: { ...SETTINGS, checkpointEvery: 100 }, stopAt: 3 })
  await start()
  await blank.evaluate(makeForeign, { format: 99 })
  const page = await blank.evaluate(look)
  expect(page.error).toContain('another version')
  expect(page.remedy).toContain('Discard')

  await start()
  await blank.evaluate(makeForeign, { engine: '9' })
  expect(await blank.evaluate(look)).toMatchObject({ title: 'Food or space' })
  const engine = await blank.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    return Electra.resume().then(() => 'no error', error => `${error.message} | ${error.remedy}`)
  })
  expect(engine).toContain('version 9')
  expect(engine).toContain('start the run anew')
})

test('two tabs: the second trains too, unsaved, and says so; the first run is whole', async ({ blank, site }) => {
  const other = await openBlank(await blank.context().newPage(), site)
  const hold = blank.evaluate(async ({ rows, settings }) => {
    const { Electra } = await import('./electra.js')
    const model = await Electra.load('models/electra-tiny/', { device: 'cpu' })
    window.stop = new AbortController()
    const run = await new Promise(resolve => {
      window.run = model.finetune({ ...settings, train: rows, checkpointEvery: 2, signal: window.stop.signal, onCheckpoint: async () => { await model.pause(); resolve(true) } })
    })
    return run
  }, { rows: ROWS, settings: SETTINGS })
  await hold
  const busy = await other.evaluate(look)
  expect(busy.active).toBe(true)
  const second = await other.evaluate(train, { rows: ROWS, settings: { ...SETTINGS, epochs: 0.5, checkpointEvery: 1 } })
  expect(second.unsaved).toHaveLength(1)
  expect(second.unsaved[0]).toContain('Another tab')
  expect(second.kept).toEqual([])
  expect(second.stopped).toBe(false)
  const refused = await other.evaluate(async () => {
    const { Electra } = await import('./electra.js')
    const say = promise => promise.then(() => 'no error', error => error.message)
    return [await say(Electra.resume()), await say(Electra.forgetRun())]
  })
  for (const message of refused) expect(message).toContain('going on')
  await blank.evaluate(async () => {
    window.stop.abort()
    await window.run
  })
  expect(await other.evaluate(look)).toMatchObject({ title: 'train.jsonl', active: false })
  await other.close()
})

for (const [name, code, words] of [
  ['no private file system', 'StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("no", "SecurityError"))', 'keeps no files'],
  ['no room', 'FileSystemSyncAccessHandle.prototype.write = () => { throw new DOMException("full", "QuotaExceededError") }', 'no room'],
]) {
  test(`${name}: training goes on, with one notice`, async ({ blank }) => {
    await patchWorker(blank, code)
    const found = await blank.evaluate(train, { rows: ROWS, settings: { ...SETTINGS, epochs: 1, checkpointEvery: 1 } })
    expect(found.stopped).toBe(false)
    expect(found.kept).toEqual([])
    expect(found.unsaved).toHaveLength(1)
    expect(found.unsaved[0]).toContain(words)
    expect(found.unsaved[0]).toContain('download the model')
    expect(await blank.evaluate(look)).toBeNull()
  })
}

// ---- the page

/** Fills the form with a small run on own rows. */
async function setUp(page) {
  await page.click('#paste-open')
  await page.fill('#paste-text', CSV)
  await page.click('#paste-use')
  await expect(page.locator('#train')).toBeEnabled()
  await fillSettings(page, { 'epochs': 12, 'batch-size': 8, 'max-length': 8, 'learning-rate': '2e-3', 'eval-fraction': 25, 'seed': 1 })
}

/** Presses Train, and Stop as soon as a step is shown. */
async function trainAndStop(page) {
  await page.evaluate(() => {
    const shown = document.getElementById('stat-step')
    new MutationObserver((_, observer) => {
      if (!/^[1-9]\d* of/.test(shown.textContent)) return
      observer.disconnect()
      document.getElementById('stop').click()
    }).observe(shown, { childList: true, characterData: true, subtree: true })
  })
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Stopped')
}

async function textOf(page, id) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(`#${id}`)])
  const path = test.info().outputPath(download.suggestedFilename())
  await download.saveAs(path)
  return readFileSync(path, 'utf8')
}

test('the page: stop, load it again, continue; the runs are compared, and their logs taken away', async ({ page, site }) => {
  test.setTimeout(480_000)
  await openPage(page, site, '#finetune')
  await expect(page.locator('#runs')).toBeHidden()
  await expect(page.locator('#saved')).toBeHidden()
  await setUp(page)
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  await expect(page.locator('#runs-table tbody tr')).toHaveCount(1)
  await page.click('#again')
  await trainAndStop(page)

  await page.reload()
  await expect(page.locator('#saved')).toContainText(/Continue “pasted rows” at step \d+ of 72/)
  await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'cpu')
  await expectAccessible(page)
  await page.screenshot({ path: join(SHOTS, 'saved-run.png') })
  await page.click('#saved-continue')
  await expect(page.locator('#run-title')).toHaveText('pasted rows')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  await expect(page.locator('#score-before')).toHaveText(/\d+%/)
  await expect(page.locator('#saved')).toBeHidden()

  await expect(page.locator('#runs-table tbody tr')).toHaveCount(2)
  await expect(page.locator('#runs-loss path[class*=series]')).toHaveCount(2)
  await expectAccessible(page)
  await page.locator('#runs').screenshot({ path: join(SHOTS, 'runs.png') })
  await page.uncheck('#runs-table input >> nth=1')
  await expect(page.locator('#runs-loss path[class*=series]')).toHaveCount(1)
  const [continued, whole] = JSON.parse(await textOf(page, 'runs-json'))
  expect(continued.losses).toHaveLength(72)
  expect(continued.losses).toEqual(whole.losses)
  expect(continued.scores).toEqual(whole.scores)
  expect(continued).toMatchObject({ title: 'pasted rows', task: 'classification', phase: 'done', steps: 72, metric: 'accuracy', device: { kind: 'cpu' } })
  expect(continued.evaluation.accuracy).toBe(continued.score)
  const csv = (await textOf(page, 'log-csv')).trim().split('\n')
  expect(csv[0]).toBe('run,title,task,metric,step,loss,score')
  expect(csv).toHaveLength(1 + 73)
  expect(JSON.parse(await textOf(page, 'log-json'))).toMatchObject([{ id: continued.id, steps: 72 }])
  const kept = await page.evaluate(() => Object.values(localStorage).join())
  for (const word of ['soup', 'moon']) expect(kept, 'no text of the data').not.toContain(word)

  await page.reload()
  await expect(page.locator('#runs-table tbody tr')).toHaveCount(2)
  await page.click('#runs-table button >> nth=0')
  await expect(page.locator('#runs-table tbody tr')).toHaveCount(1)
  await page.click('#runs-table button >> nth=0')
  await expect(page.locator('#runs')).toBeHidden()
})

test('the page: a saved run can be discarded; one that is damaged, too', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await setUp(page)
  await trainAndStop(page)
  await page.evaluate(damage, 'manifest')
  await page.reload()
  await expect(page.locator('#saved')).toContainText('damaged')
  await page.click('#saved-discard')
  await expect(page.locator('#saved')).toBeHidden()
  await page.reload()
  await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'cpu')
  await expect(page.locator('#saved')).toBeHidden()
  expect(await page.evaluate(look)).toBeNull()

  // Damage that shows only when the run is read: the page says so, and goes on without it.
  await setUp(page)
  await trainAndStop(page)
  await page.evaluate(damage, 'job')
  await page.reload()
  await page.click('#saved-continue')
  await expect(page.locator('#problem-message')).toContainText('damaged')
  await page.click('#saved-discard')
  await page.click('#problem-again')
  await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'cpu')
  await expect(page.locator('#problem')).toBeHidden()
  await expect(page.locator('#saved')).toBeHidden()
})

test('the address holds the set and the settings, and a link sets them up again', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await page.check('input[name=sample][value=spam]')
  await expect(page.locator('#train')).toBeEnabled()
  await expect(page).toHaveURL(/#finetune\?set=spam$/)
  await fillSettings(page, { 'seed': 7, 'epochs': 1.5, 'warmup': 20, 'dropout': 0.2 })
  await page.uncheck('#keep-best')
  await page.selectOption('#freeze', 'body')
  await expect(page).toHaveURL(/seed=7/)
  await expect(page).toHaveURL(/freeze=body/)
  const link = page.url()
  for (const part of ['set=spam', 'epochs=1.5', 'warmup=0.2', 'dropout=0.2', 'keepBest=no']) expect(link).toContain(part)
  await page.click('#tab-about')
  await expect(page).toHaveURL(/#about$/)
  await page.click('#tab-finetune')
  await expect(page).toHaveURL(link)

  const other = await page.context().newPage()
  await openPage(other, link, '')
  await expect(other.locator('#finetune')).toBeVisible()
  await expect(other.locator('#train')).toBeEnabled()
  await expect(other.locator('input[name=sample][value=spam]')).toBeChecked()
  for (const [id, value] of Object.entries({ 'seed': '7', 'epochs': '1.5', 'warmup': '20', 'dropout': '0.2', 'freeze': 'body' })) await expect(other.locator(`#${id}`)).toHaveValue(value)
  await expect(other.locator('#keep-best')).not.toBeChecked()
  await expect(other).toHaveURL(link)
  await expect(other.locator('#link-problem')).toBeHidden()
  await other.close()
})

test('what a link says wrongly is named, and the rest is set up', async ({ page, site }) => {
  await openPage(page, site, '#finetune?set=nothing&seed=5&epochs=-1&batchSize=many&freeze=all&keepBest=3&task=poetry&dropuot=0.1&learningRate=')
  const notice = page.locator('#link-problem')
  for (const words of ['nothing', 'Epochs', 'Batch size', 'many', 'Keep fixed', 'poetry', 'dropuot', 'Learning rate']) await expect(notice).toContainText(words)
  await expect(page.locator('#seed')).toHaveValue('5')
  await expect(page.locator('#epochs')).toHaveValue('3')
  await expect(page).toHaveURL(/#finetune\?seed=5$/)
  await page.evaluate(() => { location.hash = '#finetune?set=spam&seed=6' })
  await expect(page.locator('#seed')).toHaveValue('6')
  await expect(page.locator('input[name=sample][value=spam]')).toBeChecked()
  await expect(notice).toBeHidden()
})
