import { message } from './fixtures'
import { InProcessRoad } from './in-process-road'

/*
 * `node road-loop.js REQUESTS`: the road in one process, for whoever looks at what V8 makes of it (tools/hot-road.ts).
 * Prints when the first half was served, microseconds since the process began.
 */
const requests = Number(process.argv[2])
const road = new InProcessRoad()
const request = message()
for (let i = 0; i < requests / 2; i++) road.serveOne(request)
console.log(Math.round(process.uptime() * 1e6))
for (let i = 0; i < requests / 2; i++) road.serveOne(request)
