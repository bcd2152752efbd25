// stuck-writer.js FOLDER: begins to write to an LMDB environment, says so, and never ends the transaction.
const { open } = require('lmdb')

const environment = open({ path: process.argv[2], readOnly: false })
environment.transactionSync(() => {
  process.stdout.write('locked\n')
  for (;;);
})
