import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom, Strings } from '@millrace/base'
import { openLmdb } from '@millrace/facts'
import { denseColumn, raggedColumn, type RequestMessage } from '@millrace/wire'
import { hashOf } from '../objective-hash'
import { writeTraffic, type Workload } from './workload'

const demo = join(__dirname, '../../../apps/demo/repository')
export const titlesOfRequest = 200
const requestsOfTraffic = 1000

/** The demo's ranking: one account, 200 titles, facts of all of them. */
export const ranking: Workload = {
  name: 'ranking',
  about: 'an account and 200 titles with facts, TFJS on wasm',
  prepare: async (folder) => {
    const titles = await titlesOfDemo()
    const random = seededRandom(3)
    const requests = Array.from({ length: requestsOfTraffic }, (_, i) => rankingRequest(i, titles, random))
    return { env: demoEnv, traffic: writeTraffic(folder, requests) }
  },
}

/** On the engines that are there without an installation. */
const demoEnv = { MILLRACE_REPOSITORY: demo, MILLRACE_POOL_CPU_ENGINES: 'tfjs,onnxruntime' }

/** Everything that the demo serves, as a home page would ask for it: mostly flights, then rankings, and few sentences. */
export const demoMix = demoOf('demo', { flight: 0.8, ranking: 0.15, sentence: 0.05 })

/** Some of what the demo serves; sentences are flights where their network is not there. */
export function demoOf(name: string, shares: { flight: number; ranking: number; sentence?: number }): Workload {
  const percent = (share: number): string => `${Math.round(100 * share)} %`
  const { flight, ranking, sentence = 0 } = shares
  const about = `the demo's networks: flight delays ${percent(flight)}, rankings of ${titlesOfRequest} titles ${percent(ranking)}`
  return {
    name,
    about: sentence === 0 ? about : `${about}, sentences ${percent(sentence)}`,
    prepare: async (folder) => {
      const titles = await titlesOfDemo()
      const random = seededRandom(4)
      const sentences = existsSync(join(demo, 'workflows/sentence-embedding/1/dist/model.json'))
      const requests = Array.from({ length: requestsOfTraffic }, (_, i) => {
        const drawn = random()
        if (drawn < ranking) return rankingRequest(i, titles, random)
        if (drawn < ranking + sentence && sentences) return sentenceRequest(i, random)
        return flightRequest(i, random)
      })
      return { env: demoEnv, traffic: writeTraffic(folder, requests) }
    },
  }
}

function rankingRequest(i: number, titles: readonly string[], random: () => number): RequestMessage {
  const asked = Array.from({ length: titlesOfRequest }, () => titles[Math.floor(random() * titles.length)]!)
  return {
    objectiveHash: hashOf('title-ranking'),
    subject: `account-${i}`,
    inputs: [
      raggedColumn('account', 'string', Strings.of([`account-${Math.floor(random() * 1000)}`])),
      raggedColumn('title', 'string', Strings.of(asked)),
    ],
  }
}

function flightRequest(i: number, random: () => number): RequestMessage {
  return {
    objectiveHash: hashOf('flight-delay'),
    subject: `account-${i}`,
    inputs: [
      denseColumn('hour', 'f32', Float32Array.of(24 * random()), [1]),
      denseColumn('distance', 'f32', Float32Array.of(3000 * random()), [1]),
    ],
  }
}

function sentenceRequest(i: number, random: () => number): RequestMessage {
  const words = ['how', 'old', 'are', 'you', 'what', 'is', 'your', 'age', 'a', 'film', 'about', 'the', 'sea']
  const text = Array.from({ length: 8 }, () => words[Math.floor(random() * words.length)]!).join(' ')
  return {
    objectiveHash: hashOf('sentence-embedding'),
    subject: `account-${i}`,
    inputs: [raggedColumn('text', 'string', Strings.of([text]))],
  }
}

async function titlesOfDemo(): Promise<string[]> {
  if (!existsSync(join(demo, 'facts/data.mdb')))
    throw new Error('the demo has no facts yet: npm run prepare-data -w @millrace/demo')
  const store = openLmdb(join(demo, 'facts'), { readOnly: true })
  const titles: string[] = []
  await store.scan('titles', (key) => titles.push(String(key)) > 0)
  await store.close()
  return titles
}
