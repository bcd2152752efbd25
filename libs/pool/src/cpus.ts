/** `0-3,6` to [0, 1, 2, 3, 6], ascending. Throws RangeError that shows the form. */
export function parseCpus(list: string): number[] {
  const cpus = new Set<number>()
  for (const part of list.split(',')) {
    const match = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || last < first || last > 1023) throw new RangeError(`'${list}' is not a CPU list such as 0-3,6`)
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu)
  }
  return [...cpus].sort((a, b) => a - b)
}

export function formatCpus(cpus: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < cpus.length; ) {
    let j = i
    while (j + 1 < cpus.length && cpus[j + 1] === cpus[j]! + 1) j++
    parts.push(j === i ? `${cpus[i]}` : `${cpus[i]}-${cpus[j]}`)
    i = j + 1
  }
  return parts.join(',')
}
