import { flightError, titleError, type HeldOutError } from './held-out-error'

async function print(): Promise<void> {
  show('title-ranking@1', 'rating points, root mean square', await titleError())
  for (const version of [1, 2, 3]) show(`flight-delay@${version}`, 'nats, log loss', await flightError(version))
}

function show(version: string, unit: string, { examples, ofModel, ofMean }: HeldOutError): void {
  console.log(
    `${version}: ${ofModel.toFixed(4)} on ${examples} held out, the mean alone ${ofMean.toFixed(4)} (${unit})`,
  )
}

void print()
