import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/* What the kernel says of processes; Linux. A process that is gone has nothing. */

export interface Figures {
  readonly rssBytes: number
  readonly descriptors: number
}

/** Of several processes together. */
export function figuresOf(pids: readonly number[]): Figures {
  return pids.map(figuresOfOne).reduce((a, b) => ({
    rssBytes: a.rssBytes + b.rssBytes,
    descriptors: a.descriptors + b.descriptors,
  }))
}

function figuresOfOne(pid: number): Figures {
  const rssKiB = Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
  return { rssBytes: rssKiB * 1024, descriptors: list(`/proc/${pid}/fd`).length }
}

/** Processes that a process started, and that run. */
export function childrenOf(parent: number): number[] {
  return list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      // The name in parentheses may have spaces.
      const [state, ppid] = read(`/proc/${pid}/stat`).split(') ').at(-1)!.split(' ')
      return Number(ppid) === parent && state !== 'Z'
    })
    .map(Number)
}

export function isRunning(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`)
  return stat !== '' && stat.split(') ').at(-1)![0] !== 'Z'
}

/** Which of the processes has the other end of a connection of 127.0.0.1, from a port to a port; null when none has. */
export function ownerOf(pids: readonly number[], from: number, to: number): number | null {
  const hex = (port: number): string => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const line = read('/proc/net/tcp')
    .split('\n')
    .map((row) => row.trim().split(/\s+/))
    .find((cells) => cells[1] === hex(to) && cells[2] === hex(from))
  if (line === undefined) return null
  const socket = `socket:[${line[9]}]`
  return pids.find((pid) => list(`/proc/${pid}/fd`).some((fd) => link(`/proc/${pid}/fd/${fd}`) === socket)) ?? null
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
