import { workerData } from 'node:worker_threads'
import { createHandler, type Handler } from './handler'
import type { WorkerData } from './protocol'

export type { DescribeTask, Loaded, RunTask, Task, ThreadDescription, WorkerData } from './protocol'
import { startThread } from './thread'

/*
 * The file that Piscina starts in each thread. Its default export is a promise: the thread is ready when every
 * version is loaded. Piscina swallows a rejection here, so one is thrown where the thread dies of it.
 */
const handler: Promise<Handler> = startThread(workerData as WorkerData).then(createHandler, (error: unknown) => {
  setImmediate(() => {
    throw error
  })
  return new Promise(() => undefined)
})

export default handler
