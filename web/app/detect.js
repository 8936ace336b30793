// The Detect tab with a discriminator: a sentence in, each token's probability of being replaced as colour and number out.

import { at, make, say, settled, show } from './dom.js'
import { percent } from './format.js'
import { fetchSample, listSamples } from './samples.js'

const PATIENCE = 250
const SUSPICIOUS = 0.5
const UNTRAINED = 'An untrained model cannot tell: it says about the same of every word.'
const EXAMPLES = [
  'The chef ate the meal for forty hungry guests.',
  'She opened the door and walked into the banana.',
  'Water boils at one hundred degrees and freezes at zero.',
  'The judge asked the witness to swim the truth.',
  'He parked his car in the river and went to work.',
]

export function mountDetect(app) {
  const sentence = at('sentence')
  const read = () => detect(app, sentence.value.trim())
  const take = (text, truth = '') => {
    sentence.value = text
    say('truth', truth)
    read()
  }
  sentence.addEventListener('input', settled(PATIENCE, () => {
    say('truth', '')
    read()
  }))
  at('examples').append(...EXAMPLES.map(text => exampleButton(text, () => take(text))))
  mountErrors(take)
  return {
    ready({ info }) {
      showNotice(info)
      if (!info.can_fill) read()
    },
    gone() {
      show('detect-notice', false)
      at('reading').setAttribute('aria-busy', 'true')
    },
  }
}

function exampleButton(text, onclick) {
  return make('button', { type: 'button', className: 'example', onclick }, text)
}

/** Where the page comes with sentences that hold one wrong word, a button draws one of them. */
async function mountErrors(take) {
  const [sample] = await listSamples('detection').catch(() => [])
  if (!sample) return
  let rows = null
  at('examples').append(exampleButton('Draw a real mistake', async () => {
    rows ??= readPairs(await fetchSample(sample.file), sample.text)
    const { wrong, right } = rows[Math.floor(Math.random() * rows.length)]
    take(wrong, `It should read: ${right}`)
  }))
}

function readPairs(bytes, wrongColumn) {
  const [head, ...lines] = new TextDecoder().decode(bytes).split(/\r?\n/).filter(Boolean).map(line => line.split('\t'))
  const [wrong, right] = [head.indexOf(wrongColumn), head.indexOf('right')]
  return lines.map(cells => ({ wrong: cells[wrong], right: cells[right] }))
}

function showNotice(info) {
  const notice = !info.can_detect
    ? 'This model has no discriminator: it can label texts, but not tell replaced words. Load another model to use this tab.'
    : info.untrained
      ? 'This model is untrained: its weights are random, so the numbers below mean nothing yet. It can still be fine-tuned; or load a trained model with the button at the top.'
      : ''
  say('detect-notice', notice)
  show('detect-notice', Boolean(notice))
}

async function detect(app, text) {
  const { model } = app
  const info = model?.info
  if (!info?.can_detect || !text) return render(text, null)
  try {
    const [found] = await model.detect([text])
    // By now the text may be another one; then its own answer is on the way.
    if (at('sentence').value.trim() === text) render(text, found, info.untrained)
  } catch (error) {
    if (app.model === model) showError(app, error)
  }
}

function showError(app, error) {
  if (error.fatal) return app.lost(error)
  at('tokens').replaceChildren()
  say('verdict', `${error.message} ${error.remedy}`)
}

function render(text, found, untrained = false) {
  const words = found ? toWords(text, found) : []
  at('reading').setAttribute('aria-busy', String(!found && Boolean(text)))
  at('tokens').replaceChildren(...words.map(renderWord))
  show('scale', words.length > 0)
  say('verdict', words.length ? (untrained ? UNTRAINED : verdict(words)) + cutNotice(text, found) : '')
}

/** Tokens with the text they stand for, those of one word together; special tokens are left out. */
function toWords(text, { tokens, offsets, replaced }) {
  const letters = [...text]
  const words = []
  let end = -1
  tokens.forEach((token, index) => {
    const [from, to] = offsets[index]
    if (to === from) return
    const piece = { text: letters.slice(from, to).join(''), probability: replaced[index] }
    if (from === end) words.at(-1).push(piece)
    else words.push([piece])
    end = to
  })
  return words
}

/** The model reads no more than its positions; what lies beyond is not judged. */
function cutNotice(text, { offsets }) {
  const end = Math.max(...offsets.map(([, to]) => to))
  return end < [...text].length ? ` It reads only the first ${offsets.length - 2} tokens; the rest is left out.` : ''
}

function renderWord(pieces) {
  return make('li', {}, ...pieces.map(({ text, probability }) => {
    const token = make('span', { className: 'token' },
      make('span', { className: 'piece' }, text),
      make('span', { className: 'p' }, percent(probability)))
    token.style.setProperty('--p', probability.toFixed(3))
    if (probability >= SUSPICIOUS) token.classList.add('suspect')
    return token
  }))
}

function verdict(words) {
  const pieces = words.flat().sort((a, b) => b.probability - a.probability)
  const suspects = pieces.filter(piece => piece.probability >= SUSPICIOUS)
  const [first] = pieces
  if (!suspects.length) return `Nothing stands out. The likeliest is “${first.text}”, with ${percent(first.probability)}.`
  const names = suspects.slice(0, 3).map(piece => `“${piece.text}”`).join(', ')
  return suspects.length === 1
    ? `It thinks that ${names} was replaced.`
    : `It thinks that ${suspects.length} of ${pieces.length} were replaced, first of all ${names}.`
}
