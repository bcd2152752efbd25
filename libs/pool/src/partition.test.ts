import fc from 'fast-check'
import { inOrder, partition } from './partition'
import type { Cpu } from './topology'

const seed = 1
const machine = fc
  .record({
    nodes: fc.integer({ min: 1, max: 8 }),
    cores: fc.integer({ min: 1, max: 12 }),
    perCore: fc.integer({ min: 1, max: 2 }),
  })
  .map(({ nodes, cores, perCore }) => ({
    nodes,
    perCore,
    cpus: Array.from({ length: nodes * cores * perCore }, (_, cpu): Cpu => {
      const core = cpu % (nodes * cores)
      return { cpu, core, node: Math.floor(core / cores), socket: 0 }
    }),
  }))
const little = { least: 1, wanted: 1, fixed: false }
const numbers = (cpus: readonly Cpu[]): number[] => cpus.map(({ cpu }) => cpu).sort((a, b) => a - b)

test('parts do not overlap, and nothing is left over when lanes divide over the nodes', () => {
  fc.assert(
    fc.property(machine, fc.integer({ min: 1, max: 64 }), ({ cpus, nodes }, lanes) => {
      const parts = partition(cpus, lanes, little, [])
      expect(parts).toHaveLength(lanes)
      if (lanes > cpus.length) return
      const all = numbers(parts.flat())
      expect(new Set(all).size).toBe(all.length)
      if (lanes % nodes === 0 || nodes % lanes === 0) expect(all).toEqual(numbers(cpus))
    }),
    { seed },
  )
})

test('lanes of equal nodes differ by a core at most', () => {
  fc.assert(
    fc.property(machine, fc.integer({ min: 1, max: 8 }), ({ cpus, nodes, perCore }, each) => {
      const sizes = partition(cpus, each * nodes, little, []).map((part) => part.length)
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(perCore)
    }),
    { seed },
  )
})

test('every lane has what it needs, as long as there is enough for all', () => {
  const needs = fc.integer({ min: 1, max: 6 })
  fc.assert(
    fc.property(machine, fc.integer({ min: 1, max: 16 }), needs, fc.boolean(), ({ cpus }, lanes, least, fixed) => {
      const parts = partition(cpus, lanes, { least, wanted: least + 1, fixed }, [])
      if (lanes * least > cpus.length) return
      for (const part of parts) expect(part.length).toBeGreaterThanOrEqual(least)
    }),
    { seed, numRuns: 300 },
  )
})

test('lanes that need little are where they want to be', () => {
  fc.assert(
    fc.property(machine, fc.infiniteStream(fc.nat(7)), ({ cpus, nodes }, dice) => {
      const homes = Array.from({ length: nodes }, () => dice.next().value! % nodes)
      const parts = partition(cpus, nodes, { least: 1, wanted: 1, fixed: true }, homes)
      const room = cpus.length / nodes
      if (homes.some((home) => homes.filter((other) => other === home).length > room)) return
      parts.forEach((part, lane) => expect([...new Set(part.map(({ node }) => node))]).toEqual([homes[lane]]))
    }),
    { seed },
  )
})

test('the order has each CPU once, on one node as long as one is enough', () => {
  fc.assert(
    fc.property(machine, fc.integer({ min: 1, max: 30 }), fc.nat(7), ({ cpus, nodes }, wanted, near) => {
      const order = inOrder(cpus, wanted, near)
      expect(numbers(order)).toEqual(numbers(cpus))
      if (wanted > cpus.length / nodes) return
      const taken = new Set(order.slice(0, wanted).map(({ node }) => node))
      expect([...taken]).toEqual([near < nodes ? near : 0])
    }),
    { seed },
  )
})
