import { join } from 'node:path'
import { writeDevice, type Device } from '../workloads/device'
import { mlpRequest, requestsOfTraffic } from '../workloads/mlp'
import { writeTraffic, type Workload } from '../workloads/workload'

/* Workflows whose thread waits for a device: what is predicted of them is told apart from what this machine's CPUs do. */

const devices = {
  'by-the-row': { batchMs: 0.5, rowMs: 0.5, rowsMax: 16 },
  'by-the-batch': { batchMs: 5, rowMs: 0.05, rowsMax: 64 },
  between: { batchMs: 2, rowMs: 0.2, rowsMax: 32 },
} as const satisfies Record<string, Device>

export type DeviceName = keyof typeof devices
export const deviceNames = Object.keys(devices) as readonly DeviceName[]

/** Requests of one row to these, in turns. */
export function devicesOf(names: readonly DeviceName[]): Workload {
  return {
    name: names.join(' and '),
    about: 'devices that a thread waits for',
    prepare: (folder) => {
      const repository = join(folder, 'repository')
      for (const name of deviceNames) writeDevice(repository, name, devices[name])
      const requests = Array.from({ length: requestsOfTraffic }, (_, i) => mlpRequest(names[i % names.length]!, i))
      return { env: { MILLRACE_REPOSITORY: repository }, traffic: writeTraffic(folder, requests) }
    },
  }
}
