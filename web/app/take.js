// How a trained model is used elsewhere: code to copy, and the README that goes into its zip.

import { at, copyOf, make, say, show } from './dom.js'
import { count, duration, plural, scientific } from './format.js'
import { keptOf, METRICS, quoted, TASKS } from './tasks.js'

const CLASSES = {
  'classification': 'text-classification', 'multi-label': 'text-classification', 'regression': 'text-classification', 'tagging': 'token-classification',
  'question-answering': 'question-answering',
}
const QUESTION = '{"question": "Where was he born?", "context": "He was born in Salzburg in 1756."}'

/** Shows the code and the link of a run that is over or was stopped. */
export function showTake(state) {
  const { phase, job, step } = state
  const isThere = step > 0 && (phase === 'done' || phase === 'stopped')
  show('take', isThere)
  if (!isThere) return
  const folder = folderOf(job)
  at('snippets').replaceChildren(...Object.entries(snippetsOf(job.reading.task, folder)).map(([name, code]) => {
    const button = make('button', { type: 'button', 'aria-label': `Copy the ${name} code` }, 'Copy')
    return make('div', { className: 'snippet' }, make('h3', { className: 'quiet' }, name), copyOf(() => code, button), make('pre', { tabIndex: 0, 'aria-label': `${name} code` }, make('code', {}, code)))
  }))
  show('take-link', Boolean(job.link))
  const old = at('copy-link')
  const link = old.cloneNode()
  say('copy-link', '')
  link.append('Copy link')
  old.replaceWith(copyOf(() => new URL(job.link, location.href).href, link))
}

export function folderOf({ file }) {
  return `electra-${file.replace(/\.\w+$/, '').replace(/\W+/g, '-')}`
}

/** Code that uses the downloaded model; `folder` is its name. */
export function snippetsOf(task, folder) {
  const isQuestion = task === 'question-answering'
  const input = isQuestion ? '{ question: \'Where was he born?\', context: \'He was born in Salzburg in 1756.\' }' : '\'some text\''
  const python = isQuestion ? '**' + QUESTION : '"some text"'
  return {
    'JavaScript': `import { Electra } from '${new URL('electra.js', document.baseURI).href}'

const model = await Electra.load('${folder}.zip')
console.log(await model.predict(${input}))`,
    'Python': `# pip install transformers torch; unzip ${folder}.zip -d ${folder}
from transformers import pipeline

model = pipeline("${CLASSES[task]}", model="${folder}")
print(model(${python}))`,
    'Command line': `echo '${isQuestion ? QUESTION : 'some text'}' | electra predict --model ${folder}.zip`,
  }
}

/** The README of a model: what it learnt, from what, and how well. */
export function cardOf({ job, plan, evaluations, step, steps, seconds }) {
  const { task } = plan
  const kept = keptOf(evaluations, job.settings)
  const { name, fine } = METRICS[kept.metric]
  const { baseline } = plan
  const settings = Object.entries(job.settings).filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${name === 'learningRate' ? scientific(value) : value}`)
  const labels = plan.labels.length ? `\nLabels: ${plan.labels.map(({ label, count: number }) => `${label} (${count(number)})`).join(', ')}.\n` : ''
  const compared = baseline?.metric === kept.metric ? `; answering ${quoted(baseline.answer)} would score ${fine(baseline.score)}` : ''
  return `---
library_name: transformers
pipeline_tag: ${CLASSES[task]}
---

# ${job.title}

${job.model}, fine-tuned in the browser for ${TASKS[task].name.toLowerCase()}: ${TASKS[task].about}.
${labels}
## Score

${name} ${fine(kept.score)} on ${plural(plan.eval_rows, TASKS[task].row)} that it did not learn from${compared}. Before training it was ${fine(evaluations[0].score)}.

## Data

${job.file}, ${plural(plan.train_rows, TASKS[task].row)} to learn from. ${job.licence ? `Licence of the data: ${job.licence}.` : 'The data is not in this folder.'}

## Training

${count(step)} of ${count(steps || plan.steps)} steps in ${duration(seconds)}; kept are the weights of step ${count(kept.step)}. ${settings.join(', ')}.

## Use

\`\`\`python
${snippetsOf(task, folderOf(job)).Python}
\`\`\`
`
}
