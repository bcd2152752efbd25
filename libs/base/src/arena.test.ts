import fc from 'fast-check'
import { Arena } from './index'

const totalBytes = 4096
const blockBytesMin = 64

type Step = { readonly take: number } | { readonly release: number }
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ take: fc.oneof(fc.nat(300), fc.nat(totalBytes)) }) },
    { weight: 2, arbitrary: fc.record({ release: fc.nat() }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 120 },
)

interface Block {
  readonly begin: number
  readonly bytes: number
}

/** The smallest block for `bytes`, by counting up. */
function sizeFor(bytes: number): number {
  let size = blockBytesMin
  while (size < bytes) size *= 2
  return size
}

/** Whether a block of `size`, aligned to its size, fits beside those that are taken. */
function fits(taken: readonly Block[], size: number): boolean {
  for (let begin = 0; begin + size <= totalBytes; begin += size)
    if (taken.every((block) => block.begin + block.bytes <= begin || begin + size <= block.begin)) return true
  return false
}

test('blocks are apart, aligned and counted, and are found whenever there is one', () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const arena = new Arena(totalBytes, blockBytesMin)
      const taken: Block[] = []
      for (const step of steps) {
        if ('take' in step) {
          const size = sizeFor(step.take)
          const possible = fits(taken, size)
          const begin = arena.take(step.take)
          expect(begin >= 0).toBe(possible)
          if (begin < 0) continue
          expect(arena.blockBytes(step.take)).toBe(size)
          expect(begin % size).toBe(0)
          expect(begin + size).toBeLessThanOrEqual(totalBytes)
          for (const other of taken)
            expect(begin >= other.begin + other.bytes || begin + size <= other.begin).toBe(true)
          taken.push({ begin, bytes: size })
        } else if (taken.length > 0) {
          arena.release(taken.splice(step.release % taken.length, 1)[0]!.begin)
        }
        expect(arena.usedBlocks).toBe(taken.length)
        expect(arena.usedBytes).toBe(taken.reduce((sum, block) => sum + block.bytes, 0))
      }
      for (const block of taken) arena.release(block.begin)
      expect(arena.usedBytes).toBe(0)
      // All is one block again.
      expect(arena.take(totalBytes)).toBe(0)
      expect(arena.take(1)).toBe(-1)
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('what is not taken is not released', () => {
  const arena = new Arena(totalBytes, blockBytesMin)
  const first = arena.take(128)
  arena.take(64)
  for (const offset of [first + 64, first + 1, 1024, totalBytes, totalBytes * 2, -64])
    expect(() => arena.release(offset)).toThrow(/is not taken/)
  arena.release(first)
  expect(() => arena.release(first)).toThrow(/is not taken/)
  expect(arena.usedBytes).toBe(64)
})

test('more than the arena holds is refused', () => {
  const arena = new Arena(totalBytes, blockBytesMin)
  for (const bytes of [totalBytes + 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])
    expect(arena.take(bytes)).toBe(-1)
  expect(arena.usedBlocks).toBe(0)
})

test('sizes are powers of two', () => {
  expect(() => new Arena(3000, 64)).toThrow(/powers of two/)
  expect(() => new Arena(4096, 48)).toThrow(/powers of two/)
  expect(() => new Arena(64, 128)).toThrow(/at least one block/)
})

test('the largest arena counts right, a larger one is refused', () => {
  // Never touched, so the operating system gives no memory for it.
  const arena = new Arena(2 ** 30, 2 ** 20)
  const halves = [arena.take(2 ** 29), arena.take(2 ** 29)]
  expect(halves).toEqual([0, 2 ** 29])
  expect(arena.usedBytes).toBe(2 ** 30)
  for (const half of halves) arena.release(half)
  expect(arena.take(2 ** 30)).toBe(0)
  expect(() => new Arena(2 ** 31, 2 ** 20)).toThrow(/1 GiB/)
})
