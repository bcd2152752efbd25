import type { Profiler } from 'node:inspector'
import { stepsOf } from './thread-profile'

const frame = (functionName: string, url = ''): Profiler.ProfileNode['callFrame'] => ({
  functionName,
  ...{ url, scriptId: '0', lineNumber: 0, columnNumber: 0 },
})

test('samples are counted for the innermost function that is known, of the CPU that was used', () => {
  const profile: Profiler.Profile = {
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3, 6, 7] },
      { id: 2, callFrame: frame('(idle)') },
      { id: 3, callFrame: frame('serve', 'file:///m/apps/server/dist/road.js'), children: [4] },
      { id: 4, callFrame: frame('verifyRequest', 'file:///m/libs/wire/dist/verify.js'), children: [5] },
      { id: 5, callFrame: frame('toString') },
      { id: 6, callFrame: frame('(garbage collector)') },
      { id: 7, callFrame: frame('post', 'node:inspector'), children: [8] },
      { id: 8, callFrame: frame('dispatch') },
    ],
    startTime: 0,
    endTime: 1000,
    samples: [8, 2, 3, 4, 5, 6],
    timeDeltas: [70, 530, 100, 100, 150, 50],
  }
  // 400 of 1000 were neither idle nor the profiler's own; the kernel says that 200 of them were spent on a CPU.
  expect(stepsOf(profile, { name: 'front', cpuUs: 200 })).toEqual([
    ['verify', 125],
    ['road', 50],
    ['garbage collector', 25],
  ])
})
