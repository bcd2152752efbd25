import { objectiveHash } from '@millrace/rules'

/** An objective as requests name it. */
export function hashOf(objective: string): bigint {
  const { lo, hi } = objectiveHash(objective)
  return (BigInt(hi) << 32n) | BigInt(lo)
}
