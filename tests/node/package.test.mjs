// The npm package in Node.js, on the CPU: a script that is installed and run as a user would, and the pipelines.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { CSV, ROWS } from '../rows.mjs'
import { MODELS, newProject, PACKAGE } from '../package/install.mjs'

const TINY = `${MODELS}/electra-tiny/`
const { Electra, ElectraError, pipeline } = await import(pathToFileURL(join(PACKAGE, 'node.js')))

test('a script loads, trains, stops, goes on, asks, takes away, and ends by itself', async () => {
  const project = newProject('script.mjs')
  writeFileSync(join(project, 'rows.csv'), CSV)
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['script.mjs', TINY, 'rows.csv'], { cwd: project, timeout: 120_000 })
  assert.equal(stderr, '')
  const found = JSON.parse(stdout)
  assert.equal(found.device.kind, 'cpu')
  assert.ok(found.stages.includes('download') && found.stages.includes('model'), found.stages)
  assert.equal(found.detection.tokens[0], '[CLS]')
  assert.equal(found.first.stopped, true)
  assert.ok([3, 4].includes(found.first.steps), found.first.steps)
  assert.match(found.unsaved, /Node\.js/)
  assert.match(found.during.label, /food|space/)
  assert.equal(found.second.stopped, false)
  assert.equal(found.second.steps, 30)
  const losses = found.second.losses.map(({ loss }) => loss)
  assert.ok(mean(losses.slice(-5)) < mean(losses.slice(0, 5)) / 2, losses)
  assert.ok(found.ticks > 10, 'the script is not blocked while the model trains')
  assert.equal(found.saved, null)
  assert.deepEqual(found.labels, ['food', 'space'])
  found.logits[0].forEach((logit, index) => assert.ok(Math.abs(logit - found.logits[1][index]) < 1e-5))
  assert.match(found.missing, /^ElectraError: file:.*nowhere\/at\/all\/config\.json/)
  assert.match(found.webgpu, /^ElectraError: .*Node\.js/)
})

test('text-classification: the forms of transformers.js', async () => {
  const told = []
  const classify = await pipeline('text-classification', TINY, { device: 'wasm', progress_callback: progress => told.push(progress) })
  assert.ok(told.filter(({ status }) => status === 'progress_total').every(({ progress, name }) => progress <= 100 && name === TINY))
  assert.equal(told.filter(({ status }) => status === 'progress_total').at(-1).progress, 100)
  assert.deepEqual(told.at(-1), { status: 'ready', task: 'text-classification', model: TINY })
  await assert.rejects(classify('moon'), error => error instanceof ElectraError && /not fine-tuned/.test(error.message))
  await classify.model.finetune({ train: ROWS, epochs: 3, batchSize: 8, maxSeqLength: 8, learningRate: 2e-3, seed: 1, evalEvery: 100 })
  const texts = ['moon star planet rocket', 'soup bread apple cheese']
  const [one] = await classify(texts[0])
  assert.deepEqual(Object.keys(one), ['label', 'score'])
  assert.deepEqual((await classify(texts)).map(({ label }) => label), ['space', 'food'])
  const all = await classify(texts[0], { top_k: null })
  assert.deepEqual(all.map(({ label }) => label), ['space', 'food'])
  assert.ok(Math.abs(all[0].score + all[1].score - 1) < 1e-6)
  assert.deepEqual(await classify(texts, { top_k: 2 }), [all, await classify(texts[1], { top_k: 2 })])
  assert.deepEqual(all[0], one)
  // The same model asked for what it was not made for.
  const answer = await pipeline('question-answering', classify.model)
  await assert.rejects(answer('Who?', 'Anna.'), /fine-tuned for classification/)
  await classify.dispose()
  await assert.rejects(pipeline('summarization', TINY), error => /summarization/.test(error.message) && /text-classification, token-classification/.test(error.remedy))
})

test('a regression gives its value, several labels their own scores', async () => {
  const model = await Electra.load(TINY)
  const classify = await pipeline('text-classification', model)
  const train = options => model.finetune({ epochs: 0.2, batchSize: 8, maxSeqLength: 8, seed: 1, evalEvery: 100, ...options })
  await train({ train: ROWS.map(({ text }, row) => ({ text, score: row / 7 })), task: 'regression' })
  const [{ label, score }] = await classify('moon')
  assert.deepEqual([label, score], ['LABEL_0', (await model.predict('moon')).value])
  await train({ train: ROWS.map(({ text, label }, row) => ({ text, labels: row % 3 ? [label] : [label, 'third'] })) })
  assert.deepEqual((await classify('moon', { top_k: null })).map(({ label }) => label).sort(), ['food', 'space', 'third'])
  model.dispose()
})

test('token-classification: words with their places, alone or in groups', async () => {
  const model = await Electra.load(TINY)
  const words = ['moon', 'star', 'soup', 'rocket', 'bread', 'planet']
  const rows = Array.from({ length: 96 }, (_, row) => {
    const kinds = row % 2 ? ['rocket', 'moon', 'soup'] : ['star', 'bread', 'planet']
    const picked = [...kinds, words[row % 6], 'here']
    const isSpace = word => ['moon', 'star', 'rocket', 'planet'].includes(word)
    return { words: picked, labels: picked.map((word, at) => isSpace(word) ? (isSpace(picked[at - 1]) ? 'I-SPACE' : 'B-SPACE') : 'O') }
  })
  await model.finetune({ train: rows, epochs: 8, batchSize: 8, maxSeqLength: 16, learningRate: 3e-3, seed: 1, evalEvery: 1000 })
  const tag = await pipeline('token-classification', model)
  const text = '🚀  rocket moon soup'
  const found = await tag(text)
  assert.ok(found.length > 0)
  for (const { entity, score, index, word, start, end } of found) {
    assert.match(entity, /^[BI]-SPACE$/)
    assert.ok(score > 0 && score <= 1)
    assert.equal(text.slice(start, end), word)
    assert.equal(text.split(/\s+/)[index - 1], word)
  }
  const every = await tag([text], { ignore_labels: [] })
  assert.deepEqual(every[0].map(({ word }) => word), ['🚀', 'rocket', 'moon', 'soup'])
  const groups = await tag(text, { aggregation_strategy: 'simple' })
  assert.deepEqual(groups.map(({ entity_group }) => [...new Set([entity_group])]).flat().filter(name => name !== 'SPACE'), [])
  for (const { word, start, end } of groups) assert.equal(text.slice(start, end), word)
  const together = groups.find(({ start }) => start === text.indexOf('rocket'))
  assert.equal(together?.word, 'rocket moon')
  await assert.rejects(tag(text, { aggregation_strategy: 'max' }), /none or simple|there is no "max"/)
  await tag.dispose()
})

test('question-answering: one answer, several, many questions', async () => {
  const model = await Electra.load(TINY)
  const context = '🚀 Anna keeps a small bakery in Lund. She bakes bread with rye every Friday.'
  const answers = text => [{ text, answer_start: [...context.slice(0, context.indexOf(text))].length }]
  const rows = Array.from({ length: 32 }, (_, row) => ({ question: row % 2 ? 'Who keeps it?' : 'When?', context: `${context} Day ${row}.`, answers: answers(row % 2 ? 'Anna' : 'Friday') }))
  await model.finetune({ train: rows, epochs: 1, batchSize: 8, maxSeqLength: 64, docStride: 8, maxQueryLength: 16, seed: 1, evalEvery: 1000 })
  const ask = await pipeline('question-answering', model)
  const one = await ask('Who keeps it?', context)
  assert.deepEqual(Object.keys(one), ['answer', 'score', 'start', 'end'])
  assert.equal(context.slice(one.start, one.end), one.answer)
  const three = await ask('Who keeps it?', context, { top_k: 3 })
  assert.equal(three.length, 3)
  for (const { answer, start, end } of three) assert.equal(context.slice(start, end), answer)
  assert.deepEqual(three[0], one)
  const both = await ask(['Who keeps it?', 'When?'], [context, context])
  assert.deepEqual(both[0], one)
  assert.equal((await ask(['Who?', 'When?'], [context, context], { top_k: 2 }))[1].length, 2)
  await assert.rejects(ask(['Who?', 'When?'], context), /2 questions and 1 contexts/)
  await ask.dispose()
})

test('fill-mask: ids, words and whole texts', async () => {
  const fill = await pipeline('fill-mask', `${MODELS}/electra-tiny-generator/`)
  const vocabulary = readFileSync(`${MODELS}/electra-tiny-generator/vocab.txt`, 'utf8').split('\n')
  const text = 'They have been working [MASK] many years.'
  const found = await fill(text)
  assert.equal(found.length, 5)
  for (const { sequence, score, token, token_str } of found) {
    assert.ok(score > 0 && score < 1)
    assert.equal(vocabulary[token], token_str)
    assert.equal(sequence, token_str.startsWith('##') ? text.replace(' [MASK]', token_str.slice(2)) : text.replace('[MASK]', token_str))
  }
  const [best] = await fill([text], { top_k: 1 })
  assert.deepEqual(best, found.slice(0, 1))
  await assert.rejects(fill('They have been working.'), /\[MASK\]/)
  await fill.dispose()
})

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number) / numbers.length
}
