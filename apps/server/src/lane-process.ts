import { stat } from 'node:fs/promises'
import { inlineExports, Refusal } from '@millrace/base'
import { pinProcess } from '@millrace/pool'
import { Lane } from './lane'
import type { FromLane, Question, ToLane } from './lane-messages'
import { openLog, type Log } from './log'

/* The file that the supervisor forks for each lane. It lives as long as the channel to the supervisor. */

let lane: Lane | null = null
let log: Log
let ending = false

process.on('message', (message: ToLane) => {
  if (message.kind === 'start') void start(message)
  else if (message.kind === 'drain') void end()
  else answer(message.id, message.what, message.request)
})
// Without a supervisor nobody would stop it.
process.on('disconnect', () => void end())
// Ctrl-C reaches the whole process group: the supervisor says when to stop.
process.on('SIGINT', () => undefined)
// And so does the end of its terminal, and an operator's wish for a restart.
process.on('SIGHUP', () => undefined)
process.on('SIGTERM', () => void end())

async function start({ lane: index, config, rules, versions }: ToLane & { kind: 'start' }): Promise<void> {
  log = openLog(config.logLevel, { lane: index })
  inlineExports()
  try {
    await stayTogether(config.seating.lanes[index]!.cpus)
    lane = await Lane.start(config, index, rules, versions, log, (standing) => tell({ kind: 'stands', standing }))
    tell({ kind: 'ready', port: lane.port })
  } catch (error) {
    tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    process.exitCode = 1
    process.disconnect?.()
  }
}

/**
 * Pins what the process has: the threads of V8, and those of libuv, which start with the first call that needs them
 * and would have the CPUs of whoever made it.
 */
async function stayTogether(cpus: readonly number[]): Promise<void> {
  if (cpus.length === 0) return
  await stat(__filename)
  const { error } = pinProcess(cpus)
  if (error !== null) log.warn(`the lane is not pinned: ${error}`)
}

async function end(): Promise<void> {
  if (ending) return
  ending = true
  // While it drains it still says how it is.
  await lane?.drain()
  if (lane !== null) await told({ kind: 'drained', snapshot: lane.snapshot() })
  process.exit()
}

function answer(id: number, what: Question, request: unknown): void {
  try {
    if (lane === null) throw new Error('the lane is not serving')
    tell({ kind: 'answer', id, value: lane[what](request as never) })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    tell({ kind: 'no', id, code: error instanceof Refusal ? error.name : 'INTERNAL', message })
  }
}

function tell(message: FromLane): void {
  void told(message)
}

/** Resolves when it is with the supervisor. The channel may be gone: then nobody wants to know. */
function told(message: FromLane): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send!(message, undefined, {}, () => resolve())
    else resolve()
  })
}
