import { threadId } from 'node:worker_threads'
import { inlineExports } from '@millrace/base'
import { layoutSlab, type Layout } from '@millrace/batch'
import { openWhenReady, type FactStore } from '@millrace/facts'
import { pinThread, takeSeat, ThreadWork, type Pinned, type Seats } from '@millrace/pool'
import {
  Engines,
  loadStates,
  loadVersion,
  messageOf,
  readRepository,
  type LoadedVersion,
  type Step,
  type VersionDescription,
} from '@millrace/workflow'
import { FailureLog, writeStderr } from './failure-log'
import type { LoadTask, ThreadDescription, WorkerData } from './protocol'

export interface ThreadVersion {
  readonly loaded: LoadedVersion
  /** By rowsMax; the server uses one or two. */
  readonly layouts: Map<number, Layout>
}

/** Everything one thread owns. */
export class Thread {
  readonly log = new FailureLog(writeStderr)
  private readonly versions = new Map<number, ThreadVersion>()
  private readonly engines: Engines
  private facts: Promise<Facts> | null = null
  /** How long a store that is not there is waited for: once, when the thread starts. */
  private storeWaitMs = 5000

  private constructor(
    private readonly data: WorkerData,
    readonly description: ThreadDescription,
    /** What this thread is doing, for the pool. */
    readonly work: ThreadWork,
  ) {
    const { engineThreads: threads, device, memoryBytes, engines } = data
    this.engines = new Engines(
      { threads, device, ...(memoryBytes !== null && { memoryBytes }) },
      engines,
      this.work.native,
    )
  }

  /** Pins this thread. Before any engine: the threads that an engine starts inherit the CPUs. */
  static start(data: WorkerData): Thread {
    const { tid, cpus, error: pinning } = sitDown(data.seats)
    return new Thread(data, { tid, cpus, pinning }, ThreadWork.of(data.seats, threadId))
  }

  get memory(): SharedArrayBuffer {
    return this.data.memory
  }

  /** Undefined where it is not loaded. */
  version(version: number): ThreadVersion | undefined {
    return this.versions.get(version)
  }

  /** Never rejects: what is wrong with a version is its description's `reason`. */
  async load({ version, folder, entered }: LoadTask, step: Step): Promise<VersionDescription> {
    const { version: loaded, description } = await loadVersion(folder, {
      engines: this.engines,
      ...(await this.store()),
      step,
      onState: (state) => {
        const at = loadStates.indexOf(state)
        if (at >= 0) entered[at] ||= Date.now()
      },
    })
    // Engines and workflows bring modules of their own.
    inlineExports()
    if (loaded !== null) this.versions.set(version, { loaded, layouts: new Map() })
    return description
  }

  unload(version: number): void {
    const { loaded } = this.versions.get(version) ?? {}
    if (loaded === undefined) return
    this.versions.delete(version)
    this.log.forget(loaded.label)
    loaded.dispose()
  }

  /** The facts, once they are there: a store that does not open fails the versions that read it, not the thread. */
  private async store(): Promise<Facts> {
    const { data } = this
    this.facts ??= openStore(data.facts || readRepository(data.repository).facts, data.factsTimeoutMs, this.storeWaitMs)
    const facts = await this.facts
    // It may be there when the next version is loaded.
    if (facts.store === null) this.facts = null
    this.storeWaitMs = 0
    return facts
  }
}

interface Facts {
  readonly store: FactStore | null
  readonly storeReason?: string
}

function sitDown(seats: Seats): Pinned {
  const { tid } = pinThread([])
  return pinThread(takeSeat(seats, threadId, tid))
}

async function openStore(location: string | null, timeoutMs: number, waitMs: number): Promise<Facts> {
  if (location === null) return { store: null }
  try {
    return { store: await openWhenReady(location, { readOnly: true, timeoutMs }, waitMs) }
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
