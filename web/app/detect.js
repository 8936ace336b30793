// The Detect tab: a sentence in, each token's probability of being replaced as colour and number out.

import { at, make, say, settled, show } from './dom.js'
import { percent } from './format.js'

const PATIENCE = 250
const SUSPICIOUS = 0.5
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
  sentence.addEventListener('input', settled(PATIENCE, read))
  at('examples').append(...EXAMPLES.map(text => {
    const button = make('button', { type: 'button', className: 'example' }, text)
    button.addEventListener('click', () => {
      sentence.value = text
      read()
    })
    return button
  }))
  return {
    ready(model) {
      showNotice(model.info)
      read()
    },
    gone() {
      show('detect-notice', false)
      at('reading').setAttribute('aria-busy', 'true')
    },
  }
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
  if (!model?.info.can_detect || !text) return render(text, null)
  try {
    const [found] = await model.detect([text])
    // By now the text may be another one; then its own answer is on the way.
    if (at('sentence').value.trim() === text) render(text, found)
  } catch (error) {
    if (app.model === model) showError(app, error)
  }
}

function showError(app, error) {
  if (error.fatal) return app.lost(error)
  at('tokens').replaceChildren()
  say('verdict', `${error.message} ${error.remedy}`)
}

function render(text, found) {
  const words = found ? toWords(text, found) : []
  at('reading').setAttribute('aria-busy', String(!found && Boolean(text)))
  at('tokens').replaceChildren(...words.map(renderWord))
  show('scale', words.length > 0)
  say('verdict', words.length ? verdict(words) + cutNotice(text, found) : '')
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
