import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const fuzz = async (...options: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(__dirname, 'dist/index.js'), ...options])
  return stdout.replace(/ in [\d.]+ s \(\d+ a second\)/g, '')
}

test('some messages of each kind are refused, and what is taken is answered as it was sent', async () => {
  const told = await fuzz('--seed', '1', '--cases', '2048')
  expect(told).toMatch(/^wire: 2048 messages of seed 1: \d+ malformed, \d+ copied, /)
  expect(told).toMatch(/^road: 2048 messages of seed 1: \d+ INVALID_ARGUMENT, \d+ OK, /m)
  expect(told).toMatch(/^json: 2048 messages of seed 1: \d+ INVALID_ARGUMENT, \d+ echoed, /m)
})

test('a seed and a case say what is tried', async () => {
  const once = await fuzz('--target', 'wire', '--seed', '2', '--case', '5000')
  expect(once).toMatch(/^wire: 1024 messages of seed 2: /)
  expect(await fuzz('--target', 'wire', '--seed', '2', '--case', '4096')).toBe(once)
  expect(await fuzz('--target', 'wire', '--seed', '3', '--case', '4096')).not.toBe(once)
})

test('what is not there is said', async () => {
  await expect(fuzz('--target', 'smoke')).rejects.toThrow("there is no target 'smoke'")
  await expect(fuzz('--cases', 'many')).rejects.toThrow('--cases many: a whole number from 0 on')
})
