import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
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

/** The plot as an SVG, the same bytes for the same plot. */
export function plotSvg({ title, subtitle = '', x, y, lines }: Plot): string {
  const axis = ({ label, scale = 'linear', min, max }: Axis): object => ({
    type: scale === 'log' ? 'log' : 'value',
    name: label,
    nameLocation: 'middle',
    nameGap: 30,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
  })
  const option: EChartsOption = {
    animation: false,
    backgroundColor: '#fff',
    title: { text: title, subtext: subtitle, left: 'center' },
    legend: { bottom: 0 },
    grid: { left: 80, right: 30, top: 70, bottom: 80 },
    xAxis: axis(x),
    yAxis: { ...axis(y), nameGap: 60 },
    series: lines.map(({ name, points, dashed = false }) => ({
      type: 'line' as const,
      name,
      data: points.map((point) => [...point]),
      symbolSize: dashed ? 0 : 6,
      lineStyle: { type: dashed ? ('dashed' as const) : ('solid' as const) },
    })),
  }
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 800, height: 480 })
  try {
    chart.setOption(option)
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

/** Writes the plot as an SVG, with the folder that it is to be in. */
export function writePlot(file: string, plot: Plot): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${plotSvg(plot)}\n`)
}
