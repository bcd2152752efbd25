import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { no } from './tools'

/*
 * Where an install grows. `<engines>/.part` is a folder of engines of its own, so that the engine itself can try what is
 * in it; the last step renames `.part/tensorflow` to `tensorflow`. Steps that were done are kept in `.part/steps.json`.
 */
export class Staging {
  private constructor(
    /** What stands in for the engines' folder. */
    readonly engines: string,
    /** What becomes the install. */
    readonly folder: string,
    private readonly recipe: string,
    private readonly done: Set<string>,
  ) {}

  /** Goes on with what was begun by the same recipe; anything else is thrown away. */
  static open(engines: string, recipe: string): Staging {
    const part = join(engines, '.part')
    const begun = readSteps(part)
    if (begun?.recipe !== recipe) rmSync(part, { recursive: true, force: true })
    mkdirSync(join(part, 'tensorflow'), { recursive: true })
    const done = new Set(begun?.recipe === recipe ? begun.done : [])
    return new Staging(part, join(part, 'tensorflow'), recipe, done)
  }

  has(step: string): boolean {
    return this.done.has(step)
  }

  async do(step: string, work: () => Promise<void>): Promise<void> {
    if (this.done.has(step)) return
    await work()
    this.done.add(step)
    const file = join(this.engines, 'steps.json')
    writeFileSync(`${file}.new`, JSON.stringify({ recipe: this.recipe, done: [...this.done] }))
    renameSync(`${file}.new`, file)
  }

  /** Puts it in the place of `target`, which may be there. A cut-off in between is made good by the next `commit`. */
  commit(target: string): void {
    const old = join(this.engines, 'old')
    rmSync(old, { recursive: true, force: true })
    try {
      renameSync(target, old)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    renameSync(this.folder, target)
    rmSync(this.engines, { recursive: true, force: true })
  }
}

function readSteps(part: string): { recipe: string; done: string[] } | null {
  try {
    return JSON.parse(readFileSync(join(part, 'steps.json'), 'utf8')) as { recipe: string; done: string[] }
  } catch {
    return null
  }
}

/** Does `work` while no other process changes the engines in `engines`; what a process that died held is free. */
export async function alone<T>(engines: string, work: () => Promise<T>): Promise<T> {
  const file = join(engines, '.lock')
  mkdirSync(dirname(file), { recursive: true })
  for (let tries = 0; !take(file); tries++) {
    const holder = Number(readFileSync(file, 'utf8'))
    if (tries > 0 || isAlive(holder))
      throw no(`process ${holder} is installing or removing engines in ${engines}; if it is not, remove ${file}`)
    rmSync(file, { force: true })
  }
  try {
    return await work()
  } finally {
    rmSync(file, { force: true })
  }
}

function take(file: string): boolean {
  try {
    const descriptor = openSync(file, 'wx')
    writeSync(descriptor, String(process.pid))
    closeSync(descriptor)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
