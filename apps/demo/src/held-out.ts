import { murmur3 } from '@millrace/base'

/** Every fifth example, by a hash of its name: held out in every run, however the others are ordered. */
export function isHeldOut(name: string): boolean {
  const bytes = Buffer.from(name, 'utf8')
  return murmur3(bytes, 0, bytes.length, 0) % 5 === 0
}
