import { assert, nowUs } from '@millrace/base'
import { Header, leaveOutDead, openSlab, type FittingRows } from '@millrace/batch'
import { openDoor } from '@millrace/pool'
import { runBatch } from '@millrace/workflow'
import type { Answer, RunTask, Task } from './protocol'
import { SlabSink } from './slab-sink'
import { layoutOf, type Thread } from './thread'
import { Turns } from './turns'

export type Handler = (task: Task) => Promise<Answer>

/**
 * What Piscina calls for each message, and the door for each batch. A `run` resolves when the slab is written: outputs, or
 * codes and messages. It rejects only for a bug of ours and when the device is lost; a failing workflow is an answer.
 */
export function createHandler(thread: Thread): Handler {
  const turns = new Turns()
  const handle: Handler = (task) => {
    switch (task.kind) {
      case 'door':
        openDoor(task, (batch) => handle(batch as RunTask))
        return Promise.resolve(undefined)
      case 'run':
        return turns.take(() => runWatched(thread, task))
      case 'describe':
        return Promise.resolve(thread.description)
      case 'load':
        return thread.load(task, (work) => turns.take(work))
      case 'unload':
        return turns.take(() => Promise.resolve(void thread.unload(task.version)))
    }
  }
  return handle
}

/** A batch that takes too long ends its thread, or loses it: the pool sees to that. */
async function runWatched(thread: Thread, task: RunTask): Promise<undefined> {
  thread.work.turn()
  try {
    return await runSlab(thread, task)
  } finally {
    thread.work.turn()
  }
}

/** One batch: opens its slab, runs the workflow over it, writes the header. */
async function runSlab(thread: Thread, task: RunTask): Promise<undefined> {
  const begunUs = nowUs()
  const version = thread.version(task.version)
  assert(version !== undefined, `batch for version ${task.version}, which is not loaded`)
  const layout = layoutOf(version, task.rowsMax)
  leaveOutDead(thread.memory, layout, task.offset, begunUs)
  const slab = openSlab(thread.memory, layout, task.offset, task.blockBytes)
  const { header } = slab
  header[Header.refused] = 0
  if (slab.requests === 0) return undefined
  const sink = new SlabSink(slab, version.loaded.label, version.loaded.folder.path, thread.log)
  const { fitting } = version.loaded
  const failures = fitting.failures
  try {
    await runBatch(version.loaded, slab, sink)
  } catch (error) {
    // Without its device the thread is of no use; whoever replaces it finds out whether the device came back.
    setImmediate(() => {
      throw error
    })
    throw error
  }
  if (fitting.failures === failures) fitting.fitted(slab.rows)
  header[Header.heapUsed] = slab.cursor.used
  header[Header.factsUs] = sink.factsUs
  header[Header.scoreUs] = sink.scoreUs
  header[Header.rowsFit] = rowsFit(fitting)
  header[Header.tooLarge] = fitting.failures - failures
  header[Header.runUs] = nowUs() - begunUs
  return undefined
}

/** 0 where memory bounds nothing, which costs no look at the clock. */
function rowsFit(fitting: FittingRows): number {
  const rows = fitting.limit === Infinity ? Infinity : fitting.at(nowUs())
  return rows === Infinity ? 0 : rows
}
