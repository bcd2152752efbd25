import { readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads'
import type { ThreadProfile } from './thread-profile'

/*
 * Preloaded into a lane and its pool threads: between two SIGUSR2 each of them is profiled. A thread writes into
 * PROFILE_FOLDER what it did (`<name>.cpuprofile`), the front thread also what it allocated (`front.heapprofile`), and the
 * account of it, last, as `<name>.json`.
 */

const folder = process.env['PROFILE_FOLDER']
/** Microseconds between two samples. */
const interval = 100

if (folder !== undefined && (!isMainThread || process.argv[1]?.endsWith('lane-process.js') === true)) {
  const name = isMainThread ? 'front' : `pool-${threadId}`
  const session = new Session()
  session.connect()
  let begunCpuUs = -1
  const turn = (): void => {
    if (begunCpuUs < 0) {
      session.post('Profiler.enable')
      session.post('Profiler.setSamplingInterval', { interval })
      // The flags are newer than the types that Node ships.
      const collected = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true }
      if (isMainThread) session.post('HeapProfiler.startSampling', { samplingInterval: 4096, ...collected })
      session.post('Profiler.start')
      begunCpuUs = threadCpuUs()
      return
    }
    const cpuUs = threadCpuUs() - begunCpuUs
    session.post('Profiler.stop', (_, { profile }) => {
      writeFileSync(join(folder, `${name}.cpuprofile`), JSON.stringify(profile))
      if (isMainThread)
        session.post('HeapProfiler.stopSampling', (__, heap) =>
          writeFileSync(join(folder, `${name}.heapprofile`), JSON.stringify(heap.profile)),
        )
      const account: ThreadProfile = { name, cpuUs }
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(account))
    })
  }
  // A signal reaches the main thread alone.
  const channel = new BroadcastChannel('millrace-profile')
  if (isMainThread)
    process.on('SIGUSR2', () => {
      channel.postMessage('turn')
      turn()
    })
  else channel.onmessage = turn
  channel.unref()
}

/** CPU of this thread, by the kernel's account. */
function threadCpuUs(): number {
  const task = readlinkSync('/proc/thread-self')
  return Number(readFileSync(`/proc/${task}/schedstat`, 'utf8').split(' ')[0]) / 1000
}
