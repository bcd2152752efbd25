import { Code, nowUs } from '@millrace/base'
import { partOf, type BatchColumns } from '@millrace/batch'
import type { BatchSink, Phase } from './context'
import type { LoadedVersion } from './loaded'
import { messageOf } from './message-of'

/*
 * Batches that are larger than the memory of the device: they run in parts, over the same columns, so that nothing
 * outside notices. User code sees smaller batches, which it must take anyway.
 */

type RunBatch = (version: LoadedVersion, columns: BatchColumns, sink: BatchSink) => Promise<void>

/** Runs a batch in parts of as many rows as fit. */
export async function runParts(
  run: RunBatch,
  version: LoadedVersion,
  columns: BatchColumns,
  sink: BatchSink,
): Promise<void> {
  let begin = 0
  while (begin < columns.rows) {
    const end = Math.min(columns.rows, begin + version.fitting.limit)
    const part = partOf(columns, version.signature, begin, end)
    const failures = version.fitting.failures
    await run(version, part, new PartSink(sink, part.firstRequest))
    if (version.fitting.failures === failures) version.fitting.fitted(end - begin)
    begin = end
  }
}

/** A batch ran out of memory: its rows again in halves; a row that is too large alone refuses its request. */
export async function runSmaller(
  run: RunBatch,
  version: LoadedVersion,
  columns: BatchColumns,
  sink: BatchSink,
  error: unknown,
): Promise<void> {
  version.fitting.failed(columns.rows, nowUs())
  if (columns.rows > 1) return runParts(run, version, columns, sink)
  const [said] = messageOf(error).trim().split('\n')
  const where = `the memory of ${version.device}`
  sink.refuse(0, Code.RESOURCE_EXHAUSTED, `one row of ${version.label} does not fit ${where}: ${said}`)
}

/** Reports a part to the batch that it is of: requests under their own number, times added up. */
class PartSink implements BatchSink {
  constructor(
    private readonly whole: BatchSink,
    private readonly firstRequest: number,
  ) {}

  get factsUs(): number {
    return this.whole.factsUs
  }
  set factsUs(us: number) {
    this.whole.factsUs += us
  }
  get scoreUs(): number {
    return this.whole.scoreUs
  }
  set scoreUs(us: number) {
    this.whole.scoreUs += us
  }

  refuse(request: number, code: Code, message: string): void {
    this.whole.refuse(this.firstRequest + request, code, message)
  }

  failed(phase: Phase, error: unknown): void {
    this.whole.failed(phase, error)
  }
}
