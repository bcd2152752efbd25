import { nowUs, type ColumnSpec } from '@millrace/base'
import { openLmdb } from '@millrace/facts'
import {
  columnsFromJson,
  contextColumns,
  Engines,
  loadVersion,
  memoryBatch,
  messageOf,
  readGolden,
  readRepository,
  runBatch,
  runOffline,
  type BatchSink,
  type LoadedVersion,
  type Part,
  type RequestColumns,
} from '@millrace/workflow'
import { madeUpContext, madeUpRequests, type JsonInputs } from './made-up'
import { median } from './median'
import { recordedRequests } from './recorded'
import type { Answer, Ask, Job, Loaded, Measured, MeasureAsk, Profiled } from './protocol'

/*
 * A process with one version on one engine, as a pool's thread has it: loaded, checked and warmed by the same code, run by
 * the same `runBatch` over columns in memory. Asked over the process's channel; ends when that is closed.
 */

const madeUpCount = 8
/** Where golden requests say none. */
const toleranceUsual = 1e-4

interface Bench {
  readonly version: LoadedVersion
  readonly requests: readonly RequestColumns[]
}
let bench: Bench | null = null

async function answer(ask: Ask): Promise<Answer> {
  try {
    if (ask.ask === 'load') return await load(ask.job)
    return ask.ask === 'measure' ? await measure(bench!, ask) : await profile(bench!, ask)
  } catch (error) {
    return { failed: messageOf(error) }
  }
}

async function load(job: Job): Promise<Loaded | { failed: string }> {
  const repository = readRepository(job.repository)
  const folder = repository.versions.find(({ name, version }) => name === job.name && version === job.version)!
  const store = repository.facts === null ? null : openLmdb(repository.facts, { readOnly: true })
  const engines = new Engines({ threads: job.threads, device: job.device }, [job.engine, ...job.others])
  const { version, description } = await loadVersion(folder, { engines, store })
  if (version === null) return { failed: description.reason! }
  const { traffic } = job
  const goldens = readGolden(folder.path).filter(({ code }) => code === 'OK' && traffic === undefined)
  const golden = goldens.length > 0
  const { inputs: specs, context: read = [] } = version.signature
  const recorded = traffic === undefined ? [] : recordedRequests(traffic.file, traffic.objective, specs)
  const given: readonly JsonInputs[] = golden
    ? goldens.map(({ inputs }) => inputs)
    : traffic !== undefined
      ? recorded.map(({ inputs }) => inputs)
      : madeUpRequests(specs, madeUpCount, job.seed)
  const { requestRows } = job
  const json = requestRows === undefined ? given : given.map((inputs) => withRows(specs, inputs, requestRows))
  const contexts = json.map((_, i) => (golden ? goldens[i]! : recorded[i])?.context ?? madeUpContext(read))
  const requests = json.map((inputs, i): RequestColumns => {
    return { ...columnsFromJson(specs, inputs), context: contextColumns(read, contexts[i]!) }
  })
  bench = { version, requests }
  return {
    inputs: version.signature.inputs,
    requests: json,
    models: description.models.filter(({ engine }) => engine === job.engine).map(({ name }) => name),
    formats: description.models.map(({ format }) => format),
    rowsMax: version.rowsMax,
    golden,
    tolerance: golden ? Math.max(...goldens.map(({ tolerance }) => tolerance)) : toleranceUsual,
    answers: await runOffline(version, json, { contexts }),
  }
}

async function measure(bench: Bench, { rows, ms }: MeasureAsk): Promise<Measured> {
  const batchUs: number[] = []
  const modelUs: number[] = []
  await runBatches(bench, rows, ms, (us, scoreUs) => {
    batchUs.push(us)
    modelUs.push(scoreUs)
  })
  return { batchUs: median(batchUs), modelUs: median(modelUs), batches: batchUs.length }
}

/**
 * Batches that the kernel interrupted for another thread are left out, unless all were: what they took is other programs'
 * business. (What a hypervisor takes is not seen.)
 */
async function profile(bench: Bench, { rows, ms }: MeasureAsk): Promise<Profiled> {
  const all: number[] = []
  const whole: number[] = []
  await runBatches(bench, rows, ms / 4, () => undefined)
  let switches = process.resourceUsage().involuntaryContextSwitches
  await runBatches(bench, rows, ms, (us) => {
    all.push(us)
    const now = process.resourceUsage().involuntaryContextSwitches
    if (now === switches) whole.push(us)
    switches = now
  })
  const us = (whole.length > 0 ? whole : all).sort((a, b) => a - b)
  const at = (share: number): number => us[Math.min(us.length - 1, Math.floor(share * us.length))]!
  return {
    rows,
    batches: us.length,
    meanUs: us.reduce((sum, one) => sum + one, 0) / us.length,
    minUs: us[0]!,
    p50Us: at(0.5),
    p90Us: at(0.9),
    p99Us: at(0.99),
    p999Us: at(0.999),
    interrupted: all.length - us.length,
  }
}

/** Runs batches of `rows` rows for `ms`, one at least. */
async function runBatches(
  { version, requests }: Bench,
  rows: number,
  ms: number,
  ran: (us: number, scoreUs: number) => void,
): Promise<void> {
  const columns = memoryBatch(version.signature, partsOf(requests, rows))
  const sink: BatchSink = {
    factsUs: 0,
    scoreUs: 0,
    refuse: () => undefined,
    failed: (phase, error) => {
      throw new Error(`${version.label} failed in ${phase}: ${messageOf(error)}`, { cause: error })
    },
  }
  const heapUsed = columns.cursor.used
  const end = nowUs() + ms * 1000
  do {
    columns.cursor.used = heapUsed
    sink.scoreUs = 0
    const begun = nowUs()
    await runBatch(version, columns, sink)
    ran(nowUs() - begun, sink.scoreUs)
  } while (nowUs() < end)
}

/** A request of so many rows, its own over and over. */
function withRows(specs: readonly ColumnSpec[], inputs: JsonInputs, rows: number): JsonInputs {
  const perRow = new Set(specs.filter(({ per }) => per === 'row').map(({ name }) => name))
  return Object.fromEntries(
    Object.entries(inputs).map(([name, column]) => [
      name,
      perRow.has(name) && Array.isArray(column) && column.length > 0
        ? Array.from({ length: rows }, (_, i) => (column as unknown[])[i % column.length])
        : column,
    ]),
  )
}

/** The requests over and over, the last one cut, until they are exactly `rows` rows. */
function partsOf(requests: readonly RequestColumns[], rows: number): Part[] {
  const parts: Part[] = []
  for (let i = 0, filled = 0; filled < rows; i++) {
    const request = requests[i % requests.length]!
    const end = Math.min(request.rows, rows - filled)
    parts.push({ request, begin: 0, end })
    filled += end
  }
  return parts
}

process.on('message', (ask: Ask) => {
  void answer(ask).then((said) => process.send!(said))
})
process.once('disconnect', () => process.exit(0))
