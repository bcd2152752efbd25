import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeRecording, encodeRequest, type RequestMessage } from '@millrace/wire'

/** Something that people serve, and what they ask of it. */
export interface Workload {
  readonly name: string
  /** In a few words. */
  readonly about: string
  /** Makes what it needs in `folder`, which is empty. Throws an Error that says what is missing here. */
  prepare(folder: string): Promise<Prepared> | Prepared
}

export interface Prepared {
  /** Variables of the server. */
  readonly env: Readonly<Record<string, string>>
  /** A recording of requests. */
  readonly traffic: string
}

/** Milliseconds between recorded requests: of use only to those who replay them at their own pace. */
const gapUs = 1000

/** Writes what is asked as a recording, as a server would have. */
export function writeTraffic(folder: string, requests: readonly RequestMessage[]): string {
  const path = join(folder, 'traffic.mrtf')
  const messages = requests.map((request, i) => ({
    arrivalUs: i * gapUs,
    message: encodeRequest({ ...request, id: BigInt(i + 1) }),
  }))
  writeFileSync(path, encodeRecording({ beganMs: 0, requests: messages }))
  return path
}

/** `count` numbers `0 .. n - 1`, of which the k-th comes as often as 1 / (k + 1): Zipf's law. */
export function zipf(count: number, n: number, random: () => number): number[] {
  const upTo: number[] = []
  for (let k = 0; k < n; k++) upTo.push((upTo.at(-1) ?? 0) + 1 / (k + 1))
  return Array.from({ length: count }, () => {
    const drawn = random() * upTo.at(-1)!
    return upTo.findIndex((sum) => drawn < sum)
  })
}
