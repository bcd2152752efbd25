import { capacityBound, type LaneModel, type QueueModel, type RequestClass } from './lane-model'
import { PlanError, type MachineType, type MixEntry, type PlanQuestion } from './plan-file'
import type { EngineCurve, Profile, ProfiledObjective } from './profile'
import { measuredService } from './service'

/** How a machine is cut: lanes, and the pool threads of each. */
export interface Layout {
  readonly lanes: number
  /** Pool threads of a lane. */
  readonly threads: number
  /** CPUs that the engine of one thread uses. */
  readonly engineThreads: number
  readonly gpu: boolean
}

/** A batch in flight for each thread besides the one that it runs: MILLRACE_POOL_<NAME>_IN_FLIGHT. */
export const inFlight = 2
/** MILLRACE_QUEUE_ROWS_MAX. */
const queueRowsMax = 65_536
/** Layouts that are simulated, of those that the utilisation law likes best. */
const layoutsMax = 3

/** What `question` asks of a machine, with the costs of `profile`: an entry of the mix and what it runs on. */
interface Resolved {
  readonly entry: MixEntry
  readonly objective: ProfiledObjective
  readonly rows: number
  readonly curve: EngineCurve
}

/** The layouts worth looking at, best first. */
export function layoutsOf(question: PlanQuestion, profile: Profile, machine: MachineType): Layout[] {
  const gpu = machine.gpus > 0
  const engineThreads = Math.max(...resolve(question, profile, machine).map(({ curve }) => curve.threads))
  const layouts: Layout[] = []
  if (gpu) layouts.push({ lanes: machine.gpus, threads: 1, engineThreads: 1, gpu })
  else if (machine.cores === 1) layouts.push({ lanes: 1, threads: 1, engineThreads, gpu })
  else
    for (let threads = 1; 1 + threads * engineThreads <= machine.cores; threads++)
      layouts.push({ lanes: Math.floor(machine.cores / (1 + threads * engineThreads)), threads, engineThreads, gpu })
  if (layouts.length === 0)
    throw new PlanError('the plan has no answer', [
      `machines: ${machine.name} has ${machine.cores} cores; engines that use ${engineThreads} and a front thread need ${engineThreads + 1}`,
    ])
  const rate = (layout: Layout): number => layout.lanes * capacityBound(laneOf(question, profile, machine, layout))
  return layouts
    .map((layout) => ({ layout, rate: rate(layout) }))
    .sort((a, b) => b.rate - a.rate)
    .slice(0, layoutsMax)
    .map(({ layout }) => layout)
}

/** One of the lanes, with its part of the machine. */
export function laneOf(question: PlanQuestion, profile: Profile, machine: MachineType, layout: Layout): LaneModel {
  const { speed } = machine
  const resolved = resolve(question, profile, machine)
  const shares = resolved.reduce((sum, { entry }) => sum + entry.share, 0)
  const queues: QueueModel[] = []
  const queueOf = new Map<EngineCurve, number>()
  const classes = resolved.map(({ entry, objective, rows, curve }): RequestClass => {
    let queue = queueOf.get(curve)
    if (queue === undefined) {
      queueOf.set(curve, (queue = queues.length))
      const rowsMax = objective.batch_rows_max
      // A GPU is as fast as it was, whatever the CPU beside it.
      queues.push({ rowsMax, service: measuredService(curve.service, rowsMax, layout.gpu ? 1 : speed) })
    }
    const { request_us, row_us } = objective.front[entry.transport]!
    const readUs = profile.front.read_us[entry.transport] ?? 0
    // A connection over HTTP has one request at a time: each is a read.
    const shared = entry.transport === 'websocket'
    return {
      share: entry.share / shares,
      ...{ queue, rows },
      requestUs: (request_us + rows * row_us + (shared ? 0 : readUs)) / speed,
      readUs: shared ? readUs / speed : 0,
    }
  })
  return {
    cores: layout.gpu ? 1 + layout.threads : machine.cores / layout.lanes,
    ...{ threads: layout.threads, inFlight, queueRowsMax, queues, classes },
    connections: question.connections,
    batchUs: profile.front.batch_us / speed,
    workerBatchUs: profile.worker.batch_us / speed,
    wakeUs: profile.wake_us,
  }
}

/** Checks what the plan names against the profile. */
function resolve({ mix }: PlanQuestion, profile: Profile, machine: MachineType): Resolved[] {
  const problems: string[] = []
  const resolved = mix.flatMap((entry, i): Resolved[] => {
    const at = `mix[${i}]`
    const objective = profile.objectives[entry.objective]
    if (objective === undefined) {
      const names = Object.keys(profile.objectives).join(', ')
      problems.push(`${at}.objective: ${entry.objective} was not measured; the profile has ${names}`)
      return []
    }
    if (objective.front[entry.transport] === undefined) {
      const has = Object.keys(objective.front).join(', ')
      problems.push(
        `${at}.transport: ${entry.transport} was not measured for ${entry.objective}; the profile has ${has}`,
      )
      return []
    }
    const gpu = machine.gpus > 0
    const curves = Object.entries(objective.engines).filter(
      ([, { device }]) => (device.split(':')[0] !== 'cpu') === gpu,
    )
    const candidates = entry.engine === undefined ? curves : curves.filter(([engine]) => engine === entry.engine)
    if (candidates.length === 0) {
      const has = Object.entries(objective.engines).map(([engine, { device }]) => `${engine} on ${device}`)
      const wanted = entry.engine ?? 'an engine'
      problems.push(
        `${at}.engine: ${wanted} on ${gpu ? 'a GPU' : 'CPUs'}, which ${machine.name} has, was not measured for ` +
          `${entry.objective}; the profile has ${has.join(', ')}`,
      )
      return []
    }
    const perRow = ({ service, threads }: EngineCurve): number =>
      Math.min(...service.map(({ rows, mean_us }) => mean_us / rows)) * threads
    const [, curve] = candidates.reduce((best, one) => (perRow(one[1]) < perRow(best[1]) ? one : best))
    return [{ entry, objective, rows: entry.rows ?? objective.rows, curve }]
  })
  if (problems.length > 0) throw new PlanError('the profile does not answer the plan', problems)
  return resolved
}
