import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseCpus } from './cpus'

/* Reading what the kernel tells under /sys and /proc, where anything may be missing. */

/** The text without spaces around it; null where it cannot be read. */
export function readText(...path: string[]): string | null {
  try {
    return readFileSync(join(...path), 'utf8').trim()
  } catch {
    return null
  }
}

/** A CPU list such as 0-3,6; null where there is none. */
export function readCpuList(...path: string[]): number[] | null {
  return cpusIn(readText(...path))
}

/** A CPU list that is in a text already. */
export function cpusIn(text: string | null | undefined): number[] | null {
  if (text === null || text === undefined) return null
  try {
    return text === '' ? [] : parseCpus(text)
  } catch {
    return null
  }
}

/** A whole number; null where there is none. */
export function readNumber(...path: string[]): number | null {
  const text = readText(...path)
  return text !== null && /^-?\d+$/.test(text) ? Number(text) : null
}

/** Names in a folder, sorted; none where it is missing. */
export function namesIn(...path: string[]): string[] {
  try {
    return readdirSync(join(...path)).sort()
  } catch {
    return []
  }
}
