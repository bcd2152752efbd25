import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLmdb, type FactStore } from '@millrace/facts'
import {
  Engines,
  loadVersion,
  readRepository,
  runOffline,
  runRepository,
  Strings,
  type LoadedVersion,
} from '@millrace/workflow'
import { readFilms, valuesOf } from './films'
import { goldenRequests } from './golden-requests'
import { repositoryFolder } from './repository-folder'

/*
 * The repository through the platform's public doors. It needs what `npm run prepare-data` makes.
 */

const repository = readRepository(repositoryFolder)
const labels = repository.versions.map(({ name, version }) => `${name}@${version}`)
const loaded = new Map<string, LoadedVersion>()
let engines: Engines
let store: FactStore

beforeAll(async () => {
  if (repository.facts === null) throw new Error('no facts: npm run build && npm run prepare-data -w @millrace/demo')
  engines = new Engines({ threads: 1, device: 'cpu' })
  store = openLmdb(repository.facts, { readOnly: true })
  for (const [i, folder] of repository.versions.entries()) {
    const { version, description } = await loadVersion(folder, { engines, store, warmMsMax: 0 })
    if (version === null) throw new Error(`${labels[i]}: ${description.reason}`)
    expect(description.golden?.failed).toBe(0)
    expect(description.golden?.passed).toBeGreaterThan(1)
    loaded.set(labels[i]!, version)
  }
})
afterAll(async () => {
  for (const version of loaded.values()) version.dispose()
  await engines?.dispose()
  await store?.close()
})

const versionOf = (label: string): LoadedVersion => loaded.get(label)!

test('every version there is loads and passes its golden requests', () => {
  expect(repository.problems).toEqual([])
  expect([...loaded.keys()]).toEqual([
    'flight-delay@1',
    'flight-delay@2',
    'flight-delay@3',
    'sentence-embedding@1',
    'title-ranking@1',
  ])
})

test('a version that answers otherwise than its golden requests say does not load', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'demo-'))
  try {
    const [one, two] = repository.versions.filter(({ name }) => name === 'flight-delay')
    const path = join(folder, 'workflows', 'flight-delay', '1')
    cpSync(one!.path, path, { recursive: true })
    const inputs = goldenRequests.find(({ workflow }) => workflow === 'flight-delay')!.inputs
    expect(await runRepository(folder, 'flight-delay', 1, inputs)).toMatchObject(inputs.map(() => ({ code: 'OK' })))
    cpSync(join(two!.path, 'model.onnx'), join(path, 'model.onnx'))
    await expect(runRepository(folder, 'flight-delay', 1, inputs)).rejects.toThrow('2 of 2 golden requests failed')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.each(labels)('%s answers the same in batches of any size', async (label) => {
  const version = versionOf(label)
  const { inputs, tolerance } = goldenRequests.find(({ workflow }) => workflow === version.folder.name)!
  const sizes = [1, 2, 3, 5, 8, 16, version.rowsMax - 1, version.rowsMax]
  const whole = await runOffline(version, inputs)
  for (const batchRows of sizes) {
    const answers = await runOffline(version, inputs, { batchRows })
    answers.forEach((answer, i) => {
      expect(answer.code).toBe(whole[i]!.code)
      if (answer.code !== 'OK') return
      for (const [name, column] of Object.entries(answer.outputs)) {
        // A rank is a place among the titles of one batch: it means what it says where all are in one.
        if (name === 'rank') continue
        const expected = numbers(whole[i]!.outputs![name])
        const given = numbers(column)
        expect(given).toHaveLength(expected.length)
        given.forEach((value, j) => expect(Math.abs(value - expected[j]!)).toBeLessThanOrEqual(tolerance))
      }
    })
  }
})

describe('requests/', () => {
  const folder = join(repositoryFolder, 'requests')
  const rules = JSON.parse(readFileSync(repository.rules!, 'utf8')) as {
    objectives: Record<string, { default: string }>
    experiments: { objectives: string[]; cells: { workflow: string }[] }[]
    canaries: { objectives: string[]; workflow: string }[]
    shadows: { objectives: string[]; workflow: string }[]
  }

  test('is one example for each objective', () => {
    const names = Object.keys(rules.objectives).map((name) => `${name}.json`)
    expect(readdirSync(folder).sort()).toEqual(names.sort())
  })

  test.each(Object.keys(rules.objectives))('%s is answered by every version that may get it', async (objective) => {
    const request = JSON.parse(readFileSync(join(folder, `${objective}.json`), 'utf8')) as Record<string, unknown>
    expect(Object.keys(request)).toEqual(['objective', 'subject', 'context', 'inputs', 'deadline_ms'])
    expect(request['objective']).toBe(objective)
    const { experiments, canaries, shadows } = rules
    const others = [
      ...experiments.flatMap(({ objectives, cells }) => cells.map((cell) => ({ objectives, ...cell }))),
      ...canaries,
      ...shadows,
    ]
    const labels = others.filter(({ objectives }) => objectives.includes(objective)).map(({ workflow }) => workflow)
    for (const label of [rules.objectives[objective]!.default, ...labels]) {
      const [answer] = await runOffline(versionOf(label), [request['inputs']])
      expect(answer).toMatchObject({ code: 'OK' })
    }
  })
})

describe('title-ranking', () => {
  const films = readFilms()
  const rank = async (account: string, title: readonly string[]) =>
    (await runOffline(versionOf('title-ranking@1'), [{ account, title }]))[0]!

  test('ranks are the places of the scores, 1 for the best', async () => {
    const titles = films.filter((_, i) => i % 80 === 0).map((film) => film.id)
    const { outputs } = await rank('account-42', titles)
    const { score, rank: ranks } = outputs as { score: number[]; rank: number[] }
    expect([...ranks].sort((a, b) => a - b)).toEqual(titles.map((_, i) => i + 1))
    const best = ranks.map((place, i) => ({ place, score: score[i]! })).sort((a, b) => a.place - b.place)
    for (let i = 1; i < best.length; i++) expect(best[i - 1]!.score).toBeGreaterThanOrEqual(best[i]!.score)
    expect(score[0]).not.toBe(score[1])
  })

  test('of equal scores the first named is first', async () => {
    const { outputs } = await rank('account-1', ['jaws-1975', 'jaws-1975', 'jaws-1975'])
    expect(outputs!['rank']).toEqual([1, 2, 3])
  })

  test('ranks are of one request, however many share the batch', async () => {
    const title = ['gigli-2003', 'the-shawshank-redemption-1994', 'jaws-1975']
    const requests = ['account-1', 'account-2', 'nobody'].map((account) => ({ account, title }))
    const together = await runOffline(versionOf('title-ranking@1'), requests)
    for (const [i, request] of requests.entries())
      expect(together[i]!.outputs!['rank']).toEqual((await rank(request.account, title)).outputs!['rank'])
  })

  test('an account that likes a genre moves its titles by what it likes them, and no others', async () => {
    const genres = valuesOf(films, 'genre')
    const titles = [films.find((film) => film.genre === 'Western')!, films.find((film) => film.genre === '')!]
    const ids = titles.map((film) => film.id)
    const plain = (await rank('nobody', ids)).outputs!['score'] as number[]
    for (const account of ['account-0', 'account-5', 'account-999']) {
      const moved = (await rank(account, ids)).outputs!['score'] as number[]
      const profile = await store.read('profiles', Strings.of([account]))
      const affinity = (profile.column('affinities') as Float32Array)[genres.indexOf('Western')]!
      expect(moved[0]! - plain[0]!).toBeCloseTo(1.5 * affinity, 4)
      expect(moved[1]).toBe(plain[1])
    }
  })

  test('the genres of the profiles are those that the network was fitted to, in the same order', () => {
    const file = join(repositoryFolder, 'workflows', 'title-ranking', '1', 'features.json')
    const { vocabularies } = JSON.parse(readFileSync(file, 'utf8')) as { vocabularies: Record<string, string[]> }
    expect(vocabularies['genre']).toEqual(valuesOf(films, 'genre'))
  })

  test('a title that is not in the catalogue refuses its request and no other', async () => {
    const answers = await runOffline(versionOf('title-ranking@1'), [
      { account: 'account-1', title: ['jaws-1975', 'no-such-title-1900'] },
      { account: 'account-1', title: ['jaws-1975'] },
    ])
    expect(answers.map(({ code }) => code)).toEqual(['NOT_FOUND', 'OK'])
    expect(answers[0]!.message).toContain('no-such-title-1900')
  })

  test('more titles than a ranking takes are refused, up to the limit all are ranked', async () => {
    const titles = films.slice(0, 700).map((film) => film.id)
    for (const [count, code] of [
      [500, 'OK'],
      [501, 'INVALID_ARGUMENT'],
      [512, 'INVALID_ARGUMENT'],
      [513, 'INVALID_ARGUMENT'],
      [700, 'INVALID_ARGUMENT'],
    ] as const) {
      const answer = await rank('account-1', titles.slice(0, count))
      expect([count, answer.code]).toEqual([count, code])
      if (answer.code === 'OK') expect(new Set(answer.outputs['rank'] as number[]).size).toBe(count)
    }
  })
})

test('ids of titles are all different and made of the title and the year', () => {
  const films = readFilms()
  expect(films.length).toBeGreaterThan(3000)
  expect(new Set(films.map((film) => film.id)).size).toBe(films.length)
  for (const film of films) expect(film.id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*-(19|20)\d\d$/)
  expect(films.find((film) => film.name === '1776')!.id).toBe('1776-1972')
})

function numbers(column: unknown): number[] {
  return (column as unknown[]).flat() as number[]
}
