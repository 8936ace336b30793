// What came out of a run: a file a task in results/, each of which makes sections from an evaluation.

import { at, show } from './dom.js'
import { sectionsOf as classification } from './results/classification.js'
import { sectionsOf as multiLabel } from './results/multi-label.js'
import { sectionsOf as questionAnswering } from './results/question-answering.js'
import { sectionsOf as regression } from './results/regression.js'
import { sectionsOf as tagging } from './results/tagging.js'

const SECTIONS = {
  'classification': classification,
  'multi-label': multiLabel,
  'regression': regression,
  'tagging': tagging,
  'question-answering': questionAnswering,
}

export function showResults(task, evaluation) {
  at('results').replaceChildren(...SECTIONS[task](evaluation))
  show('results')
}
