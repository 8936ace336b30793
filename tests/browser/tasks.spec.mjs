// Every task on the page, from a dropped file to an answer: what was found, the run, the results, the box to try it in.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DIST, dropFile, expect, expectAccessible, fillSettings, openPage, serveGenerator, test } from './site.mjs'

const many = (number, make) => Array.from({ length: number }, (_, index) => make(index))
const lines = rows => rows.map(row => JSON.stringify(row)).join('\n')

const PEOPLE = ['Ada', 'Grace', 'Alan', 'Emmy']
const PLACES = ['London', 'Bern', 'New York', 'Rome']
const SENTENCES = many(32, index => [
  [PEOPLE[index % 4], 'B-PER'], ['lives', 'O'], ['in', 'O'],
  ...PLACES[index >> 2 & 3].split(' ').map((word, place) => [word, place ? 'I-LOC' : 'B-LOC']), ['.', 'O'],
])
const CONLL = SENTENCES.map(words => words.map(word => word.join('\t')).join('\n')).join('\n\n')
const TAG_LINES = lines(SENTENCES.map(words => ({ words: words.map(([word]) => word), labels: words.map(([, label]) => label) })))
const CONLLU = many(12, index => ['# a comment', `1\t${PEOPLE[index % 4]}\t_\tPROPN\t_\t_\t0\troot\t_\t_`, '2\tsleeps\t_\tVERB\t_\t_\t1\tx\t_\t_'].join('\n')).join('\n\n')

const QUESTIONS = many(16, index => {
  const [person, place] = [PEOPLE[index % 4], PLACES[index >> 2 & 3]]
  const context = `${person} lives in ${place}, where the bread is good. Nobody else does.`
  return { id: `q${index}`, question: `Where does ${person} live?`, context, answers: [{ text: place, answer_start: context.indexOf(place) }] }
})
const squad = questions => JSON.stringify({ version: '1.1', data: [{ title: 'x', paragraphs: questions.map(({ context, ...qa }) => ({ context, qas: [qa] })) }] })
const SQUAD = squad(QUESTIONS)
const SQUAD2 = squad(QUESTIONS.map((one, index) => index % 4 ? { ...one, is_impossible: false } : { ...one, answers: [], is_impossible: true }))

const SCORED = many(48, index => ({ text: `${'good '.repeat(index % 5)}day ${PEOPLE[index % 4]}`, score: index % 5 + 0.5 }))
const SCORES = ['text,score', ...SCORED.map(({ text, score }) => `${text},${score}`)].join('\n')
const LABELLED = many(48, index => ({ text: `${index & 1 ? 'bread' : 'stone'} ${index & 2 ? 'moon' : 'lamp'}`, labels: [index & 1 && 'food', index & 2 && 'space'].filter(Boolean) }))
const FLAGS = ['text\tfood\tspace', ...LABELLED.map(({ text, labels }) => `${text}\t${Number(labels.includes('food'))}\t${Number(labels.includes('space'))}`)].join('\n')
const PAIRS = ['sentence1\tsentence2\tlabel', ...many(24, index => `a ${PEOPLE[index % 4]}\tthe ${PEOPLE[(index + index % 2) % 4]}\t${index % 2 ? 'different' : 'same'}`)].join('\n')

const QUICK = { 'epochs': 1, 'batch-size': 8, 'max-length': 32, 'learning-rate': '1e-3', 'eval-fraction': 25 }

/** Drops a file, sees what was found in it, and trains a little. */
async function train(page, name, content, found, settings = QUICK) {
  await dropFile(page, name, content)
  await expect(page.locator('#columns-title')).toHaveText(found)
  await expect(page.locator('#train')).toBeEnabled()
  await fillSettings(page, settings)
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  await expect(page.locator('#results')).toBeVisible()
  await expect(page.locator('#try-result')).not.toBeEmpty()
}

test('every file says what it holds, and what is wrong with it', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  const good = {
    'tags.conll': [CONLL, 'Tagging: 32 sentences, 4 tags'],
    'plain.txt': [CONLL.replaceAll('\t', ' '), 'Tagging: 32 sentences, 4 tags'],
    'tags.conllu': [CONLLU, 'Tagging: 12 sentences, 2 tags'],
    'tags.jsonl': [TAG_LINES, 'Tagging: 32 sentences, 4 tags'],
    'squad.json': [SQUAD, 'Question answering: 16 questions'],
    'squad2.json': [SQUAD2, 'Question answering: 16 questions'],
    'questions.jsonl': [lines(QUESTIONS), 'Question answering: 16 questions'],
    'scores.csv': [SCORES, 'Regression: 48 rows, scores from 0.5 to 4.5'],
    'scores.jsonl': [lines(SCORED), 'Regression: 48 rows, scores from 0.5 to 4.5'],
    'labels.jsonl': [lines(LABELLED), 'Multi-label: 48 rows, 2 labels'],
    'pairs.tsv': [PAIRS, 'Classification: 24 rows, 2 labels'],
  }
  for (const [name, [content, found]] of Object.entries(good)) {
    await dropFile(page, name, content)
    await expect(page.locator('#columns-title'), name).toHaveText(found)
    await expect(page.locator('#data-problem'), name).toBeHidden()
    await expect(page.locator('#train'), name).toBeEnabled()
  }
  const bad = {
    'one-tag.conll': [many(9, () => 'Ada O\nlives O\n').join('\n'), /every word has the label/],
    'texts.bio': ['a whole sentence\tO\nand another one\tO\n\nand one more\tB-X\n', /texts, not words/],
    'uneven.jsonl': ['{"words": ["a", "b"], "labels": ["O"]}\n', /uneven\.jsonl/],
    'cut.json': ['{"data": [{"paragraphs": [', /cut\.json/],
    'no-data.json': ['{"data": 7}', /data/],
    'elsewhere.jsonl': [lines([{ question: 'Who?', context: 'Nobody.', answers: [{ text: 'Ada', answer_start: 0 }] }]), /elsewhere\.jsonl/],
    'no-context.jsonl': ['{"question": "Who?", "answers": []}\n', /./],
  }
  await dropFile(page, 'words.jsonl', '{"words": ["Ada", "lives"]}\n{"words": ["here"]}\n')
  await expect(page.locator('#columns-title')).toHaveText('Tagging: 2 sentences')
  await expect(page.locator('#train-line')).toHaveText('This file has no tags to learn from.')
  await expect(page.locator('#train')).toBeDisabled()
  for (const [name, [content, message]] of Object.entries(bad)) {
    await dropFile(page, name, content)
    await expect(page.locator('#data-problem'), name).toContainText(message)
    await expect(page.locator('#train'), name).toBeDisabled()
    await expect(page.locator('#task'), name).toBeVisible()
  }
  // Of what is no text nobody is asked what it is for.
  await dropFile(page, 'tags.conll', Buffer.from([0xc3, 0xa9, 0x20, 0x4f, 0x0a, 0xff, 0xfe]))
  await expect(page.locator('#data-problem')).toContainText('UTF-8')
  await expect(page.locator('#columns')).toBeHidden()
})

test('a task is chosen by hand where a file can be read as several, or as none', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await dropFile(page, 'open.csv', ['label,text', ...many(40, index => `${index % 20 * 5},a text ${index}`)].join('\n'))
  await expect(page.locator('#data-problem')).toContainText('it is open which task')
  await expect(page.locator('#train')).toBeDisabled()
  await expect(page.locator('#train-line')).toHaveText('Choose above what to read it as.')
  await page.selectOption('#task', 'regression')
  await expect(page.locator('#columns-title')).toHaveText('Regression: 40 rows, scores from 0 to 95')
  await expect(page.locator('#scores .bar').first()).toBeVisible()
  await expect(page.locator('#train')).toBeEnabled()
  await page.selectOption('#task', 'classification')
  await expect(page.locator('#columns-title')).toHaveText('Classification: 40 rows, 20 labels')

  await dropFile(page, 'flags.tsv', FLAGS)
  await page.selectOption('#task', 'multi-label')
  await page.selectOption('#label-column', { label: 'a column for each label' })
  await expect(page.locator('#label-boxes input:checked')).toHaveCount(2)
  await expect(page.locator('#columns-title')).toHaveText('Multi-label: 48 rows, 2 labels')
  await expect(page.locator('#label-counts')).toContainText('space')
  await expect(page.locator('#train')).toBeEnabled()
  await page.uncheck('#label-boxes input >> nth=0')
  await expect(page.locator('#columns-title')).toHaveText('Multi-label: 48 rows, 1 label')
  await page.uncheck('#label-boxes input >> nth=1')
  await expect(page.locator('#train')).toBeDisabled()
  await page.check('#label-boxes input >> nth=1')
  await expect(page.locator('#columns-title')).toHaveText('Multi-label: 48 rows, 1 label')

  // What cannot be is said, and the way back is open.
  await dropFile(page, 'pairs.tsv', PAIRS)
  await page.selectOption('#task', 'regression')
  await expect(page.locator('#data-problem')).toContainText('no column looks like scores')
  await expect(page.locator('#train')).toBeDisabled()
  await page.selectOption('#task', 'classification')
  await expect(page.locator('#data-problem')).toBeHidden()
  await expect(page.locator('#train')).toBeEnabled()
  await expect(page.locator('#pair-column')).toHaveValue('sentence2')
  await page.locator('#advanced').evaluate(details => { details.open = true })
  await expect(page.locator('#double-pairs')).toBeVisible()
})

test('tagging: entities in colour, taken away and loaded again', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await dropFile(page, 'people.conll', CONLL)
  await page.click('#found summary:has-text("How it begins")')
  await expect(page.locator('#preview .tagged .mark').first()).toHaveText(/Ada\s*PER/)
  await train(page, 'people.conll', CONLL, 'Tagging: 32 sentences, 4 tags', { ...QUICK, 'epochs': 12, 'learning-rate': '3e-3', 'dropout': 0 })
  await expect(page.locator('#score-key')).toHaveText('F1 on held-out sentences')
  await expect(page.locator('#score-line')).toContainText('F1 of entities, in 8 sentences')
  await expect(page.locator('#classes tbody tr')).toHaveCount(2)
  await expect(page.locator('#figures')).toContainText('F1 of entities')
  await expect(page.locator('#results .legend')).toContainText('PER person')
  await page.fill('#try-text', 'Emmy lives in New York.')
  await expect(page.locator('#try-result .mark', { hasText: 'Emmy' })).toContainText('PER')
  await expect(page.locator('#try-result .mark', { hasText: 'New York' })).toContainText('LOC')
  await expect(page.locator('#try-result .tagged')).toContainText('York')
  await page.click('#numbers summary')
  await expect(page.locator('#numbers-table')).toContainText('F1, held out')
  await expectAccessible(page)

  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
  const zip = test.info().outputPath('tagger.zip')
  await download.saveAs(zip)
  await page.click('#model-button')
  await page.check('#source-files')
  await page.setInputFiles('#model-files', zip)
  await page.click('#model-load')
  await expect(page.locator('#try-hint')).toHaveText('This model tags words: LOC, PER.')
  await page.fill('#try-text', 'Alan lives in Rome .')
  await expect(page.locator('#try-result .mark').first()).toContainText('PER')
})

test('question answering: the answer in its paragraph', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await train(page, 'squad2.json', SQUAD2, 'Question answering: 16 questions')
  await expect(page.locator('#score-line')).toContainText('F1: the words its answers share')
  await expect(page.locator('#figures')).toContainText('Answered to the letter')
  await expect(page.locator('#numbers-table')).toBeHidden()
  // The first row of the file stands in the box, and its answer is marked in the paragraph.
  await expect(page.locator('#try-text')).toHaveValue('Where does Ada live?')
  await expect(page.locator('#try-pair')).toHaveValue(QUESTIONS[0].context)
  await page.click('#try-next')
  await expect(page.locator('#try-text')).toHaveValue('Where does Grace live?')
  await expect(page.locator('#try-truth')).toContainText('“London”')
  await page.fill('#try-pair', '🐱 Grace lives in a small house in Bern.')
  await expect(page.locator('#try-result .paragraph')).toContainText('🐱 Grace lives')
  const reply = await page.locator('#try-result .reply').textContent()
  if (!reply.startsWith('It finds no answer')) {
    expect(await page.locator('#try-result mark').evaluate(mark => mark.firstChild.textContent)).toBe(reply)
  }
  await expect(page.locator('#try-result .answers li').first()).toBeVisible()
  await expectAccessible(page)
})

test('regression: predicted against true', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await train(page, 'scores.csv', SCORES, 'Regression: 48 rows, scores from 0.5 to 4.5', { ...QUICK, 'epochs': 2 })
  await expect(page.locator('#score-key')).toHaveText('Correlation on held-out rows')
  await expect(page.locator('#score-after')).toHaveText(/^−?[01]\.\d\d$/)
  await expect(page.locator('.scatter .dot')).toHaveCount(12)
  await expect(page.locator('.scatter')).toHaveAttribute('aria-label', /12 rows: correlation/)
  await expect(page.locator('#scatter')).toContainText('Mean squared error')
  await expect(page.locator('#worst li').first()).toContainText('Its score is')
  await page.fill('#try-text', 'good good good good day')
  await expect(page.locator('#try-result .number')).toHaveText(/^-?\d/)
  await expect(page.locator('#try-result .gauge .ends')).toHaveText('0.54.5')
  await expectAccessible(page)
})

test('multi-label: every label for itself', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await train(page, 'labels.jsonl', lines(LABELLED), 'Multi-label: 48 rows, 2 labels', { ...QUICK, 'epochs': 20, 'max-length': 8, 'learning-rate': '3e-3', 'dropout': 0 })
  await expect(page.locator('#score-line')).toContainText('F1 of all labels, on 12 rows')
  await expect(page.locator('#classes tbody tr')).toHaveCount(2)
  await page.fill('#try-text', 'bread moon')
  await expect(page.locator('#try-result li.first')).toHaveCount(2)
  await expect(page.locator('#try-result')).toContainText('✓ food')
  await page.fill('#try-text', 'stone lamp')
  await expect(page.locator('#try-result')).toContainText('It names none')
  await expectAccessible(page)
})

test('plain tags on WebGPU', async ({ page, site }) => {
  test.setTimeout(600_000)
  await openPage(page, site, '#finetune')
  await page.click('#model-button')
  await page.check('#device-webgpu')
  await page.click('#model-load')
  await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'webgpu', { timeout: 300_000 })
  await dropFile(page, 'tags.conllu', CONLLU)
  await expect(page.locator('#columns-title')).toHaveText('Tagging: 12 sentences, 2 tags')
  await fillSettings(page, { ...QUICK, 'epochs': 1, 'max-length': 8 })
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 400_000 })
  await expect(page.locator('#score-key')).toHaveText('Accuracy on held-out sentences')
  await expect(page.locator('#figures')).toContainText('Words tagged right')
})

test('every bundled set is shown under its task and can be learnt from', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  const cards = page.locator('#samples .card')
  await expect(cards.first()).toBeVisible()
  const names = await page.locator('.group-name strong').allTextContents()
  for (let index = 0; index < await cards.count(); index++) {
    await cards.nth(index).click()
    const rows = (await cards.nth(index).locator('small').textContent()).match(/[\d,]+ \w+/)[0]
    await expect(page.locator('#columns-title')).toContainText(`: ${rows}`)
    const [task] = (await page.locator('#columns-title').textContent()).split(':')
    expect(names).toContain(task)
    await expect(page.locator('#train')).toBeEnabled()
  }
})

test('a generator fills gaps, and the way back is one click', async ({ page, site }) => {
  // A site without the bundled generator gets a random one.
  const isBundled = existsSync(join(DIST, 'models/electra-tiny-generator/config.json'))
  if (!isBundled) await serveGenerator(page, `${site}models/electra-tiny-generator/`)
  await openPage(page, site, '#detect')
  await page.click('#to-generator')
  await expect(page.locator('#tab-detect')).toHaveText('Fill in')
  await expect(page.locator('#filled mark')).toHaveCount(1)
  await expect(page.locator('#gaps li')).toHaveCount(8)
  const words = ['by', 'city', 'most', 'states']
  for (const [index, word] of words.entries()) {
    await page.locator('#gap-examples .example:not(.add)').nth(index).click()
    if (isBundled) await expect(page.locator('#filled mark')).toHaveText(word)
  }
  await expect(page.locator('#gap-examples .example:not(.add)')).toHaveCount(words.length)
  await page.fill('#gapped', 'The [MASK] of France is a large [MASK].')
  await expect(page.locator('#gaps section')).toHaveCount(2)
  const shares = (await page.locator('#gaps .value').allTextContents()).map(text => parseFloat(text))
  expect(shares[0]).toBeGreaterThanOrEqual(shares[1])
  await page.fill('#gapped', 'No gap here')
  await expect(page.locator('#fill-verdict')).toContainText('There is no gap')
  await page.click('#add-gap')
  await expect(page.locator('#gapped')).toHaveValue('No gap here [MASK]')
  await expect(page.locator('#filled mark')).toHaveCount(1)
  await expectAccessible(page)
  await page.click('#to-discriminator')
  await expect(page.locator('.token').first()).toBeVisible()
  await expect(page.locator('#tab-detect')).toHaveText('Detect')
})

test('tags are read as entities, or each for itself', async ({ blank }) => {
  const found = await blank.evaluate(async () => {
    const { schemeOf, tagged, mistagged, paragraph, wordsOf } = await import('./app/marks.js')
    const marks = (words, labels) => [...tagged(words.split(' '), labels.split(' '), schemeOf(labels.split(' '))).querySelectorAll('.mark')].map(mark => mark.textContent)
    return {
      bio: marks('Ada of New York City , Rome', 'B-PER O B-LOC I-LOC I-LOC O B-LOC'),
      bioes: marks('New York Rome Bern', 'B-LOC E-LOC S-LOC S-LOC'),
      odd: marks('a b c d', 'I-X I-Y O E-X'),
      plain: marks('O I', 'O I'),
      typeless: marks('a b c', 'B I O'),
      markup: tagged(['<img>'], ['B-<b>'], schemeOf(['B-<b>'])).querySelectorAll('img, b').length,
      tight: tagged(['Well', ',', 'it', "'s", '(', 'a', ')', 'test', '.'], Array(9).fill('O'), schemeOf(['O', 'B-X'])).textContent,
      mistakes: mistagged(['a', 'b'], ['X', 'Y'], ['X', 'Z'], schemeOf(['X', 'Y', 'Z'])).textContent,
      emoji: paragraph('🐱 sat', [{ start: 0, end: 1, className: 'answer' }, { start: 2, end: 5, className: 'given' }]).querySelector('.given').textContent,
      words: wordsOf('“Well,” said Dr. Smith (at 3.5 p.m.), “it’s over.” He left.'),
    }
  })
  expect(found).toEqual({
    bio: ['AdaPER', 'New York CityLOC', 'RomeLOC'],
    bioes: ['New YorkLOC', 'RomeLOC', 'BernLOC'],
    odd: ['aX', 'bY', 'dX'],
    plain: ['OO', 'II'],
    typeless: ['a bentity'],
    markup: 0,
    tight: "Well, it's (a) test.",
    mistakes: 'a bZ, not Y',
    emoji: 'sat',
    words: ['“', 'Well', ',', '”', 'said', 'Dr.', 'Smith', '(', 'at', '3.5', 'p.m.', ')', ',', '“', 'it’s', 'over.', '”', 'He', 'left', '.'],
  })
})

test('a wrong answer is marked in its paragraph beside the right one', async ({ blank }) => {
  const found = await blank.evaluate(async () => {
    const { sectionsOf } = await import('./app/results/question-answering.js')
    const marksOf = (context, golds, predicted) => {
      const worst = [{ row: 1, id: '1', question: 'Where?', context, golds, predicted, f1: 0 }]
      const [, section] = sectionsOf({ exact: 0, f1: 0, total: 1, no_answer_threshold: null, worst })
      return { marks: [...section.querySelectorAll('mark')].map(mark => `${mark.className}: ${mark.firstChild.textContent}`), text: section.querySelector('.paragraph')?.textContent ?? null }
    }
    return {
      both: marksOf('🐱 Ada lives in Bern, not in Rome.', ['Bern'], 'Rome'),
      long: marksOf(`${'x '.repeat(300)}Bern${' y'.repeat(300)}`, ['Bern'], ''),
      nowhere: marksOf('Ada lives here.', ['Bern'], ''),
      overlapping: marksOf('in New York City', ['New York'], 'York City'),
    }
  })
  expect(found.both.marks).toEqual(['gold: Bern', 'given: Rome'])
  expect(found.long.marks).toEqual(['gold: Bern'])
  expect(found.long.text).toMatch(/^… ?x .*Bernfile y.*…$/)
  expect(found.long.text.length).toBeLessThan(400)
  expect(found.nowhere).toEqual({ marks: [], text: null })
  expect(found.overlapping.marks).toEqual(['gold: New ', 'gold given: York', 'given:  City'])
  expect(found.overlapping.text).toBe('in New Yorkfile Citymodel')
})
