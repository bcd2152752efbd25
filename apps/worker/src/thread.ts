import { threadId } from 'node:worker_threads'
import { layoutSlab, type Layout } from '@millrace/batch'
import { openWhenReady, type FactStore } from '@millrace/facts'
import { pinThread, takeSeat, type Pinned, type Seats } from '@millrace/pool'
import {
  emptyDescription,
  Engines,
  loadVersion,
  messageOf,
  readRepository,
  type LoadedVersion,
  type LoadResult,
} from '@millrace/workflow'
import { FailureLog } from './failure-log'
import { takes } from './takes'
import { Loaded, type ThreadDescription, type WorkerData } from './protocol'

/** Everything one thread owns. */
export interface Thread {
  readonly memory: SharedArrayBuffer
  readonly description: ThreadDescription
  readonly log: FailureLog
  /** By version index; null where the version failed to load. */
  readonly versions: readonly (ThreadVersion | null)[]
}

export interface ThreadVersion {
  readonly loaded: LoadedVersion
  /** By rowsMax; the server uses one or two. */
  readonly layouts: Map<number, Layout>
}

/**
 * Pins this thread, opens its facts and loads every version of the repository, in the order that all threads agree
 * on. A version that fails says so in its description; the others serve.
 */
export async function startThread(data: WorkerData): Promise<Thread> {
  // Before any engine: the threads that an engine starts inherit the CPUs.
  const pinned = sitDown(data.seats)
  const repository = readRepository(data.repository)
  const engines = new Engines(
    {
      threads: data.engineThreads,
      device: data.device,
      ...(data.memoryBytes !== null && { memoryBytes: data.memoryBytes }),
    },
    data.engines,
  )
  const facts = await openStore(data.facts || repository.facts, data.factsTimeoutMs)
  const loads: LoadResult[] = []
  for (const folder of repository.versions)
    loads.push(
      takes(data.workflows, folder)
        ? await loadVersion(folder, { engines, ...facts })
        : { version: null, description: emptyDescription(folder, 'found', leftOut) },
    )
  const log = new FailureLog((line) => process.stderr.write(line))
  tellFailed(data.loaded, loads, log)
  return {
    memory: data.memory,
    description: {
      versions: loads.map((load) => load.description),
      tid: pinned.tid,
      cpus: pinned.cpus,
      pinning: pinned.error,
    },
    log,
    versions: loads.map(({ version }) => (version === null ? null : { loaded: version, layouts: new Map() })),
  }
}

function sitDown(seats: Seats): Pinned {
  const { tid } = pinThread([])
  return pinThread(takeSeat(seats, threadId, tid))
}

const leftOut = 'the pool does not take it (MILLRACE_POOL_<NAME>_WORKFLOWS)'

/** For whoever serves what the thread before this one could do; the reason why this one cannot goes to the log. */
function tellFailed(memory: SharedArrayBuffer, loads: readonly LoadResult[], log: FailureLog): void {
  const failed = new Uint8Array(memory)
  loads.forEach(({ description: { name, version, state, reason } }, v) => {
    if (state === 'failed' && failed[v] === Loaded.ready) log.write(`${name}@${version}`, 'loading', reason)
    failed[v] = state === 'failed' ? Loaded.failed : Loaded.ready
  })
}

/** How long a thread that starts waits for a store that is not there. */
const storeWaitMs = 5000

/** A store that does not open fails the versions that read facts, not the thread. */
async function openStore(
  location: string | null,
  timeoutMs: number,
): Promise<{ readonly store: FactStore | null; readonly storeReason?: string }> {
  if (location === null) return { store: null }
  try {
    return { store: await openWhenReady(location, { readOnly: true, timeoutMs }, storeWaitMs) }
  } catch (error) {
    return { store: null, storeReason: messageOf(error) }
  }
}

export function layoutOf(version: ThreadVersion, rowsMax: number): Layout {
  let layout = version.layouts.get(rowsMax)
  if (layout === undefined) {
    layout = layoutSlab(version.loaded.signature, rowsMax)
    version.layouts.set(rowsMax, layout)
  }
  return layout
}
