// The Detect tab with a discriminator: a sentence in, each word's probability of being replaced as colour and number out.

import { at, make, say, settled, show } from './dom.js'
import { count, percent } from './format.js'
import { fetchSample, listSamples } from './samples.js'

const PATIENCE = 250
const SUSPICIOUS = 0.5
const UNTRAINED = 'An untrained model cannot tell: it says about the same of every word.'
/** For a model of which nobody knows what it can do. */
const EXAMPLES = [
  'The chef ate the meal for forty hungry guests.',
  'She opened the door and walked into the banana.',
  'The judge asked the witness to swim the truth.',
  'He parked his car in the river and went to work.',
].map(text => ({ text }))

export function mountDetect(app) {
  const sentence = at('sentence')
  let shown = '' // an example that nobody has asked for
  const read = () => detect(app, sentence.value.trim())
  const take = (text, truth = '') => {
    shown = ''
    sentence.value = text
    say('truth', truth)
    read()
  }
  sentence.addEventListener('input', settled(PATIENCE, () => {
    say('truth', '')
    read()
  }))
  at('stronger').addEventListener('click', () => app.switchTo('small'))
  const draw = mountErrors(take)
  return {
    async ready(model) {
      const { info } = model
      showNotice(info)
      const known = info.can_detect ? await knownOf(app.modelFolder) : null
      if (app.model !== model) return
      const examples = known?.examples ?? EXAMPLES
      at('examples').replaceChildren(...examples.map(({ text, right }) => exampleButton(text, () => take(text, right && `It should read: ${right}`))), ...[await draw].filter(Boolean))
      showHowOften(known)
      const [first] = examples
      if (first && (!sentence.value || sentence.value === shown)) {
        take(first.text, first.right && `It should read: ${first.right}`)
        shown = first.text
      } else if (!info.can_fill) read()
    },
    gone() {
      show('detect-notice', false)
      at('reading').setAttribute('aria-busy', 'true')
    },
  }
}

/** What is known of a bundled model: sentences whose wrong word it finds, and how often it does; docs/error_pairs.py has asked it. */
async function knownOf(folder) {
  if (!folder) return null
  const response = await fetch(`${folder}examples.json`).catch(() => null)
  return response?.ok ? response.json().catch(() => null) : null
}

function showHowOften(known) {
  show('how-often', Boolean(known))
  if (!known) return
  const { first, of } = known.found
  say('how-often-line', `Of ${count(of)} sentences with one wrong word, its first suspicion is right in ${percent(first / of)}. The ones above are among those.`)
}

function exampleButton(text, onclick) {
  return make('button', { type: 'button', className: 'example', onclick }, text)
}

/** Where the page comes with sentences that hold one wrong word, a button that draws one of them. */
async function mountErrors(take) {
  const [sample] = await listSamples('detection').catch(() => [])
  if (!sample) return null
  let rows = null
  return exampleButton('Draw a real mistake', async () => {
    rows ??= readPairs(await fetchSample(sample.file), sample.text)
    const { wrong, right } = rows[Math.floor(Math.random() * rows.length)]
    take(wrong, `It should read: ${right}`)
  })
}

function readPairs(bytes, wrongColumn) {
  const [head, ...lines] = new TextDecoder().decode(bytes).split(/\r?\n/).filter(Boolean).map(line => line.split('\t'))
  const [wrong, right] = [head.indexOf(wrongColumn), head.indexOf('right')]
  // Capitals alone are nothing that the model sees.
  return lines.map(cells => ({ wrong: cells[wrong], right: cells[right] })).filter(pair => pair.wrong.toLowerCase() !== pair.right.toLowerCase())
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
  at('tokens').replaceChildren(...renderWords(words))
  show('scale', words.length > 0)
  say('verdict', words.length ? (untrained ? UNTRAINED : verdict(words)) + cutNotice(text, found) : '')
}

/** The words of a text; what a tokenizer cuts a word into counts as its most suspicious piece, and special tokens do not. */
export function toWords(text, { tokens, offsets, replaced }) {
  const letters = [...text]
  const words = []
  let end = -1
  tokens.forEach((token, index) => {
    const [from, to] = offsets[index]
    if (to === from) return
    const piece = letters.slice(from, to).join('')
    const isWord = /[\p{L}\p{N}]/u.test(piece)
    const last = words.at(-1)
    if (from === end && last.isWord && isWord) {
      last.text += piece
      last.probability = Math.max(last.probability, replaced[index])
    } else words.push({ text: piece, probability: replaced[index], isWord, isTight: from === end })
    end = to
  })
  return words
}

/** Words in a line, coloured by how they compare within the sentence; what adjoins stays together. */
function renderWords(words) {
  const values = words.map(({ probability }) => probability)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const lines = []
  for (const { text, probability, isTight } of words) {
    const token = make('span', { className: 'token' }, make('span', { className: 'piece' }, text), make('span', { className: 'p' }, percent(probability)))
    token.style.setProperty('--p', (high > low ? (probability - low) / (high - low) : 0).toFixed(3))
    if (probability === high && high > low) token.classList.add('suspect')
    if (isTight && lines.length) lines.at(-1).append(token)
    else lines.push(make('li', {}, token))
  }
  return lines
}

function verdict(words) {
  const [first, second] = words.filter(({ isWord }) => isWord).sort((a, b) => b.probability - a.probability)
  if (!first) return 'There is no word in it.'
  const sure = first.probability >= SUSPICIOUS ? 'It thinks that' : 'It suspects most that'
  const next = second ? `; after it “${second.text}”, with ${percent(second.probability)}` : ''
  return `${sure} “${first.text}” was replaced: ${percent(first.probability)}${next}.`
}

/** The model reads no more than its positions; what lies beyond is not judged. */
function cutNotice(text, { offsets }) {
  const end = Math.max(...offsets.map(([, to]) => to))
  return end < [...text].length ? ` It reads only the first ${offsets.length - 2} tokens; the rest is left out.` : ''
}
