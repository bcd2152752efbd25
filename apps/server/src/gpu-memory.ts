import { execFile } from 'node:child_process'

/** What the driver says of one GPU of this machine. */
export interface GpuFigures {
  /** As nvidia-smi counts them, which is how `cuda:N` does. */
  readonly index: number
  readonly name: string
  readonly usedBytes: number
  readonly totalBytes: number
  /** Part of the last sample period in which something ran; null where the driver does not say. */
  readonly busy: number | null
}

const query = ['--query-gpu=index,name,memory.used,memory.total,utilization.gpu', '--format=csv,noheader,nounits']
const timeoutMs = 5_000
/** Absent or broken: asked again so much later. */
const absentMs = 60_000

/** `0, NVIDIA A100, 1024, 40960, 37`, MiB and percent, a line for each GPU; lines that say something else are left out. */
export function parseGpus(csv: string): GpuFigures[] {
  return csv.split('\n').flatMap((line) => {
    const cells = line.split(',').map((cell) => cell.trim())
    const [index = '', busy = '', total = '', used = ''] = [cells[0], cells.at(-1), cells.at(-2), cells.at(-3)]
    // A name may have commas of its own.
    const name = cells.slice(1, -3).join(', ')
    const mib = /^\d+$/
    if (![index, total, used].every((cell) => mib.test(cell)) || name === '') return []
    return [
      {
        index: Number(index),
        name,
        usedBytes: Number(used) * 2 ** 20,
        totalBytes: Number(total) * 2 ** 20,
        busy: mib.test(busy) ? Number(busy) / 100 : null,
      },
    ]
  })
}

/** Asks `nvidia-smi`, where it is on the PATH, at most once a period: a scrape waits for no driver. */
export class GpuMemory {
  /** As of the last answer. */
  figures: readonly GpuFigures[] = []
  private readonly timer: NodeJS.Timeout
  private asking = false
  private againMs = 0

  constructor(periodMs: number) {
    this.timer = setInterval(() => this.ask(), periodMs).unref()
    this.ask()
  }

  close(): void {
    clearInterval(this.timer)
  }

  private ask(): void {
    if (this.asking || performance.now() < this.againMs) return
    this.asking = true
    execFile('nvidia-smi', query, { timeout: timeoutMs, killSignal: 'SIGKILL' }, (error, stdout) => {
      this.asking = false
      this.figures = error === null ? parseGpus(stdout) : []
      if (error !== null) this.againMs = performance.now() + absentMs
    }).unref()
  }
}
