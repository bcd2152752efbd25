import fc from 'fast-check'
import { fnv1a64, murmur3, type U64 } from './index'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

function fnv(bytes: Uint8Array, begin = 0, length = bytes.length): string {
  const out: U64 = { lo: 0, hi: 0 }
  fnv1a64(bytes, begin, length, out)
  return ((BigInt(out.hi) << 32n) | BigInt(out.lo)).toString(16).padStart(16, '0')
}

describe('FNV-1a, 64 bit', () => {
  test.each([
    ['', 'cbf29ce484222325'],
    ['a', 'af63dc4c8601ec8c'],
    ['b', 'af63df4c8601f1a5'],
    ['foobar', '85944171f73967e8'],
  ])('published vector %j', (text, hash) => {
    expect(fnv(utf8(text))).toBe(hash)
  })

  test('is its definition in integers of any size', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let hash = 0xcbf29ce484222325n
        for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
        expect(fnv(bytes)).toBe(hash.toString(16).padStart(16, '0'))
      }),
      { seed: 1 },
    )
  })
})

describe('MurmurHash3, x86, 32 bit', () => {
  test.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['test', 0, 0xba6bd213],
    ['test', 0x9747b28c, 0x704b81dc],
    ['Hello, world!', 0, 0xc0363e43],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['The quick brown fox jumps over the lazy dog', 0, 0x2e4ff723],
    ['The quick brown fox jumps over the lazy dog', 0x9747b28c, 0x2fa826cd],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['aaa', 0x9747b28c, 0x283e0130],
    ['aa', 0x9747b28c, 0x5d211726],
    ['a', 0x9747b28c, 0x7fa09ea6],
    ['abcd', 0x9747b28c, 0xf0478627],
    ['abc', 0x9747b28c, 0xc84a62dd],
    ['ab', 0x9747b28c, 0x74875592],
  ])('published vector %j, seed %d', (text, seed, hash) => {
    const bytes = utf8(text)
    expect(murmur3(bytes, 0, bytes.length, seed)).toBe(hash)
  })

  test('bytes above 127', () => {
    expect(murmur3(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0, 4, 0)).toBe(0x76293b50)
    expect(murmur3(Uint8Array.of(0x21, 0x43, 0x65, 0x87), 0, 4, 0x5082edee)).toBe(0x2362f9de)
  })
})

test('both hash the bytes they are shown, wherever those lie', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), fc.integer(), (before, bytes, after, seed) => {
      const all = Uint8Array.from([...before, ...bytes, ...after])
      expect(fnv(all, before.length, bytes.length)).toBe(fnv(bytes))
      expect(murmur3(all, before.length, bytes.length, seed)).toBe(murmur3(bytes, 0, bytes.length, seed))
    }),
    { seed: 1 },
  )
})
