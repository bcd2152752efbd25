import { plotSvg, type Plot } from './plot'

const plot: Plot = {
  title: 'Goodput <1>',
  x: { label: 'load' },
  y: { label: 'requests/s', scale: 'log', min: 1 },
  lines: [
    {
      name: 'answered',
      points: [
        [0.5, 100],
        [3, 190],
      ],
    },
    { name: 'wished for', points: [[0, 150]], dashed: true },
  ],
}

test('a plot is an SVG that names what it shows, the same one each time', () => {
  const svg = plotSvg(plot)
  expect(svg).toMatch(/^<svg [^]*<\/svg>$/)
  for (const text of ['Goodput &lt;1&gt;', 'load', 'requests/s', 'answered', 'wished for']) expect(svg).toContain(text)
  expect(plotSvg(plot)).toBe(svg)
})
