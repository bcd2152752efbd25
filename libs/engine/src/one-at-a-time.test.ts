import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { oneAtATime } from './one-at-a-time'

const folder = mkdtempSync(join(tmpdir(), 'millrace-turns-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const lock = join(folder, `millrace-work-${process.pid}`)

test('work of one name takes turns, also after some that failed; nothing is left', async () => {
  let [running, most, done] = [0, 0, 0]
  const work = async (fails: boolean): Promise<void> => {
    most = Math.max(most, ++running)
    await sleep(5)
    running--
    done++
    if (fails) throw new Error('it failed')
  }
  const all = Array.from({ length: 6 }, (_, i) => oneAtATime('work', () => work(i % 3 === 1), folder))
  const ended = await Promise.allSettled(all)
  expect([most, done, ended.filter(({ status }) => status === 'rejected').length]).toEqual([1, 6, 2])
  expect(existsSync(lock)).toBe(false)
})

test('what a process of the same number left behind keeps nobody waiting', async () => {
  mkdirSync(lock)
  utimesSync(lock, 1, 1)
  expect(await oneAtATime('work', () => Promise.resolve('ran'), folder)).toBe('ran')
  expect(existsSync(lock)).toBe(false)
})

test('work runs where no folder can be made', async () => {
  expect(await oneAtATime('work', () => Promise.resolve('ran'), join(folder, 'nowhere'))).toBe('ran')
})
