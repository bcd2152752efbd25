import { chooseEngine } from './engines'
import type { Availability, EngineKind, ModelFormat } from './engine'

const here: Availability = { available: true, version: '1' }
const absent: Availability = { available: false, reason: 'its library is absent', install: 'get it' }

function kind(name: string, formats: readonly ModelFormat[], found: Availability): EngineKind {
  return { name, formats, probe: () => found, create: () => Promise.reject(new Error('not in this test')) }
}

const fast = kind('fast', ['tfjs', 'savedmodel'], absent)
const plain = kind('plain', ['tfjs'], here)
const other = kind('other', ['onnx', 'tfjs'], here)
const list = [fast, plain, other]

test('takes the first available engine of the list that runs the format', () => {
  expect(chooseEngine(list, 'tfjs', [])).toBe(plain)
  expect(chooseEngine(list, 'onnx', [])).toBe(other)
})

test('takes the first available one in order of preference', () => {
  expect(chooseEngine(list, 'tfjs', ['other', 'plain'])).toBe(other)
  expect(chooseEngine(list, 'tfjs', ['fast', 'plain'])).toBe(plain)
})

test('takes no engine that is not preferred', () => {
  expect(() => chooseEngine(list, 'tfjs', ['fast'])).toThrow(/fast: its library is absent \(get it\)/)
})

test('names what is missing and how to get it', () => {
  expect(() => chooseEngine(list, 'savedmodel', [])).toThrow(
    'no engine here runs savedmodel models; fast: its library is absent (get it)',
  )
})

test('names the engine that would run the format when it is not allowed', () => {
  expect(() => chooseEngine(list, 'onnx', ['plain'])).toThrow(/onnx models run on other, but only plain is allowed/)
})

test('names the engines that there are when one does not exist', () => {
  expect(() => chooseEngine(list, 'onnx', ['othr'])).toThrow(/no engine `othr`; engines are fast, plain, other/)
})

test('takes an engine that computes on the device', () => {
  const gpu: EngineKind = { ...kind('gpu', ['onnx'], here), devices: ['cpu', 'cuda'] }
  expect(chooseEngine([plain, other, gpu], 'onnx', [], 'cuda:1')).toBe(gpu)
  expect(chooseEngine([plain, other, gpu], 'onnx', [], 'cpu:0-3')).toBe(other)
  expect(() => chooseEngine([plain, other, gpu], 'tfjs', [], 'cuda:1')).toThrow(
    'tfjs models run on plain (cpu) or other (cpu), not on cuda:1',
  )
})
