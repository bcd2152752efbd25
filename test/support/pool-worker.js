'use strict'
/*
 * What libs/pool is tested with: a thread that does as each message says. `flags` are u32 words in shared memory by
 * which the test and the threads tell each other how far they are, so that no test depends on time.
 */
const { threadId, workerData } = require('node:worker_threads')
const { pinThread } = require('@millrace/pool')

if (workerData.failsToStart) throw new Error('the model file is not there')
const pinned = pinThread(workerData.cpus ?? [])

module.exports = async ({ task, value, flags, arrived, release }) => {
  switch (task) {
    case 'echo':
      return value
    case 'where':
      return { threadId, pid: process.pid, pinned }
    case 'throw':
      throw new RangeError(value)
    // Says that it is there, then waits, with the event loop free, until it is let go.
    case 'hold':
      Atomics.add(flags, arrived, 1)
      Atomics.notify(flags, arrived)
      while (Atomics.load(flags, release) === 0) await new Promise((resolve) => setImmediate(resolve))
      return threadId
    // Nobody catches this one.
    case 'throw outside':
      setImmediate(() => {
        throw new Error(value)
      })
      return new Promise(() => undefined)
    case 'exit':
      process.exit(value)
  }
}
