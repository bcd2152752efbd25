import { Code, Refusal } from '@millrace/base'
import type { FactKeys, FactTable } from './store'

/** Bytes of a key at most: LMDB takes 1978, four of which name the table. The limit of every store, so that none surprises. */
export const keyBytesMax = 1974

export function isStringKeys(keys: FactKeys): keys is Exclude<FactKeys, BigUint64Array> {
  return 'spans' in keys
}

export function checkKeyKind(table: FactTable, keys: FactKeys): void {
  const kind = isStringKeys(keys) ? 'string' : 'u64'
  if (kind !== table.key)
    throw new Refusal(
      Code.INVALID_ARGUMENT,
      `fact table \`${table.name}\` has ${table.key} keys, it was asked with ${kind} keys`,
    )
}

/** A key of a feed as bytes: UTF-8, or 8 bytes with the biggest first, so that neighbours lie together. */
export function encodeKey(table: FactTable, key: string | bigint): Buffer {
  if (table.key === 'u64') {
    if (typeof key !== 'bigint' || key < 0n || key > 0xffff_ffff_ffff_ffffn)
      throw new Refusal(
        Code.INVALID_ARGUMENT,
        `fact table \`${table.name}\` has u64 keys (a bigint from 0 to 2^64-1), not ${describeKey(key)}`,
      )
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(key)
    return bytes
  }
  if (typeof key !== 'string')
    throw new Refusal(
      Code.INVALID_ARGUMENT,
      `fact table \`${table.name}\` has string keys, not the ${typeof key} ${String(key)}`,
    )
  const bytes = Buffer.from(key, 'utf8')
  if (bytes.length > keyBytesMax)
    throw new Refusal(
      Code.INVALID_ARGUMENT,
      `fact table \`${table.name}\`: key ${describeKey(key)} has ${bytes.length} bytes, the limit is ${keyBytesMax}`,
    )
  return bytes
}

/** The key that `encodeKey` made these bytes of. */
export function decodeKey(table: FactTable, bytes: Buffer): string | bigint {
  return table.key === 'u64' ? bytes.readBigUInt64BE(0) : bytes.toString('utf8')
}

/** A key in a message: quoted, cut short. */
export function describeKey(key: unknown): string {
  if (typeof key !== 'string') return `${String(key)} (${typeof key})`
  return JSON.stringify(key.length > 40 ? `${key.slice(0, 40)}...` : key)
}
