import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readRepository } from '@millrace/workflow'
import { openLog } from './log'
import { Publisher, type Lanes } from './publisher'

const folder = mkdtempSync(join(tmpdir(), 'publisher-'))
afterAll(() => rmSync(folder, { recursive: true }))

const rules = (version: number): object => ({ objectives: { price: { default: `price@${version}` } } })
const lanes: Lanes = { askAll: () => Promise.resolve([]) }

test('a reload that fails takes nothing back that was published meanwhile', async () => {
  for (const version of ['1', '2', '3']) mkdirSync(join(folder, 'workflows/price', version), { recursive: true })
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules(1)))
  const publisher = await Publisher.start(readRepository(folder), join(folder, 'state'), openLog('silent'))
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules(2)))
  const seen: number[] = []
  const reload = publisher.reload(readRepository(folder), () => {
    seen.push(publisher.current.version)
    return Promise.reject(new Error('the new lane does not start'))
  })
  const published = publisher.publish(lanes, { rules: rules(3) })
  await expect(reload).rejects.toThrow('the new lane does not start')
  expect(seen).toEqual([2])
  expect(await published).toMatchObject({ version: 2, rules: rules(3) })
  expect(publisher.current).toMatchObject({ version: 2, rules: rules(3) })
  // What the repository says is not lost: the next reload takes it.
  await publisher.reload(readRepository(folder), () => Promise.resolve())
  expect(publisher.current).toMatchObject({ version: 3, origin: 'repository', rules: rules(2) })
  expect(publisher.history().map(({ version, origin }) => [version, origin])).toEqual([
    [3, 'repository'],
    [2, 'publish'],
    [1, 'repository'],
  ])
})
