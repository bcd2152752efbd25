import { allocate, objectiveHash } from './index'
import vectors from '../vectors.json'

test('the vectors that other languages check against', () => {
  for (const { name, hash } of vectors.objectives) {
    const { lo, hi } = objectiveHash(name)
    expect(((BigInt(hi) << 32n) | BigInt(lo)).toString(16).padStart(16, '0')).toBe(hash)
  }
  for (const { salt, subject, cell } of vectors.allocations)
    expect(allocate(salt, subject, vectors.cells).name).toBe(cell)
})
