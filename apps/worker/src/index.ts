import { workerData } from 'node:worker_threads'
import { createHandler, type Handler } from './handler'
import type { WorkerData } from './protocol'
import { Thread } from './thread'

export type {
  Answer,
  DescribeTask,
  LoadTask,
  RunTask,
  Task,
  ThreadDescription,
  UnloadTask,
  WorkerData,
} from './protocol'

/*
 * The file that Piscina starts in each thread. Its default export is a promise: Piscina swallows what is thrown while
 * the file runs, so it is thrown where the thread dies of it.
 */
const handler: Promise<Handler> = new Promise((resolve) => {
  try {
    resolve(createHandler(Thread.start(workerData as WorkerData)))
  } catch (error) {
    setImmediate(() => {
      throw error
    })
  }
})

export default handler
