'use strict'
// A thread on CPUs of its own that runs a model over and over when it is told to.
const { parentPort, workerData } = require('node:worker_threads')
const { engines } = require('@millrace/engine')
const { pinThread } = require('@millrace/pool')

const { engine, file, cpus, inputs } = workerData
const { tid } = pinThread(cpus)

async function main() {
  const kind = engines.find(({ name }) => name === engine)
  const model = await (await kind.create({ threads: 1, device: 'cpu' })).load(file)
  const run = async (times) => {
    let answer
    for (let i = 0; i < times; i++) answer = await model.run(inputs)
    parentPort.postMessage({ tid, scores: answer.score.data })
  }
  parentPort.on('message', (message) => {
    if (message !== 'dispose') return run(message)
    model.dispose()
    process.exit()
  })
  await run(1)
}
void main()
