import { benchFacts, factsTable } from './facts/facts'
import { ranking } from './facts/ranking'
import { fairness } from './overload/fairness'
import { overload } from './overload/overload'
import { heap } from './road/heap'
import { latency } from './road/latency'
import { memory } from './road/memory'
import { road } from './road/road'
import { planSuite } from './plan/validate'
import { rival } from './rival/bench'
import { scale } from './scale/scale'
import { shadow } from './shadow/shadow'
import { benchStage, stageTable } from './stage/stage'
import { benchWorker, workerTable } from './stage/worker'
import { roundsOf, type Suite } from './suite'
import { workloadSuite } from './workloads/bench'

const stage: Suite = {
  name: 'stage',
  about: 'what each step of the road costs, in one process; what a worker adds to the engine',
  usual: true,
  run: async ({ smoke, say }) => {
    const steps = await benchStage({ smoke, onProgress: say })
    const worker = await benchWorker(smoke ? 50 : 5000)
    const plot = {
      title: 'What steps of the road cost',
      y: { label: 'ns' },
      // Beside thousands the others are nothing.
      groups: steps.filter(({ nanoseconds }) => nanoseconds < 1000).map(({ name }) => name),
      bars: [{ name: 'CPU', values: steps.map(({ nanoseconds }) => nanoseconds).filter((ns) => ns < 1000) }],
    }
    return {
      text: `${stageTable(steps)}\n\n${workerTable(worker)}`,
      results: { steps, worker },
      plots: [{ name: 'steps', plot }],
    }
  },
}

const facts: Suite = {
  name: 'facts',
  about: 'batched reads of a store of a million accounts and 100,000 titles',
  usual: true,
  run: async (options) => {
    const results = await benchFacts({ smoke: options.smoke, rounds: roundsOf(options) }, options.say)
    return { results, text: factsTable(results) }
  },
}

/** In the order in which they run. */
export const suites: readonly Suite[] = [
  stage,
  facts,
  ranking,
  road,
  latency,
  overload,
  fairness,
  shadow,
  workloadSuite,
  scale,
  rival,
  planSuite,
  heap,
  memory,
]
