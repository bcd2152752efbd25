import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { findModelFile } from './model-file'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-model-file-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function files(...names: string[]): void {
  for (const name of names) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), '')
  }
}

test.each([
  ['model.onnx', 'onnx', 'model.onnx'],
  ['fraud-2026.onnx', 'onnx', 'fraud-2026.onnx'],
  ['model.json', 'tfjs', 'model.json'],
  ['model/model.json', 'tfjs', 'model/model.json'],
  ['saved_model.pb', 'savedmodel', '.'],
  ['saved_model/saved_model.pb', 'savedmodel', 'saved_model'],
])('finds %s', (file, format, path) => {
  files(file, 'README.md', 'golden.json')
  expect(findModelFile(folder)).toEqual({ format, path: join(folder, path) })
})

test('model.onnx wins over other ONNX files', () => {
  files('model.onnx', 'old.onnx')
  expect(findModelFile(folder)).toEqual({ format: 'onnx', path: join(folder, 'model.onnx') })
})

test('finds nothing in a folder without a model, nor in none', () => {
  files('weights.bin', 'data/model.onnx')
  expect(findModelFile(folder)).toBeNull()
  expect(findModelFile(join(folder, 'absent'))).toBeNull()
})

test('a folder called like a model file is none', () => {
  files('model.onnx/inside.txt')
  expect(findModelFile(folder)).toBeNull()
})

test.each([
  [['a.onnx', 'b.onnx'], /2 models: a\.onnx, b\.onnx/],
  [['model.onnx', 'model/model.json'], /2 models: model\.onnx, model\/model\.json/],
  [['model.json', 'saved_model.pb'], /2 models: model\.json, saved_model\.pb/],
])('names the candidates %j', (names, message) => {
  files(...names)
  expect(() => findModelFile(folder)).toThrow(message)
})
