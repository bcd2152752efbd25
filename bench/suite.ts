import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bars, Plot } from './plot'

/** What a run of the bench was asked. */
export interface Options {
  /** As short as it gets: that everything runs and answers rightly, not how fast. */
  readonly smoke: boolean
  /** In a fifth of the time, with wider spread. */
  readonly quick: boolean
  readonly rounds: number
  /** Of one run. */
  readonly seconds: number
  /** Only what has this in its name. */
  readonly only: string | undefined
  /** What takes the time is looked at too, where a suite can: its profiles are put into this folder. */
  readonly profiles: string | undefined
  /** What goes on. */
  readonly say: (line: string) => void
}

export interface Suite {
  readonly name: string
  readonly about: string
  /** Run when no suite is named. */
  readonly usual: boolean
  run(options: Options): Promise<Result> | Result
}

export interface Result {
  /** For people. */
  readonly text: string
  /** For machines: plain data. */
  readonly results: unknown
  /** Where people would rather look; `name` is a part of the file's. */
  readonly plots?: readonly { readonly name: string; readonly plot: Plot | Bars }[]
}

/** How long a run is. */
export function timingOf({ smoke, quick, seconds }: Options): { warmMsMax: number; measureMs: number } {
  if (smoke) return { warmMsMax: 200, measureMs: 300 }
  return { warmMsMax: quick ? 3000 : 8000, measureMs: quick ? 1000 : seconds * 1000 }
}

export function roundsOf({ smoke, quick, rounds }: Options): number {
  return smoke ? 1 : quick ? Math.min(2, rounds) : rounds
}

/** A folder for the time of `use`. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
