import { hostname } from 'node:os'
import { murmur3 } from '@millrace/base'

/**
 * What a lane is called by whoever is connected to it: `server/lane/lanes`. All lanes of one start have the same server, a
 * hash, since the machine's own name is nobody's business.
 */
export function laneName(lane: number, lanes: number): string {
  const bytes = Buffer.from(`${hostname()} ${process.ppid}`)
  return `${murmur3(bytes, 0, bytes.length, 0).toString(16).padStart(8, '0')}/${lane}/${lanes}`
}
