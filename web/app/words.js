// The engine's errors in the words of the page: the names of its options as their fields are labelled, and nothing
// that only a command line or a developer can use.

import { at } from './dom.js'
import { SETTINGS } from './settings.js'

const CAMEL = /([a-z])([A-Z])/g
/** Sentences of the command line's advice. */
const FOREIGN = /(?:^|(?<=[.:;)] ))[^.;]*(?:--[a-z]|electra (?:convert|predict|finetune)|Name the task)[^.]*(?:\.(?=\s|$)|$)\s*/g

/** An error with the same meaning, whose `message` and `remedy` a person at this page understands. */
export function inWords({ message, remedy = '', ...rest }) {
  const words = plain(remedy)
  const where = remedy && !words && /column|task/i.test(remedy) ? 'Choose above what to read it as, or which column is meant.' : ''
  return { ...rest, message: plain(message), remedy: words || where }
}

function plain(text) {
  const named = Object.entries(SETTINGS).reduce((words, [name, { field }]) => {
    const label = at(field).labels[0].firstChild.textContent.trim()
    const snake = name.replace(CAMEL, '$1_$2').toLowerCase()
    return words.replace(new RegExp(`\\b(?:${name}|${snake})\\b`, 'g'), label)
  }, text)
  return named
    .replace(FOREIGN, '')
    .replace(/;\s*--[a-z-]+ for [^.;]*/g, '')
    .replace(/https?:\/\/(?:[^\s/]+\/)*([^\s/:]+)\/?(?=[\s:]|$)/g, '$1')
    .replace(/\s*\(CORS\)/g, '')
    .replace(/, or labelColumn in the browser/g, '')
    .trim()
}
