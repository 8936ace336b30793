// The engine is what every visitor waits for: it grows by decision, not by accident.

import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

for (const name of ['electra_wasm_bg.wasm', 'electra_wasm_relaxed_bg.wasm']) {
  test(`${name} is no larger than it was decided`, () => {
    const { size } = statSync(join(import.meta.dirname, '../../dist/wasm', name))
    assert.ok(size < 12e6, `${size} bytes; see docs/benchmarks.md, "Download"`)
  })
}
