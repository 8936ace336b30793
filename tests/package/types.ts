// What a user of the package writes, as TypeScript sees it; only its types are checked.

import { Electra, ElectraError, Model, pipeline, type Prediction, type TaggingPrediction } from 'electra'

const model: Model = await Electra.load('owner/name', { device: 'cpu', workerUrl: new URL('https://example.org/worker.js'), onProgress: ({ stage }) => console.log(stage) })
const run = await model.finetune({ train: [{ text: 'a', label: 'b' }], epochs: 1, freeze: 'body', onStep: ({ step, losses: [last] }) => console.log(step, last?.loss) })
if (run.evaluations[0]?.task === 'classification') console.log(run.evaluations[0].confusion_matrix[0]?.[0])
const all: Prediction[] = await model.predict(['a'])
const tags = await model.predict<TaggingPrediction>({ words: ['a'] })
console.log(all.length, tags.labels[0], (await model.fill('a [MASK]')).predictions[0]?.[0]?.id)

const classify = await pipeline('text-classification', model, { device: 'wasm', progress_callback: progress => progress.status === 'ready' ? progress.model : progress.loaded })
const [best] = await classify('a')
const many: { label: string; score: number }[][] = await classify(['a', 'b'], { top_k: null })
console.log(best?.label, many[0]?.[0]?.score, (await classify.model.export()).size)
const tag = await pipeline('token-classification', 'owner/name')
console.log((await tag('a'))[0]?.entity, (await tag(['a'], { aggregation_strategy: 'simple' }))[0]?.[0]?.entity_group)
const ask = await pipeline('question-answering', 'owner/name')
console.log((await ask('Who?', 'Anna.')).answer, (await ask('Who?', 'Anna.', { top_k: 2 }))[0]?.start)
const fill = await pipeline('fill-mask', 'owner/name')
console.log((await fill('a [MASK]'))[0]?.token_str)

// @ts-expect-error there is no such task
await pipeline('summarization', 'owner/name')
// @ts-expect-error there is no such option
await model.finetune({ train: [], learning_rate: 1 })
// @ts-expect-error a model is made by load
new Model()
const isOurs = (error: unknown) => error instanceof ElectraError && error.remedy
console.log(isOurs(null))
