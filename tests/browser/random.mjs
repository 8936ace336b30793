// Model folders of any size with random weights, written tensor by tensor: for what only shows in large ones.

import { copyFileSync, mkdirSync, openSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'

const VOCABULARY = join(import.meta.dirname, '../fixtures/bert-base-uncased-vocab.txt')

/** What google/electra-base-discriminator has. */
export const BASE = { hidden_size: 768, embedding_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 }

/** Writes a discriminator of BERT's vocabulary into `folder`; `dtype`: F32 or F16. Returns the bytes of its weights. */
export function writeRandomModel(folder, sizes, dtype = 'F32') {
  const config = {
    architectures: ['ElectraForPreTraining'], model_type: 'electra', vocab_size: 30522, max_position_embeddings: 512, type_vocab_size: 2,
    hidden_act: 'gelu', hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1, layer_norm_eps: 1e-12, initializer_range: 0.02, pad_token_id: 0, ...sizes,
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  copyFileSync(VOCABULARY, join(folder, 'vocab.txt'))
  return writeWeights(join(folder, 'model.safetensors'), shapesOf(config), dtype)
}

function shapesOf({ vocab_size, embedding_size: narrow, hidden_size: wide, max_position_embeddings, type_vocab_size, num_hidden_layers, intermediate_size: inner }) {
  const shapes = {}
  const linear = (name, from, to) => Object.assign(shapes, { [`${name}.weight`]: [to, from], [`${name}.bias`]: [to] })
  const norm = (name, width) => Object.assign(shapes, { [`${name}.weight`]: [width], [`${name}.bias`]: [width] })
  const tables = { word: vocab_size, position: max_position_embeddings, token_type: type_vocab_size }
  for (const [table, rows] of Object.entries(tables)) shapes[`electra.embeddings.${table}_embeddings.weight`] = [rows, narrow]
  norm('electra.embeddings.LayerNorm', narrow)
  if (narrow !== wide) linear('electra.embeddings_project', narrow, wide)
  for (let number = 0; number < num_hidden_layers; number++) {
    const layer = `electra.encoder.layer.${number}`
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, wide, wide)
    linear(`${layer}.attention.output.dense`, wide, wide)
    norm(`${layer}.attention.output.LayerNorm`, wide)
    linear(`${layer}.intermediate.dense`, wide, inner)
    linear(`${layer}.output.dense`, inner, wide)
    norm(`${layer}.output.LayerNorm`, wide)
  }
  linear('discriminator_predictions.dense', wide, wide)
  linear('discriminator_predictions.dense_prediction', wide, 1)
  return shapes
}

function writeWeights(path, shapes, dtype) {
  const size = dtype === 'F16' ? 2 : 4
  const count = shape => shape.reduce((product, length) => product * length, 1)
  const header = { __metadata__: { format: 'pt' } }
  let at = 0
  for (const [name, shape] of Object.entries(shapes)) header[name] = { dtype, shape, data_offsets: [at, at += count(shape) * size] }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const file = openSync(path, 'w')
  for (const part of [length, text]) writeSync(file, part)
  for (const [name, shape] of Object.entries(shapes)) {
    const bytes = (dtype === 'F16' ? halves : floats)(count(shape), name.endsWith('LayerNorm.weight'))
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done)
  }
  closeSync(file)
  return at
}

let seed = 1

/** Evenly between -1 and 1. */
function draw() {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0
  return seed / 2 ** 31
}

function floats(count, isScale) {
  return new Uint8Array(Float32Array.from({ length: count }, () => isScale ? 1 : 0.035 * draw()).buffer)
}

/** Below 0.0352 in a sign, an exponent and ten bits of whatever. */
function halves(count, isScale) {
  return new Uint8Array(Uint16Array.from({ length: count }, () => isScale ? 0x3c00 : (draw() < 0 ? 0x8000 : 0) | 0x2400 | (draw() * 1023) & 0x3ff).buffer)
}
