'use strict'
/*
 * What libs/pool is tested with: a thread that does as each message says, whether it is asked or a batch. `flags` are u32
 * words in shared memory by which the test and the threads tell each other how far they are, so that no test depends on time.
 */
const { threadId, workerData } = require('node:worker_threads')
const { openDoor, pinThread } = require('@millrace/pool')

if (workerData.failsToStart) throw new Error('the model file is not there')
const pinned = pinThread(workerData.cpus ?? [])

module.exports = async (message) => (message.kind === 'door' ? openDoor(message, act) : act(message))

async function act({ task, value, flags, arrived, release }) {
  switch (task) {
    case 'echo':
      return value
    case 'where':
      return { threadId, pid: process.pid, pinned }
    case 'throw':
      throw new RangeError(value)
    // Says that it is there, then waits, with the event loop free, until it is let go.
    case 'hold':
      flags[release + 1 + Atomics.add(flags, arrived, 1)] = threadId
      while (Atomics.load(flags, release) === 0) await new Promise((resolve) => setImmediate(resolve))
      return
    // Nobody catches this one.
    case 'throw outside':
      setImmediate(() => {
        throw new Error(value)
      })
      return new Promise(() => undefined)
    case 'exit':
      return process.exit(value)
    // When what it did is told.
    case 'exit after':
      setImmediate(() => process.exit(value))
  }
}
