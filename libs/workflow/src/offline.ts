import { Code, codeNames, Refusal, type CodeName, type Context } from '@millrace/base'
import { columnsFromJson, columnsToJson, contextColumns, type ColumnValues, type RequestColumns } from './columns-json'
import type { BatchSink, Phase } from './context'
import type { LoadedVersion } from './loaded'
import { join, memoryBatch, slice, type Part } from './memory-batch'
import { toldWithPlace } from './message-of'
import { runBatch } from './run'

/** The answer to one request, as in the JSON twin of a reply. */
export type OfflineAnswer =
  | { readonly code: 'OK'; readonly message?: never; readonly outputs: Readonly<Record<string, unknown>> }
  | { readonly code: Exclude<CodeName, 'OK'>; readonly message: string; readonly outputs?: never }

export interface OfflineOptions {
  /** Rows of one batch; at most the version's own limit, which is the default. */
  readonly batchRows?: number
  /** By request: its context; left out, and for requests beyond its end: none. */
  readonly contexts?: readonly Context[]
}

/** A request with what became of it so far. */
interface Job {
  readonly request: RequestColumns | null
  refusal: { code: Code; message: string } | null
  readonly parts: ColumnValues[]
}

/**
 * The same workflow as in the server, over a list of requests: each is the `inputs` object of a JSON request. Requests
 * are batched in order; only those that are larger than a batch are split over several. Answers come in the order of the requests.
 *
 * Rejects with what user code, the store or the engine threw: offline, a bug is for the one who runs it.
 */
export async function runOffline(
  version: LoadedVersion,
  requests: readonly unknown[],
  options: OfflineOptions = {},
): Promise<OfflineAnswer[]> {
  const { signature } = version
  const rowsMax = Math.min(options.batchRows ?? version.rowsMax, version.rowsMax)
  const jobs = requests.map((json, i) => parse(version, json, options.contexts?.[i] ?? {}))
  for (const batch of batches(jobs, rowsMax)) await runJobs(version, batch)
  return jobs.map((job) =>
    job.refusal === null
      ? { code: 'OK', outputs: columnsToJson(signature.outputs, join(signature.outputs, job.parts)) }
      : { code: codeNames[job.refusal.code] as Exclude<CodeName, 'OK'>, message: job.refusal.message },
  )
}

interface JobPart extends Part {
  readonly job: Job
}

function parse({ signature }: LoadedVersion, json: unknown, said: Context): Job {
  try {
    const request = columnsFromJson(signature.inputs, json)
    if (request.rows === 0) throw new Refusal(Code.INVALID_ARGUMENT, 'the request has no rows')
    const context = contextColumns(signature.context ?? [], said)
    return { request: { ...request, context }, refusal: null, parts: [] }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { request: null, refusal: { code: error.code, message: error.message }, parts: [] }
  }
}

/** As the server's queue does: rows in order; a request that fits into a batch is never cut. */
function* batches(jobs: readonly Job[], rowsMax: number): Generator<JobPart[]> {
  let batch: JobPart[] = []
  let rows = 0
  for (const job of jobs) {
    const request = job.request
    if (request === null) continue
    for (let begin = 0; begin < request.rows; ) {
      const end = Math.min(request.rows, begin + rowsMax)
      if (rows + end - begin > rowsMax) {
        yield batch
        batch = []
        rows = 0
      }
      batch.push({ job, request, begin, end })
      rows += end - begin
      begin = end
    }
  }
  if (batch.length > 0) yield batch
}

async function runJobs(version: LoadedVersion, parts: readonly JobPart[]): Promise<void> {
  const columns = memoryBatch(version.signature, parts)
  let bug: { phase: Phase; error: unknown } | null = null
  const sink: BatchSink = {
    factsUs: 0,
    scoreUs: 0,
    refuse: (request, code, message) => (parts[request]!.job.refusal ??= { code, message }),
    failed: (phase, error) => (bug = { phase, error }),
  }
  await runBatch(version, columns, sink)
  const failed = bug as { phase: Phase; error: unknown } | null
  if (failed !== null)
    throw new Error(`${version.label} failed in ${failed.phase}: ${toldWithPlace(failed.error, version.folder.path)}`, {
      cause: failed.error,
    })
  let at = 0
  parts.forEach((part, request) => {
    const end = at + part.end - part.begin
    part.job.parts.push(slice(version.signature.outputs, columns.outputs, { begin: at, end }, request))
    at = end
  })
}
