import fc from 'fast-check'
import { deviceOfLane, formatDevice, parseDevice, type Device } from './index'

const seed = 1
const numbers = (minLength: number, maxLength: number): fc.Arbitrary<number[]> =>
  fc.uniqueArray(fc.nat(1023), { minLength, maxLength }).map((some) => some.sort((a, b) => a - b))
const device: fc.Arbitrary<Device> = fc.oneof(
  fc.record({ kind: fc.constant('cpu' as const), numbers: numbers(0, 64) }),
  fc.record({ kind: fc.constant('cuda' as const), numbers: numbers(1, 16) }),
  fc.record({ kind: fc.constant('webgpu' as const), numbers: numbers(1, 1) }),
)

test('a device that is written is read again', () => {
  fc.assert(
    fc.property(device, (device) => expect(parseDevice(formatDevice(device))).toEqual(device)),
    { seed },
  )
})

test('what is written again is the same text, however it was written first', () => {
  const padded = fc.tuple(device, fc.constantFrom('', ' ')).map(([device, space]) => {
    const backwards = [...device.numbers].reverse().join(`,${space}`)
    return { device, text: `${space}${device.kind}${backwards === '' ? '' : `:${backwards}`}${space}` }
  })
  fc.assert(
    fc.property(padded, ({ device, text }) => expect(formatDevice(parseDevice(text))).toBe(formatDevice(device))),
    { seed },
  )
  expect(formatDevice(parseDevice('cpu:3,0,1,2'))).toBe('cpu:0-3')
})

test('a GPU without a number is the first; a cpu without CPUs is any', () => {
  expect(parseDevice('cuda')).toEqual({ kind: 'cuda', numbers: [0] })
  expect(parseDevice('webgpu')).toEqual({ kind: 'webgpu', numbers: [0] })
  expect(parseDevice('cpu')).toEqual({ kind: 'cpu', numbers: [] })
})

test.each([
  ['', /is not a device: cpu or cpu:0-3; cuda:0 .*; webgpu:0/],
  ['gpu', /is not a device/],
  ['cpu 0', /is not a device/],
  ['toString', /is not a device/],
  ['cpu:', /is not a cpu device such as cpu or cpu:0-3/],
  ['cpu:3-0', /is not a cpu device/],
  ['cuda:x', /is not a cuda device such as cuda:0/],
  ['cuda:0,', /is not a cuda device/],
  ['cuda:-1', /is not a cuda device/],
  ['webgpu:0,1', /is not a webgpu device such as webgpu:0/],
])('%j is refused with the forms', (text, message) => {
  expect(() => parseDevice(text)).toThrow(message)
})

test('whatever is written is a device or refused by name', () => {
  const text = fc.oneof(
    fc.string(),
    fc.tuple(fc.constantFrom('cpu', 'cuda', 'webgpu'), fc.string()).map((p) => p.join(':')),
  )
  fc.assert(
    fc.property(text, (text) => {
      try {
        const { kind, numbers } = parseDevice(text)
        expect(text.trim().startsWith(kind)).toBe(true)
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
        expect((error as Error).message).toContain(`'${text}' is not a `)
      }
    }),
    { seed },
  )
})

test('lanes take the GPUs in turn, each as often as any other', () => {
  fc.assert(
    fc.property(numbers(1, 8), fc.integer({ min: 1, max: 4 }), (gpus, each) => {
      const lanes = Array.from({ length: gpus.length * each }, (_, lane) => lane)
      const taken = lanes.map((lane) => deviceOfLane({ kind: 'cuda', numbers: gpus }, lane).numbers)
      for (const one of taken) expect(one).toHaveLength(1)
      for (const gpu of gpus) expect(taken.filter(([one]) => one === gpu)).toHaveLength(each)
    }),
    { seed },
  )
  expect(deviceOfLane({ kind: 'cpu', numbers: [0, 1] }, 3)).toEqual({ kind: 'cpu', numbers: [0, 1] })
})
