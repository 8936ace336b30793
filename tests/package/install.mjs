// The built package in a project of its own, installed from its .tgz as a user would.

import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
export const PACKAGE = join(ROOT, 'dist-npm/electra')
const FIXTURE = import.meta.dirname
export const MODELS = join(ROOT, 'public/models')

/** A new folder with the package in its node_modules, and the files of this folder that are named. */
export function newProject(...files) {
  const folder = mkdtempSync(join(tmpdir(), 'electra-package-'))
  const packed = readdirSync(join(ROOT, 'dist-npm')).filter(name => name.endsWith('.tgz')).map(name => join(ROOT, 'dist-npm', name))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'somebody', private: true, type: 'module' }))
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--silent', ...packed], { cwd: folder })
  for (const file of files) cpSync(join(FIXTURE, file), join(folder, file))
  return folder
}
