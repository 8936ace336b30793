// The Detect tab with a generator: a sentence with gaps in, the likeliest words for each gap out.

import { bar } from './chart.js'
import { at, make, say, settled, show } from './dom.js'
import { percentFine, plural } from './format.js'

const MASK = '[MASK]'
const PATIENCE = 250
const CANDIDATES = 8
/** So many are asked for, because pieces of words and marks are left out. */
const ASKED = 40
const UNTRAINED = 'This model is untrained: its weights are random, so its words mean nothing yet.'
/** Of which the bundled generator finds the word. */
const EXAMPLES = [
  'The film was directed [MASK] her brother.',
  'It is the capital and largest [MASK] of the country.',
  'He was one of the [MASK] important writers of the nineteenth century.',
  'The United [MASK] of America is a large country.',
]

export function mountFill(app) {
  const sentence = at('gapped')
  const read = () => fill(app, sentence.value.trim())
  sentence.addEventListener('input', settled(PATIENCE, read))
  at('gap-examples').append(...EXAMPLES.map(text => make('button', {
    type: 'button', className: 'example', onclick: () => {
      sentence.value = text
      read()
    },
  }, text)))
  at('add-gap').addEventListener('click', () => {
    addGap(sentence)
    read()
  })
  at('to-generator').addEventListener('click', () => app.switchTo('generator'))
  at('to-discriminator').addEventListener('click', () => app.switchTo('mini'))
  return {
    ready({ info }) {
      show('filling', info.can_fill)
      show('detecting', !info.can_fill)
      say('tab-detect', info.can_fill ? 'Fill in' : 'Detect')
      say('fill-notice', info.untrained ? UNTRAINED : '')
      show('fill-notice', info.untrained)
      if (info.can_fill) read()
    },
    gone: () => at('fill-reading').setAttribute('aria-busy', 'true'),
  }
}

/** Puts a mask where the cursor is, in the place of what is selected, with a space on either side. */
function addGap(field) {
  const { value, selectionStart: from, selectionEnd: to } = field
  const before = /\S$/.test(value.slice(0, from)) ? ' ' : ''
  const after = /^[\p{L}\p{N}[]/u.test(value.slice(to)) ? ' ' : ''
  field.setRangeText(`${before}${MASK}${after}`, from, to, 'end')
  field.focus()
}

async function fill(app, text) {
  const { model } = app
  if (!model?.info.can_fill) return
  if (!text.includes(MASK)) return render(text, null)
  try {
    const [found] = await model.fill([text], { topK: ASKED })
    found.predictions = found.predictions.map(wholeWords)
    // By now the text may be another one; then its own answer is on the way.
    if (at('gapped').value.trim() === text) render(text, found)
  } catch (error) {
    if (app.model !== model) return
    if (error.fatal) return app.lost(error)
    render(text, null)
    say('fill-verdict', `${error.message} ${error.remedy}`)
  }
}

/** Whole words only: no ending of one, no punctuation. */
export function wholeWords(candidates) {
  return candidates.filter(({ token }) => /^[\p{L}\p{N}]/u.test(token)).slice(0, CANDIDATES)
}

function render(text, found) {
  const gaps = found?.predictions ?? []
  at('fill-reading').setAttribute('aria-busy', 'false')
  at('filled').replaceChildren(...found ? withWords(text, gaps) : [])
  at('gaps').replaceChildren(...gaps.map((candidates, index) => renderGap(candidates, gaps.length > 1 ? `Gap ${index + 1} of ${gaps.length}` : 'For the gap')))
  const lost = text.split(MASK).length - 1 - gaps.length
  say('fill-verdict', !found ? text ? `There is no gap in it yet: write ${MASK} where a word is missing.` : ''
    : lost > 0 ? `It reads only the beginning of so long a text: ${plural(lost, 'gap')} further on ${lost === 1 ? 'is' : 'are'} left out.` : '')
}

/** The sentence with the likeliest word in each gap. */
function withWords(text, gaps) {
  return text.split(MASK).flatMap((part, index) => {
    if (!index) return [part]
    const word = gaps[index - 1]?.[0]?.token
    return [make(word ? 'mark' : 'span', {}, word ?? MASK), part]
  })
}

function renderGap(candidates, title) {
  return make('section', {}, make('h3', { className: 'quiet' }, title), make('ol', {}, ...candidates.map(({ token, score }, index) => {
    return make('li', { className: index ? '' : 'first' },
      make('span', { className: 'name' }, token), bar(score), make('span', { className: 'value' }, percentFine(score)))
  })))
}
