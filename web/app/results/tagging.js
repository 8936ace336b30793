// Tagging: sentences in colour, as the model and as the file tag them, and the scores of each type.

import { make } from '../dom.js'
import { count, percentFine, plural } from '../format.js'
import { legend, mistagged, schemeOf, tagged } from '../marks.js'
import { confusionSection } from './classification.js'
import { classTable, figures, fineprint, section, worstSection } from './parts.js'

/** Words of a sentence that are shown. */
const LONG = 150

export function sectionsOf({ tags, entities, sentences, worst }) {
  const scheme = schemeOf(tags.labels)
  return [
    section('figures', 'How well it does', '', figures(entities ? entityFigures(entities, tags) : tagFigures(tags, sentences))),
    worstSection(worst.map(one => worstSentence(one, scheme)), `The held-out sentences with a wrong tag that have the highest loss a word. ${entities ? 'Wavy lines mark the words where model and file differ.' : 'Marked are the words with a wrong tag.'}`, legend(scheme)),
    entities ? typeTable(entities) : section('classes', 'Tag by tag', '', classTable('Scores of each tag', tags.per_class, { label: 'Tag', unit: 'Words' })),
    confusionSection(tags, 'word'),
  ]
}

function entityFigures({ micro, macro_f1: macro }, { accuracy, examples }) {
  return [
    ['F1 of entities', percentFine(micro.f1), `precision ${percentFine(micro.precision)}, recall ${percentFine(micro.recall)}`],
    ['F1, each type alike', percentFine(macro), 'rare types count as much as common ones'],
    ['Words tagged right', percentFine(accuracy), `of ${count(examples)}; most of them are no entity`],
  ]
}

function tagFigures({ accuracy, macro_f1: macro, examples }, sentences) {
  return [
    ['Words tagged right', percentFine(accuracy), `of ${count(examples)} in ${plural(sentences, 'sentence')}`],
    ['F1, each tag alike', percentFine(macro), 'rare tags count as much as common ones'],
  ]
}

function typeTable({ per_type: types }) {
  return section('classes', 'Type by type', 'An entity is right when its type and both its ends are.', classTable('Scores of each type', types, { label: 'Type', unit: 'Entities' }))
}

function worstSentence({ row, words: all, labels: tags, predicted: guesses }, scheme) {
  const missed = tags.filter((tag, index) => tag !== guesses[index]).length
  const [words, labels, predicted] = [all, tags, guesses].map(list => list.slice(0, LONG))
  const wrong = labels.map((label, index) => label !== predicted[index])
  // Where every word has a tag, the right ones would only hide the wrong ones.
  const versions = scheme.entities ? make('dl', { className: 'versions' },
    make('dt', {}, 'The model says'), make('dd', {}, tagged(words, predicted, scheme, { wrong })),
    make('dt', {}, 'The file says'), make('dd', {}, tagged(words, labels, scheme, { wrong })))
    : mistagged(words, labels, predicted, scheme)
  return [
    versions,
    fineprint(`Row ${count(row)}: ${missed} of ${plural(all.length, 'word')} wrong.${all.length > LONG ? ` Its first ${LONG} words are shown.` : ''}`),
  ]
}
