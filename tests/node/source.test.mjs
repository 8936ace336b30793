// What the argument of Electra.load means, without an engine.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeSource } from '../../web/source.js'

test('a name of the hub, a folder and a zip are told apart', () => {
  const describe = source => describeSource(source, 'https://example.org/page/')
  assert.deepEqual(describe('google/electra-small-discriminator'), { repo: 'google/electra-small-discriminator', revision: 'main' })
  assert.deepEqual(describe('owner/name@v1.0'), { repo: 'owner/name', revision: 'v1.0' })
  for (const [source, url] of Object.entries({
    './models': 'page/models', '../models': 'models', './a.model': 'page/a.model', 'models/tiny/': 'page/models/tiny/', 'models/tiny.zip': 'page/models/tiny.zip',
  })) assert.deepEqual(describe(source), { url: `https://example.org/${url}` })
})
