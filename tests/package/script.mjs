// A script of somebody who uses the package in Node.js. It ends by itself: nothing is disposed of.

import { Electra } from 'electra'

const [, , folder, table] = process.argv
const stages = new Set()
const model = await Electra.load(folder, { onProgress: ({ stage }) => stages.add(stage) })
const found = { device: model.info.device, stages: [...stages], detection: await model.detect('The chef ate the meal.') }

const stop = new AbortController()
let ticks = 0
const timer = setInterval(() => ticks++, 1)
const options = { train: table, epochs: 5, batchSize: 8, maxSeqLength: 8, learningRate: 2e-3, seed: 1, dropout: 0, evalFraction: 0.25, evalEvery: 30, readEvery: 1 }
found.first = await model.finetune({
  ...options, signal: stop.signal, checkpointEvery: 10,
  onUnsaved: error => { found.unsaved = `${error.message} ${error.remedy}` },
  onStep: ({ step }) => step === 3 && stop.abort(),
})
found.during = await model.predict('moon star')
found.second = await model.finetune({ resume: true })
clearInterval(timer)
found.ticks = ticks
found.saved = await Electra.savedRun()

const again = await Electra.load(await model.export())
found.labels = again.info.labels
found.logits = await Promise.all([model, again].map(async one => (await one.predict('moon star', { logits: true })).logits))
found.missing = await Electra.load('./nowhere/at/all/').catch(error => `${error.name}: ${error.message}`)
found.webgpu = await Electra.load(folder, { device: 'webgpu' }).catch(error => `${error.name}: ${error.message} ${error.remedy}`)
console.log(JSON.stringify(found))
