// The report that the native program writes beside a model, opened as a file: every task, with rows that are hard to show.
// ELECTRA_BIN is the native program; build.sh test sets it.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, expectAccessible, SHOTS, test } from './site.mjs'

const BIN = process.env.ELECTRA_BIN
const MODEL = join(import.meta.dirname, '../../public/models/electra-tiny')
const many = (number, make) => Array.from({ length: number }, (_, index) => make(index))
const lines = rows => rows.map(row => JSON.stringify(row)).join('\n')

const NASTY = ['</script><script>alert(1)</script>', '<img src=x onerror=alert(1)>', 'שלום עולם (1)', '🐱👩‍👩‍👧 cat', 'x'.repeat(3000), '<!-- <script>']
const text = index => `${NASTY[index % NASTY.length]} ${index % 2 ? 'bread' : 'moon'} ${index}`

const QUESTIONS = many(24, index => {
  const context = `${NASTY[index % 4]} Ada lives in Bern, where the bread is good.`
  const question = { id: `q${index}`, question: `Where does Ada live? ${NASTY[index % 4]}` }
  const answered = { answers: [{ text: 'Bern', answer_start: [...context.slice(0, context.indexOf('Bern'))].length }], is_impossible: false }
  return { context, qas: [{ ...question, ...index % 3 ? answered : { answers: [], is_impossible: true } }] }
})
const TAGS = ['B-PER', 'I-PER', 'O', 'B-LOC']

const FILES = {
  'classification': ['data.jsonl', lines(many(32, index => ({ text: text(index), label: index % 2 ? NASTY[0] : NASTY[2] })))],
  'multi-label': ['data.jsonl', lines(many(32, index => ({ text: text(index), labels: [index & 1 && 'food', index & 2 && NASTY[1]].filter(Boolean) })))],
  'regression': ['data.jsonl', lines(many(32, index => ({ text: text(index), score: index % 5 })))],
  'tagging': ['data.jsonl', lines(many(32, index => ({ words: [...text(index).split(' '), 'Bern'], labels: [...text(index).split(' '), ''].map((_, place) => TAGS[(place + index) % 4]) })))],
  'question-answering': ['data.json', JSON.stringify({ version: 'v2.0', data: [{ title: 'x', paragraphs: QUESTIONS }] })],
}
/** What has to be seen of each task. */
const PARTS = {
  'classification': ['Accuracy', '#confusion .heat.right', '#classes tbody tr'],
  'multi-label': ['F1', '#figures dd', '#classes tbody tr'],
  'regression': ['Correlation', '#scatter .dot', '.figures dd'],
  'tagging': ['F1', '#confusion .heat.right', '#classes tbody tr'],
  'question-answering': ['F1', '#by-kind tbody tr', '#figures dd'],
}

test.skip(!BIN || !existsSync(BIN), 'ELECTRA_BIN does not name the native program')

/** Trains a little, and gives the folder. */
function finetune(task, [name, content], more = []) {
  const folder = mkdtempSync(join(tmpdir(), 'electra-report-'))
  writeFileSync(join(folder, name), content)
  const options = ['--epochs', '2', '--batch-size', '8', '--learning-rate', '1e-3', '--max-seq-length', '32', '--seed', '1', '--device', 'cpu', ...more]
  execFileSync(BIN, ['finetune', '--model', MODEL, '--task', task, '--train', join(folder, name), '--output', join(folder, 'out'), ...options], { stdio: 'pipe' })
  return join(folder, 'out')
}

/** Opens a report, and notes what it asks for beside itself. */
async function open(page, folder) {
  const address = pathToFileURL(join(folder, 'report.html')).href
  const asked = []
  page.on('request', request => request.url() !== address && asked.push(request.url()))
  page.on('dialog', dialog => asked.push(`dialog ${dialog.message()}`))
  await page.goto(address)
  await expect(page.locator('h1')).toBeVisible()
  return asked
}

async function expectNarrow(page, width) {
  await page.setViewportSize({ width, height: 900 })
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  expect(over, `pixels beyond a width of ${width}`).toBe(0)
}

for (const [task, file] of Object.entries(FILES)) {
  test(`${task}: a report draws itself from its own file`, async ({ page }) => {
    const folder = finetune(task, file)
    const asked = await open(page, folder)
    const [metric, ...parts] = PARTS[task]
    await expect(page).toHaveTitle(new RegExp(`: ${metric}`))
    await expect(page.locator('#score-after')).toHaveText(/\d/)
    await expect(page.locator('#loss-chart .smooth')).toHaveAttribute('d', /^M.*L/)
    await expect(page.locator('#score-chart .mark').first()).toBeVisible()
    for (const part of parts) await expect(page.locator(part).first()).toBeVisible()
    if (task === 'classification') await expect(page.locator('#worst-rows')).toContainText('Everything that is held out is right.')
    else await expect(page.locator('#worst li').first()).toBeVisible()
    await expect(page.locator('.problem')).toHaveCount(0)
    await page.click('#numbers summary')
    await expect(page.locator('#numbers-table tbody tr').first()).toBeVisible()
    await page.click('#more-curves summary')
    await expect(page.locator('#norm-chart .other')).toHaveAttribute('d', /^M.*L/)
    await expect(page.locator('main img, main script')).toHaveCount(0)
    await expectAccessible(page)
    mkdirSync(SHOTS, { recursive: true })
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme })
      for (const width of [1280, 360]) {
        await expectNarrow(page, width)
        await page.screenshot({ path: join(SHOTS, `report-${task}-${colorScheme}-${width}.png`), fullPage: true })
      }
    }
    expect(asked).toEqual([])
  })
}

test('several trials of many labels', async ({ page }) => {
  const rows = many(120, index => ({ text: text(index), label: `label ${index % 30}` }))
  const folder = finetune('classification', ['data.jsonl', lines(rows)], ['--trials', '2'])
  const asked = await open(page, folder)
  await expect(page.locator('#score-chart .other')).toHaveCount(1)
  await expect(page.locator('#training')).toContainText('kept')
  await expect(page.locator('#training')).toContainText('standard deviation')
  await expect(page.locator('.dense tbody tr')).toHaveCount(30)
  await expect(page.locator('#confusion')).toContainText('The most frequent confusions')
  await expect(page.locator('main')).toContainText('The best of 2 trials')
  await expectNarrow(page, 360)
  await page.screenshot({ path: join(SHOTS, 'report-trials-360.png'), fullPage: true })
  await page.setViewportSize({ width: 1280, height: 900 })
  await page.screenshot({ path: join(SHOTS, 'report-trials-1280.png'), fullPage: true })
  expect(asked).toEqual([])
})

test('a report of next to nothing, and of numbers that are none', async ({ page }) => {
  const folder = finetune('regression', FILES.regression)
  const html = readFileSync(join(folder, 'report.html'), 'utf8')
  const [before, rest] = html.split('id="data">')
  const end = rest.indexOf('</script>')
  const data = JSON.parse(rest.slice(0, end))
  const broken = mkdtempSync(join(tmpdir(), 'electra-report-'))
  const show = async changed => {
    writeFileSync(join(broken, 'report.html'), `${before}id="data">${JSON.stringify(changed).replaceAll('<', '\\u003c')}${rest.slice(end)}`)
    await open(page, broken)
  }
  await show({ ...data, task: null, metric: '', score: null, plan: null, evaluation: null, settings: null, versions: null, trials: [], curves: { loss: [], grad_norm: [], learning_rate: [], evaluations: [] } })
  await expect(page.locator('h1')).toHaveText('Fine-tuning')
  await expect(page.locator('.problem, section')).toHaveCount(0)

  const blown = { ...data.evaluation, pearson: null, spearman: null, loss: null, mse: null, mae: null, metrics: { pearson: null, spearman: null }, points: [[1, null]] }
  const evaluations = data.curves.evaluations.map(one => ({ ...one, score: null, loss: null }))
  await show({ ...data, score: null, evaluation: blown, curves: { ...data.curves, loss: data.curves.loss.map(([step]) => [step, null]), evaluations } })
  await expect(page.locator('#score')).toContainText('The score is not defined here')
  await expect(page.locator('#score-after')).toHaveText('–')
  await expect(page.locator('.problem')).toHaveCount(0)
  await expect(page.locator('main')).not.toContainText('NaN')
})

test('where no script runs the score is there', async ({ browser }) => {
  const folder = finetune('classification', FILES.classification)
  const context = await browser.newContext({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(pathToFileURL(join(folder, 'report.html')).href)
  const { score } = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'))
  await expect(page.getByText(`accuracy: ${score}`)).toBeVisible()
  await context.close()
})
