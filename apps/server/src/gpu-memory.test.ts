import { parseGpus } from './gpu-memory'

const mib = 2 ** 20

test('a line for each GPU, in MiB and percent', () => {
  expect(parseGpus('0, NVIDIA A100-SXM4-40GB, 1024, 40960, 37\n1, NVIDIA A100-SXM4-40GB, 0, 40960, 0\n')).toEqual([
    { index: 0, name: 'NVIDIA A100-SXM4-40GB', usedBytes: 1024 * mib, totalBytes: 40960 * mib, busy: 0.37 },
    { index: 1, name: 'NVIDIA A100-SXM4-40GB', usedBytes: 0, totalBytes: 40960 * mib, busy: 0 },
  ])
})

test('what the driver does not know, names with commas, and what is no GPU', () => {
  expect(parseGpus('0, Graphics, Device, 5, 10, [N/A]')).toEqual([
    { index: 0, name: 'Graphics, Device', usedBytes: 5 * mib, totalBytes: 10 * mib, busy: null },
  ])
  for (const text of ['', 'No devices were found', '0, A, [N/A], [N/A], 3', 'NVIDIA-SMI has failed, because, a, b, c'])
    expect(parseGpus(text)).toEqual([])
})
