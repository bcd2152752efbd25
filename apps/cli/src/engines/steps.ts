import { paint } from '../output'

/** Shows how far a long work has come, one step after the other. */
export interface Steps {
  /** @param bytes what `reached` counts up to; 0 where that is not known */
  begin(title: string, bytes?: number): void
  reached(bytes: number): void
  end(): void
  /** The step did not end well: the line that was being drawn is left. */
  leave(): void
}

const barWidth = 24
const redrawMs = 100
const lineMs = 10_000

/** A bar that is drawn over and over on a terminal; elsewhere a line for each step, and one every 10 s. */
export function showSteps(stream: NodeJS.WriteStream): Steps {
  let title = ''
  let total = 0
  let count = 0
  let began = 0
  let timer: NodeJS.Timeout | undefined
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`
  const share = (): string => (total === 0 ? seconds() : `${megabytes(count)} of ${megabytes(total)}, ${seconds()}`)
  const draw = (): void => {
    const full = total === 0 ? 0 : Math.floor(Math.min(1, count / total) * barWidth)
    const bar = total === 0 ? '' : `[${'='.repeat(full)}${' '.repeat(barWidth - full)}] `
    stream.write(`\r\u001b[2K${title}  ${paint('dim', `${bar}${share()}`, stream)}`)
  }
  const stop = (): void => {
    clearInterval(timer)
    if (stream.isTTY) stream.write('\r\u001b[2K')
  }
  return {
    begin(text, bytes = 0) {
      ;[title, total, count, began] = [text, bytes, 0, performance.now()]
      if (!stream.isTTY) stream.write(`${title} ...\n`)
      timer = stream.isTTY
        ? setInterval(draw, redrawMs)
        : setInterval(() => void stream.write(`${title} ... ${share()}\n`), lineMs)
    },
    reached: (bytes) => {
      count = bytes
    },
    end() {
      stop()
      stream.write(`${title}: ${paint('dim', seconds(), stream)}\n`)
    },
    leave: stop,
  }
}

export function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${Math.round(bytes / 1e6)} MB`
}
