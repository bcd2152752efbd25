import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readRepository } from '@millrace/workflow'
import { openLog } from './log'
import { Publisher, type Lanes } from './publisher'

let folder: string
let publisher: Publisher
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'publisher-'))
  for (const version of ['1', '2', '3']) mkdirSync(join(folder, 'workflows/price', version), { recursive: true })
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules(1)))
  publisher = await started()
})
afterEach(() => rmSync(folder, { recursive: true }))

const rules = (version: number) => ({ objectives: { price: { default: `price@${version}` } } })
const started = () => Publisher.start(readRepository(folder), join(folder, 'state'), openLog('silent'))
const origins = () => publisher.history().map(({ version, origin }) => [version, origin])

/** Lanes that are ready at once, but for price@2: when `arrive` is called. */
function lanes(): Lanes & { arrive(waited: boolean): void } {
  let arrive!: (waited: boolean) => void
  const arrived = new Promise<boolean>((resolve) => (arrive = resolve))
  return {
    known: () => readRepository(folder).versions,
    ready: (versions) => (versions.some(({ version }) => version === 2) ? arrived : Promise.resolve(false)),
    askAll: () => Promise.resolve([]),
    arrive,
  }
}

test('a publish that waits holds nobody up, and does not undo what was put in force meanwhile', async () => {
  const some = lanes()
  const waiting = publisher.publish(some, { rules: rules(2) })
  expect(await publisher.publish(some, { rules: rules(3) })).toMatchObject({ version: 2, rules: rules(3) })
  some.arrive(true)
  await expect(waiting).rejects.toMatchObject({ name: 'ABORTED' })
  expect(publisher.current).toMatchObject({ version: 2, rules: rules(3) })
  expect(origins()).toEqual([
    [2, 'publish'],
    [1, 'repository'],
  ])
})

test('what must stay: versions of the rules in force, and of those that lanes are asked to take', async () => {
  const some = lanes()
  const named: number[][] = []
  const askAll: Lanes['askAll'] = () => {
    named.push(publisher.named.map(({ version }) => version))
    return Promise.resolve([])
  }
  await publisher.publish({ ...some, askAll }, { rules: rules(3) })
  expect(named).toEqual([[1, 3], [3]])
  const refused = publisher.publish(
    { ...some, askAll: () => Promise.reject(new Error('not ready')) },
    { rules: rules(1) },
  )
  await expect(refused).rejects.toThrow('not ready')
  expect(publisher.named.map(({ version }) => version)).toEqual([3])
})

test('the rules of the repository are news when they changed, not when others were published since', async () => {
  expect(publisher.isNews(rules(1), false)).toBe(false)
  await publisher.publish(lanes(), { rules: rules(3) })
  expect(publisher.isNews(rules(1), false)).toBe(false)
  expect(publisher.isNews(rules(2), false)).toBe(true)
  await publisher.follow(lanes(), rules(1))
  expect(origins()[0]).toEqual([3, 'repository'])
  // What folders say, where there is no file, is what nobody else said.
  expect(publisher.isNews(rules(2), true)).toBe(true)
  await publisher.publish(lanes(), { rules: rules(3) })
  expect(publisher.isNews(rules(2), true)).toBe(false)
  rmSync(join(folder, 'rules.json'))
  publisher = await started()
  expect(publisher.current).toMatchObject({ version: 4, rules: rules(3) })
})
