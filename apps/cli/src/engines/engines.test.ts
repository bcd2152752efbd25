import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findTensorflow } from '@millrace/engine'
import { describeWith } from '../../../../test/support/extras'
import type { EngineRow } from './list-engines'

const bin = join(__dirname, '../../bin/millrace.js')

function engines(args: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'engines', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  return { status, stdout, stderr }
}

const nowhere = { MILLRACE_ENGINES_FOLDER: '/nowhere/engines' }

it('lists every engine: what it runs, where, or how it is installed', () => {
  const { status, stdout } = engines(['--json'], nowhere)
  expect(status).toBe(0)
  const [onnxruntime, tensorflow, tfjs] = JSON.parse(stdout) as EngineRow[]
  expect(onnxruntime).toMatchObject({ name: 'onnxruntime', formats: ['onnx'], install: null })
  expect(onnxruntime!.devices[0]).toEqual({ device: 'cpu', works: true, reason: '' })
  // Listed by the library, and either tried with success or not here for a reason.
  for (const { works, reason } of onnxruntime!.devices) expect(works).toBe(reason === '')
  expect(tensorflow).toMatchObject({
    ...{ name: 'tensorflow', formats: ['tfjs', 'savedmodel'], version: null, devices: [] },
    note: expect.stringContaining('/nowhere/engines/tensorflow'),
    install: 'millrace engines install tensorflow',
  })
  expect(tfjs).toMatchObject({ name: 'tfjs', version: '4.22.0', devices: [{ device: 'cpu', works: true }] })
})

it('is readable', () => {
  const { stdout } = engines([], nowhere)
  expect(stdout).toMatch(/^onnxruntime +1\.\d+\.\d+\n {2}runs +onnx\n {2}devices +cpu/)
  expect(stdout).toMatch(/tensorflow +not here\n[^]* {2}install +millrace engines install tensorflow\n/)
})

it.each([
  [['install', 'frob'], /there is no engine frob; what is installed apart is tensorflow/],
  [['install', 'tfjs'], /tfjs comes with npm ci; what is installed apart is tensorflow/],
  [['uninstall', 'frob'], /there is no engine frob/],
  [['install'], /missing required argument 'engine'/],
])('%j is wrong usage', (args, message) => {
  const { status, stderr } = engines(args)
  expect(stderr).toMatch(message)
  expect(status).toBe(2)
})

it('removes what is not there without a fuss', () => {
  const { status, stdout } = engines(['uninstall', 'tensorflow'], nowhere)
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'tensorflow was not installed\n' })
})

describeWith('tensorflow')('native TensorFlow', () => {
  it('is listed with the devices it computes on', () => {
    const rows = JSON.parse(engines(['--json']).stdout) as EngineRow[]
    const tensorflow = rows.find(({ name }) => name === 'tensorflow')!
    expect(tensorflow).toMatchObject({ version: '2.21.0', install: null })
    expect(tensorflow.devices[0]).toEqual({ device: 'cpu', works: true, reason: '' })
  })

  it('does not take the CPU for a GPU', () => {
    const real = findTensorflow(process.env)
    if ('reason' in real) throw new Error(real.reason)
    const folder = mkdtempSync(join(tmpdir(), 'millrace-gpu-'))
    try {
      // An install with CUDA, as far as its receipt says, on a machine where TensorFlow finds no GPU.
      const receipt = JSON.parse(readFileSync(join(real.folder, 'receipt.json'), 'utf8')) as object
      mkdirSync(join(folder, 'tensorflow'))
      for (const part of ['lib', 'node_modules']) symlinkSync(join(real.folder, part), join(folder, 'tensorflow', part))
      writeFileSync(join(folder, 'tensorflow/receipt.json'), JSON.stringify({ ...receipt, gpu: true }))
      const env = { MILLRACE_ENGINES_FOLDER: folder, CUDA_VISIBLE_DEVICES: '-1' }
      const rows = JSON.parse(engines(['--json'], env).stdout) as EngineRow[]
      expect(rows.find(({ name }) => name === 'tensorflow')).toMatchObject({
        note: expect.stringContaining('with CUDA'),
        devices: [
          { device: 'cpu', works: true },
          { device: 'cuda', works: false, reason: expect.stringContaining('TensorFlow finds no GPU for cuda:0') },
        ],
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
