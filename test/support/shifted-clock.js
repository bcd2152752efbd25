// Loaded before all else (NODE_OPTIONS=--require): the wall clock of a process and its threads is off by the milliseconds
// that the file SHIFTED_CLOCK says, as after an operator, or a time service, set it.
const { readFileSync } = require('node:fs')

const RealDate = Date
let shift = 0
let lookedMs = -Infinity
function now() {
  if (performance.now() - lookedMs > 50) {
    lookedMs = performance.now()
    shift = Number(readFileSync(process.env.SHIFTED_CLOCK, 'latin1')) || 0
  }
  return RealDate.now() + shift
}
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(now())
    else super(...args)
  }
  static now() {
    return now()
  }
}
