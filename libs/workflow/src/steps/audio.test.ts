import { frames, resample } from './index'

describe('frames', () => {
  it('overlap, and pad the last one', () => {
    const samples = Float32Array.of(1, 2, 3, 4, 5)
    expect([...frames(samples, { size: 3, hop: 2 })]).toEqual([1, 2, 3, 3, 4, 5])
    expect([...frames(samples, { size: 4, hop: 2 })]).toEqual([1, 2, 3, 4, 3, 4, 5, 0])
    expect([...frames(samples, { size: 8, hop: 1 })]).toEqual([1, 2, 3, 4, 5, 0, 0, 0])
    expect(frames(new Float32Array(0), { size: 8, hop: 1 })).toHaveLength(0)
  })

  it('are weighed by a window', () => {
    expect([...frames(new Float32Array(4).fill(1), { size: 4, hop: 4, window: 'hann' })]).toEqual([0, 0.5, 1, 0.5])
  })

  it('refuse sizes that are none', () => {
    expect(() => frames(new Float32Array(4), { size: 0, hop: 1 })).toThrow('size 0 and hop 1')
    expect(() => frames(new Float32Array(4), { size: 1, hop: 1.5 })).toThrow('hop 1.5')
  })
})

describe('resample', () => {
  const tone = (hz: number, rate: number): Float32Array =>
    Float32Array.from({ length: rate / 2 }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rate))
  /** Away from the ends, where the tone begins and stops at once. */
  const middle = (samples: Float32Array): Float32Array =>
    samples.subarray(Math.floor(samples.length / 8), Math.floor((samples.length * 7) / 8))

  it.each([
    [44_100, 16_000],
    [16_000, 22_050],
    [48_000, 16_000],
    [8_000, 16_000],
  ])('keeps a tone from %i to %i Hz', (from, to) => {
    const out = middle(resample(tone(440, from), from, to))
    const wanted = middle(tone(440, to))
    expect(out).toHaveLength(wanted.length)
    const worst = out.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0)
    expect(worst).toBeLessThan(0.01)
  })

  it('folds no high tone back', () => {
    const loudest = (samples: Float32Array): number => samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0)
    expect(loudest(middle(tone(12_000, 48_000)))).toBeGreaterThan(0.9)
    expect(loudest(middle(resample(tone(12_000, 48_000), 48_000, 16_000)))).toBeLessThan(0.01)
  })

  it('copies at the same rate, and refuses rates that are none', () => {
    const samples = Float32Array.of(1, 2)
    expect(resample(samples, 8000, 8000)).toEqual(samples)
    expect(resample(samples, 8000, 8000)).not.toBe(samples)
    expect(() => resample(samples, 0, 8000)).toThrow('rates 0 and 8000')
  })
})
