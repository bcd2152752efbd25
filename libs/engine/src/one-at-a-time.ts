import { mkdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const lookMs = 20
/** After so long whoever works is thought to be gone: a thread may be ended at any time. */
const workMsMax = 60_000

/**
 * Runs `work` while no other thread of this process runs work of that name. Threads share no memory here, but a folder that
 * one of them makes in `parent`. Where none can be made, `work` runs all the same.
 */
export async function oneAtATime<T>(name: string, work: () => Promise<T>, parent = tmpdir()): Promise<T> {
  const folder = join(parent, `millrace-${name}-${process.pid}`)
  const mine = await taken(folder)
  try {
    return await work()
  } finally {
    if (mine) rmSync(folder, { recursive: true, force: true })
  }
}

/** False when it cannot be had. */
async function taken(folder: string): Promise<boolean> {
  for (;;) {
    try {
      mkdirSync(folder)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
    }
    // One that is older than this process is of another that had its number.
    const sinceMs = Date.now() - Math.min(workMsMax, process.uptime() * 1000 + 1000)
    if (madeMs(folder) < sinceMs) rmSync(folder, { recursive: true, force: true })
    else await sleep(lookMs)
  }
}

function madeMs(folder: string): number {
  try {
    return statSync(folder).mtimeMs
  } catch {
    return Infinity
  }
}
