import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  enginesFolder,
  findTensorflow,
  tensorflowFolder,
  tensorflowLayout,
  tensorflowPins,
  type TensorflowReceipt,
} from './tensorflow-home'

let folder: string
let env: NodeJS.ProcessEnv

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-home-'))
  env = { MILLRACE_ENGINES_FOLDER: folder }
})
afterEach(() => rmSync(folder, { recursive: true }))

const whole: TensorflowReceipt = {
  ...tensorflowPins,
  gpu: false,
  platform: process.platform,
  arch: process.arch,
  files: [{ path: tensorflowLayout.binding, bytes: 7, sha256: 'not read here' }],
}

function put(path: string, text: string): void {
  const file = join(tensorflowFolder(env), path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

function putAll(receipt: TensorflowReceipt): void {
  put(tensorflowLayout.binding, 'binding')
  put(tensorflowLayout.tfjsNode, '{}')
  put(tensorflowLayout.receipt, JSON.stringify(receipt))
}

test('the folder is what the environment says, else where data of programs lives', () => {
  expect(enginesFolder({ MILLRACE_ENGINES_FOLDER: '/a', XDG_DATA_HOME: '/b' })).toBe('/a')
  expect(enginesFolder({ XDG_DATA_HOME: '/b' })).toBe('/b/millrace/engines')
  expect(enginesFolder({})).toBe(join(homedir(), '.local/share/millrace/engines'))
  expect(enginesFolder({ MILLRACE_ENGINES_FOLDER: '', XDG_DATA_HOME: '' })).toBe(enginesFolder({}))
})

test('an install is found where its receipt is', () => {
  putAll(whole)
  expect(findTensorflow(env)).toEqual({
    folder: join(folder, 'tensorflow'),
    version: tensorflowPins.tensorflow,
    gpu: false,
    binding: join(folder, 'tensorflow', tensorflowLayout.binding),
    packages: join(folder, 'tensorflow'),
  })
})

test('nothing, a half-done install and a receipt cut short are no install', () => {
  const none = { reason: expect.stringContaining('is not installed'), install: 'millrace engines install tensorflow' }
  expect(findTensorflow(env)).toEqual(none)
  put(tensorflowLayout.binding, 'binding')
  expect(findTensorflow(env)).toEqual(none)
  put(tensorflowLayout.receipt, JSON.stringify(whole).slice(0, 40))
  expect(findTensorflow(env)).toEqual(none)
})

test.each<[string, Partial<TensorflowReceipt>, RegExp]>([
  ['another TensorFlow', { tensorflow: '2.9.1' }, /has TensorFlow 2\.9\.1 .* this release runs/],
  ['another tfjs-node', { tfjsNode: '3.0.0' }, /for tfjs-node 3\.0\.0/],
  ['another machine', { arch: 'riscv' }, /was installed for \w+\/riscv/],
])('%s is no install', (_, other, reason) => {
  putAll({ ...whole, ...other })
  expect(findTensorflow(env)).toMatchObject({ reason: expect.stringMatching(reason) })
})

test('a file that was cut short or removed is named', () => {
  putAll(whole)
  put(tensorflowLayout.binding, 'bind')
  expect(findTensorflow(env)).toMatchObject({ reason: expect.stringContaining('tfjs_binding.node is not as it was') })
  putAll(whole)
  rmSync(join(folder, 'tensorflow', tensorflowLayout.tfjsNode))
  expect(findTensorflow(env)).toMatchObject({ reason: expect.stringContaining('package.json is gone') })
})
