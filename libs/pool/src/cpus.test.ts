import fc from 'fast-check'
import { formatCpus, parseCpus } from './index'

const cpus = fc.uniqueArray(fc.nat(1023), { minLength: 1, maxLength: 64 }).map((cpus) => cpus.sort((a, b) => a - b))

test('a list that is written is read again, in its shortest form', () => {
  fc.assert(
    fc.property(cpus, (cpus) => {
      const text = formatCpus(cpus)
      expect(parseCpus(text)).toEqual(cpus)
      const runs = cpus.filter((cpu) => !cpus.includes(cpu - 1)).length
      expect(text.split(',').length).toBe(runs)
    }),
    { seed: 1 },
  )
})

test('order, spaces and repetition do not matter', () => {
  expect(parseCpus('6, 0-3 ,2,3-3')).toEqual([0, 1, 2, 3, 6])
  expect(formatCpus([0, 1, 2, 3, 6])).toBe('0-3,6')
  expect(formatCpus([])).toBe('')
})

test.each(['', ',', '1,', 'a', '3-1', '-1', '1-', '1.5', '0x1', '1024', '0-1024', '99999', '1 2'])(
  '%j is refused with the form',
  (list) => expect(() => parseCpus(list)).toThrow(/is not a CPU list such as 0-3,6/),
)
