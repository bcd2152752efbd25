'use strict'
// A process that opens devices, with the environment that its driver needs from the start. One message in, one out.
const { engines } = require('@millrace/engine')

const started = new Map()
const models = []

const doors = {
  create: ({ engine, device, memoryBytes }) =>
    named(engine)
      .create({ threads: 1, device, memoryBytes })
      .then(() => null),
  async load({ engine, device, file }) {
    const key = `${engine} ${device}`
    if (!started.has(key)) started.set(key, await named(engine).create({ threads: 1, device }))
    return models.push(await started.get(key).load(file)) - 1
  },
  run: ({ model, inputs }) => models[model].run(inputs),
}

function named(name) {
  return engines.find((kind) => kind.name === name)
}

process.on('message', async ({ id, door, message }) => {
  try {
    process.send({ id, answer: await doors[door](message) })
  } catch (error) {
    process.send({ id, error: { name: error.name, message: error.message } })
  }
})
