import { formatCpus, parseCpus } from './cpus'

export type DeviceKind = 'cpu' | 'cuda' | 'webgpu'

/** What a pool computes on. */
export interface Device {
  readonly kind: DeviceKind
  /** CPUs of a cpu device, none for any; else the GPUs by their number, at least one. Ascending. */
  readonly numbers: readonly number[]
}

const forms: Readonly<Record<DeviceKind, string>> = {
  cpu: 'cpu or cpu:0-3',
  cuda: 'cuda:0 or, a device for each lane, cuda:0,1',
  webgpu: 'webgpu:0',
}

/**
 * `cpu`, `cpu:0-3,6`, `cuda:0`, `cuda:0,1`, `webgpu:0`; a GPU without a number is number 0. Throws RangeError that
 * shows the forms.
 */
export function parseDevice(text: string): Device {
  const [, word, list] = /^(\w+)(?::(.*))?$/.exec(text.trim()) ?? []
  if (word === undefined || !Object.hasOwn(forms, word))
    throw new RangeError(`'${text}' is not a device: ${Object.values(forms).join('; ')}`)
  const kind = word as DeviceKind
  if (list === undefined) return { kind, numbers: kind === 'cpu' ? [] : [0] }
  const numbers = numbersOf(list)
  if (numbers === null || (kind === 'webgpu' && numbers.length > 1))
    throw new RangeError(`'${text}' is not a ${kind} device such as ${forms[kind]}`)
  return { kind, numbers }
}

/** The shortest text that `parseDevice` reads as this device. */
export function formatDevice({ kind, numbers }: Device): string {
  return numbers.length === 0 ? kind : `${kind}:${formatCpus(numbers)}`
}

/** The one GPU of a lane: lanes take the GPUs in turn. A cpu device is every lane's. */
export function deviceOfLane({ kind, numbers }: Device, lane: number): Device {
  return { kind, numbers: kind === 'cpu' ? numbers : [numbers[lane % numbers.length]!] }
}

function numbersOf(list: string): number[] | null {
  try {
    return parseCpus(list)
  } catch {
    return null
  }
}
