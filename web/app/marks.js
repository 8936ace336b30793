// Words with colour: entities and tags in running text, an answer in its paragraph. A colour never stands alone:
// what it means is written beside it.

import { make } from './dom.js'
import { percent, percentFine } from './format.js'

const COLOURS = 8
/** Above it, how sure a model is of a tag goes without saying. */
const SURE = 0.9
const NO_SPACE_BEFORE = /^(?:[.,;:!?%)\]}”’]+|''|['’](?:s|m|d|re|ve|ll)|n['’]t)$/i
const NO_SPACE_AFTER = /^(?:[([{“‘$£#]|``)$/

/** What the usual tags mean. */
const MEANINGS = {
  PER: 'person', PERSON: 'person', LOC: 'place', ORG: 'organisation', MISC: 'other name', ERR: 'wrong', GPE: 'country or city', DATE: 'date',
  NP: 'noun phrase', VP: 'verb phrase', PP: 'preposition', ADVP: 'adverb phrase', ADJP: 'adjective phrase', SBAR: 'clause opener', PRT: 'particle',
  CONJP: 'conjunction', INTJ: 'interjection',
  ADJ: 'adjective', ADP: 'preposition', ADV: 'adverb', AUX: 'auxiliary', CCONJ: 'conjunction', CONJ: 'conjunction', DET: 'article and the like', NOUN: 'noun', NUM: 'number',
  PART: 'particle', PRON: 'pronoun', PROPN: 'name', PUNCT: 'punctuation', SCONJ: 'subordinating conjunction', SYM: 'symbol', VERB: 'verb', X: 'other',
}

/**
 * How tags are read: as parts of entities ("B-PER" begins a person, "I-PER" goes on, "O" is none), or each for itself.
 * `kinds` are the types or tags, in a fixed order, which gives each its colour.
 */
export function schemeOf(labels) {
  const isWhole = isPart => labels.some(isPart) && labels.every(label => label === 'O' || isPart(label))
  const isPrefixed = isWhole(label => /^[BIESLU]-./.test(label) || labels.includes('B') && /^[BIESLU]$/.test(label))
  // "PER-B", with the type first.
  const isSuffixed = !isPrefixed && isWhole(label => /.-[BIESLU]$/.test(label))
  const entities = isPrefixed || isSuffixed
  const partOf = label => isSuffixed ? { part: label.at(-1), kind: label.slice(0, -2) } : { part: label[0], kind: label.slice(2) }
  const kinds = entities ? labels.filter(label => label !== 'O').map(label => partOf(label).kind) : labels
  return { entities, partOf, kinds: [...new Set(kinds)].sort() }
}

/** Words in runs of one kind; `kind` is null between entities. */
function runsOf(labels, { entities, partOf }) {
  const runs = []
  let open = false
  labels.forEach((label, index) => {
    const { part, kind } = !entities ? { part: '', kind: label } : label === 'O' ? { part: '', kind: null } : partOf(label)
    const goesOn = 'IEL'.includes(part) && part && open && runs.at(-1).kind === kind
    if (goesOn) runs.at(-1).end = index + 1
    else runs.push({ kind, start: index, end: index + 1 })
    open = Boolean(part) && 'BI'.includes(part)
  })
  return runs
}

/**
 * Running text with its tags in colour.
 * @param options `scores`: the probability of each word's tag; `wrong`: whether each word's tag is wrong
 */
export function tagged(words, labels, scheme, { scores, wrong } = {}) {
  const content = runsOf(labels, scheme).flatMap(({ kind, start, end }) => {
    const space = start && !isTight(words, start) ? ' ' : ''
    const text = textOf(words, start, end)
    const isWrong = wrong?.slice(start, end).some(Boolean)
    if (kind === null) return [space, isWrong ? make('span', { className: 'miss' }, text) : text]
    return [space, mark(text, kind, scheme, { score: scores && Math.min(...scores.slice(start, end)), isWrong })]
  })
  return make('p', { className: 'tagged', dir: 'auto' }, ...content)
}

/** Running text with only those tags that are wrong, and what would be right. */
export function mistagged(words, labels, predicted, scheme) {
  const content = words.flatMap((word, index) => {
    const space = index && !isTight(words, index) ? ' ' : ''
    if (labels[index] === predicted[index]) return [space, word]
    const small = make('small', {}, predicted[index], make('span', { className: 'sure' }, `, not ${labels[index]}`))
    return [space, make('span', { className: `mark ${colourOf(predicted[index], scheme)}` }, word, small)]
  })
  return make('p', { className: 'tagged', dir: 'auto' }, ...content)
}

function textOf(words, start, end) {
  return words.slice(start, end).map((word, index) => (index && !isTight(words, start + index) ? ' ' : '') + word).join('')
}

/** Whether no space belongs before this word: the words of such files have their punctuation apart. */
function isTight(words, index) {
  return NO_SPACE_BEFORE.test(words[index]) || NO_SPACE_AFTER.test(words[index - 1])
}

function mark(text, kind, scheme, { score, isWrong } = {}) {
  const name = kind || 'entity'
  const title = [MEANINGS[kind], score === undefined ? '' : percentFine(score)].filter(Boolean).join(', ')
  const small = make('small', {}, name, score < SURE ? make('span', { className: 'sure' }, ` ${percent(score)}`) : null)
  return make('span', { className: `mark ${colourOf(kind, scheme)}${isWrong ? ' miss' : ''}`, title }, text, small)
}

function colourOf(kind, { kinds }) {
  return `kind-${Math.max(kinds.indexOf(kind), 0) % COLOURS}`
}

/** What the colours mean. */
export function legend(scheme) {
  return make('ul', { className: 'legend', 'aria-label': 'What the colours mean' }, ...scheme.kinds.map(kind => {
    return make('li', {}, make('span', { className: `mark ${colourOf(kind, scheme)}` }, kind || 'entity'), MEANINGS[kind] ? ` ${MEANINGS[kind]}` : null)
  }))
}

/** A paragraph with spans marked; `spans`: [{ start, end, className, note }], counted in code points, as the engine does. */
export function paragraph(context, spans) {
  const letters = [...context]
  const content = []
  let last = 0
  for (const { start, end, className, note } of [...spans].sort((a, b) => a.start - b.start)) {
    if (start < last || end <= start) continue
    content.push(letters.slice(last, start).join(''), make('mark', { className }, letters.slice(start, end).join(''), note ? make('small', {}, note) : null))
    last = end
  }
  return make('p', { className: 'paragraph', dir: 'auto' }, ...content, letters.slice(last).join(''))
}

/** Cuts a text into words as the files of taggers have them, punctuation apart. */
export function wordsOf(text) {
  return text.trim()
    .replace(/[,;:!?)\]”"]+(?=\s|$)/gu, marks => ` ${[...marks].join(' ')}`)
    .replace(/(^|\s)([("“[])(?=\S)/gu, '$1$2 ')
    .replace(/(\w)\.$/u, '$1 .')
    .split(/\s+/).filter(Boolean)
}
