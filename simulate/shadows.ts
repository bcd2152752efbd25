import { Arena, type Signature } from '@millrace/base'
import { Header } from '@millrace/batch'
import type { Ended } from '@millrace/pool'
import { objectiveHash, parseRules } from '@millrace/rules'
import { readConfig } from '@millrace/server'
import { anybody, Road, roadPool, Versions, type Caller, type RoadPool } from '@millrace/server/in-process'
import { encodeRequest } from '@millrace/wire'
import type { RunTask } from '@millrace/worker'
import { Chance } from './chance'
import { SimulatedClock } from './clock'

/** What a batch takes on a thread before its first row, and for each row; microseconds. */
export interface Device {
  readonly runUs: number
  readonly rowUs: number
  readonly rowsMax: number
}

/**
 * One that costs by the row, and one as a GPU is: a batch is dear, its rows are not. At half of what it can do that one is
 * never idle, which copies wait for.
 */
export const devices: readonly (Device & { readonly threads: readonly number[]; readonly seconds: number })[] = [
  { runUs: 60, rowUs: 125, rowsMax: 16, threads: [1, 2, 4, 8], seconds: 30 },
  { runUs: 2000, rowUs: 50, rowsMax: 64, threads: [1, 2], seconds: 10 },
]

/** Until a batch reaches its thread, or comes back; microseconds. */
const wakeUs = 20
/** Batches that a thread holds. */
const inFlight = 2

const signature: Signature = {
  inputs: [{ name: 'x', dtype: 'f32', per: 'row', shape: [1], ragged: false }],
  outputs: [{ name: 'y', dtype: 'f32', per: 'row', shape: [], ragged: false }],
}

/** How long requests took, microseconds, and which part of them had a copy that ran. */
export interface Answered {
  readonly p50: number
  readonly p99: number
  readonly copied: number
}

interface Thread {
  busy: number
  open: boolean
  /** When what it has is done. */
  endUs: number
}

/** Threads that take as long as they are meant to; outputs are what slabs come with. */
class SimulatedPool {
  readonly ready: number
  readonly serving: number
  copies = 0
  private readonly all: readonly Thread[]

  constructor(
    threads: number,
    private readonly device: Device,
    private readonly clock: SimulatedClock,
    private readonly words: Uint32Array,
  ) {
    this.ready = this.serving = threads
    this.all = Array.from({ length: threads }, () => ({ busy: 0, open: true, endUs: 0 }))
  }

  get free(): number {
    return this.all.reduce((sum, { open, busy }) => sum + (open ? inFlight - busy : 0), 0)
  }

  get open(): { readonly idle: number } {
    return { idle: this.all.filter(({ open, busy }) => open && busy === 0).length }
  }

  /** There is one version, which has at most one batch that is not at a thread. */
  hasRoom(): boolean {
    return false
  }

  run(task: RunTask, _: number, ended: Ended): void {
    const [least] = this.all.filter(({ open }) => open).sort((a, b) => a.busy - b.busy)
    this.take(least!, task, () => ended(null))
  }

  runAlone(task: RunTask, _: number, ended: Ended): void {
    const idle = this.all.find(({ open, busy }) => open && busy === 0)!
    idle.open = false
    this.copies += this.words[(task.offset >>> 2) + Header.rows]!
    this.take(idle, task, () => {
      idle.open = true
      ended(null)
    })
  }

  private take(thread: Thread, { offset }: RunTask, done: () => void): void {
    const { clock, words } = this
    const { runUs, rowUs } = this.device
    const header = offset >>> 2
    const took = runUs + rowUs * words[header + Header.rows]!
    thread.busy++
    thread.endUs = Math.max(clock.nowUs() + wakeUs, thread.endUs) + took
    clock.at(thread.endUs + wakeUs, () => {
      thread.busy--
      words[header + Header.refused] = 0
      words[header + Header.runUs] = took
      done()
    })
  }
}

/**
 * A lane's road at half of what its threads can do, requests of one row by chance, for some seconds; with a shadow all are
 * copied to a version that takes as long.
 */
export function answered(device: Device, threads: number, shadow: boolean, seed: number, seconds: number): Answered {
  const { runUs, rowUs, rowsMax } = device
  const chance = new Chance(seed)
  const clock = new SimulatedClock(chance, 0)
  const arena = new Arena(64 * 2 ** 20, 4096)
  const config = readConfig({ MILLRACE_DECISION_KEY: 'k'.repeat(44) }, { repository: 'none' })
  const pool = new SimulatedPool(threads, device, clock, new Uint32Array(arena.memory))
  const pools = [roadPool(pool as unknown as RoadPool['pool'])]
  const versions = new Versions(arena, config, pools)
  for (const version of [1, 2]) {
    const folder = { name: 'm', version, path: '', workflowFile: null }
    const description = { name: 'm', version, state: 'ready', reason: null, signature, batchRowsMax: rowsMax } as const
    const rest = { batchWaitUs: 0, models: [], facts: [], golden: null, warmed: false, loadMs: 0 }
    const lanes = versions.add({ index: version - 1, folder, remark: null, doomed: null })
    versions.settle(lanes, [{ ...description, ...rest }])
  }
  const twin = { id: 'twin', objectives: ['m'], workflow: 'm@2', percent: 100 }
  const rules = parseRules({ objectives: { m: { default: 'm@1' } }, ...(shadow && { shadows: [twin] }) })
  const road = new Road({ config, arena, versions, routed: versions.compile(rules, 1), clock, pools })
  const sentUs: number[] = []
  const took: number[] = []
  const caller: Caller = {
    party: { who: anybody, inFlight: 0, arenaBytes: 0 },
    closed: false,
    lastRun: -1,
    cork: (send) => send(),
    reply: (_, item) => void took.push(clock.nowUs() - sentUs[item]!),
  }
  const { lo, hi } = objectiveHash('m')
  const inputs = [{ name: 'x', dtype: 'f32', shape: [1, 1], data: new Uint8Array(4) }] as const
  const message = encodeRequest({ id: 1n, objectiveHash: (BigInt(hi) << 32n) | BigInt(lo), inputs })
  const perUs = (threads * rowsMax) / (runUs + rowUs * rowsMax) / 2
  const come = (): void => {
    clock.at(clock.nowUs() - Math.log(1 - chance.next()) / perUs, () => {
      road.serve(caller, sentUs.push(clock.nowUs()) - 1, message.buffer, message.byteOffset, message.length, false)
      come()
    })
  }
  come()
  while (clock.nowUs() < 1e6 * seconds) clock.turn()
  road.close()
  took.sort((a, b) => a - b)
  const at = (part: number): number => Math.round(took[Math.floor(part * took.length)]!)
  return { p50: at(0.5), p99: at(0.99), copied: pool.copies / took.length }
}
