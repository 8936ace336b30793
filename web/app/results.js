// What came out of a run, on the page and in a report: a file a task in results/, each of which makes elements from an evaluation.

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

/** The sections of an evaluation, which says its task. */
export function sectionsOf(evaluation) {
  return SECTIONS[evaluation.task](evaluation)
}
