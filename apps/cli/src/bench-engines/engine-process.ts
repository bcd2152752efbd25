import { nowUs } from '@millrace/base'
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
import type { Answer, Ask, Job, Loaded, Measured, MeasureAsk } from './protocol'

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
    return ask.ask === 'load' ? await load(ask.job) : await measure(bench!, ask)
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
  const goldens = readGolden(folder.path).filter(({ code }) => code === 'OK')
  const golden = goldens.length > 0
  const { inputs: specs, context: read = [] } = version.signature
  const json: readonly JsonInputs[] = golden
    ? goldens.map(({ inputs }) => inputs)
    : madeUpRequests(specs, madeUpCount, job.seed)
  const contexts = json.map((_, i) => (golden ? goldens[i]!.context : madeUpContext(read)))
  const requests = json.map((inputs, i): RequestColumns => {
    return { ...columnsFromJson(specs, inputs), context: contextColumns(read, contexts[i]!) }
  })
  bench = { version, requests }
  return {
    models: description.models.filter(({ engine }) => engine === job.engine).map(({ name }) => name),
    formats: description.models.map(({ format }) => format),
    rowsMax: version.rowsMax,
    golden,
    tolerance: golden ? Math.max(...goldens.map(({ tolerance }) => tolerance)) : toleranceUsual,
    answers: await runOffline(version, json, { contexts }),
  }
}

async function measure({ version, requests }: Bench, { rows, ms }: MeasureAsk): Promise<Measured> {
  const columns = memoryBatch(version.signature, partsOf(requests, rows))
  const batchUs: number[] = []
  const modelUs: number[] = []
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
    batchUs.push(nowUs() - begun)
    modelUs.push(sink.scoreUs)
  } while (nowUs() < end)
  return { batchUs: median(batchUs), modelUs: median(modelUs), batches: batchUs.length }
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
