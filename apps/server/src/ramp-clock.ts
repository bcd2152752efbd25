import { advance, type Table } from '@millrace/rules'

/** Longest that a timer is set for: a clock that was put right is noticed within it. */
const restMsMax = 60_000

/** Moves the canaries of a table on as their times come; returns what stops it. */
export function followRamps(table: Table): () => void {
  let timer: NodeJS.Timeout | undefined
  const move = (): void => {
    const next = advance(table, Date.now())
    if (table.ramps.length > 0) timer = setTimeout(move, Math.min(restMsMax, Math.max(1, next - Date.now()))).unref()
  }
  move()
  return () => clearTimeout(timer)
}
