import type { EngineKind } from './engine'
export const tfjs: EngineKind = {
  name: 'tfjs',
  formats: ['tfjs'],
  probe: () => ({ available: false, reason: 'being written', install: '' }),
  create: () => Promise.reject(new Error('being written')),
}
