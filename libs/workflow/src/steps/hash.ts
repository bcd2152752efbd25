import { murmur3, type Strings } from '@millrace/base'

/** Each text or bytes value to a bucket from 0 to `buckets - 1`: `murmur3(bytes, seed) % buckets`. Decodes nothing. */
export function hashStrings(
  values: Strings,
  buckets: number,
  into: Int32Array | Float32Array,
  seed = 0,
  stride = 1,
  offset = 0,
): void {
  const { spans, heap } = values
  for (let i = 0, at = offset; i < values.length; i++, at += stride)
    into[at] = murmur3(heap, spans[2 * i]!, spans[2 * i + 1]!, seed) % buckets
}

/** Each number of a scalar column to a bucket: murmur3 of its little-endian bytes, so `5` as u32 and as u64 differ. */
export function hashNumbers(
  values: Int32Array | Uint32Array | BigInt64Array | BigUint64Array,
  buckets: number,
  into: Int32Array | Float32Array,
  seed = 0,
  stride = 1,
  offset = 0,
): void {
  const size = values.BYTES_PER_ELEMENT
  const bytes = new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength)
  for (let i = 0, at = offset; i < values.length; i++, at += stride)
    into[at] = murmur3(bytes, size * i, size, seed) % buckets
}
