/** In pixels; `right` and `bottom` are the first that are outside. */
export interface Box {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
}

/** Where a pixel counts as text, and how sure its box must be on average. */
const threshold = 0.3
const sure = 0.6
/** The network marks the inner part of a line; this much of its area over its perimeter is what it leaves out. */
const growth = 1.6
const sideMin = 4

/**
 * Boxes around what belongs together in a map of probabilities of text, upright, grown to the whole line. In reading
 * order: from line to line, and from left to right where boxes stand beside each other.
 */
export function findBoxes(map: Float32Array, width: number, height: number): Box[] {
  const seen = new Uint8Array(map.length)
  const stack: number[] = []
  const boxes: Box[] = []
  for (let start = 0; start < map.length; start++) {
    if (seen[start] === 1 || map[start]! <= threshold) continue
    let [left, top, right, bottom] = [width, height, 0, 0]
    let sum = 0
    let count = 0
    const visit = (pixel: number): void => {
      if (seen[pixel] === 1 || map[pixel]! <= threshold) return
      seen[pixel] = 1
      stack.push(pixel)
    }
    visit(start)
    while (stack.length > 0) {
      const pixel = stack.pop()!
      const [x, y] = [pixel % width, Math.floor(pixel / width)]
      left = Math.min(left, x)
      right = Math.max(right, x + 1)
      top = Math.min(top, y)
      bottom = Math.max(bottom, y + 1)
      sum += map[pixel]!
      count++
      if (x > 0) visit(pixel - 1)
      if (x < width - 1) visit(pixel + 1)
      if (y > 0) visit(pixel - width)
      if (y < height - 1) visit(pixel + width)
    }
    const [w, h] = [right - left, bottom - top]
    if (sum / count < sure || Math.min(w, h) < sideMin) continue
    const more = Math.round((w * h * growth) / (2 * (w + h)))
    boxes.push({
      left: Math.max(0, left - more),
      top: Math.max(0, top - more),
      right: Math.min(width, right + more),
      bottom: Math.min(height, bottom + more),
    })
  }
  return inReadingOrder(boxes)
}

function inReadingOrder(boxes: readonly Box[]): Box[] {
  const lines: Box[][] = []
  for (const box of [...boxes].sort((a, b) => a.top + a.bottom - b.top - b.bottom)) {
    const line = lines.at(-1)
    // The middle of one beside it is above its bottom.
    if (line !== undefined && (box.top + box.bottom) / 2 < line[0]!.bottom) line.push(box)
    else lines.push([box])
  }
  return lines.flatMap((line) => line.sort((a, b) => a.left - b.left))
}
