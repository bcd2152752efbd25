import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { isMainThread } from 'node:worker_threads'

/*
 * Preloaded into a lane: between two SIGUSR2 it samples what the front thread allocates on its heap, objects that are
 * collected meanwhile included, and writes the sum to MEASURED_HEAP_FILE.
 */
interface Node {
  readonly selfSize: number
  readonly children: readonly Node[]
}

const file = process.env['MEASURED_HEAP_FILE']
if (file !== undefined && isMainThread && process.argv[1]?.endsWith('lane-process.js') === true) {
  const session = new Session()
  session.connect()
  let sampling = false
  process.on('SIGUSR2', () => {
    sampling = !sampling
    if (sampling) {
      // The flags are newer than the types that Node ships.
      const options = {
        samplingInterval: 4096,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      }
      session.post('HeapProfiler.startSampling', options)
    } else
      session.post('HeapProfiler.stopSampling', (_, { profile }) => {
        const sum = ({ selfSize, children }: Node): number =>
          children.reduce((total, child) => total + sum(child), selfSize)
        writeFileSync(file, String(sum(profile.head)))
      })
  })
}
