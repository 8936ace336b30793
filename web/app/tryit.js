// The box to try a model in, during a run, after it, and with a model that was fine-tuned elsewhere: what is written
// goes to the model, and its answer is shown as the task wants it.

import { bar } from './chart.js'
import { at, make, say, settled, show } from './dom.js'
import { percent, percentFine, short } from './format.js'
import { legend, paragraph, schemeOf, tagged, wordsOf } from './marks.js'
import { abilityOf } from './tasks.js'

const PATIENCE = 300
const TRY_AGAIN = 3000
/** Of the time that training has, asking again takes at most about a tenth. */
const REST = 9
const SHOWN_GUESSES = 6
const SHOWN_LABELS = 10
const SHOWN_ANSWERS = 5
/** Texts of one's own outlive a reload, in this tab only. */
const KEY = 'electra-try'
/** Texts of a list that are asked about at once. */
const AT_ONCE = 64

const FIELDS = {
  'tagging': { text: 'Your own sentence', hint: 'Type or paste a sentence' },
  'question-answering': { text: 'A question', hint: 'Ask for something that the paragraph says', pair: 'A paragraph with the answer' },
}
const FIELDS_OF_TEXTS = { text: 'Your own text', hint: 'Type or paste a text', pair: 'Second text' }

/** How the answer of each task looks, and how it sounds. */
const ANSWERS = {
  'classification': { show: showLabels, say: ({ label, score }) => `It says ${label}, ${percent(score)}.` },
  'multi-label': { show: showFitting, say: ({ labels }) => `It says ${labels.join(', ') || 'no label'}.` },
  'regression': { show: showNumber, say: ({ value }) => `It says ${short(value)}.` },
  'tagging': { show: showTags, say: ({ words, labels }) => `It says ${words.map((word, index) => labels[index] === 'O' ? '' : `${word}: ${labels[index]}`).filter(Boolean).join(', ') || 'no entity'}.` },
  'question-answering': { show: showAnswer, say: ({ answer, score }) => answer ? `It answers ${answer}, ${percent(score)}.` : 'It finds no answer.' },
}

/** @param current the run under way: { job, plan, evaluations }, or null */
export function mountTry(app, current) {
  // `examples`: rows of the data, one of which stands in the fields until something else is written there.
  const box = { task: null, labels: [], range: null, examples: [], next: 0, own: false }
  const guess = () => ask(app, box, current())
  const soon = settled(PATIENCE, async () => {
    const answer = await guess()
    if (answer) app.announce(ANSWERS[box.task].say(answer))
  })
  for (const id of ['try-text', 'try-pair']) {
    at(id).addEventListener('input', () => {
      box.own = true
      say('try-truth', '')
      keepOwn(box.task)
      soon()
    })
  }
  at('try-next').addEventListener('click', () => {
    fill(box)
    soon()
  })
  mountMany(app, box)
  return {
    guess,
    follow: () => follow(guess),
    /** For a run on this data. */
    open({ reading, inspection }) {
      setTask(box, reading.task, { labels: inspection.labels.map(({ label }) => label), range: inspection.range, pair: Boolean(reading.pairColumn) })
      box.examples = examplesOf(inspection)
      if (!box.own && !takeOwn(box) && box.examples.length) fill(box)
      place(false)
      show('try')
      show('many', MANY.includes(box.task))
      show('try-next', box.examples.length > 1)
    },
    /** For a model that was fine-tuned before. */
    ready({ info }) {
      show('try', info.can_predict)
      if (!info.can_predict) return
      setTask(box, info.task ?? 'classification', { labels: info.labels ?? [], range: info.score_range, pair: true })
      say('try-hint', abilityOf(info))
      takeOwn(box)
      place(true)
      show('many', MANY.includes(box.task))
      guess()
    },
    gone() {
      place(false)
      Object.assign(box, { examples: [] })
      show('try', false)
      show('try-next', false)
      say('try-truth', '')
      at('try-result').replaceChildren()
    },
  }
}

/** A model that was fine-tuned before is there to be used: then the box comes first. */
function place(isFirst) {
  const isThere = at('finetune').firstElementChild === at('live')
  if (isFirst && !isThere) at('finetune').prepend(at('live'))
  if (!isFirst && isThere) at('run').after(at('live'))
}

function keepOwn(task) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ task, text: at('try-text').value, pair: at('try-pair').value }))
  } catch {
    // Where the browser keeps nothing, the text lasts as long as the page.
  }
}

/** Puts back what was written before the page was loaded again, where it is for the same task. */
function takeOwn(box) {
  let own = null
  try {
    own = JSON.parse(sessionStorage.getItem(KEY))
  } catch {
    // As if nothing had been kept.
  }
  if (own?.task !== box.task || !own.text) return false
  at('try-text').value = own.text
  at('try-pair').value = own.pair ?? ''
  box.own = true
  return true
}

// ---- a list of texts

/** The tasks whose answer goes into the columns of a table. */
const MANY = ['classification', 'multi-label', 'regression']

function mountMany(app, box) {
  at('many-file').addEventListener('change', async ({ target }) => {
    const [file] = target.files
    if (file) at('many-texts').value = await file.text()
    target.value = ''
  })
  at('many-go').addEventListener('click', async () => {
    const texts = at('many-texts').value.split(/\r?\n/).filter(text => text.trim())
    if (!texts.length) return say('many-line', 'Write a text a line first.')
    at('many-go').disabled = true
    try {
      const answers = []
      while (answers.length < texts.length) {
        answers.push(...await app.model.predict(texts.slice(answers.length, answers.length + AT_ONCE)))
        say('many-line', `${answers.length} of ${texts.length}`)
      }
      saveAs('labelled.csv', labelledCsv(box.task, texts, answers))
      say('many-line', `${texts.length} texts are labelled, in labelled.csv.`)
    } catch (error) {
      say('many-line', `${error.message} ${error.remedy ?? ''}`)
    } finally {
      at('many-go').disabled = false
    }
  })
}

/** The texts with what the model says of each, and how sure it is. */
export function labelledCsv(task, texts, answers) {
  const cell = value => `"${String(value).replace(/"/g, '""')}"`
  const columns = {
    'classification': [['label', 'score'], ({ label, score }) => [label, score.toFixed(4)]],
    'multi-label': [['labels'], ({ labels }) => [labels.join('|')]],
    'regression': [['score'], ({ value }) => [value]],
  }
  const [head, rowOf] = columns[task]
  const rows = [['text', ...head], ...texts.map((text, index) => [text, ...rowOf(answers[index])])]
  // With the mark, spreadsheets read it as UTF-8.
  return `\ufeff${rows.map(row => row.map(cell).join(',')).join('\r\n')}\r\n`
}

function saveAs(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/csv' }))
  make('a', { href: address, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(address), 60000)
}

/** Asks now and then, on a slow device less often; gives a function that ends it. */
function follow(guess) {
  let timer = 0
  let ended = false
  const again = async () => {
    const started = performance.now()
    await guess()
    if (!ended) timer = setTimeout(again, Math.max(TRY_AGAIN, REST * (performance.now() - started)))
  }
  timer = setTimeout(again, TRY_AGAIN)
  return () => {
    ended = true
    clearTimeout(timer)
  }
}

function setTask(box, task, { labels, range, pair }) {
  const changed = box.task !== task
  Object.assign(box, { task, labels, range: range ?? null, next: 0, own: box.own && !changed })
  if (changed) for (const id of ['try-text', 'try-pair']) at(id).value = ''
  const fields = FIELDS[task] ?? FIELDS_OF_TEXTS
  say('try-text-label', fields.text)
  at('try-text').placeholder = fields.hint
  at('try-text').rows = task === 'question-answering' ? 1 : 2
  show('try-pair-field', Boolean(fields.pair) && (pair || task === 'question-answering'))
  say('try-pair-label', fields.pair ?? '')
  at('try-pair').rows = task === 'question-answering' ? 7 : 2
  say('try-truth', '')
  at('try-result').replaceChildren()
}

// ---- examples from the data

function examplesOf({ task, chosen, columns, preview }) {
  const cell = (row, name) => row[columns.indexOf(name)] ?? ''
  if (task === 'question-answering') {
    return preview.map(row => ({ text: cell(row, 'question'), pair: cell(row, 'context'), truth: `“${cell(row, 'answers').split(' | ')[0]}”` })).filter(({ text, pair }) => text && pair)
  }
  if (task === 'tagging') return preview.map(row => ({ text: cell(row, 'words'), truth: '' })).filter(({ text }) => text)
  return preview.map(row => ({
    text: cell(row, chosen.text), pair: chosen.pair ? cell(row, chosen.pair) : '', truth: chosen.label ? `“${cell(row, chosen.label)}”` : '',
  })).filter(({ text }) => text)
}

function fill(box) {
  const { text, pair = '', truth } = box.examples[box.next % box.examples.length]
  box.next += 1
  box.own = false
  at('try-text').value = text
  at('try-pair').value = pair
  say('try-truth', truth && truth !== '“”' ? `A row of the data; there it says ${truth}.` : 'A row of the data.')
}

// ---- asking

/** Asks the model about what is written and shows the answer, which it also returns. */
async function ask(app, box, state) {
  const { model } = app
  const input = inputOf(box)
  if (!model || !input || !(model.info.can_predict || state?.evaluations.length)) return void at('try-result').replaceChildren()
  try {
    const [answer] = await model.predict([input])
    // By now something else may be written there; then its own answer is on the way.
    if (JSON.stringify(inputOf(box)) !== JSON.stringify(input)) return
    at('try-result').replaceChildren(...ANSWERS[box.task].show(answer, box, input))
    return answer
  } catch (error) {
    if (error.fatal || app.model !== model) return
    at('try-result').replaceChildren(make('p', { className: 'fineprint' }, `${error.message} ${error.remedy ?? ''}`))
  }
}

function inputOf({ task }) {
  const text = at('try-text').value.trim()
  const pair = at('try-pair-field').hidden ? '' : at('try-pair').value.trim()
  if (!text) return null
  if (task === 'tagging') return { words: wordsOf(text) }
  if (task === 'question-answering') return pair ? { question: text, context: pair } : null
  return { text, ...(pair && { text_pair: pair }) }
}

// ---- answers

function showLabels({ scores }) {
  const sorted = Object.entries(scores).sort(([, a], [, b]) => b - a)
  return [guesses(sorted.slice(0, SHOWN_GUESSES).map(([label, score], index) => ({ name: label, score, chosen: index === 0 })))]
}

function showFitting({ labels, scores }) {
  const sorted = Object.entries(scores).sort(([, a], [, b]) => b - a)
  const lines = sorted.slice(0, Math.max(SHOWN_LABELS, labels.length)).map(([label, score]) => {
    const chosen = labels.includes(label)
    return { name: `${chosen ? '✓ ' : ''}${label}`, score, chosen }
  })
  return [guesses(lines), make('p', { className: 'fineprint' }, labels.length ? 'It names the labels of at least 50%.' : 'It names none: no label reaches 50%.')]
}

function guesses(lines, className = '') {
  return make('ol', { className }, ...lines.map(({ name, score, chosen }) => make('li', { className: chosen ? 'first' : '' },
    make('span', { className: 'name' }, name), bar(score), make('span', { className: 'value' }, percentFine(score)))))
}

function showNumber({ value }, { range }) {
  const number = make('p', { className: 'number' }, short(value))
  if (!range) return [number]
  const [low, high] = range
  const track = make('div', { className: 'track', 'aria-hidden': 'true' }, make('span', {}))
  track.style.setProperty('--share', Math.min(Math.max((value - low) / (high - low), 0), 1).toFixed(4))
  return [number, make('div', { className: 'gauge' }, track, make('p', { className: 'ends' }, make('span', {}, short(low)), make('span', {}, short(high))))]
}

function showTags({ words, labels, scores }, box) {
  const scheme = schemeOf(box.labels.length ? box.labels : labels)
  return [tagged(words, labels, scheme, { scores }), legend(scheme)]
}

function showAnswer({ answer, start, end, score, n_best: all }, box, { context }) {
  const spans = answer ? [{ start, end, className: 'answer', note: percent(score) }] : []
  const lines = all.slice(0, SHOWN_ANSWERS).map(({ text, probability }) => ({ name: text || 'no answer', score: probability, chosen: text === answer }))
  return [
    make('p', { className: 'reply' }, answer || 'It finds no answer in this paragraph.'),
    paragraph(context, spans),
    make('h3', { className: 'quiet' }, 'Its likeliest answers'), guesses(lines, 'answers'),
  ]
}
