import { init, type EChartsOption } from 'echarts'

/** Lines over one pair of axes. */
export interface Plot {
  readonly title: string
  /** Smaller, below the title: what it was measured on. */
  readonly subtitle?: string
  readonly x: Axis
  readonly y: Axis
  readonly lines: readonly Line[]
}

export interface Axis {
  readonly label: string
  readonly scale?: 'linear' | 'log'
  readonly min?: number
  readonly max?: number
}

export interface Line {
  readonly name: string
  /** In the order in which they are joined. */
  readonly points: readonly (readonly [x: number, y: number])[]
  /** Dashed: a limit or a wish, not a measurement. */
  readonly dashed?: boolean
}

/** Groups of bars. */
export interface Bars {
  readonly title: string
  readonly subtitle?: string
  readonly y: Axis
  readonly groups: readonly string[]
  /** One bar in each group; `stacked` ones are on each other. */
  readonly bars: readonly { readonly name: string; readonly values: readonly number[] }[]
  readonly stacked?: boolean
}

/** The plot as an SVG, the same bytes for the same plot. */
export function plotSvg({ title, subtitle = '', x, y, lines }: Plot): string {
  return svgOf({
    title: { text: title, subtext: subtitle, left: 'center' },
    xAxis: axisOf(x),
    yAxis: { ...axisOf(y), nameGap: 60 },
    series: lines.map(({ name, points, dashed = false }) => ({
      type: 'line' as const,
      name,
      data: points.map((point) => [...point]),
      symbolSize: dashed ? 0 : 6,
      lineStyle: { type: dashed ? ('dashed' as const) : ('solid' as const) },
    })),
  })
}

/** Bars as an SVG, the same bytes for the same bars. */
export function barsSvg({ title, subtitle = '', y, groups, bars, stacked = false }: Bars): string {
  return svgOf({
    title: { text: title, subtext: subtitle, left: 'center' },
    xAxis: {
      type: 'category',
      data: [...groups],
      axisLabel: { interval: 0, width: 640 / groups.length, overflow: 'break' },
    },
    yAxis: { ...axisOf(y), nameGap: 60 },
    series: bars.map(({ name, values }) => ({
      type: 'bar' as const,
      name,
      data: [...values],
      ...(stacked && { stack: 'all' }),
    })),
  })
}

function axisOf({ label, scale = 'linear', min, max }: Axis): object {
  return {
    type: scale === 'log' ? 'log' : 'value',
    name: label,
    nameLocation: 'middle',
    nameGap: 30,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
  }
}

function svgOf(option: EChartsOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 800, height: 480 })
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#fff',
      legend: { bottom: 0 },
      grid: { left: 80, right: 30, top: 70, bottom: 80 },
      ...option,
    })
    return renamed(chart.renderToSVGString())
  } finally {
    chart.dispose()
  }
}

/** The library numbers what it names through all charts of a process; here, through one. */
function renamed(svg: string): string {
  const names = new Map<string, string>()
  return svg.replace(/\bzr\d+-\w+(-\d+)?/g, (name) => {
    if (!names.has(name)) names.set(name, `plot-${names.size}`)
    return names.get(name)!
  })
}
