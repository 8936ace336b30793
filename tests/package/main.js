// A page of somebody who uses the package: fine-tunes for two steps and asks.

import { Electra, pipeline } from 'electra'

globalThis.finetune = async (rows, options) => {
  const model = await Electra.load('models/electra-tiny/', options)
  const steps = []
  const run = await model.finetune({
    train: rows, epochs: 1, batchSize: 24, evalFraction: 0.25, maxSeqLength: 8, readEvery: 1, seed: 1, onStep: ({ step }) => steps.push(step),
  })
  const classify = await pipeline('text-classification', model)
  const answer = await classify('moon star')
  await classify.dispose()
  return { device: model.info.device.kind, steps, losses: run.losses.map(({ loss }) => loss), answer }
}
