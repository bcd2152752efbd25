import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { mlpRequest, requestsOfTraffic } from './mlp'
import { writeTraffic, zipf, type Workload } from './workload'

const tenants = 20

/** Tenants of different size on one model: most ask for a row, some for up to fifty, a fifth of all in bulk. */
export const mixedTenants: Workload = {
  name: 'tenants',
  about: `64 floats to one score, ${tenants} tenants as 1/rank, 1 to 50 rows, a fifth in bulk`,
  prepare: (folder) => {
    const random = seededRandom(tenants)
    const requests = zipf(requestsOfTraffic, tenants, random).map((tenant, i) => ({
      ...mlpRequest('mlp-64', i, random() < 0.8 ? 1 : 1 + Math.floor(random() * 50)),
      context: { tenant: `tenant-${tenant}` },
      priority: random() < 0.2 ? ('bulk' as const) : ('interactive' as const),
    }))
    return {
      env: { MILLRACE_REPOSITORY: join(__dirname, '../../repository') },
      traffic: writeTraffic(folder, requests),
    }
  },
}
