import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { findTensorflow } from '@millrace/engine'

/** What a machine may lack, and how a test finds out. `tools/extras.sh NAME` installs each. */
const present = {
  openssl: () => spawnSync('openssl', ['version']).status === 0,
  redis: () => spawnSync('redis-server', ['--version']).status === 0,
  vulkan: () => existsSync(vulkanDriver) && existsSync('/usr/lib/x86_64-linux-gnu/libvulkan.so.1'),
  tensorflow: () => !('reason' in findTensorflow(process.env)),
} satisfies Record<string, () => boolean>

export type Extra = keyof typeof present

/** The software Vulkan device of Debian's chromium. */
export const vulkanDriver = '/usr/lib/chromium/vk_swiftshader_icd.json'

/**
 * `describe` where the machine has `extra`; else its tests are skipped, with one line that says what installs it.
 * With TEST_EXTRAS=required, as in CI, its absence is a failure: nothing is skipped unseen.
 */
export function describeWith(extra: Extra): jest.Describe {
  if (present[extra]()) return describe
  const remedy = `tools/extras.sh ${extra} installs it`
  if (process.env['TEST_EXTRAS'] === 'required') {
    test(`${extra} is there`, () => {
      throw new Error(`${extra} is not on this machine: ${remedy}`)
    })
  } else process.stderr.write(`skipped: ${extra} is not on this machine; ${remedy}\n`)
  return describe.skip
}
