import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { benchFacts, factsTable } from './facts/facts'
import { benchRanking } from './facts/ranking'
import { figure, machine, median, writeResults } from './report'
import { engineAlone } from './road/engine-alone'
import { benchHeap } from './road/heap'
import { benchMemory } from './road/memory'
import { benchRoad, roadTable } from './road/road'
import { benchStage, stageTable } from './stage/stage'
import { benchWorker, workerTable } from './stage/worker'

const help = `npm run bench -- [stage] [facts] [road] [heap] [memory] [options]

  stage    what each step of the road costs, in one process; what a worker adds to the engine
  facts    batched reads of a store of a million accounts and 100,000 titles
  ranking  200 titles and an account with facts, end to end, against the engine alone
  road     end to end, against a bare uWebSockets.js echo of the same frames
  heap     bytes that the front thread allocates for a WebSocket request
  memory   resident memory after 0.5 and after 5 million requests

  --smoke        as short as it gets: that everything runs and answers rightly, not how fast
  --only TEXT    only loads of road whose name contains it
  --rounds N     rounds of road and facts (5)
  --seconds N    length of a run of road (3)
  --help

Without a name: stage, facts, road and heap. Results go to bench/results as JSON. Compare ratios within one run only.`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      smoke: { type: 'boolean', default: false },
      only: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(help)
  const suites = positionals.length > 0 ? positionals : ['stage', 'facts', 'road', 'heap']
  const unknown = suites.find((suite) => !['stage', 'facts', 'ranking', 'road', 'heap', 'memory'].includes(suite))
  if (unknown !== undefined) throw new RangeError(`there is no suite '${unknown}'\n\n${help}`)
  const { smoke } = values
  const { cpu, cores, node, date, command } = machine()
  console.log(`${command}\n${date}, Node ${node}, ${cores} x ${cpu}\n`)
  const say = (line: string): void => console.error(`  ${line}`)

  if (suites.includes('stage')) {
    const results = benchStage({ smoke, onProgress: say })
    console.log(`${stageTable(results)}\n`)
    const worker = await benchWorker(smoke ? 50 : 5000)
    console.log(`${workerTable(worker)}\n`)
    if (!smoke) save('stage', { steps: results, worker })
  }
  if (suites.includes('facts')) {
    const results = await benchFacts({ smoke, rounds: smoke ? 1 : Number(values.rounds) }, say)
    console.log(`${factsTable(results)}\n`)
    if (!smoke) save('facts', results)
  }
  if (suites.includes('ranking')) {
    const result = await benchRanking(smoke ? 1 : Number(values.rounds), smoke ? 300 : 3000)
    const { serverUs, engineUs, batchRows, perSecond, ratio } = result
    console.log(
      `200 titles and an account: server CPU ${figure(serverUs)} us a request, the engine alone ${figure(engineUs)} us ` +
        `(batches of ${figure(batchRows)} rows): ratio ${figure(ratio)}; ${figure(perSecond)} requests/s\n`,
    )
    if (!smoke) save('ranking', result)
  }
  if (suites.includes('road')) {
    const results = await benchRoad({
      rounds: smoke ? 1 : Number(values.rounds),
      warmMs: smoke ? 200 : 1000,
      measureMs: smoke ? 300 : Number(values.seconds) * 1000,
      only: values.only,
      onProgress: say,
    })
    console.log(`${roadTable(results)}\n`)
    const alone = await engineAlone(smoke ? 100 : 10_000)
    const idle = results.find(({ scenario }) => scenario.sockets * scenario.inFlight === 1)
    if (idle !== undefined) {
      const p50 = median(idle.road.map(({ latencyUs }) => latencyUs.p50))
      console.log(
        `one HTTP request on an idle server: p50 ${figure(p50)} us, of which the engine alone ${figure(alone)} us\n`,
      )
    }
    const failed = results.flatMap(({ road }) => road).filter(({ errors, replies }) => errors > 0 || replies === 0)
    if (failed.length > 0) throw new Error(`${failed.length} runs had errors or no replies`)
    if (!smoke) save('road', { engineAloneUs: alone, loads: results })
  }
  if (suites.includes('heap')) {
    const result = await benchHeap(smoke ? 300 : 3000)
    console.log(`heap of the front thread: ${figure(result.bytesPerRequest)} bytes a WebSocket request\n`)
    if (!smoke) save('heap', result)
  }
  if (suites.includes('memory')) {
    const result = await benchMemory(smoke ? 20_000 : 5_000_000, say)
    const { early, late, requests } = result
    const mib = (bytes: number): string => `${figure(bytes / 2 ** 20)} MiB`
    console.log(
      `after a tenth ${mib(early)}, after ${figure(requests)} requests ${mib(late)}: ${figure((late / early - 1) * 100)} %\n`,
    )
    if (!smoke) save('memory', result)
  }
}

function save(suite: string, results: unknown): void {
  const file = join(__dirname, `../results/${suite}.json`)
  writeResults(file, results)
  console.error(`  written to bench/results/${suite}.json`)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
