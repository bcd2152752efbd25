import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system in memory that is soon full; who mounts it must be root. */
export class SmallDisk {
  private constructor(readonly folder: string) {}

  /** @returns why there is none, where this user may not mount */
  static mount(bytes: number): SmallDisk | string {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-disk-'))
    const why = mount('-t', 'tmpfs', '-o', `size=${bytes}`, 'millrace-test', folder)
    if (why === null) return new SmallDisk(folder)
    rmdirSync(folder)
    return why
  }

  /** Writes a file until nothing is left. */
  fill(): void {
    try {
      for (let n = 0; ; n++) writeFileSync(join(this.folder, `rest-${n}`), Buffer.alloc(64 * 1024))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }

  resize(bytes: number): void {
    const why = mount('-o', `remount,size=${bytes}`, this.folder)
    if (why !== null) throw new Error(why)
  }

  /** Also where somebody still has a file of it open. */
  unmount(): void {
    spawnSync('umount', ['-l', this.folder])
    rmdirSync(this.folder)
  }
}

function mount(...args: readonly string[]): string | null {
  const { status, stderr, error } = spawnSync('mount', args, { encoding: 'utf8' })
  return status === 0 ? null : (error?.message ?? stderr.trim())
}
