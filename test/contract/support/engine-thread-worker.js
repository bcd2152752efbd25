'use strict'
// The thread that engines run in during the contract tests: native code checks typed arrays by the real realm's
// constructors, which a test environment replaces. One message in, one message out.
const { setFlagsFromString } = require('node:v8')
const { runInNewContext } = require('node:vm')
const { parentPort } = require('node:worker_threads')
const { Strings } = require('@millrace/base')
const { engines, inspect } = require('@millrace/engine')

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc')

const warnings = []
process.on('warning', ({ message }) => warnings.push(message))

const models = []
const started = new Map()

const doors = {
  probe: ({ engine }) => named(engine).probe(),
  async load({ engine, file }) {
    if (!started.has(engine)) started.set(engine, await named(engine).create({ threads: 1, device: 'cpu' }))
    const model = await started.get(engine).load(file)
    models.push(model)
    return { model: models.length - 1, inputs: model.inputs, outputs: model.outputs }
  },
  create: ({ engine, options }) =>
    named(engine)
      .create(options)
      .then(() => null),
  // What comes back is copied by the message, so it is what the outputs were when this run ended.
  run: ({ model, inputs }) => models[model].run(revive(inputs)),
  async runMany({ model, inputs, times }) {
    let last
    const tensors = revive(inputs)
    for (let i = 0; i < times; i++) last = await models[model].run(tensors)
    return last
  },
  async runFailing({ model, inputs, times }) {
    const tensors = revive(inputs)
    let failed = 0
    for (let i = 0; i < times; i++) await models[model].run(tensors).catch(() => failed++)
    return failed
  },
  async resident() {
    await doors.memory()
    return process.memoryUsage.rss()
  },
  dispose: ({ model }) => models[model].dispose(),
  inspect: ({ file, engines }) => inspect(file, engines),
  tensors: () => require('@tensorflow/tfjs-core').memory().numTensors,
  // Native memory is given back by finalizers, which run in later turns of the event loop than the collection.
  async memory() {
    for (let turn = 0; turn < 4; turn++) {
      collectGarbage()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const { external, arrayBuffers } = process.memoryUsage()
    return { external, arrayBuffers }
  },
  warnings: () => warnings,
  listeners: () => process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection'),
}

/** Strings lose their class on the way through a message. */
function revive(tensors) {
  for (const tensor of Object.values(tensors)) {
    if (tensor.dtype !== 'string') continue
    const { spans, heap, length } = tensor.data
    tensor.data = new Strings(spans, Buffer.from(heap.buffer, heap.byteOffset, heap.length), length)
  }
  return tensors
}

function named(name) {
  return engines.find((kind) => kind.name === name)
}

parentPort.on('message', async ({ id, door, message }) => {
  try {
    parentPort.postMessage({ id, answer: await doors[door](message) })
  } catch (error) {
    parentPort.postMessage({ id, error: { name: error.name, message: error.message } })
  }
})
