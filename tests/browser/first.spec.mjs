// The first minutes of somebody who has never seen the page: what it opens on, a spreadsheet of one's own, what Train says
// beforehand and the score afterwards; and that nothing that works is lost by something that does not.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PREFIX, startServer } from './server.mjs'
import { CSV, DIST, dropFile, expect, expectAccessible, fillSettings, openPage, ROWS, test } from './site.mjs'

const QUICK = { 'epochs': 2, 'batch-size': 8, 'max-length': 8, 'learning-rate': '2e-3' }

const sheet = name => readFileSync(join(import.meta.dirname, '../fixtures/sheets', name))

async function paste(page, text) {
  await page.evaluate(text => {
    const clipboardData = new DataTransfer()
    clipboardData.setData('text/plain', text)
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }))
  }, text)
}

for (const viewport of [{ width: 1280, height: 720 }, { width: 360, height: 740 }]) {
  test.describe(`${viewport.width} wide`, () => {
    test.use({ viewport })

    test('it opens on teaching, with both ways in view; what was chosen is brought up, Train stays in view', async ({ page, site }) => {
      await openPage(page, site)
      await expect(page.locator('h1').first()).toHaveText('Teach your browser to sort texts. Nothing leaves it.')
      await expect(page.locator('.hero .primary')).toHaveCount(1)
      for (const way of ['#start-now', '.hero .button']) await expect(page.locator(way)).toBeInViewport({ ratio: 1 })
      await expect(page.locator('#train-bar')).toBeHidden()
      await page.click('#samples .card >> nth=0')
      await expect(page.locator('#columns-title')).toBeInViewport()
      await expect(page.locator('#train')).toBeInViewport({ ratio: 1 })
      await expect(page.locator('#train-line')).toContainText(/rows, 11 labels, [\d,]+ steps, about .* on this CPU/)
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
      await expectAccessible(page)
    })

    test('what Detect says is in view, below the sentence and its examples', async ({ page, site }) => {
      await openPage(page, site, '#detect')
      await expect(page.locator('#verdict')).toContainText('replaced')
      await expect(page.locator('#verdict')).toBeInViewport({ ratio: 1 })
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
      await expectAccessible(page)
    })
  })
}

test('one click trains on the easiest set, with the box to try it beside the curve', async ({ page, site }) => {
  await openPage(page, site)
  await page.evaluate(() => {
    const { postMessage } = Worker.prototype
    window.asked = []
    Worker.prototype.postMessage = function (message, ...more) {
      window.asked.push(message.type)
      return postMessage.call(this, message, ...more)
    }
  })
  const clicked = Date.now()
  await page.click('#start-now')
  await expect(page.locator('#stat-step')).toContainText(/\d/)
  expect(Date.now() - clicked, 'something moves').toBeLessThan(20_000)
  // Steps that are only timed would come first.
  expect(await page.evaluate(() => window.asked)).toEqual(['inspect', 'finetune'])
  await expect(page.locator('#run-title')).toHaveText('Spam in text messages')
  await expect(page.locator('#score-after')).toHaveText(/%/, { timeout: 120_000 })
  await expect(page.locator('#loss-chart')).toBeVisible()
  const [curve, box] = await Promise.all(['#curves', '#try'].map(id => page.locator(id).boundingBox()))
  expect(box.x).toBeGreaterThan(curve.x + curve.width - 1)
  await page.click('#tab-about')
  await expect(page.locator('#waiting')).toContainText('A run goes on')
  await page.click('#waiting-look')
  await page.click('#stop')
  await expect(page.locator('#run-state')).toHaveText('Stopped', { timeout: 60_000 })
  // The last test is of the weights it stopped at.
  const step = Number((await page.locator('#stat-step').textContent()).replaceAll(',', '').match(/\d+/)[0])
  await page.click('#numbers summary')
  await expect(page.locator('#numbers-table tbody th').last()).toHaveText(step.toLocaleString('en'))
  await expect(page.locator('#numbers-table tbody tr').last().locator('td').nth(2)).toHaveText(/%/)
})

test('a column that cannot be learnt from leaves the others to choose', async ({ page, site }) => {
  await openPage(page, site)
  const rows = Array.from({ length: 20 }, (_, index) => `text ${index},mail,${index % 2 ? 'good' : 'bad'}`)
  await dropFile(page, 'odd.csv', ['text,label,tone', ...rows].join('\n'))
  await expect(page.locator('#data-problem')).toContainText('every row has the label "mail"')
  await expect(page.locator('#columns-title')).toHaveText('20 rows')
  await expect(page.locator('#train')).toBeDisabled()
  await page.selectOption('#label-column', 'tone')
  await expect(page.locator('#columns-title')).toHaveText('Classification: 20 rows, 2 labels')
  await expect(page.locator('#data-problem')).toBeHidden()
  await expect(page.locator('#train')).toBeEnabled()
})

test('the easiest set is not fetched again where it is chosen already', async ({ page, site }) => {
  await openPage(page, site)
  await page.click('input[name=sample][value=spam]', { force: true })
  await expect(page.locator('#columns-title')).toContainText('rows')
  await page.route('**/samples/spam.tsv', route => route.abort())
  await page.click('#start-now')
  await expect(page.locator('#run-state')).toHaveText('Training')
  await expect(page.locator('#stat-step')).toContainText(/\d/)
})

test.describe('an estimate', () => {
  // Time is what it measures, and whatever else the machine does comes in between.
  test.describe.configure({ retries: 2 })

  for (const [device, { epochs, tests }] of Object.entries({ cpu: { epochs: 30, tests: 8 }, webgpu: { epochs: 0.4, tests: 1 } })) {
    test(`how long it will take is said beforehand, and is about right: ${device}`, async ({ blank: page }) => {
      test.slow()
      // Others compute on the tests' machine, now more, now less: it is timed before and after, and the middle of three counts.
      const ratios = await page.evaluate(async ({ device, epochs, tests }) => {
        const { Electra } = await import('./electra.js')
        const model = await Electra.load('models/electra-tiny/', { device })
        const rows = Array.from({ length: 64 }, (_, index) => ({ text: `a ${index % 7} b`, label: String(index % 2) }))
        const settings = { batchSize: 8, maxSeqLength: 8, seed: 0 }
        const ratios = []
        for (let turn = 0; turn < 3; turn++) {
          const before = await model.time(rows, settings)
          const started = performance.now()
          const { steps, plan } = await model.finetune({ ...settings, train: rows, epochs, evalTimes: tests })
          const taken = performance.now() - started
          const after = await model.time(rows, settings)
          const estimate = ({ update, evaluation }) => steps * update + (tests + 1) * plan.eval_rows * evaluation
          ratios.push((estimate(before) + estimate(after)) / 2 / taken)
        }
        model.dispose()
        return ratios.sort((a, b) => a - b)
      }, { device, epochs, tests })
      expect(ratios[1]).toBeGreaterThan(0.7)
      expect(ratios[1]).toBeLessThan(1.4)
    })
  }
})

test('eight tests, and the score is a verdict; the model is used elsewhere', async ({ page, site }) => {
  await openPage(page, site)
  await paste(page, CSV)
  await expect(page.locator('#columns-title')).toHaveText(`Classification: ${ROWS.length} rows, 2 labels`)
  await fillSettings(page, { 'epochs': 30, 'batch-size': 8, 'max-length': 8, 'learning-rate': '2e-3' })
  await expect(page.locator('input[name=effort]:checked')).toHaveCount(0)
  const before = page.locator('#score-judgement')
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  await expect(before).toContainText(/Better than answering always “(food|space)”: \d+\.\d% against 50\.0%/)
  await expect(before).toContainText('on only 10 rows')
  await expect(before).toHaveAttribute('data-bad', 'false')
  const judge = (score, isOver = true) => page.evaluate(async ([score, isOver]) => {
    const { judgementOf } = await import('./app/tasks.js')
    return judgementOf({ metric: 'accuracy', score }, { baseline: { metric: 'accuracy', score: 0.5, answer: 'always "x"' }, eval_rows: 10 }, isOver)
  }, [score, isOver])
  expect((await judge(0.8)).words).toContain('it may be luck')
  expect((await judge(0.9)).isBad).toBe(false)
  expect(await judge(0.5)).toEqual({ words: 'No better than answering always “x”. More rows, more time or a stronger model may help.', isBad: true })
  expect(await judge(0.5, false)).toEqual({ words: 'So far no better than answering always “x”.', isBad: false })
  await expect(page.locator('#try-hint')).toContainText('The model that was trained answers')
  const kept = await page.evaluate(async () => {
    const { keptOf } = await import('./app/tasks.js')
    const evaluations = [[0.5, 0.9], [0.5, 0.7], [0.5, 0.8], [0.4, 0.1]].map(([score, loss], step) => ({ step, score, loss }))
    return keptOf(evaluations, { keepBest: true }).step
  })
  expect(kept, 'of equal scores that with the smallest loss').toBe(1)
  await expect(page.locator('#doubts')).toContainText('Only 10 rows are held out')
  await expect(page.locator('#score-baseline')).toHaveText('50%')
  await page.click('#numbers summary')
  // The table is filled when it has been opened, not at the click.
  await expect(page.locator('#numbers-table tbody tr')).not.toHaveCount(0)
  const tests = await page.locator('#numbers-table tbody tr td:nth-child(4)').allTextContents()
  expect(tests.filter(Boolean).length).toBeGreaterThanOrEqual(9)

  // To be used elsewhere: the code that the page gives runs, and the zip tells what it is.
  const code = await page.locator('.snippet code').first().textContent()
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
  const zip = test.info().outputPath(download.suggestedFilename())
  await download.saveAs(zip)
  const bytes = readFileSync(zip)
  expect(bytes.includes('README.md')).toBe(true)
  const other = await page.context().newPage()
  await other.route('**/electra-pasted-rows.zip', route => route.fulfill({ path: zip }))
  await other.route(`${site}snippet.html`, route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>snippet</title>' }))
  await other.goto(`${site}snippet.html`)
  const said = other.waitForEvent('console')
  await other.addScriptTag({ type: 'module', content: code })
  expect((await said).text()).toMatch(/label|Object|Array/)
  await other.close()

  // A list in, a table out.
  await page.click('#many summary')
  await page.fill('#many-texts', 'soup bread\nrocket "moon"')
  const [list] = await Promise.all([page.waitForEvent('download'), page.click('#many-go')])
  const path = test.info().outputPath('labelled.csv')
  await list.saveAs(path)
  const lines = readFileSync(path, 'utf8').replace('\ufeff', '').trim().split('\r\n')
  expect(lines[0]).toBe('"text","label","score"')
  expect(lines[1]).toMatch(/^"soup bread","food","(0\.9\d{3}|1\.0000)"$/)
  expect(lines[2]).toMatch(/^"rocket ""moon""","space","/)
})

test('it speaks spreadsheet: old encodings, semicolons, sep=; and names what is none', async ({ page, site }) => {
  await openPage(page, site)
  const text = ['text;label', ...ROWS.map(({ text, label }) => `${text} für 5 €;${label}`)].join('\r\n')
  const old = Buffer.from(text.replaceAll('€', '\x80'), 'latin1')
  const wide = Buffer.from(`\ufeff${text}`, 'utf16le')
  for (const [name, content, words] of [
    ['old.csv', old, /semicolon-separated.*windows-1252/],
    ['wide.csv', wide, /semicolon-separated.*UTF-16/],
    ['unmarked.csv', wide.subarray(2), /UTF-16/],
    ['excel.csv', `sep=;\r\n${text}`, /semicolon-separated/],
  ]) {
    await dropFile(page, name, content)
    await expect(page.locator('#columns-title'), name).toHaveText('Classification: 64 rows, 2 labels')
    await expect(page.locator('#columns-line'), name).toContainText(words)
    await page.locator('#found summary:has-text("How it begins")').evaluate(summary => { summary.parentElement.open = true })
    await expect(page.locator('#preview'), name).toContainText('für 5 €')
  }
  for (const [name, content, words] of [
    ['photo.csv', Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10]), 'a picture (PNG)'],
    ['paper.csv', '%PDF-1.7\n', 'a PDF'],
    ['book.xlsx', Buffer.from('PK\x03\x04\x14\x00xl/workbook.xml', 'latin1'), /cannot be read.*save it again/],
    ['locked.xlsx', sheet('locked.xlsx'), /protected with a password.*without one/],
    ['empty.xlsx', sheet('empty.xlsx'), 'the sheet is empty'],
    ['letter.docx', Buffer.from('PK\x03\x04\x14\x00word/document.xml', 'latin1'), 'a Word document'],
  ]) {
    await dropFile(page, name, content)
    await expect(page.locator('#data-problem'), name).toContainText(words)
    await expect(page.locator('#columns'), name).toBeHidden()
    await expect(page.locator('#data-problem'), name).toBeInViewport()
    await expect(page.locator('#train'), name).toBeDisabled()
  }
})

test('files of Excel and LibreOffice are read; of several sheets one is chosen', async ({ page, site }) => {
  await openPage(page, site)
  await dropFile(page, 'support.xlsx', sheet('support.xlsx'))
  await expect(page.locator('#columns-title')).toHaveText('Classification: 90 rows, 3 labels')
  await expect(page.locator('#columns-line')).toContainText('The file is a spreadsheet')
  await expect(page.locator('#sheet-field'), 'there is no choice').toBeHidden()
  for (const name of ['mails.xlsx', 'mails.ods']) {
    await dropFile(page, name, sheet(name))
    await expect(page.locator('#columns-title'), name).toHaveText('Classification: 7 rows, 3 labels')
    await expect(page.locator('#sheet'), name).toHaveValue('Mails')
    await expect(page.locator('#text-column'), name).toHaveValue('message')
    await expect(page.locator('#columns-line'), name).not.toContainText('--')
    await page.selectOption('#sheet', 'Later')
    await expect(page.locator('#columns-title'), name).toHaveText('Classification: 12 rows, 3 labels')
    await expect(page.locator('#sheet'), name).toHaveValue('Later')
    await expectAccessible(page)
  }
  await fillSettings(page, QUICK)
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  await expect(page.locator('#run-summary')).toContainText('rows to learn from')
})

test('a file that is being read can be left off, and the next one takes its place at once', async ({ page, site }) => {
  await openPage(page, site)
  const many = ['text,label', ...Array.from({ length: 50_000 }, (_, index) => `the ${index} text of ${index % 97} about ${index % 13} things,${index % 2 ? 'odd' : 'even'}`)].join('\n')
  await page.setInputFiles('#file', { name: 'big.csv', mimeType: 'text/csv', buffer: Buffer.from(many) })
  await expect(page.locator('#train-line')).toContainText('Reading big.csv')
  await expect(page.locator('#train')).toBeDisabled()
  await page.setInputFiles('#file', { name: 'small.csv', mimeType: 'text/csv', buffer: Buffer.from(CSV) })
  await expect(page.locator('#columns-title')).toHaveText('Classification: 64 rows, 2 labels')
  await page.setInputFiles('#file', { name: 'big.csv', mimeType: 'text/csv', buffer: Buffer.from(many) })
  await page.click('#reading-cancel')
  await expect(page.locator('#train-bar')).toBeHidden()
  await page.setInputFiles('#file', { name: 'big.csv', mimeType: 'text/csv', buffer: Buffer.from(many) })
  await expect(page.locator('#columns-title')).toHaveText('Classification: 50,000 rows, 2 labels')
  await expect(page.locator('#eval-fraction'), 'a thousand are enough').toHaveValue('2')
})

test('a refused run is explained beside the button, in the words of its fields', async ({ page, site }) => {
  await openPage(page, site)
  await paste(page, CSV)
  await expect(page.locator('#train')).toBeEnabled()
  await fillSettings(page, { ...QUICK, 'max-length': 600 })
  await page.click('#train')
  const problem = page.locator('#train-problem')
  await expect(problem).toContainText('Maximum length')
  await expect(problem).not.toContainText('max_seq_length')
  await expect(problem).toBeFocused()
  await expect(problem).toBeInViewport()
  await fillSettings(page, { 'max-length': 8, 'learning-rate': '-1' })
  await page.click('#train')
  await expect(problem).toContainText('Learning rate')
})

test.describe('a model that cannot be loaded', () => {
  test.use({ tolerated: /Failed to load resource|net::ERR/ })

  test('leaves the one before working; what was learnt is not lost without a question', async ({ page, site }) => {
    await page.route('https://huggingface.co/**', route => route.fulfill({ status: 404, headers: { 'access-control-allow-origin': '*' } }))
    await openPage(page, site)
    const tiny = page.locator('#model-line')
    await dropFile(page, 'broken.zip', 'no zip at all')
    await expect(page.locator('#problem-message')).toContainText('broken.zip could not be loaded')
    await expect(page.locator('#problem-remedy')).toContainText('ELECTRA-Tiny goes on working')
    await expect(page.locator('#problem-again'), 'it would fail again').toBeHidden()
    await expect(tiny).toHaveText('ELECTRA-Tiny · CPU')
    await page.click('#model-button')
    await page.check('#source-hub')
    await page.fill('#hub-name', 'nobody/nothing')
    await page.click('#model-load')
    await expect(page.locator('#problem-message')).toContainText('nothing could not be loaded')
    await expect(tiny).toHaveText('ELECTRA-Tiny · CPU')
    await page.click('#problem-close')

    await paste(page, CSV)
    await expect(page.locator('#train')).toBeEnabled()
    await fillSettings(page, QUICK)
    await page.click('#train')
    await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
    await dropFile(page, 'other.zip', 'no zip at all')
    await expect(page.locator('#ask-dialog')).toBeVisible()
    await expect(page.locator('#ask-no')).toBeFocused()
    await page.click('#ask-no')
    await expect(page.locator('#run-state')).toHaveText('Finished')
    await expect(page.locator('#problem')).toBeHidden()
    await page.click('#tab-detect')
    await expect(page.locator('#waiting')).toContainText('not downloaded yet')
  })
})

test('a veil while something is dragged, on every tab; what is dropped leads to Fine-tune', async ({ page, site }) => {
  await openPage(page, site, '#about')
  await page.evaluate(() => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File(['x'], 'x.csv'))
    document.body.dispatchEvent(new DragEvent('dragover', { dataTransfer, bubbles: true, cancelable: true }))
  })
  await expect(page.locator('#veil')).toBeVisible()
  await dropFile(page, 'kinds.csv', CSV)
  await expect(page.locator('#veil')).toBeHidden()
  await expect(page.locator('#finetune')).toBeVisible()
  await expect(page.locator('#columns-title')).toHaveText(`Classification: ${ROWS.length} rows, 2 labels`)
  await expect(page).toHaveURL(/file=kinds\.csv/)
  const link = page.url()
  const other = await page.context().newPage()
  await openPage(other, link, '')
  await expect(other.locator('#data-line')).toContainText('“kinds.csv”')
  await other.close()
})

test('nothing is sent, and the page counts the bytes along with the server', async ({ page }) => {
  const server = await startServer(DIST)
  const sent = () => server.log.reduce((sum, { sent }) => sum + sent, 0)
  const said = async () => (await page.locator('#sent-line').textContent()) + (await page.locator('#sent-detail').textContent())
  await openPage(page, server.address)
  await paste(page, CSV)
  await expect(page.locator('#train')).toBeEnabled()
  // All but the page itself, which is no resource of its own.
  const fetched = () => server.log.filter(({ path }) => path !== PREFIX).length
  await expect.poll(async () => (await said()).includes(`(${fetched()} files of this site fetched; nothing went to anybody)`)).toBe(true)
  expect(server.log.every(({ method }) => method === 'GET')).toBe(true)
  expect(sent()).toBe(0)
  expect(await said()).toContain('0 bytes sent')
  // It would be seen, too: in the page, and in the worker.
  await page.evaluate(() => fetch('style.css?what=was%20written'))
  await expect(page.locator('#sent-line')).toHaveText('18 bytes sent')
  await page.workers()[0].evaluate(address => fetch(address), `${server.address}style.css?and=more`)
  await expect(page.locator('#sent-line')).toHaveText('26 bytes sent')
  expect(sent()).toBe(26)
  await expect(page.locator('#model-reason')).not.toBeEmpty()
  await server.close()
})

for (const { name, savesData } of [{ name: 'tiny', savesData: true }, { name: 'mini', savesData: false }]) {
  test.describe(`the bundled ${name}`, () => {
    test.use({ savesData })

    test('has examples under Detect that it finds, and how often it does is said', async ({ page, site }) => {
      const { found, examples } = JSON.parse(readFileSync(join(DIST, `models/electra-${name}/examples.json`), 'utf8'))
      await openPage(page, site, '#detect')
      await expect(page.locator('#model-line')).toHaveText(`ELECTRA-${name[0].toUpperCase()}${name.slice(1)} · CPU`, { timeout: 120_000 })
      await expect(page.locator('#how-often-line')).toContainText(`${Math.round(100 * found.first / found.of)}%`)
      expect(examples.length).toBeGreaterThan(3)
      for (const { text, word } of examples) {
        await page.click(`.example:has-text(${JSON.stringify(text)})`)
        await expect(page.locator('#sentence')).toHaveValue(text)
        await expect(page.locator('.suspect .piece')).toHaveText(word)
        await expect(page.locator('#verdict')).toContainText(`“${word}”`)
      }
    })
  })
}

test.describe('for a visitor who does not save data', () => {
  test.use({ savesData: false })

  test('on a CPU the better model comes for Detect; what was begun with the small one goes on', async ({ page, site }) => {
    let release
    const held = new Promise(resolve => { release = resolve })
    const asked = page.waitForRequest('**/electra-mini/model.safetensors')
    await page.context().route('**/electra-mini/model.safetensors', route => held.then(() => route.continue()))
    await openPage(page, site)
    await paste(page, CSV)
    await expect(page.locator('#train')).toBeEnabled()
    await fillSettings(page, QUICK)
    await page.click('#train')
    await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
    await page.click('#tab-detect')
    await asked
    release()
    await expect(page.locator('#model-line')).toContainText('a better one')
    await expect(page.locator('#model-line')).toHaveText('ELECTRA-Tiny · CPU', { timeout: 120_000 })
    await page.click('#tab-finetune')
    await expect(page.locator('#run-state')).toHaveText('Finished')
    await page.click('#again')
    await page.click('#take-better')
    await page.click('#ask-yes')
    await expect(page.locator('#model-line')).toHaveText('ELECTRA-Mini · CPU', { timeout: 120_000 })
    await expect(page.locator('#better')).toBeHidden()
    await page.click('#model-button')
    await expect(page.locator('#source-mini'), 'the dialog shows what is loaded').toBeChecked()
    await page.check('#source-tiny')
    await page.click('#model-load')
    await expect(page.locator('#model-line')).toHaveText('ELECTRA-Tiny · CPU')
    await page.click('#tab-detect')
    await expect(page.locator('#reading')).toHaveAttribute('aria-busy', 'false')
    await expect(page.locator('#model-line'), 'what was chosen stays').toHaveText('ELECTRA-Tiny · CPU')
  })
})
