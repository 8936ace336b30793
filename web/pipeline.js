// transformers.js's pipelines over a Model: how they are called, and the form of what they answer.

const TASKS = {
  'text-classification': { needs: ['classification', 'multi-label', 'regression'], ask: classify },
  'token-classification': { needs: ['tagging'], ask: tag },
  'question-answering': { needs: ['question-answering'], ask: answer },
  'fill-mask': { needs: null, ask: fill },
}
const MASK = '[MASK]'

export const PIPELINE_TASKS = Object.keys(TASKS)

export function isPipelineTask(task) {
  return Object.hasOwn(TASKS, task)
}

/** The answer of a model to what a pipeline was called with. */
export async function ask(task, model, inputs) {
  const { needs, ask } = TASKS[task]
  const found = model.info.task
  // What was not fine-tuned at all, the engine names.
  if (needs && found && !needs.includes(found)) throw new Error(`${task}: the model was fine-tuned for ${found}\n  Load one for ${needs.join(', ')}.`)
  return ask(model, ...inputs)
}

/** A `LoadProgress` as transformers.js tells it: only of the download, all files together. */
export function tellProgress({ stage, loaded, total }, name, tell) {
  if (stage === 'download' && total) tell({ status: 'progress_total', name, progress: 100 * loaded / total, loaded, total })
}

/** As many of the best as asked for, all for null; flat where one was asked for. */
async function classify(model, texts, { top_k = 1 } = {}) {
  const predictions = await model.predict([texts].flat())
  const best = predictions.map(prediction => scoresOf(prediction).slice(0, top_k ?? Infinity))
  if (top_k === 1) return best.flat()
  return Array.isArray(texts) ? best : best[0]
}

/** The labels of one text, the likeliest first. A regression has one, whose score is the value. */
function scoresOf({ scores, value }) {
  if (!scores) return [value].flat().map((score, index) => ({ label: `LABEL_${index}`, score }))
  return Object.entries(scores).map(([label, score]) => ({ label, score })).sort((a, b) => b.score - a.score)
}

/** A word each where transformers.js has pieces of words: our taggers label words. */
async function tag(model, texts, { ignore_labels = ['O'], aggregation_strategy = 'none' } = {}) {
  if (!['none', 'simple'].includes(aggregation_strategy)) throw new Error(`aggregation_strategy: there is no "${aggregation_strategy}"\n  Choose none or simple.`)
  const all = [texts].flat()
  const predictions = await model.predict(all)
  const found = predictions.map((prediction, row) => {
    const words = wordsOf(all[row], prediction).filter(({ entity }) => !ignore_labels.includes(entity))
    return aggregation_strategy === 'simple' ? grouped(all[row], words) : words
  })
  return Array.isArray(texts) ? found : found[0]
}

function wordsOf(text, { words, labels, scores }) {
  let end = 0
  return words.map((word, index) => {
    const start = text.indexOf(word, end)
    end = start + word.length
    return { entity: labels[index], score: scores[index], index: index + 1, word, start, end }
  })
}

/** Neighbours with one entity's tags, in BIO or BIOES, as one. */
function grouped(text, words) {
  const groups = []
  let open = null
  for (const { entity, score, index, start, end } of words) {
    const [, prefix, name] = /^(?:([BIES])-)?(.*)$/s.exec(entity)
    if (!open || open.name !== name || open.next !== index || prefix === 'B' || prefix === 'S') groups.push(open = { name, scores: [], start })
    Object.assign(open, { end, next: index + 1 })
    open.scores.push(score)
    if (prefix === 'E' || prefix === 'S') open = null
  }
  return groups.map(({ name, scores, start, end }) => ({
    entity_group: name, score: scores.reduce((sum, score) => sum + score) / scores.length, word: text.slice(start, end), start, end,
  }))
}

async function answer(model, questions, contexts, { top_k = 1 } = {}) {
  const [all, texts] = [[questions].flat(), [contexts].flat()]
  if (all.length !== texts.length) throw new Error(`question-answering: ${all.length} questions and ${texts.length} contexts\n  Give each question its context.`)
  const predictions = await model.predict(all.map((question, row) => ({ question, context: texts[row] })), { topK: top_k })
  const found = predictions.map((prediction, row) => {
    const best = top_k === 1
      ? [prediction]
      : prediction.n_best.map(({ text, probability, start, end }) => ({ answer: text, score: probability, start, end }))
    return best.map(one => inUnits(one, texts[row]))
  })
  const shaped = top_k === 1 ? found.flat() : found
  return Array.isArray(questions) ? shaped : shaped[0]
}

/** The engine counts code points, JavaScript UTF-16. */
function inUnits({ answer, score, start, end }, context) {
  const points = [...context]
  const units = count => points.slice(0, count).join('').length
  return { answer, score, start: units(start), end: units(end) }
}

async function fill(model, texts, { top_k = 5 } = {}) {
  const all = [texts].flat()
  const filled = await model.fill(all, { topK: top_k })
  const found = filled.map(({ predictions }, row) => {
    if (predictions.length !== 1) throw new Error(`${MASK}: ${predictions.length} of them in "${all[row]}"\n  Give texts with one; model.fill takes more.`)
    return predictions[0].map(({ token, id, score }) => ({ score, token: id, token_str: token, sequence: put(all[row], token) }))
  })
  return Array.isArray(texts) ? found : found[0]
}

/** The text with a token in the place of its mask; a piece of a word joins what stands before. */
function put(text, token) {
  const [before, after] = text.split(MASK)
  return token.startsWith('##') ? before.trimEnd() + token.slice(2) + after : before + token + after
}
