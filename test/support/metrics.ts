/** A metrics page: by `name{labels}` its value, and by name its type. */
export interface MetricsPage {
  readonly series: ReadonlyMap<string, number>
  readonly types: ReadonlyMap<string, string>
}

const line = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)$/

/** Reads the Prometheus text format; throws on a line that is not one, and on a series that comes twice. */
export function readMetrics(page: string): MetricsPage {
  const series = new Map<string, number>()
  const types = new Map<string, string>()
  for (const text of page.split('\n')) {
    if (text === '') continue
    if (text.startsWith('# TYPE ')) {
      const [name, type] = text.slice(7).split(' ')
      types.set(name!, type!)
    }
    if (text.startsWith('#')) continue
    const match = line.exec(text)
    if (match === null) throw new Error(`no line of a metrics page: ${text}`)
    const key = `${match[1]}${match[2] ?? ''}`
    if (series.has(key)) throw new Error(`it comes twice: ${key}`)
    const value = match[3] === '+Inf' ? Infinity : Number(match[3])
    if (Number.isNaN(value)) throw new Error(`no number: ${text}`)
    series.set(key, value)
  }
  return { series, types }
}

/** The counters, and the parts of histograms, that are less than they were, or gone. */
export function wentBack(before: MetricsPage, after: MetricsPage): string[] {
  const grows = (key: string): boolean => {
    const name = key.split('{')[0]!
    return (
      before.types.get(name) === 'counter' || before.types.get(name.replace(/_(bucket|count|sum)$/, '')) === 'histogram'
    )
  }
  return [...before.series]
    .filter(([key, value]) => grows(key) && !((after.series.get(key) ?? -1) >= value))
    .map(([key, value]) => `${key} was ${value}, is ${after.series.get(key)}`)
}
