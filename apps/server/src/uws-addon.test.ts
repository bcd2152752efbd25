import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checkAddon } from './uws-addon'

const installed = dirname(require.resolve('uWebSockets.js'))
const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'addon-'))
  copyFileSync(join(installed, name), join(folder, name))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** One bit of the copy. */
function change(): string {
  const bytes = readFileSync(join(folder, name))
  bytes[bytes.length >>> 1]! ^= 1
  writeFileSync(join(folder, name), bytes)
  return createHash('sha256').update(bytes).digest('hex')
}

test('the addon that is installed is the one that was tested', () => {
  checkAddon(installed, '')
  checkAddon(folder, '')
})

test('one with a changed bit is refused, and taken when its operator names it', () => {
  const digest = change()
  expect(() => checkAddon(folder, '')).toThrow(
    `${name} is not the file that this release was tested with: its sha256 is ${digest}; install it again (npm ci)`,
  )
  checkAddon(folder, digest)
  checkAddon(folder, digest.toUpperCase())
})

test('where an operator names one, no other is taken', () => {
  expect(() => checkAddon(folder, 'a'.repeat(64))).toThrow(`${name} is not the file that MILLRACE_UWS_SHA256 names`)
})

test('one that is not there is refused', () => {
  rmSync(join(folder, name))
  expect(() => checkAddon(folder, '')).toThrow('ENOENT')
})
